import {
  type ClientAddress,
  embeddedIPv4,
  formatIPv4,
  formatIPv6,
  parseIPv4,
  parseIPv6,
  prefixKey,
  type Words,
} from './address.js';

/** A network; a single address is a network of 32 or 128 bits. */
export interface Network {
  readonly family: 4 | 6;
  readonly prefix: number;
  /** The same for all addresses in the network, unique within its family and prefix length. */
  readonly key: number | string;
  /** Canonical text: `192.0.2.0/24`, `2001:db8::/32`. */
  readonly text: string;
}

/**
 * Parses `192.0.2.7`, `192.0.2.0/24` or `2001:db8::/32`; `undefined` for anything else. Bits after the prefix are
 * ignored.
 */
export function parseNetwork(text: string, ipv6Prefix = 128): Network | undefined {
  const [, address = '', length] = /^([^/]*)(?:\/(0|[1-9]\d{0,2}))?$/.exec(text) ?? [];
  const value = parseIPv4(address);
  if (value !== undefined) return ipv4Network(value, length === undefined ? 32 : Number(length));
  const words = address.includes('%') ? undefined : parseIPv6(address);
  if (words === undefined) return undefined;
  const embedded = embeddedIPv4(words);
  if (length === undefined && embedded !== undefined) return ipv4Network(embedded, 32);
  const prefix = length === undefined ? ipv6Prefix : Number(length);
  const isMapped = words[5] === 0xffff && words.slice(0, 5).every((word) => word === 0);
  // `::ffff:10.0.0.0/104` means an IPv4 network, because mapped addresses are treated as IPv4.
  return isMapped && prefix >= 96 ? ipv4Network(embedded!, prefix - 96) : ipv6Network(words, prefix);
}

function ipv4Network(value: number, prefix: number): Network | undefined {
  if (prefix > 32) return undefined;
  const key = leading(value, prefix);
  const first = prefix === 0 ? 0 : (key << (32 - prefix)) >>> 0;
  return { family: 4, prefix, key, text: `${formatIPv4(first)}/${prefix}` };
}

function ipv6Network(words: Words, prefix: number): Network | undefined {
  if (prefix > 128) return undefined;
  const first = words.map((word, index) => {
    const bits = Math.min(16, Math.max(0, prefix - index * 16));
    return word & (0xffff << (16 - bits)) & 0xffff;
  });
  return { family: 6, prefix, key: prefixKey(words, prefix), text: `${formatIPv6(first)}/${prefix}` };
}

/** In JavaScript, a shift by 32 is a shift by 0. */
const leading = (value: number, prefix: number): number => (prefix === 0 ? 0 : value >>> (32 - prefix));

/**
 * Values by network. Finding a network that contains an address costs one lookup per distinct prefix length, however
 * many networks there are.
 */
export class NetworkMap<T> {
  readonly #v4 = new Map<number, Map<number | string, T>>();
  readonly #v6 = new Map<number, Map<number | string, T>>();

  set({ family, prefix, key }: Network, value: T): void {
    const lists = family === 4 ? this.#v4 : this.#v6;
    let list = lists.get(prefix);
    if (list === undefined) lists.set(prefix, (list = new Map()));
    list.set(key, value);
  }

  delete({ family, prefix, key }: Network): void {
    const lists = family === 4 ? this.#v4 : this.#v6;
    const list = lists.get(prefix);
    list?.delete(key);
    if (list?.size === 0) lists.delete(prefix);
  }

  /** The first value for which `test` returns true, of networks that contain the address. */
  find(address: ClientAddress, test: (value: T) => boolean): T | undefined {
    if (address.family === 4 && address.text !== '') {
      for (const [prefix, list] of this.#v4) {
        const value = list.get(leading(address.value, prefix));
        if (value !== undefined && test(value)) return value;
      }
    }
    if (address.words === undefined) return undefined;
    for (const [prefix, list] of this.#v6) {
      const value = list.get(prefixKey(address.words, prefix));
      if (value !== undefined && test(value)) return value;
    }
    return undefined;
  }
}
