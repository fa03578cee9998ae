import { isIPv6 } from 'node:net';
import ipaddr from 'ipaddr.js';

/** Default of `connections.ipv6Prefix`: the length of the IPv6 prefix that counts as one client. */
export const DEFAULT_IPV6_PREFIX = 64;
/** The second tier: the prefix that a site usually gets (RFC 6177). */
export const SITE_PREFIX = 48;

/** The address of a peer, in the form in which it is compared and counted. */
export class ClientAddress {
  constructor(
    /** Canonical text: dotted decimal, or RFC 5952. For an address that embeds IPv4, the IPv4 address. */
    readonly text: string,
    readonly family: 4 | 6,
    /** The same for all addresses that share their limits. */
    readonly key: string,
    /** The 32 bits of an IPv4 address, else 0. */
    readonly value: number,
    /**
     * The groups of an IPv6 address, also of one that embeds IPv4 (except a mapped one, which never occurs on the
     * network).
     */
    readonly words: Words | undefined,
  ) {}

  /** Key of the /48 around an IPv6 prefix; `undefined` for IPv4, and if the prefix is a /48 itself. */
  get site(): string | undefined {
    if (this.family === 4) return undefined;
    const site = prefixKey(this.words!, SITE_PREFIX);
    return site === this.key ? undefined : site;
  }

  /** Key of the network, a /24 or a /48, whose addresses share an entry when no more addresses can be stored. */
  get network(): string {
    if (this.family === 6) return prefixKey(this.words!, SITE_PREFIX);
    return `${formatIPv4(this.value & 0xffffff00)}/24`;
  }

  get isLoopback(): boolean {
    return this.family === 4 ? this.value >>> 24 === 127 : this.text === '::1';
  }
}

/**
 * The address of a peer whose address is unknown, for example because it has already left: on no list, and counted as
 * one client.
 */
export const NO_ADDRESS = new ClientAddress('', 4, '', 0, undefined);

/** The address of all peers of a Unix domain socket (a named pipe on Windows), which have none: `unix` in lists. */
export const UNIX_PEER = new ClientAddress('', 4, 'unix', 0, undefined);

/**
 * Parses an address from a socket or a forwarding header; `undefined` if it is invalid. `ipv6Prefix` (48–128 bits) is
 * the prefix length that counts. IPv4 text is already canonical and is kept, so a caller that cuts it from a larger
 * string must pass a copy.
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

const DOT = 0x2e;
const ZERO = 0x30;

/**
 * The 32 bits of four plain decimal numbers; `undefined` for anything else. The octal, hexadecimal and shortened forms
 * of `inet_aton` are read differently by different programs, so they are not accepted (RFC 6943, 3.1.1).
 */
export function parseIPv4(text: string): number | undefined {
  let value = 0;
  let octet = -1;
  let dots = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === DOT) {
      if (octet < 0) return undefined;
      value = value * 256 + octet;
      octet = -1;
      dots++;
      continue;
    }
    const digit = code - ZERO;
    if (digit < 0 || digit > 9 || octet === 0) return undefined;
    octet = octet < 0 ? digit : octet * 10 + digit;
    if (octet > 255) return undefined;
  }
  return dots === 3 && octet >= 0 ? value * 256 + octet : undefined;
}

export const formatIPv4 = (value: number): string =>
  `${value >>> 24}.${(value >>> 16) & 255}.${(value >>> 8) & 255}.${value & 255}`;

/** The eight 16-bit groups of an address. */
export type Words = readonly number[];

/** `undefined` for anything that is not an IPv6 address by RFC 4291, section 2.2; a zone id is removed. */
export function parseIPv6(text: string): Words | undefined {
  const zone = text.indexOf('%');
  const address = zone < 0 ? text : text.slice(0, zone);
  return isIPv6(address) ? ipaddr.IPv6.parse(withoutDots(address)).parts : undefined;
}

/** `::127.0.0.1` in hexadecimal groups: ipaddr.js would treat the dotted form as a mapped address. */
function withoutDots(address: string): string {
  const value = address.includes('.') ? parseIPv4(address.slice(address.lastIndexOf(':') + 1)) : undefined;
  if (value === undefined) return address;
  return `${address.slice(0, address.lastIndexOf(':') + 1)}${(value >>> 16).toString(16)}:${(value & 0xffff).toString(16)}`;
}

/** The text form that RFC 5952 recommends. */
export const formatIPv6 = (words: Words): string => new ipaddr.IPv6([...words]).toRFC5952String();

/** A text that is the same for all addresses with the same first `prefix` bits (0 to 128). */
export function prefixKey(words: Words, prefix: number): string {
  const whole = prefix >>> 4;
  const bits = prefix & 15;
  let key = '';
  for (let i = 0; i < whole; i++) key += `${words[i]!.toString(16)}:`;
  if (bits > 0) key += `${(words[whole]! & (0xffff << (16 - bits))).toString(16)}:`;
  return `${key}/${prefix}`;
}

const low = (words: Words, index: number): number => words[index]! * 0x10000 + words[index + 1]!;

const zeros = (words: Words, from: number, to: number): boolean => {
  for (let i = from; i < to; i++) if (words[i] !== 0) return false;
  return true;
};

/** `::ffff:a.b.c.d`: the form in which a dual-stack socket reports an IPv4 peer (RFC 4291, 2.5.5.2). */
const isMapped = (words: Words): boolean => zeros(words, 0, 5) && words[5] === 0xffff;

/**
 * The IPv4 address inside of an IPv6 address, as 32 bits: mapped, compatible (RFC 4291, 2.5.5), translated (RFC 7915),
 * NAT64's well-known prefix (RFC 6052), 6to4 (RFC 3056), Teredo (RFC 4380; the client's, stored inverted).
 */
export function embeddedIPv4(words: Words): number | undefined {
  if (isMapped(words)) return low(words, 6);
  const value = tunnelled(words);
  // 0.0.0.0/8 and 127.0.0.0/8 are this host itself: a tunnelled address must not count as one of them.
  return value === undefined || value >>> 24 === 0 || value >>> 24 === 127 ? undefined : value;
}

function tunnelled(words: Words): number | undefined {
  if (zeros(words, 0, 6)) return low(words, 6);
  if (zeros(words, 0, 4) && words[4] === 0xffff && words[5] === 0) return low(words, 6);
  if (words[0] === 0x64 && words[1] === 0xff9b && zeros(words, 2, 6)) return low(words, 6);
  if (words[0] === 0x2002) return low(words, 1);
  if (words[0] === 0x2001 && words[1] === 0) return ~low(words, 6) >>> 0;
  return undefined;
}
