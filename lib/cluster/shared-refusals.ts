import { fits, type Rate, spend } from '../net/token-bucket.js';
import type { Claim } from './contract.js';

/** A refusal that all processes share: of a rate until its bucket has room, or of connections for a while. */
export interface SharedRefusal {
  readonly name: string;
  readonly kind: 'rate' | 'room';
  /** Milliseconds of the clock that processes share. */
  readonly until: number;
}

/**
 * What was refused for all processes, remembered until it is worth asking again: a flood that was refused once never
 * reaches the store. Bounded; past it the oldest is forgotten, and asked again.
 */
export class SharedRefusals {
  readonly #refusals = new Map<string, SharedRefusal>();

  constructor(
    private readonly now: () => number,
    private readonly max = 10_000,
  ) {}

  get size(): number {
    return this.#refusals.size;
  }

  /** The refusal of a name that holds still. */
  of(name: string): SharedRefusal | undefined {
    if (this.#refusals.size === 0) return undefined;
    const refusal = this.#refusals.get(name);
    if (refusal === undefined || refusal.until > this.now()) return refusal;
    this.#refusals.delete(name);
    return undefined;
  }

  /** False where it was known already. */
  add(refusal: SharedRefusal): boolean {
    const known = this.of(refusal.name);
    if (known !== undefined && known.until >= refusal.until) return false;
    this.#refusals.delete(refusal.name);
    if (this.#refusals.size >= this.max) this.#refusals.delete(this.#refusals.keys().next().value!);
    this.#refusals.set(refusal.name, refusal);
    return known === undefined;
  }

  /** There is room under a name again. */
  clear(name: string): void {
    if (this.#refusals.get(name)?.kind === 'room') this.#refusals.delete(name);
  }

  /** A process has gone, and with it what it held. */
  clearRoom(): void {
    for (const { name, kind } of this.#refusals.values()) if (kind === 'room') this.#refusals.delete(name);
  }
}

/** A claim as this process sees it by itself. */
export interface LocalClaim extends Claim {
  /** Connections that this process holds under the name, this one included. */
  readonly held: number;
}

/** Names whose buckets are remembered. */
const MOST_BUCKETS = 65_536;

/** `cluster.onFailure: 'share'`: while nobody can be asked, each process takes its part of every limit, rounded up. */
export class FallbackShare {
  readonly #buckets = new Map<string, number>();

  constructor(
    /** Milliseconds of a monotonic clock. */
    private readonly now: () => number,
  ) {}

  /** The first claim that refuses, or -1. Rates are charged all or none. */
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

  /** Somebody can be asked again. */
  clear(): void {
    this.#buckets.clear();
  }

  #keep(name: string, full: number, now: number): void {
    this.#buckets.delete(name);
    if (this.#buckets.size >= MOST_BUCKETS) {
      // Those that were used least lately come first.
      for (const [each, until] of this.#buckets) {
        if (until > now && this.#buckets.size < MOST_BUCKETS) break;
        this.#buckets.delete(each);
      }
    }
    this.#buckets.set(name, full);
  }
}
