import { isIPv6 } from 'node:net';

export interface HostPort {
  /** In lower case; an IPv6 address keeps its brackets. */
  readonly name: string;
  readonly port: number | undefined;
}

/**
 * `uri-host [ ":" port ]` (RFC 9110, section 7.2). Of a `reg-name` (RFC 3986, section 3.2.2) the sub-delimiters are
 * left out: no name on a network has them, and a comma would let two names merged by a proxy pass for one.
 */
const HOST = /^(?:\[[0-9A-Fa-f:.]+\]|(?:[\w.~-]|%[0-9A-Fa-f]{2})+)(?::\d{0,5})?$/;

const MAX_PORT = 65_535;

/** Parses the value of a `Host` header; undefined when it is not one. An empty port counts as none. */
export function parseHost(value: string): HostPort | undefined {
  if (!HOST.test(value)) return undefined;
  // Colons inside brackets are an address's.
  const colon = value.indexOf(':', value.indexOf(']') + 1);
  const name = colon < 0 ? value : value.slice(0, colon);
  const digits = colon < 0 ? '' : value.slice(colon + 1);
  if (name.startsWith('[') && !isIPv6(name.slice(1, -1))) return undefined;
  const port = digits === '' ? undefined : Number(digits);
  return port !== undefined && port > MAX_PORT ? undefined : { name: name.toLowerCase(), port };
}
