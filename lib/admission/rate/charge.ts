import { type Refusal, retryLater } from '../../errors/refusals.js';
import type { AddressEntry } from '../../stores/address-entry.js';
import type { Awaitable } from '../../stores/awaitable.js';
import type { AdmissionStore } from '../../stores/contract.js';

/** One day: a bucket that never fills must not say so in twenty digits. */
const LONGEST_WAIT = 86_400;

/** Charges one attempt; the refusal says when the next one is free. */
export function chargeAttempt(store: AdmissionStore, entry: AddressEntry): Awaitable<Refusal | undefined> {
  const wait = store.chargeAttempt(entry);
  return typeof wait === 'number' ? refusalAfter(wait) : wait.then(refusalAfter);
}

const refusalAfter = (wait: number): Refusal | undefined =>
  wait <= 0 ? undefined : retryLater('connection-rate', 429, Math.min(wait / 1000, LONGEST_WAIT));
