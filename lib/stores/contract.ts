import type { AddressEntry } from './address-entry.js';
import type { Awaitable } from './awaitable.js';

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
