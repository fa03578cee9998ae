import { type Refusal, retryLater } from '../http/refusal.js';
import { debt, fits, type Rate, spend } from '../net/token-bucket.js';
import { type AddressEntry, SITE_FACTOR } from './address-table.js';

/** One day: a bucket that never fills must not say so in twenty digits. */
const LONGEST_WAIT = 86_400;

/**
 * `connections.rate`: how many attempts an address may make in this process. The buckets are numbers in the address
 * entries. What processes share is asked afterwards (`cluster/shared-admission.ts`).
 */
export class AttemptRate {
  constructor(
    private readonly rate: Rate,
    /** Milliseconds of the clock that the entries' table uses too. */
    private readonly now: () => number,
  ) {}

  /**
   * Charges one attempt to an address and its /48, or to neither. Answers 0 when it was charged, else the milliseconds
   * until one more would be. A trusted proxy is never refused.
   */
  charge(address: AddressEntry): number {
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

  /** Charges one attempt; the refusal says when the next one is free. */
  refusal(address: AddressEntry): Refusal | undefined {
    const wait = this.charge(address);
    return wait <= 0 ? undefined : rateRefusal(wait);
  }
}

/** 429; `wait` is in milliseconds. */
export const rateRefusal = (wait: number): Refusal =>
  retryLater('connection-rate', 429, Math.min(wait / 1000, LONGEST_WAIT));
