import { type ClientAddress, DEFAULT_IPV6_PREFIX, parseAddress } from '../net/address.js';
import type { AddressList } from '../net/address-list.js';
import { detach } from './grammar.js';

const isSpace = (text: string, index: number): boolean => text[index] === ' ' || text[index] === '\t';

function trimmed(text: string, start: number, end: number): string {
  while (start < end && isSpace(text, start)) start++;
  while (end > start && isSpace(text, end - 1)) end--;
  return text.slice(start, end);
}

/** The values of all header lines with this lower-case name, last line first. */
export function* valuesFromLast(rawHeaders: readonly string[], name: string): Generator<string> {
  for (let i = rawHeaders.length - 2; i >= 0; i -= 2) {
    const candidate = rawHeaders[i]!;
    if (candidate.length === name.length && candidate.toLowerCase() === name) yield rawHeaders[i + 1]!;
  }
}

/**
 * The elements of a list in all header lines with one name, from the right. With `quoted`, commas inside of quotes do
 * not separate elements. Quotes are matched from the right, too, so that an unclosed quote that a client has sent
 * cannot include what a proxy appended.
 */
export function* elementsFromRight(rawHeaders: readonly string[], name: string, quoted: boolean): Generator<string> {
  for (const value of valuesFromLast(rawHeaders, name)) {
    let end = value.length;
    while (end >= 0) {
      const comma = quoted ? commaOutsideQuotes(value, end) : lastComma(value, end);
      yield trimmed(value, comma + 1, end);
      end = comma;
    }
  }
}

/** `lastIndexOf` treats a negative position as 0. */
const lastComma = (value: string, end: number): number => (end === 0 ? -1 : value.lastIndexOf(',', end - 1));

function commaOutsideQuotes(value: string, end: number): number {
  let isQuoted = false;
  for (let i = end - 1; i >= 0; i--) {
    if (value[i] === '"' && !isEscaped(value, i)) isQuoted = !isQuoted;
    else if (value[i] === ',' && !isQuoted) return i;
  }
  return -1;
}

function isEscaped(value: string, index: number): boolean {
  let backslashes = 0;
  while (value[index - 1 - backslashes] === '\\') backslashes++;
  return backslashes % 2 === 1;
}

/** `_` and the characters of an obfuscated port (RFC 7239, section 6.3). */
const PORT = /^(?:\d{1,5}|_[A-Za-z0-9._-]+)$/;

/**
 * The address in one element of a forwarding header: bare, with a port, or an IPv6 address in brackets; a zone id is
 * removed. `undefined` for `unknown`, an obfuscated identifier (RFC 7239, section 6.3), and anything else that is not
 * an address.
 */
export function parseHop(text: string, ipv6Prefix: number): ClientAddress | undefined {
  const host = hostOf(text);
  return host === undefined ? undefined : parseAddress(detach(host), ipv6Prefix);
}

function hostOf(text: string): string | undefined {
  if (text.startsWith('[')) return bracketed(text);
  const colon = text.indexOf(':');
  // One colon separates a port; several belong to an IPv6 address.
  if (colon < 0 || text.indexOf(':', colon + 1) >= 0) return text;
  return PORT.test(text.slice(colon + 1)) ? text.slice(0, colon) : undefined;
}

function bracketed(text: string): string | undefined {
  const end = text.indexOf(']');
  const host = text.slice(1, end);
  const rest = text.slice(end + 1);
  const isWhole = end > 0 && host.includes(':') && (rest === '' || (rest.startsWith(':') && PORT.test(rest.slice(1))));
  return isWhole ? host : undefined;
}

/** The parts of one `Forwarded` element (RFC 7239, section 5) that are used. */
export interface ForwardedElement {
  readonly for?: string;
  readonly proto?: string;
}

const PAIR = /([!#$%&'*+\-.^_`|~0-9A-Za-z]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s";,=]*))[ \t]*(?:;[ \t]*|$)/y;

/** Parses one element of a `Forwarded` list; `undefined` if it is malformed or repeats a parameter (section 4). */
export function parseForwardedElement(element: string): ForwardedElement | undefined {
  const pairs = new Map<string, string>();
  PAIR.lastIndex = 0;
  while (PAIR.lastIndex < element.length) {
    const pair = PAIR.exec(element);
    if (pair === null) return undefined;
    const name = pair[1]!.toLowerCase();
    if (pairs.has(name)) return undefined;
    pairs.set(name, pair[2]?.replace(/\\(.)/g, '$1') ?? pair[3]!);
  }
  return { for: pairs.get('for'), proto: pairs.get('proto') };
}

export interface ProxyRules {
  /** `proxy.trusted`: the peers whose forwarding headers are believed. */
  readonly trusted: AddressList;
  /** `proxy.header`: the family of headers that is read. */
  readonly header: 'x-forwarded' | 'forwarded';
  /** `connections.ipv6Prefix`, for the addresses in the headers. */
  readonly ipv6Prefix?: number;
}

/** The client of a request, as reported by trusted proxies. */
export interface ClientRoute {
  readonly address: ClientAddress;
  /** Whether the client uses TLS; `undefined` behind a trusted proxy that does not report it. */
  readonly secure: boolean | undefined;
  /** The socket's peer is a trusted proxy. */
  readonly viaProxy: boolean;
  /** `address` itself is that of a trusted proxy, and every element was valid: no limit per address applies. */
  readonly isExempt: boolean;
  /**
   * The peer is not trusted and has sent forwarding headers: they are forged, or the peer is missing in
   * `proxy.trusted`.
   */
  readonly strayHeaders: boolean;
}

/** Maximum number of hops that are followed from the right. */
export const MAX_HOPS = 32;

/**
 * Determines the client's address and scheme. The address is read from the right through trusted addresses; an invalid
 * element ends this at the last valid hop, and nothing left of it counts. The scheme is only that reported by the
 * nearest proxy.
 */
export function routeOf(
  peer: ClientAddress,
  tls: boolean,
  rawHeaders: readonly string[],
  rules: ProxyRules,
  /** The values that the proxy has sent with the PROXY protocol, if it named `peer`. */
  named?: { readonly secure: boolean | undefined },
): ClientRoute {
  if (!rules.trusted.has(peer)) return named === undefined ? direct(peer, tls, rawHeaders) : relayed(peer, tls, named);
  return {
    ...lastUntrusted(peer, rawHeaders, rules),
    secure: saidScheme(rawHeaders, rules) ?? (tls || named?.secure),
    viaProxy: true,
    strayHeaders: false,
  };
}

const direct = (peer: ClientAddress, tls: boolean, rawHeaders: readonly string[]): ClientRoute => ({
  address: peer,
  secure: tls,
  viaProxy: false,
  isExempt: false,
  strayHeaders: hasForwardingHeaders(rawHeaders),
});

/** The proxy relays bytes, so the forwarding headers come from the client. */
const relayed = (peer: ClientAddress, tls: boolean, { secure }: { secure: boolean | undefined }): ClientRoute => ({
  address: peer,
  secure: tls || secure,
  viaProxy: true,
  isExempt: false,
  strayHeaders: false,
});

const FORWARDING = /^(?:forwarded|x-forwarded-(?:for|proto))$/i;

/** The lengths are compared first, because this runs for every request of untrusted peers. */
function hasForwardingHeaders(rawHeaders: readonly string[]): boolean {
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const { length } = rawHeaders[i]!;
    if ((length === 9 || length === 15 || length === 17) && FORWARDING.test(rawHeaders[i]!)) return true;
  }
  return false;
}

/** A client behind an invalid element gets the address of the last valid hop, but not its exemption. */
function lastUntrusted(
  peer: ClientAddress,
  rawHeaders: readonly string[],
  rules: ProxyRules,
): Pick<ClientRoute, 'address' | 'isExempt'> {
  const isForwarded = rules.header === 'forwarded';
  let address = peer;
  let hops = 0;
  for (const element of elements(rawHeaders, isForwarded ? 'forwarded' : 'x-forwarded-for', isForwarded)) {
    const node = isForwarded ? parseForwardedElement(element)?.for : element;
    const hop =
      node === undefined || hops++ >= MAX_HOPS ? undefined : parseHop(node, rules.ipv6Prefix ?? DEFAULT_IPV6_PREFIX);
    if (hop === undefined) return { address, isExempt: false };
    address = hop;
    if (!rules.trusted.has(hop)) return { address, isExempt: false };
  }
  return { address, isExempt: true };
}

/** Maximum number of consecutive empty elements; beyond it the list counts as invalid. */
const MAX_EMPTY = 64;

/** The elements from the right, without empty ones (RFC 9110, section 5.6.1.2). */
function* elements(rawHeaders: readonly string[], name: string, quoted: boolean): Generator<string> {
  let empty = 0;
  for (const element of elementsFromRight(rawHeaders, name, quoted))
    if (element !== '' || ++empty > MAX_EMPTY) yield element;
}

function saidScheme(rawHeaders: readonly string[], { header }: ProxyRules): boolean | undefined {
  const isForwarded = header === 'forwarded';
  const nearest = elements(rawHeaders, isForwarded ? 'forwarded' : 'x-forwarded-proto', isForwarded).next();
  if (nearest.done) return undefined;
  const proto = isForwarded ? parseForwardedElement(nearest.value)?.proto : nearest.value;
  return SCHEMES.get(proto?.toLowerCase() ?? '');
}

const SCHEMES = new Map([
  ['https', true],
  ['wss', true],
  ['http', false],
  ['ws', false],
]);
