import type { ClientAddress } from '../admission/address.js';
import { AddressEntry } from './address-entry.js';
import { SharedEntries } from './shared-entries.js';

export interface AddressTableOptions {
  /** Addresses without a connection that are remembered for their rates. Default 65 536. */
  readonly maxIdle?: number;
  /** Milliseconds of a monotonic clock. */
  readonly now: () => number;
}

export const DEFAULT_MAX_IDLE = 65_536;
/** Idle entries that are looked at whenever one becomes idle: more than come, so that the table shrinks by itself. */
const SWEEP_ON_IDLE = 2;
/** … and when the table is full and an unknown address asks for a place. */
const SWEEP_ON_FULL = 16;

/**
 * The addresses that are known: all with a live connection, and a bounded number of idle ones whose buckets are not
 * full yet. No timer: an idle entry is dropped when the sweep that others cause finds its buckets full.
 * When the table is full, an unknown address shares the bucket of its /24 or /48 until there is room.
 */
export class AddressTable {
  readonly #live = new Map<string, AddressEntry>();
  readonly #idle = new Map<string, AddressEntry>();
  /** Where the sweep goes on. Kept, since an iterator made anew walks over all that was deleted before it. */
  #hand = this.#idle.values();
  readonly #shared = new SharedEntries();
  readonly #maxIdle: number;
  readonly #now: () => number;

  constructor(options: AddressTableOptions) {
    this.#maxIdle = options.maxIdle ?? DEFAULT_MAX_IDLE;
    this.#now = options.now;
  }

  /** Entries held now: addresses, their /48 tiers, shared buckets. At most `maxIdle` beyond what is live, twice that with their tiers. */
  get size(): number {
    return this.#live.size + this.#idle.size + this.#shared.size;
  }

  /** The entry of an address that has connections; nobody holds it by that. */
  live(address: ClientAddress): AddressEntry | undefined {
    return this.#live.get(address.key);
  }

  /** The entry of an address, held until it is released. `isExempt` marks a trusted proxy. */
  acquire(address: ClientAddress, isExempt = false): AddressEntry {
    // By itself, lest strangers in a trusted proxy's IPv6 prefix share its exemption.
    const key = isExempt ? `=${address.text}` : address.key;
    const entry = this.#live.get(key) ?? this.#wake(key) ?? this.#admit(key, address, isExempt);
    entry.refs++;
    return entry;
  }

  /** Gives up one hold: exactly once for each `acquire`. */
  release(entry: AddressEntry): void {
    this.#letGo(entry);
    this.sweep(SWEEP_ON_IDLE);
  }

  /** Looks at up to `count` idle entries, each in its turn, and drops those whose buckets are full again. */
  sweep(count: number): void {
    for (let left = Math.min(count, this.#idle.size); left > 0; left--) {
      const entry = this.#nextIdle();
      if (entry !== undefined && this.#isForgettable(entry)) this.#forget(entry);
    }
  }

  #nextIdle(): AddressEntry | undefined {
    const step = this.#hand.next();
    if (!step.done) return step.value;
    this.#hand = this.#idle.values();
    return this.#hand.next().value;
  }

  #wake(key: string): AddressEntry | undefined {
    const entry = this.#idle.get(key);
    if (entry === undefined) return undefined;
    this.#idle.delete(key);
    this.#live.set(key, entry);
    return entry;
  }

  #admit(key: string, address: ClientAddress, isExempt: boolean): AddressEntry {
    if (!isExempt && !this.#hasRoom()) return this.#shared.of(address.network);
    const entry = new AddressEntry(key, isExempt ? undefined : this.#site(address), isExempt);
    this.#live.set(key, entry);
    return entry;
  }

  #site(address: ClientAddress): AddressEntry | undefined {
    const key = address.site;
    if (key === undefined) return undefined;
    const site = this.#live.get(key) ?? this.#wake(key) ?? new AddressEntry(key);
    this.#live.set(key, site);
    site.refs++;
    return site;
  }

  #hasRoom(): boolean {
    if (this.#idle.size < this.#maxIdle) return true;
    this.sweep(SWEEP_ON_FULL);
    return this.#idle.size < this.#maxIdle;
  }

  #letGo(entry: AddressEntry): void {
    // Shared buckets are in neither map: they stay.
    if (--entry.refs > 0 || this.#live.get(entry.key) !== entry) return;
    this.#live.delete(entry.key);
    if (this.#isForgettable(entry)) this.#forget(entry);
    else this.#idle.set(entry.key, entry);
  }

  /** Its buckets are full: a new entry would say the same. */
  #isForgettable(entry: AddressEntry): boolean {
    const now = this.#now();
    return entry.attempts <= now && entry.bytes <= now;
  }

  /** An entry holds its /48 for as long as it is remembered. */
  #forget(entry: AddressEntry): void {
    this.#idle.delete(entry.key);
    if (entry.site !== undefined) this.#letGo(entry.site);
  }
}
