import type { ClientAddress } from '../net/address.js';
import { fits, type Rate, spend } from '../net/token-bucket.js';
import { SITE_FACTOR } from './address-table.js';
import type { BanTarget } from './bans.js';

/** Maximum duration of a ban, however often an address is banned. */
const LONGEST = 24 * 3_600_000;
const REASON = 'too many refusals by guards';

interface Failures {
  /** Bucket of `bans.failures` (see token-bucket.ts). */
  full: number;
  /** Number of bans so far. */
  bans: number;
  /** When the last ban ends; a day later the entry is removed. */
  until: number;
}

export interface FailureBansOptions {
  /** `bans.failures`; `null`: no bans. */
  readonly rate: Rate | null | undefined;
  /** `bans.time` in milliseconds, for the first ban. Each further ban takes twice as long, up to a day. */
  readonly time: number;
  /** Maximum number of addresses; when full, the one that failed least recently is removed. */
  readonly max: number;
  /** Milliseconds of a monotonic clock. */
  readonly now: () => number;
  readonly ban: (target: BanTarget, options: { readonly for: number; readonly reason: string }) => void;
}

/**
 * Bans addresses whose attempts guards repeatedly refuse with 401 or 403, and the /48 around an IPv6 prefix after eight
 * times as many refusals. The number of entries is bounded, and only addresses with failures have one.
 */
export class FailureBans {
  /** By address, or /48, the least recent first. */
  private readonly failures = new Map<string, Failures>();

  constructor(private readonly options: FailureBansOptions) {}

  get size(): number {
    return this.failures.size;
  }

  /** Counts a refusal by a guard for this address, which is not a trusted proxy. */
  failed(address: ClientAddress): void {
    const { rate } = this.options;
    // Peers of a Unix domain socket, and peers that have left, have no address.
    if (rate === null || rate === undefined || address.text === '') return;
    if (this.charge(address.key, 1, rate)) this.ban(address.key, { address: address.text });
    const { site } = address;
    // protection: the /48 around failing prefixes is banned
    if (site !== undefined && this.charge(site, 1 / SITE_FACTOR, rate)) this.ban(site, { cidr: `${address.text}/48` });
    // end protection
  }

  /** Charges a failure. Returns true if the limit is reached. */
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

  /** Removes entries that have no effect any more, and the oldest ones if there are too many. */
  private dropOldest(now: number): void {
    for (const [key, { full, until }] of this.failures) {
      if (this.failures.size <= this.options.max && (full > now || now - until <= LONGEST)) return;
      this.failures.delete(key);
    }
  }
}
