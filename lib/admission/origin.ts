import { isIPv4 } from 'node:net';
import { canonicalHost, type HostPort, isUnder, MAX_PORT, normalizeHost, wildcardSuffix } from '../http/host.js';

export interface WebOrigin {
  readonly scheme: string;
  readonly host: string;
  /** The port, or the default port of the scheme; `undefined` if the scheme has none. */
  readonly port: number | undefined;
}

/** The origin in lower case, as a browser writes it (RFC 6454, section 6.1). */
const ORIGIN = /^([a-z][a-z0-9+.-]*):\/\/([a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?|\[[0-9a-f:.]+\])(?::([1-9]\d{0,4}))?$/;
/**
 * An origin of a scheme that is local to the machine, such as `file://` or `app://.`: without a host, or with one that
 * is not a name.
 */
const LOCAL = /^(?!https?:|wss?:)([a-z][a-z0-9+.-]*):\/\/([.-]?)$/;

const DEFAULT_PORTS = new Map([
  ['http', 80],
  ['https', 443],
]);

/** Parses the value of an `Origin` header, in any case; `undefined` for `null`, several origins, and anything else. */
export function parseOrigin(text: string): WebOrigin | undefined {
  // ASCII only: a Kelvin sign is not a k.
  const lower = text.replace(/[A-Z]+/g, (capitals) => capitals.toLowerCase());
  const [, scheme, host, digits] = ORIGIN.exec(lower) ?? LOCAL.exec(lower) ?? [];
  if (scheme === undefined || host === undefined) return undefined;
  const port = digits === undefined ? DEFAULT_PORTS.get(scheme) : Number(digits);
  return (port ?? 0) > MAX_PORT ? undefined : { scheme, host: canonicalHost(host), port };
}

export const sameOrigin = (a: WebOrigin, b: WebOrigin): boolean =>
  a.scheme === b.scheme && a.host === b.host && a.port === b.port;

/** `connections.allowedOrigins`, compiled. A host that begins with a dot matches all names below it. */
export class AllowedOrigins {
  readonly #origins: readonly WebOrigin[];
  readonly #any: boolean;
  readonly #null: boolean;
  /** Origins that may connect without a list may connect, too. */
  readonly self: boolean;

  constructor(origins: readonly WebOrigin[], named: { any?: boolean; opaque?: boolean; self?: boolean }) {
    this.#origins = origins;
    this.#any = named.any ?? false;
    this.#null = named.opaque ?? false;
    this.self = named.self ?? false;
  }

  /** Checks the value of an `Origin` header. */
  has(origin: string): boolean {
    if (this.#any) return true;
    if (origin === 'null') return this.#null;
    const parsed = parseOrigin(origin);
    return parsed !== undefined && this.#origins.some((allowed) => matches(allowed, parsed));
  }
}

function matches(allowed: WebOrigin, origin: WebOrigin): boolean {
  if (!allowed.host.startsWith('.') || allowed.host === '.') return sameOrigin(allowed, origin);
  return allowed.scheme === origin.scheme && allowed.port === origin.port && isUnder(origin.host, allowed.host);
}

/**
 * Compiles origins such as `https://app.example`, `https://*.example.com`, `chrome-extension://…`, `file://`, `*`,
 * `null` and `self`. Returns all error texts instead if an entry is invalid.
 */
export function parseAllowedOrigins(entries: readonly string[]): AllowedOrigins | string[] {
  const parsed = entries.filter((entry) => !NAMED.has(entry)).map(parseEntry);
  const problems = parsed.filter((each) => typeof each === 'string');
  if (problems.length > 0) return problems;
  const origins = parsed.filter((each) => typeof each !== 'string');
  return new AllowedOrigins(origins, {
    any: entries.includes('*'),
    opaque: entries.includes('null'),
    self: entries.includes('self'),
  });
}

const NAMED: ReadonlySet<string> = new Set(['*', 'null', 'self']);

const ENTRY = /^([a-z][a-z0-9+.-]*):\/\/([^:/[]*|\[[^\]]*\])(:\d+)?(\/)?$/i;

function parseEntry(entry: string): WebOrigin | string {
  const [, scheme, host, port = '', slash] = ENTRY.exec(entry) ?? [];
  if (scheme === undefined || host === undefined) return noOrigin(entry);
  if (slash) return `'${entry}' is not a valid origin: write '${entry.slice(0, -1)}', without the slash`;
  if (/^wss?$/i.test(scheme)) return `'${entry}' is not the origin of a page: write '${entry.replace(/^ws/i, 'http')}'`;
  return host.startsWith('*.') ? parseWildcard(entry, scheme, host, port) : parseExact(entry, scheme, host, port);
}

function parseExact(entry: string, scheme: string, host: string, port: string): WebOrigin | string {
  const name = /^https?$/i.test(scheme) ? normalizeHost(host) : host.toLowerCase();
  return parseOrigin(`${scheme.toLowerCase()}://${name ?? ''}${port}`) ?? noOrigin(entry);
}

function parseWildcard(entry: string, scheme: string, host: string, port: string): WebOrigin | string {
  const suffix = wildcardSuffix(host);
  const base = suffix === undefined ? undefined : parseOrigin(`${scheme.toLowerCase()}://${suffix.slice(1)}${port}`);
  return base === undefined ? noOrigin(entry) : { ...base, host: `.${base.host}` };
}

const noOrigin = (entry: string): string =>
  `'${entry}' is not an origin such as 'https://app.example', 'https://app.example:8443' or 'https://*.example.com', nor '*', 'null' or 'self'`;

export interface OriginFacts {
  /** The value of `Origin`; `undefined` if there is none, so that the request does not come from a page. */
  readonly origin: string | undefined;
  readonly host: HostPort;
  /** Whether the client uses TLS; `undefined` if unknown. */
  readonly secure: boolean | undefined;
  /** The socket's peer is a loopback address and not a trusted proxy. */
  readonly isLocalPeer: boolean;
}

/**
 * `undefined` if the origin may connect, else the compared values, for the log. Without a list, and with `self` in it,
 * a page may connect to the origin that it was loaded from: `Origin` must have the host, the port and, if known, the
 * scheme of this request.
 */
export function originMismatch(allowed: AllowedOrigins | undefined, facts: OriginFacts): string | undefined {
  if (facts.origin === undefined) return undefined;
  if (allowed?.has(facts.origin)) return undefined;
  if (allowed !== undefined && !allowed.self) return told(facts.origin, 'is not in connections.allowedOrigins');
  const breach = sameOriginMismatch(facts.origin, facts);
  return breach && `${breach} (connections.allowedOrigins)`;
}

function sameOriginMismatch(text: string, { host, secure, isLocalPeer }: OriginFacts): string | undefined {
  const origin = parseOrigin(text);
  if (origin === undefined || !isSameOrigin(origin, host, secure))
    return told(text, `is not ${originOf(host, secure)}`);
  // A foreign name that resolves to 127.0.0.1 would make a foreign page look same-origin.
  if (isLocalPeer && !isLocalName(host.name))
    return told(text, `came from loopback, where ${host.name} is not a local name`);
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

/** Names that only this machine answers for, and IP addresses, which DNS cannot redirect. */
const isLocalName = (name: string): boolean =>
  name === 'localhost' || name.endsWith('.localhost') || name.startsWith('[') || isIPv4(name);

const told = (origin: string, what: string): string => `Origin '${shown(origin)}' ${what.slice(0, 300)}`;

/** An invalid origin may contain userinfo, a path or a query, which must not be logged. */
function shown(origin: string): string {
  const scheme = /^[a-z][a-z0-9+.-]*:\/\//i.exec(origin)?.[0] ?? '';
  const userinfo = origin.lastIndexOf('@') + 1;
  const rest = origin.slice(Math.max(scheme.length, userinfo));
  const host = rest.split(/[/?#\\]/, 1)[0]!;
  return `${scheme}${userinfo > 0 ? '…@' : ''}${host}`.slice(0, 200) + (host.length < rest.length ? '/…' : '');
}
