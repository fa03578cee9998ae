/**
 * Token buckets without an object: a bucket is one number, the time at which it will be full again. The owner of a rate
 * stores that number in a field (0: full) and writes
 *
 *     const next = spend(this.full, now, 1, rate);
 *     if (!fits(next, now, rate)) refuse();   // the field stays: a refused attempt is free
 *     else this.full = next;
 *
 * Times are milliseconds of one monotonic clock that starts with the process (`performance.now()`). A wall clock jumps, and
 * its large numbers leave too few bits for the fraction of a millisecond that one byte of a fast rate takes.
 */
export interface Rate {
  /** Number of tokens of a full bucket: the burst. */
  readonly limit: number;
  /** Milliseconds in which an empty bucket is refilled. */
  readonly window: number;
}

/**
 * A thousandth of a token, so that rounding does not take the last token of a burst; exact if a token takes 1 ms or
 * more.
 */
const SLACK = 0.001;

/** The state after `cost` tokens were taken, even if there were fewer: an overdrawn bucket has a debt. */
export const spend = (full: number, now: number, cost: number, rate: Rate): number =>
  (full > now ? full : now) + (cost * rate.window) / rate.limit;

/** Whether a bucket is not overdrawn. */
export const fits = (full: number, now: number, rate: Rate): boolean =>
  full - now <= rate.window + (SLACK * rate.window) / rate.limit;

/** Milliseconds until an overdrawn bucket is refilled to zero; 0 if it is not overdrawn. */
export const debt = (full: number, now: number, rate: Rate): number =>
  fits(full, now, rate) ? 0 : full - now - rate.window;
