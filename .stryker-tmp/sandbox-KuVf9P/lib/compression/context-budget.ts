// @ts-nocheck
import type { CodecSettings } from './settings.js';

const KIB = 1024;

/**
 * What a context of Node's zlib really costs, in bytes: measured as resident memory per stream after one message
 * (`bench/compression/results.md`). zlib's own formula leaves out the stream object, its handle and its output
 * buffer, and the hash table, which Node's build makes 64 KiB large whatever the memory level below 9.
 */
export const STREAM_COST = 24 * KIB;
export const HASH_TABLE_COST = 64 * KIB;

/** Bytes of one compressing context: stream, hash table, window and chains (4 · 2^bits), pending output. */
export function deflateContextCost({ windowBits, memLevel }: Omit<CodecSettings, 'level'>): number {
  const hashTable = memLevel === 9 ? 2 * HASH_TABLE_COST : HASH_TABLE_COST;
  return STREAM_COST + hashTable + 4 * 2 ** windowBits + 4 * 2 ** (memLevel + 6);
}

/** Bytes of one inflating context: stream and window. */
export const inflateContextCost = (windowBits: number): number => STREAM_COST + 2 ** windowBits;

/** The memory that all contexts of an application may take together. */
export class ContextBudget {
  #used = 0;

  /** `bytes`: `compression.budget`. */
  constructor(readonly bytes: number) {}

  /** Bytes reserved. */
  get used(): number {
    return this.#used;
  }

  fits(cost: number): boolean {
    return this.#used + cost <= this.bytes;
  }

  /** Takes `cost` bytes, whether they fit or not; what is returned gives them back, once. */
  take(cost: number): () => void {
    this.#used += cost;
    let taken = cost;
    return () => {
      this.#used -= taken;
      taken = 0;
    };
  }
}
