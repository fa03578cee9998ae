import { type ClientAddress, DEFAULT_IPV6_PREFIX } from '../address.js';
import type { AddressList } from '../ip/address-list.js';
import { elementsFromRight } from './elements.js';
import { parseHop } from './hop.js';
import { parseForwardedElement } from './rfc7239.js';

export interface ProxyRules {
  /** `proxy.trusted`: whose forwarding headers are believed. */
  readonly trusted: AddressList;
  /** `proxy.header`: the one family that is read. */
  readonly header: 'x-forwarded' | 'forwarded';
  /** `connections.ipv6Prefix`, for the addresses that the headers name. */
  readonly ipv6Prefix?: number;
}

/** Where a request comes from, seen through trusted proxies. */
export interface ClientRoute {
  readonly address: ClientAddress;
  /** Whether the client speaks TLS: `undefined` behind a trusted proxy that does not say. */
  readonly secure: boolean | undefined;
  /** The socket's peer is a trusted proxy. */
  readonly viaProxy: boolean;
  /** `address` itself is a trusted proxy's: no limit per address applies to it. */
  readonly isExempt: boolean;
  /** The peer is not trusted and sent forwarding headers: spoofed, or `proxy.trusted` lacks the peer. */
  readonly strayHeaders: boolean;
}

/** Hops that are followed from the right; nobody has more proxies. */
export const MAX_HOPS = 32;

/**
 * The client's address and scheme. The address is read from the right through trusted addresses; what cannot be read
 * ends the way at the last good hop, and nothing left of it counts. The scheme is the nearest proxy's word only.
 */
export function routeOf(
  peer: ClientAddress,
  tls: boolean,
  rawHeaders: readonly string[],
  rules: ProxyRules,
): ClientRoute {
  if (!rules.trusted.has(peer)) return direct(peer, tls, rawHeaders);
  const address = lastUntrusted(peer, rawHeaders, rules);
  const isExempt = rules.trusted.has(address);
  return {
    address,
    secure: saidScheme(rawHeaders, rules) ?? (tls || undefined),
    viaProxy: true,
    isExempt,
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

const FORWARDING = /^(?:forwarded|x-forwarded-(?:for|proto))$/i;

/** The lengths are compared first: this runs for every request of every stranger. */
function hasForwardingHeaders(rawHeaders: readonly string[]): boolean {
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const { length } = rawHeaders[i]!;
    if ((length === 9 || length === 15 || length === 17) && FORWARDING.test(rawHeaders[i]!)) return true;
  }
  return false;
}

function lastUntrusted(peer: ClientAddress, rawHeaders: readonly string[], rules: ProxyRules): ClientAddress {
  const isForwarded = rules.header === 'forwarded';
  const elements = elementsFromRight(rawHeaders, isForwarded ? 'forwarded' : 'x-forwarded-for', isForwarded);
  let address = peer;
  let hops = 0;
  for (const element of elements) {
    const node = isForwarded ? parseForwardedElement(element)?.for : element;
    const hop =
      node === undefined || hops++ >= MAX_HOPS ? undefined : parseHop(node, rules.ipv6Prefix ?? DEFAULT_IPV6_PREFIX);
    if (hop === undefined) return address;
    address = hop;
    if (!rules.trusted.has(hop)) return address;
  }
  return address;
}

function saidScheme(rawHeaders: readonly string[], { header }: ProxyRules): boolean | undefined {
  const isForwarded = header === 'forwarded';
  const nearest = elementsFromRight(rawHeaders, isForwarded ? 'forwarded' : 'x-forwarded-proto', isForwarded).next();
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
