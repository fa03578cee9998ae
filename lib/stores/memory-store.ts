import { type AddressEntry, SITE_FACTOR } from './address-entry.js';
import type { AdmissionStore } from './contract.js';
import { debt, fits, type Rate, spend } from './token-bucket.js';

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
