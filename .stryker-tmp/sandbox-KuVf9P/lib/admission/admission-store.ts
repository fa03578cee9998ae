// @ts-nocheck
import { type Refusal, retryLater } from '../http/refusal.js';
import { debt, fits, type Rate, spend } from '../net/token-bucket.js';
import { type AddressEntry, SITE_FACTOR } from './address-table.js';

export type Awaitable<T> = T | Promise<T>;

/** Whether a value must be waited for, whoever made its promise. */
export const isThenable = (value: unknown): value is PromiseLike<unknown> =>
  typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function';

/**
 * What admission must remember from one attempt to the next. A store shared by several processes answers with
 * promises, the one in memory at once. `address.key` and `address.site?.key` name what is counted;
 * `address.isExempt` (a trusted proxy) is counted and never refused.
 */
export interface AdmissionStore {
  /**
   * Charges one attempt to an address and its /48, or to neither.
   * Answers 0 when it was charged, else the milliseconds until one more would be.
   */
  chargeAttempt(address: AddressEntry): Awaitable<number>;

  /** Takes one of `max` connection slots of an address, and one of eight times as many of its /48; or none. */
  takeSlot(address: AddressEntry, max: number): Awaitable<boolean>;

  /** Gives back what one `takeSlot` took. */
  returnSlot(address: AddressEntry): void;
}

/** The store of one process: the numbers are in the address entries themselves. */
export class MemoryStore implements AdmissionStore {
  constructor(
    private readonly rate: Rate,
    /** Milliseconds of the clock that the entries' table uses too. */
    private readonly now: () => number,
  ) {}

  chargeAttempt(address: AddressEntry): number {
    if (address.isExempt) return 0;
    const now = this.now();
    const { site } = address;
    const next = spend(address.attempts, now, 1, this.rate);
    const siteNext = site === undefined ? 0 : spend(site.attempts, now, 1 / SITE_FACTOR, this.rate);
    if (!fits(next, now, this.rate) || !fits(siteNext, now, this.rate)) {
      return Math.max(debt(next, now, this.rate), debt(siteNext, now, this.rate));
    }
    address.attempts = next;
    if (site !== undefined) site.attempts = siteNext;
    return 0;
  }

  takeSlot(address: AddressEntry, max: number): boolean {
    if (address.isFull(max)) return false;
    address.connections++;
    if (address.site !== undefined) address.site.connections++;
    return true;
  }

  returnSlot(address: AddressEntry): void {
    address.connections--;
    if (address.site !== undefined) address.site.connections--;
  }
}

/** One day: a bucket that never fills must not say so in twenty digits. */
const LONGEST_WAIT = 86_400;

/** Charges one attempt; the refusal says when the next one is free. */
export function chargeAttempt(store: AdmissionStore, entry: AddressEntry): Awaitable<Refusal | undefined> {
  const wait = store.chargeAttempt(entry);
  return typeof wait === 'number' ? refusalAfter(wait) : wait.then(refusalAfter);
}

const refusalAfter = (wait: number): Refusal | undefined =>
  wait <= 0 ? undefined : retryLater('connection-rate', 429, Math.min(wait / 1000, LONGEST_WAIT));
