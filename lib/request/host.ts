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
  const colon = portColon(value);
  const name = value.slice(0, colon);
  if (name.startsWith('[') && !isIPv6(name.slice(1, -1))) return undefined;
  const port = colon + 1 < value.length ? Number(value.slice(colon + 1)) : undefined;
  return port !== undefined && port > MAX_PORT ? undefined : { name: name.toLowerCase(), port };
}

/** Where the colon before a port is, or would be: those inside brackets are an address's. */
function portColon(value: string): number {
  const colon = value.lastIndexOf(':');
  return colon > value.indexOf(']') ? colon : value.length;
}
