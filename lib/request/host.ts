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
const HOST = /^(\[[0-9A-Fa-f:.]+\]|(?:[\w.~-]|%[0-9A-Fa-f]{2})+)(?::(\d{0,5}))?$/;

const MAX_PORT = 65_535;

/** Parses the value of a `Host` header; undefined when it is not one. An empty port counts as none. */
export function parseHost(value: string): HostPort | undefined {
  const match = HOST.exec(value);
  if (match === null) return undefined;
  const name = match[1]!;
  if (name.startsWith('[') && !isIPv6(name.slice(1, -1))) return undefined;
  const port = match[2] ? Number(match[2]) : undefined;
  return port !== undefined && port > MAX_PORT ? undefined : { name: name.toLowerCase(), port };
}
