import type { Refusal } from '../../errors/refusals.js';
import { CAPACITY_REFUSALS } from './capacity.js';

/** `connections.maxPerUser` and `.onUserLimit`. */
export interface UserLimit {
  readonly max: number;
  readonly onLimit: 'refuse' | 'closeOldest';
}

/**
 * Connections by user, in the order in which they came. `T` is whatever stands for a connection: it is its own
 * receipt, so a connection keeps nothing more than its key. Most users have one connection: only more cost a set.
 */
export class UserSlots<T extends object> {
  readonly #users = new Map<string, T | Set<T>>();

  /** Users with at least one connection. */
  get size(): number {
    return this.#users.size;
  }

  count(key: string): number {
    const holders = this.#users.get(key);
    return holders instanceof Set ? holders.size : holders === undefined ? 0 : 1;
  }

  /** The connections of a user, oldest first: a copy, so that they can be closed one after the other. */
  of(key: string): T[] {
    const holders = this.#users.get(key);
    return holders instanceof Set ? [...holders] : holders === undefined ? [] : [holders];
  }

  /**
   * Adds a connection of a user. Answers a refusal where the limit refuses it, or the connections that must be
   * closed for it, oldest first: they hold no slot any more.
   */
  take(key: string, holder: T, limit?: UserLimit): Refusal | readonly T[] {
    const excess = limit === undefined ? 0 : this.count(key) + 1 - limit.max;
    if (excess <= 0) {
      this.#add(key, holder);
      return NOBODY;
    }
    if (limit!.onLimit === 'refuse' || limit!.max < 1) return CAPACITY_REFUSALS.user;
    const oldest = this.of(key).slice(0, excess);
    for (const each of oldest) this.release(key, each);
    this.#add(key, holder);
    return oldest;
  }

  /** Idempotent. */
  release(key: string, holder: T): void {
    const holders = this.#users.get(key);
    if (holders === holder) this.#users.delete(key);
    if (!(holders instanceof Set)) return;
    holders.delete(holder);
    if (holders.size === 0) this.#users.delete(key);
  }

  #add(key: string, holder: T): void {
    const holders = this.#users.get(key);
    if (holders instanceof Set) holders.add(holder);
    else this.#users.set(key, holders === undefined || holders === holder ? holder : new Set([holders, holder]));
  }
}

const NOBODY: readonly never[] = Object.freeze([]);
