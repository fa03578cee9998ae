import { formatIPv4, parseIPv4 } from './ipv4.js';
import { embeddedIPv4, formatIPv6, parseIPv6, prefixKey, type Words } from './ipv6.js';

/** Bits of an IPv6 address that count as one client, unless `connections.ipv6Prefix` says otherwise. */
export const DEFAULT_IPV6_PREFIX = 64;
/** The second tier: what one site is usually given (RFC 6177). */
export const SITE_PREFIX = 48;

/** Where a connection comes from, in the form in which it is compared and counted. */
export class ClientAddress {
  constructor(
    /** Canonical text: dotted decimal, or RFC 5952. An address that embeds IPv4 is that IPv4 address. */
    readonly text: string,
    readonly family: 4 | 6,
    /** Same for all addresses that share their limits. */
    readonly key: string,
    /** The 32 bits of an IPv4 address, else 0. */
    readonly value: number,
    /** The groups of an IPv6 address, also of one that embeds IPv4 (a mapped one excepted: it never was on the wire). */
    readonly words: Words | undefined,
  ) {}

  /** Key of the /48 around an IPv6 prefix, `undefined` for IPv4 and where the prefix is a /48 itself. */
  get site(): string | undefined {
    if (this.family === 4) return undefined;
    const site = prefixKey(this.words!, SITE_PREFIX);
    return site === this.key ? undefined : site;
  }

  /** Key of the neighbourhood that shares a bucket when no more addresses can be remembered: a /24 or a /48. */
  get network(): string {
    if (this.family === 6) return prefixKey(this.words!, SITE_PREFIX);
    return `${formatIPv4(this.value & 0xffffff00)}/24`;
  }

  get isLoopback(): boolean {
    return this.family === 4 ? this.value >>> 24 === 127 : this.text === '::1';
  }
}

/** A peer whose address is not known, such as one that has left already: on no list, and one client like any other. */
export const NO_ADDRESS = new ClientAddress('', 4, '', 0, undefined);

/** The peers of a Unix domain socket (a named pipe on Windows), which have no address: lists know them as `unix`. */
export const UNIX_PEER = new ClientAddress('', 4, 'unix', 0, undefined);

/**
 * Reads an address as a socket or a forwarding header gives it; `undefined` where it is none.
 * `ipv6Prefix` (48–128 bits) says how much of an IPv6 address counts. IPv4 text is canonical as it is, and is kept:
 * whoever cut it from a larger text gives a copy.
 */
export function parseAddress(text: string, ipv6Prefix: number = DEFAULT_IPV6_PREFIX): ClientAddress | undefined {
  const dotted = text.startsWith('::ffff:') ? text.slice(7) : text;
  const value = parseIPv4(dotted);
  if (value !== undefined) return new ClientAddress(dotted, 4, dotted, value, undefined);
  const words = parseIPv6(text);
  return words && fromWords(words, ipv6Prefix);
}

function fromWords(words: Words, ipv6Prefix: number): ClientAddress {
  const embedded = embeddedIPv4(words);
  if (embedded !== undefined) return fromIPv4(embedded, words);
  return new ClientAddress(formatIPv6(words), 6, prefixKey(words, ipv6Prefix), 0, words);
}

function fromIPv4(value: number, words: Words): ClientAddress {
  const text = formatIPv4(value);
  return new ClientAddress(text, 4, text, value, words);
}
