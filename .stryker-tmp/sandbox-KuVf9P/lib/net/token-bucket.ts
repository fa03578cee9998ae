/**
 * Token buckets without an object: a bucket is one number, the time at which it will be full again.
 * Whoever has a rate keeps that number in a field (0: full) and writes
 *
 *     const next = spend(this.full, now, 1, rate);
 *     if (!fits(next, now, rate)) refuse();   // the field stays: a refused attempt is free
 *     else this.full = next;
 *
 * Times are milliseconds of one monotonic clock that starts with the process (`performance.now()`): a wall clock
 * jumps, and has too few bits left for the millisecond's fraction that one byte of a fast rate is worth.
 */
// @ts-nocheck

export interface Rate {
  /** Tokens that a full bucket holds: the burst. */
  readonly limit: number;
  /** Milliseconds in which an empty bucket fills. */
  readonly window: number;
}

/** A thousandth of a token, so that rounding does not take the last token of a burst: exact where a token takes 1 ms or more. */
const SLACK = 0.001;

/** The bucket after `cost` tokens were taken, be they there or not: an overdrawn bucket is a debt. */
export const spend = (full: number, now: number, cost: number, rate: Rate): number =>
  (full > now ? full : now) + (cost * rate.window) / rate.limit;

/** Whether a bucket is not overdrawn. */
export const fits = (full: number, now: number, rate: Rate): boolean =>
  full - now <= rate.window + (SLACK * rate.window) / rate.limit;

/** Milliseconds until an overdrawn bucket has paid its debt; 0 where it has none. */
export const debt = (full: number, now: number, rate: Rate): number =>
  fits(full, now, rate) ? 0 : full - now - rate.window;
