import { type Refusal, retryLater } from '../http/refusal.js';
import { debt, fits, type Rate, spend } from '../net/token-bucket.js';
import { type AddressEntry, SITE_FACTOR } from './address-table.js';

/** One day in milliseconds: the maximum `Retry-After` of a bucket that never fills. */
const LONGEST_WAIT = 86_400;

/**
 * `connections.rate`: how many attempts an address may make in this process. The buckets are numbers in the address
 * entries. The rate over all processes is checked afterwards (`cluster/shared-admission.ts`).
 */
export class AttemptRate {
  constructor(
    private readonly rate: Rate,
    /** Milliseconds of the clock that the table of entries uses, too. */
    private readonly now: () => number,
  ) {}

  /**
   * Charges one attempt to an address and its /48, or to neither. Returns 0 if it was charged, else the milliseconds
   * until the next one is possible. A trusted proxy is never refused.
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

  /** Charges one attempt; the refusal contains the time until the next one is possible. */
  refusal(address: AddressEntry): Refusal | undefined {
    const wait = this.charge(address);
    return wait <= 0 ? undefined : rateRefusal(wait);
  }
}

/** A 429; `wait` is in milliseconds. */
export const rateRefusal = (wait: number): Refusal =>
  retryLater('connection-rate', 429, Math.min(wait / 1000, LONGEST_WAIT));
