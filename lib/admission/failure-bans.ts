import type { ClientAddress } from '../net/address.js';
import { fits, type Rate, spend } from '../net/token-bucket.js';
import { SITE_FACTOR } from './address-table.js';
import type { BanTarget } from './bans.js';

/** The longest ban, however often an address comes back. */
const LONGEST = 24 * 3_600_000;
const REASON = 'too many refusals by guards';

interface Failures {
  /** Bucket of `bans.failures` (see token-bucket.ts). */
  full: number;
  /** Bans so far. */
  bans: number;
  /** When the last of them ends; a day later it is forgotten. */
  until: number;
}

export interface FailureBansOptions {
  /** `bans.failures`; `null`: nobody is banned. */
  readonly rate: Rate | null | undefined;
  /** `bans.time`, in milliseconds: of the first ban. Each further one is twice as long, up to a day. */
  readonly time: number;
  /** Addresses that are remembered: past it those are forgotten that have failed least recently. */
  readonly max: number;
  /** Milliseconds of a monotonic clock. */
  readonly now: () => number;
  readonly ban: (target: BanTarget, options: { readonly for: number; readonly reason: string }) => void;
}

/**
 * Bans addresses whose attempts guards refuse with 401 or 403 again and again, and the /48 around an IPv6 prefix after
 * eight times as many. What is remembered is bounded, and nothing is remembered of who has not failed.
 */
export class FailureBans {
  /** By address, or /48, the least recent first. */
  private readonly failures = new Map<string, Failures>();

  constructor(private readonly options: FailureBansOptions) {}

  get size(): number {
    return this.failures.size;
  }

  /** A guard has refused an attempt of this address, which is no trusted proxy's. */
  failed(address: ClientAddress): void {
    const { rate } = this.options;
    // The peers of a Unix domain socket, and those that have left, have no address that could be banned.
    if (rate === null || rate === undefined || address.text === '') return;
    if (this.charge(address.key, 1, rate)) this.ban(address.key, { address: address.text });
    const { site } = address;
    // protection: the /48 around failing prefixes is banned
    if (site !== undefined && this.charge(site, 1 / SITE_FACTOR, rate)) this.ban(site, { cidr: `${address.text}/48` });
    // end protection
  }

  /** True where it was the last that the bucket allows. */
  private charge(key: string, cost: number, rate: Rate): boolean {
    const now = this.options.now();
    const entry = this.failures.get(key) ?? { full: 0, bans: 0, until: Number.NEGATIVE_INFINITY };
    if (now - entry.until > LONGEST) entry.bans = 0;
    entry.full = spend(entry.full, now, cost, rate);
    this.failures.delete(key);
    this.failures.set(key, entry);
    // protection: failures that are remembered are bounded
    this.dropOldest(now);
    // end protection
    return !fits(spend(entry.full, now, cost, rate), now, rate);
  }

  private ban(key: string, target: BanTarget): void {
    const { now, ban, time } = this.options;
    const entry = this.failures.get(key);
    if (entry === undefined) return;
    const length = Math.min(time * 2 ** Math.min(entry.bans, 32), Math.max(time, LONGEST));
    entry.bans++;
    entry.full = 0;
    entry.until = now() + length;
    ban(target, { for: length, reason: REASON });
  }

  /** Those that say nothing any more, and what is too many. */
  private dropOldest(now: number): void {
    for (const [key, { full, until }] of this.failures) {
      if (this.failures.size <= this.options.max && (full > now || now - until <= LONGEST)) return;
      this.failures.delete(key);
    }
  }
}
