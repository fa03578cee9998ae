import { isIPv4 } from 'node:net';
import type { HostPort } from '../../request/host.js';
import { canonicalHost } from '../host/host-name.js';
import type { AllowedOrigins } from './allowed-origins.js';
import { parseOrigin, type WebOrigin } from './serialized-origin.js';

export interface OriginFacts {
  /** The value of `Origin`, `undefined` where there is none: then no browser page asks. */
  readonly origin: string | undefined;
  readonly host: HostPort;
  /** Whether the client speaks TLS; `undefined` where that is not known. */
  readonly secure: boolean | undefined;
  /** The socket's peer is loopback and no trusted proxy. */
  readonly isLocalPeer: boolean;
}

/**
 * `undefined` where the origin may connect, else what was compared, for the log.
 * Without a list a page may connect to where it came from: `Origin` must name the host, the port and, where it is
 * known, the scheme of this request.
 */
export function judgeOrigin(allowed: AllowedOrigins | undefined, facts: OriginFacts): string | undefined {
  if (facts.origin === undefined) return undefined;
  if (allowed !== undefined)
    return allowed.has(facts.origin) ? undefined : told(facts.origin, 'is not in allowedOrigins');
  return judgeSameOrigin(facts.origin, facts);
}

function judgeSameOrigin(text: string, { host, secure, isLocalPeer }: OriginFacts): string | undefined {
  const origin = parseOrigin(text);
  if (origin === undefined || !isSameOrigin(origin, host, secure))
    return told(text, `is not ${originOf(host, secure)}`);
  // A name that a stranger's DNS points at 127.0.0.1 makes his page look same-origin.
  if (isLocalPeer && !isLocalName(host.name))
    return told(text, `came from loopback, where ${host.name} is no local name`);
  return undefined;
}

function isSameOrigin(origin: WebOrigin, host: HostPort, secure: boolean | undefined): boolean {
  if (origin.scheme !== 'http' && origin.scheme !== 'https') return false;
  if (secure !== undefined && origin.scheme !== scheme(secure)) return false;
  const port = host.port ?? (origin.scheme === 'https' ? 443 : 80);
  return origin.host === canonicalHost(host.name) && origin.port === port;
}

const originOf = ({ name, port }: HostPort, secure: boolean | undefined): string =>
  `${secure === undefined ? 'http(s)' : scheme(secure)}://${name}${port === undefined ? '' : `:${port}`}`;

const scheme = (secure: boolean): string => (secure ? 'https' : 'http');

/** Names that only this machine answers for, and addresses, which nobody's DNS can move. */
const isLocalName = (name: string): boolean =>
  name === 'localhost' || name.endsWith('.localhost') || name.startsWith('[') || isIPv4(name);

const told = (origin: string, what: string): string => `Origin '${shown(origin)}' ${what.slice(0, 300)}`;

/** What is no origin may carry userinfo, a path or a query, which are not for the log. */
function shown(origin: string): string {
  const scheme = /^[a-z][a-z0-9+.-]*:\/\//i.exec(origin)?.[0] ?? '';
  const userinfo = origin.lastIndexOf('@') + 1;
  const rest = origin.slice(Math.max(scheme.length, userinfo));
  const host = rest.split(/[/?#\\]/, 1)[0]!;
  return `${scheme}${userinfo > 0 ? '…@' : ''}${host}`.slice(0, 200) + (host.length < rest.length ? '/…' : '');
}
