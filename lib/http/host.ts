import { isIPv6 } from 'node:net';
import { formatIPv6, parseIPv6 } from '../net/address.js';

export interface HostPort {
  /** In lower case; an IPv6 address keeps its brackets. */
  readonly name: string;
  readonly port: number | undefined;
}

/**
 * `uri-host [ ":" port ]` (RFC 9110, section 7.2). The sub-delimiters of a `reg-name` (RFC 3986, section 3.2.2) are
 * excluded: no host name contains them, and with a comma two names that a proxy has merged would be accepted as one.
 */
const HOST = /^(?:\[[0-9A-Fa-f:.]+\]|(?:[\w.~-]|%[0-9A-Fa-f]{2})+)(?::\d{0,5})?$/;

/** Parses the value of a `Host` header; `undefined` if it is invalid. An empty port counts as none. */
export function parseHost(value: string): HostPort | undefined {
  if (!HOST.test(value)) return undefined;
  // Colons inside of brackets belong to an address.
  const colon = value.indexOf(':', value.indexOf(']') + 1);
  const name = colon < 0 ? value : value.slice(0, colon);
  const digits = colon < 0 ? '' : value.slice(colon + 1);
  if (name.startsWith('[') && !isIPv6(name.slice(1, -1))) return undefined;
  const port = digits === '' ? undefined : Number(digits);
  return port !== undefined && port > MAX_PORT ? undefined : { name: name.toLowerCase(), port };
}

const LABELS = /^[a-z0-9_-]+(?:\.[a-z0-9_-]+)*$/;
const NAME = /^(?:[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?|\[[0-9a-f:.]+\])$/;

export const MAX_PORT = 65_535;

/**
 * A host as a browser writes it: in lower case, IDNA in ASCII, an address in canonical form; `undefined` if it is
 * invalid.
 */
export function normalizeHost(text: string): string | undefined {
  if (/[\s/?#@\\%]/.test(text) || text === '') return undefined;
  try {
    const { hostname } = new URL(`http://${text}`);
    return NAME.test(hostname) ? hostname : undefined;
  } catch {
    return undefined;
  }
}

/** A name unchanged; an IPv6 literal (in brackets) in canonical form, because it can be written in many ways. */
export function canonicalHost(host: string): string {
  const words = host.startsWith('[') ? parseIPv6(host.slice(1, -1)) : undefined;
  return words === undefined ? host : `[${formatIPv6(words)}]`;
}

/** Whether `host` consists of one or more whole labels before `suffix`, which begins with a dot. */
export const isUnder = (host: string, suffix: string): boolean =>
  host.endsWith(suffix) && LABELS.test(host.slice(0, -suffix.length));

/** The `.example.com` of `*.example.com`, normalised; `undefined` if the rest is not a name. */
export function wildcardSuffix(pattern: string): string | undefined {
  const base = normalizeHost(pattern.slice(2));
  return base === undefined || base.startsWith('[') || /^[\d.]+$/.test(base) ? undefined : `.${base}`;
}
