/** The delays of `reconnecting`, in milliseconds. */
export interface Backoff {
  readonly backoffInitialDelay: number;
  readonly backoffMinDelay: number;
  readonly backoffFactor: number;
  readonly backoffMaxDelay: number;
}

/** A connection that lived this many milliseconds resets the sequence of delays. */
export const STABLE_AFTER = 10_000;
/** Delays vary by a tenth, so that many clients do not reconnect at the same time. */
const JITTER = 0.1;

/**
 * Milliseconds before the retry number `retry` (0: the first since the last stable connection). The first delay is
 * random from 0 to the initial delay; later ones grow from the minimum by the factor, ±10 %, up to the maximum.
 * `random`: uniform in [0, 1).
 */
export function backoffDelay(retry: number, backoff: Backoff, random: number): number {
  const { backoffInitialDelay, backoffMinDelay, backoffFactor, backoffMaxDelay } = backoff;
  if (retry === 0) return Math.min(random * backoffInitialDelay, backoffMaxDelay);
  const grown = backoffMinDelay * Math.min(backoffFactor ** (retry - 1), Number.MAX_SAFE_INTEGER);
  // At the maximum delay, the jitter must stay below it.
  return Math.min(grown, backoffMaxDelay / (1 + JITTER)) * (1 - JITTER + 2 * JITTER * random);
}

const SECONDS = /^\d{1,10}$/;
/** IMF-fixdate, the only date format that is still generated (RFC 9110, section 5.6.7). */
const DATE = /^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/;

/** Milliseconds that a `Retry-After` header asks for (RFC 9110, section 10.2.3); 0 if it is missing or invalid. */
export function retryAfter(value: string | undefined, now: number): number {
  if (value === undefined) return 0;
  if (SECONDS.test(value)) return Number(value) * 1000;
  const at = DATE.test(value) ? Date.parse(value) : Number.NaN;
  return Number.isNaN(at) ? 0 : Math.max(0, at - now);
}
