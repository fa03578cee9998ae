import { fits, type Rate, spend } from '../net/token-bucket.js';
import type { Claim } from './contract.js';

/**
 * A refusal over all processes: by a rate until its bucket has a token, or because of too many connections for a short
 * time.
 */
export interface SharedRefusal {
  readonly name: string;
  readonly kind: 'rate' | 'room';
  /** Milliseconds of the monotonic clock of this process. */
  readonly until: number;
}

/**
 * Caches refusals over all processes until a retry is useful, so that a flood that was refused once does not reach the
 * store. The cache is bounded; when it is full, the oldest refusal is forgotten.
 */
export class SharedRefusals {
  readonly #refusals = new Map<string, SharedRefusal>();

  constructor(
    /** Milliseconds of a monotonic clock. */
    private readonly now: () => number,
    private readonly max = 10_000,
  ) {}

  get size(): number {
    return this.#refusals.size;
  }

  /** The cached refusal of a name. */
  of(name: string): SharedRefusal | undefined {
    if (this.#refusals.size === 0) return undefined;
    const refusal = this.#refusals.get(name);
    if (refusal === undefined || refusal.until > this.now()) return refusal;
    this.#refusals.delete(name);
    return undefined;
  }

  /** Caches a refusal. Returns false if it was cached already. */
  add(refusal: SharedRefusal): boolean {
    const known = this.of(refusal.name);
    if (known !== undefined && known.until >= refusal.until) return false;
    this.#refusals.delete(refusal.name);
    if (this.#refusals.size >= this.max) this.#refusals.delete(this.#refusals.keys().next().value!);
    this.#refusals.set(refusal.name, refusal);
    return known === undefined;
  }

  /** Removes the refusals of a name, because there is room again. */
  clear(name: string): void {
    if (this.#refusals.get(name)?.kind === 'room') this.#refusals.delete(name);
  }

  /** Removes refusals, because a process has left and its connections no longer count. */
  clearRoom(): void {
    for (const { name, kind } of this.#refusals.values()) if (kind === 'room') this.#refusals.delete(name);
  }
}

/** A claim with the values of this process. */
export interface LocalClaim extends Claim {
  /** Number of connections of this process with this name, including this one. */
  readonly held: number;
}

/** Maximum number of names whose buckets are kept. */
const MOST_BUCKETS = 65_536;

/**
 * `cluster.onFailure: 'share'`: while the store does not answer, each process applies its part of every limit, rounded
 * up.
 */
export class FallbackShare {
  readonly #buckets = new Map<string, number>();

  constructor(
    /** Milliseconds of a monotonic clock. */
    private readonly now: () => number,
  ) {}

  /** The index of the first claim that refuses, or -1. Either all rates are charged or none. */
  judge(claims: readonly LocalClaim[], nodes: number): number {
    const now = this.now();
    const spent: [name: string, full: number][] = [];
    for (const [index, { name, rate }] of claims.entries()) {
      if (rate === undefined) continue;
      const share: Rate = { limit: Math.ceil(rate.limit / nodes), window: rate.window };
      const full = spend(this.#buckets.get(name) ?? 0, now, 1, share);
      if (!fits(full, now, share)) return index;
      spent.push([name, full]);
    }
    for (const [name, full] of spent) this.#keep(name, full, now);
    return claims.findIndex(({ max, held }) => max !== undefined && held > Math.ceil(max / nodes));
  }

  /** Called when the store answers again. */
  clear(): void {
    this.#buckets.clear();
  }

  #keep(name: string, full: number, now: number): void {
    this.#buckets.delete(name);
    if (this.#buckets.size >= MOST_BUCKETS) {
      // Names are in the order of their last use, the oldest first.
      for (const [each, until] of this.#buckets) {
        if (until > now && this.#buckets.size < MOST_BUCKETS) break;
        this.#buckets.delete(each);
      }
    }
    this.#buckets.set(name, full);
  }
}
