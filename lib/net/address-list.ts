import { type ClientAddress, embeddedIPv4, parseIPv4, parseIPv6, prefixKey, UNIX_PEER, type Words } from './address.js';

/** Compiles a list that was validated before; an error in it is a bug, and is thrown. */
export function compiled<T extends object>(parsed: T | string[]): T {
  if (Array.isArray(parsed)) throw new TypeError(parsed.join('; '));
  return parsed;
}

const NAMES = new Map(
  Object.entries({
    loopback: ['127.0.0.0/8', '::1'],
    linklocal: ['169.254.0.0/16', 'fe80::/10'],
    uniquelocal: ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', 'fc00::/7'],
  }),
);

/** The name for all peers of a Unix domain socket. */
const UNIX = 'unix';

/** The networks of one prefix length, by their first bits. */
interface Networks<T> {
  readonly prefix: number;
  readonly keys: Set<T>;
}

/**
 * Compiled addresses and networks: a lookup costs one set lookup per distinct prefix length, however long the list is,
 * and allocates nothing.
 */
export class AddressList {
  readonly #v4: Networks<number>[] = [];
  readonly #v6: Networks<string>[] = [];
  #unix = false;

  get isEmpty(): boolean {
    return this.#v4.length + this.#v6.length === 0 && !this.#unix;
  }

  has(address: ClientAddress): boolean {
    if (address.family === 4 && address.text !== '' && this.#hasIPv4(address.value)) return true;
    if (address.words !== undefined && this.#hasIPv6(address.words)) return true;
    return this.#unix && address === UNIX_PEER;
  }

  addUnix(): void {
    this.#unix = true;
  }

  addIPv4(value: number, prefix: number): void {
    keysOf(this.#v4, prefix).add(leading(value, prefix));
  }

  addIPv6(words: Words, prefix: number): void {
    keysOf(this.#v6, prefix).add(prefixKey(words, prefix));
  }

  #hasIPv4(value: number): boolean {
    for (let i = 0; i < this.#v4.length; i++) {
      const { prefix, keys } = this.#v4[i]!;
      if (keys.has(leading(value, prefix))) return true;
    }
    return false;
  }

  #hasIPv6(words: Words): boolean {
    for (let i = 0; i < this.#v6.length; i++) {
      const { prefix, keys } = this.#v6[i]!;
      if (keys.has(prefixKey(words, prefix))) return true;
    }
    return false;
  }
}

/** In JavaScript, a shift by 32 is a shift by 0. */
const leading = (value: number, prefix: number): number => (prefix === 0 ? 0 : value >>> (32 - prefix));

function keysOf<T>(lists: Networks<T>[], prefix: number): Set<T> {
  const known = lists.find((networks) => networks.prefix === prefix);
  if (known !== undefined) return known.keys;
  const keys = new Set<T>();
  lists.push({ prefix, keys });
  return keys;
}

/**
 * Compiles CIDRs, single addresses and the names `loopback`, `linklocal`, `uniquelocal` and `unix`. Returns all error
 * texts instead if an entry is invalid.
 */
export function parseAddressList(entries: readonly string[]): AddressList | string[] {
  const list = new AddressList();
  const problems = entries
    .flatMap((entry) => NAMES.get(entry.toLowerCase()) ?? entry)
    .flatMap((entry) => add(list, entry));
  return problems.length === 0 ? list : problems;
}

function add(list: AddressList, entry: string): string | [] {
  if (entry.toLowerCase() === UNIX) {
    list.addUnix();
    return [];
  }
  const [, address = '', length] = /^([^/]*)(?:\/(.*))?$/s.exec(entry) ?? [];
  const value = parseIPv4(address);
  if (value !== undefined) return withPrefix(entry, length, 32, (prefix) => list.addIPv4(value, prefix));
  const words = address.includes('%') ? undefined : parseIPv6(address);
  if (words === undefined)
    return `'${entry}' is not an IP address, a CIDR, or one of ${[...NAMES.keys(), UNIX].join(', ')}`;
  return withPrefix(entry, length, 128, (prefix) => addWords(list, words, prefix));
}

/** `::ffff:10.0.0.0/104` means an IPv4 network, because mapped addresses are treated as IPv4. */
function addWords(list: AddressList, words: Words, prefix: number): void {
  const isMapped = prefix >= 96 && words[5] === 0xffff && words.slice(0, 5).every((word) => word === 0);
  if (isMapped) list.addIPv4(embeddedIPv4(words)!, prefix - 96);
  else list.addIPv6(words, prefix);
}

function withPrefix(
  entry: string,
  length: string | undefined,
  bits: number,
  use: (prefix: number) => void,
): string | [] {
  const prefix = length === undefined ? bits : /^(?:0|[1-9]\d{0,2})$/.test(length) ? Number(length) : bits + 1;
  if (prefix > bits) return `'${entry}' has no prefix length from 0 to ${bits} after the slash`;
  use(prefix);
  return [];
}

/** Compiles a list of this library, which is valid. */
export const addressList = (...entries: string[]): AddressList => compiled(parseAddressList(entries));

/** Addresses that no client on the internet has: loopback, link-local and private networks. */
export const PRIVATE_ADDRESSES = addressList('loopback', 'linklocal', 'uniquelocal');

/**
 * The addresses that may connect. The denied list takes precedence; without an allowed list all other addresses may
 * connect.
 */
export interface AddressRules {
  readonly allowed?: AddressList;
  readonly denied?: AddressList;
}

export function isAddressAllowed(address: ClientAddress, rules: AddressRules): boolean {
  if (rules.denied?.has(address)) return false;
  return rules.allowed === undefined || rules.allowed.has(address);
}
