import { randomInt } from 'node:crypto';
import type { ClientAddress } from '../net/address.js';
import { Ring, type RingMember } from '../net/ring.js';

/** A /48 may use this many times the limits of one IPv6 prefix. */
export const SITE_FACTOR = 8;

/**
 * The state of one address (an IPv6 prefix is one address), to which all its connections refer. The counts are exact:
 * whoever increments one must decrement it.
 */
export class AddressEntry implements RingMember<AddressEntry> {
  /** Live connections: reserved or open. */
  connections = 0;
  /** Connections between accept and the 101. */
  pending = 0;
  /** These connections, if there are any. */
  pendingQueue: object | undefined = undefined;
  /** Bytes held for its open connections: incomplete and waiting messages, unsent bytes. */
  heldBytes = 0;
  /** Bucket of `connections.rate` (see token-bucket.ts). */
  attempts = 0;
  /** Bucket of `messages.byteRatePerIp`. */
  bytes = 0;
  /** Number of references to this entry. At 0 it can be removed as soon as its buckets are full. */
  refs = 0;
  /** Links in the ring of idle entries. */
  next: AddressEntry = this;
  previous: AddressEntry = this;

  constructor(
    readonly key: string,
    /** The entry of the /48 around an IPv6 prefix, whose limits are eight times as high. */
    readonly site: AddressEntry | undefined = undefined,
    /** A trusted proxy: it is counted, but no limit per address applies. */
    readonly isExempt: boolean = false,
  ) {}

  /** Takes one of `max` connection slots, and one of eight times as many of the /48; or neither. */
  takeSlot(max: number): boolean {
    if (this.isFull(max)) return false;
    this.connections++;
    if (this.site !== undefined) this.site.connections++;
    return true;
  }

  /** Releases the slots of one `takeSlot`. */
  returnSlot(): void {
    this.connections--;
    if (this.site !== undefined) this.site.connections--;
  }

  /** Whether the address, or the /48 around it, has the maximum number of connections. */
  isFull(max: number): boolean {
    if (this.isExempt) return false;
    return this.connections >= max || (this.site !== undefined && this.site.connections >= max * SITE_FACTOR);
  }
}

/** A power of two. */
const BUCKETS = 4096;

/**
 * A fixed number of entries that networks share by hash, used when there is no room for entries of single addresses:
 * coarse, but every attempt is counted. The random seed prevents an attacker from choosing which networks share an
 * entry.
 */
export class SharedEntries {
  readonly #entries = new Map<number, AddressEntry>();
  readonly #seed = randomInt(2 ** 31);

  get size(): number {
    return this.#entries.size;
  }

  of(network: string): AddressEntry {
    const index = this.#hash(network) & (BUCKETS - 1);
    let entry = this.#entries.get(index);
    if (entry === undefined) this.#entries.set(index, (entry = new AddressEntry(network)));
    return entry;
  }

  /** FNV-1a, with its high bits folded into the low ones that are used. */
  #hash(text: string): number {
    let hash = this.#seed;
    for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
    return hash ^ (hash >>> 15);
  }
}

export interface AddressTableOptions {
  /** Maximum number of idle addresses that are kept for their rates. Default: 65 536. */
  readonly maxIdle?: number;
  /** Milliseconds of a monotonic clock. */
  readonly now: () => number;
}

export const DEFAULT_MAX_IDLE = 65_536;
/** Number of idle entries that are checked whenever one becomes idle: more than one, so that the table shrinks. */
const SWEEP_ON_IDLE = 2;
/** The same when the table is full and an unknown address needs an entry. */
const SWEEP_ON_FULL = 16;

/**
 * The known addresses: all with a live connection, and a bounded number of idle ones whose buckets are not full yet.
 * There is no timer: an idle entry is removed when a sweep, which other addresses cause, finds its buckets full. When
 * the table is full, an unknown address shares the entry of its /24 or /48 until there is room.
 */
export class AddressTable {
  readonly #entries = new Map<string, AddressEntry>();
  /** Entries without references; the sweep continues with the first. */
  readonly #idle = new Ring<AddressEntry>();
  #idleCount = 0;
  readonly #shared = new SharedEntries();
  readonly #maxIdle: number;
  readonly #now: () => number;

  constructor(options: AddressTableOptions) {
    this.#maxIdle = options.maxIdle ?? DEFAULT_MAX_IDLE;
    this.#now = options.now;
  }

  /** Number of entries: addresses, their /48s, and shared entries. */
  get size(): number {
    return this.#entries.size + this.#shared.size;
  }

  /** The entry of an address that has connections, without acquiring it. */
  findLive(address: ClientAddress): AddressEntry | undefined {
    const entry = this.#entries.get(address.key);
    return entry !== undefined && entry.refs > 0 ? entry : undefined;
  }

  /** Acquires the entry of an address, until it is released. `isExempt` marks a trusted proxy. */
  acquire(address: ClientAddress, isExempt = false): AddressEntry {
    // Exempt entries are separate, so that other addresses in a trusted proxy's IPv6 prefix are not exempt.
    const key = isExempt ? `=${address.text}` : address.key;
    const entry = this.#known(key) ?? this.#admit(key, address, isExempt);
    entry.refs++;
    return entry;
  }

  /** Acquires an entry once more; the returned function releases it. */
  hold(entry: AddressEntry): () => void {
    entry.refs++;
    return () => this.release(entry);
  }

  /** Releases an entry: must be called exactly once for each `acquire`. */
  release(entry: AddressEntry): void {
    const now = this.#now();
    this.#unref(entry, now);
    this.#sweep(SWEEP_ON_IDLE, now);
  }

  /** Checks up to `count` idle entries in turn, and removes those whose buckets are full again. */
  sweep(count: number): void {
    this.#sweep(count, this.#now());
  }

  #sweep(count: number, now: number): void {
    for (let left = Math.min(count, this.#idleCount); left > 0; left--) {
      const entry = this.#idle.first;
      if (entry === undefined) return;
      this.#idle.first = entry.next;
      if (isForgettable(entry, now)) {
        this.#leaveIdle(entry);
        this.#forget(entry, now);
      }
    }
  }

  #known(key: string): AddressEntry | undefined {
    const entry = this.#entries.get(key);
    if (entry?.refs === 0) this.#leaveIdle(entry);
    return entry;
  }

  #leaveIdle(entry: AddressEntry): void {
    this.#idle.remove(entry);
    this.#idleCount--;
  }

  #admit(key: string, address: ClientAddress, isExempt: boolean): AddressEntry {
    // protection: addresses that are remembered are bounded
    if (!isExempt && !this.#hasRoom()) return this.#shared.of(address.network);
    // end protection
    const entry = new AddressEntry(key, isExempt ? undefined : this.#site(address), isExempt);
    this.#entries.set(key, entry);
    return entry;
  }

  #site(address: ClientAddress): AddressEntry | undefined {
    const key = address.site;
    if (key === undefined) return undefined;
    let site = this.#known(key);
    if (site === undefined) this.#entries.set(key, (site = new AddressEntry(key)));
    site.refs++;
    return site;
  }

  #hasRoom(): boolean {
    if (this.#idleCount < this.#maxIdle) return true;
    this.sweep(SWEEP_ON_FULL);
    return this.#idleCount < this.#maxIdle;
  }

  #unref(entry: AddressEntry, now: number): void {
    // Shared entries are not in the ring and are never removed.
    if (--entry.refs > 0 || this.#entries.get(entry.key) !== entry) return;
    if (isForgettable(entry, now)) return this.#forget(entry, now);
    this.#idle.add(entry);
    this.#idleCount++;
  }

  /** An entry keeps the entry of its /48. */
  #forget(entry: AddressEntry, now: number): void {
    this.#entries.delete(entry.key);
    if (entry.site !== undefined) this.#unref(entry.site, now);
  }
}

/** Whether the buckets are full, so that a new entry would be equal. */
const isForgettable = (entry: AddressEntry, now: number): boolean => entry.attempts <= now && entry.bytes <= now;
