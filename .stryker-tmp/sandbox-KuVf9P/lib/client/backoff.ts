/** How `reconnecting` waits; milliseconds. */
// @ts-nocheck

export interface Backoff {
  readonly backoffInitialDelay: number;
  readonly backoffMinDelay: number;
  readonly backoffFactor: number;
  readonly backoffMaxDelay: number;
}

/** A connection that lived this long, in milliseconds, starts the sequence of delays anew. */
export const STABLE_AFTER = 10_000;
/** Delays vary by a tenth, so that many clients do not come back together. */
const JITTER = 0.1;

/**
 * Milliseconds before the retry number `retry` (0: the first since the last stable connection). The first is random
 * between 0 and the initial delay; those after it grow from the least by the factor, ±10 %, and are never above the
 * greatest. `random`: uniform in [0, 1).
 */
export function backoffDelay(retry: number, backoff: Backoff, random: number): number {
  const { backoffInitialDelay, backoffMinDelay, backoffFactor, backoffMaxDelay } = backoff;
  if (retry === 0) return Math.min(random * backoffInitialDelay, backoffMaxDelay);
  const grown = backoffMinDelay * Math.min(backoffFactor ** (retry - 1), Number.MAX_SAFE_INTEGER);
  // Where it has grown to the greatest delay, the jitter must still have room below it.
  return Math.min(grown, backoffMaxDelay / (1 + JITTER)) * (1 - JITTER + 2 * JITTER * random);
}

const SECONDS = /^\d{1,10}$/;
/** IMF-fixdate, the one form that is still sent (RFC 9110, section 5.6.7). */
const DATE = /^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/;

/** Milliseconds that a `Retry-After` asks for (RFC 9110, section 10.2.3); 0 where it is missing or not understood. */
export function retryAfter(value: string | undefined, now: number): number {
  if (value === undefined) return 0;
  if (SECONDS.test(value)) return Number(value) * 1000;
  const at = DATE.test(value) ? Date.parse(value) : Number.NaN;
  return Number.isNaN(at) ? 0 : Math.max(0, at - now);
}
