import { type AddressEntry, SITE_FACTOR } from '../admission/address-table.js';
import { debt, fits, spend } from '../net/token-bucket.js';
import type { Limits } from './limits.js';

/** A fragment costs a sixteenth of a message. */
const FRAGMENT = 1 / 16;

/**
 * The rates of one connection, stored as numbers only (see token-bucket.ts). Each method returns whether the rate is
 * kept.
 */
export class Rates {
  private messages = 0;
  private control = 0;
  private strikes = 0;
  private bytes = 0;

  message(now: number, { rate }: Limits): boolean {
    this.messages = spend(this.messages, now, 1, rate);
    return fits(this.messages, now, rate);
  }

  fragment(now: number, { rate }: Limits): boolean {
    this.messages = spend(this.messages, now, FRAGMENT, rate);
    return fits(this.messages, now, rate);
  }

  controlFrame(now: number, { controlRate }: Limits): boolean {
    this.control = spend(this.control, now, 1, controlRate);
    return fits(this.control, now, controlRate);
  }

  strike(now: number, { strikes }: Limits): boolean {
    this.strikes = spend(this.strikes, now, 1, strikes);
    return fits(this.strikes, now, strikes);
  }

  /**
   * Charges bytes to the connection, its address and the /48 around it. Returns for how many milliseconds reading must
   * pause.
   */
  pauseFor(size: number, now: number, account: AddressEntry | undefined, limits: Limits): number {
    this.bytes = spend(this.bytes, now, size, limits.byteRate);
    const own = debt(this.bytes, now, limits.byteRate);
    if (account === undefined) return own;
    const { byteRatePerIp } = limits;
    // protection: the rate of bytes holds for an address
    account.bytes = spend(account.bytes, now, size, byteRatePerIp);
    // end protection
    const shared = Math.max(own, debt(account.bytes, now, byteRatePerIp));
    const { site } = account;
    if (site === undefined) return shared;
    // protection: the rate of bytes holds for a /48
    site.bytes = spend(site.bytes, now, size / SITE_FACTOR, byteRatePerIp);
    // end protection
    return Math.max(shared, debt(site.bytes, now, byteRatePerIp));
  }
}
