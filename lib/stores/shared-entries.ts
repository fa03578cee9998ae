import { randomInt } from 'node:crypto';
import { AddressEntry } from './address-entry.js';

/** A power of two. */
const BUCKETS = 4096;

/**
 * A fixed number of entries that networks share by hash, for when there is no room to remember single addresses:
 * coarse, but nobody gets through uncounted. The seed keeps an attacker from choosing with whom to share.
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
