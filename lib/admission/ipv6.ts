import { isIPv6 } from 'node:net';
import ipaddr from 'ipaddr.js';
import { parseIPv4 } from './ipv4.js';

/** The eight 16-bit groups of an address. */
export type Words = readonly number[];

/** `undefined` for anything that is no IPv6 address by the letter of RFC 4291, section 2.2; a zone id is dropped. */
export function parseIPv6(text: string): Words | undefined {
  const zone = text.indexOf('%');
  const address = zone < 0 ? text : text.slice(0, zone);
  return isIPv6(address) ? ipaddr.IPv6.parse(withoutDots(address)).parts : undefined;
}

/** `::127.0.0.1` in hexadecimal groups: ipaddr.js takes the dotted form for a mapped address, which it is not. */
function withoutDots(address: string): string {
  const value = address.includes('.') ? parseIPv4(address.slice(address.lastIndexOf(':') + 1)) : undefined;
  if (value === undefined) return address;
  return `${address.slice(0, address.lastIndexOf(':') + 1)}${(value >>> 16).toString(16)}:${(value & 0xffff).toString(16)}`;
}

/** The text that RFC 5952 recommends. */
export const formatIPv6 = (words: Words): string => new ipaddr.IPv6([...words]).toRFC5952String();

/** A text that is the same for all addresses that agree in their first `prefix` bits (0 to 128). */
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

/** `::ffff:a.b.c.d`: how a dual-stack socket shows an IPv4 peer (RFC 4291, 2.5.5.2). */
const isMapped = (words: Words): boolean => zeros(words, 0, 5) && words[5] === 0xffff;

/**
 * The IPv4 address inside an IPv6 address, as 32 bits: mapped, compatible (RFC 4291, 2.5.5), translated (RFC 7915),
 * NAT64's well-known prefix (RFC 6052), 6to4 (RFC 3056), Teredo (RFC 4380, the client's, sent inverted).
 */
export function embeddedIPv4(words: Words): number | undefined {
  if (isMapped(words)) return low(words, 6);
  const value = tunnelled(words);
  // 0.0.0.0/8 and 127.0.0.0/8 are this host itself: no tunnel may lend a stranger their standing.
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
