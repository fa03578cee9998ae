import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { SITE_FACTOR } from '../admission/address-table.js';
import { cookieValues } from '../http/fields.js';
import type { ClientAddress } from '../net/address.js';

/** Lifetime of a login in milliseconds. */
export const SESSION_TIME = 12 * 3600 * 1000;
export const MIN_TOKEN_LENGTH = 32;

/** Maximum number of cookies of one name that are checked. */
const MAX_COOKIES = 8;

/** Failed logins per address: this many in a burst, and one more after each of these periods. */
const MAX_FAILURES = 5;
const FAILURE_WINDOW = 60_000;
/** Milliseconds of the window that one failure takes. */
const COST = FAILURE_WINDOW / MAX_FAILURES;
/** Maximum number of addresses whose failures are kept. */
const MAX_ADDRESSES = 10_000;

/**
 * Sessions without a store: the cookie contains its expiry time, signed with a key derived from the token. It is
 * accepted by every process with the same token, and by none after the token has changed.
 */
export class DashboardSessions {
  private readonly key: Buffer;

  constructor(private readonly token: string) {
    this.key = createHmac('sha256', token).update('nest-secure-ws dashboard session').digest();
  }

  /** Compares in constant time, whatever the length of the given value. */
  isToken(given: unknown): boolean {
    return typeof given === 'string' && isSame(given, this.token);
  }

  /** The value of the cookie of a new session. */
  issue(now: number): string {
    const content = `${(now + SESSION_TIME).toString(36)}.${randomBytes(12).toString('base64url')}`;
    return `${content}.${this.sign(content)}`;
  }

  /**
   * Whether one of the first cookies is a session: a page of a sibling domain, or of another port, can set a cookie of
   * the same name, and browsers may send that one first (RFC 6265, section 8.6).
   */
  isLoggedIn(cookies: string | undefined, name: string, now: number): boolean {
    return cookieValues(cookies, name)
      .slice(0, MAX_COOKIES)
      .some((each) => this.isValid(each, now));
  }

  isValid(cookie: string | undefined, now: number): boolean {
    const parts = cookie?.split('.') ?? [];
    if (parts.length !== 3) return false;
    const [until, nonce, signature] = parts as [string, string, string];
    // protection: dashboard: sessions are signed
    if (!isSame(signature, this.sign(`${until}.${nonce}`))) return false;
    // end protection
    return Number.parseInt(until, 36) > now;
  }

  private sign(content: string): string {
    return createHmac('sha256', this.key).update(content).digest('base64url');
  }
}

/** Compares in constant time: the digests have equal length. */
const isSame = (given: string, expected: string): boolean => timingSafeEqual(digest(given), digest(expected));

const digest = (text: string): Buffer => createHash('sha256').update(text).digest();

/** The address of an operator, or of an attacker: failures count for an IPv6 prefix, and for the /48 around it. */
export type LoginAddress = Pick<ClientAddress, 'key' | 'site'>;

/**
 * Limits failed logins by address, and by the /48 around an IPv6 prefix after eight times as many. A successful login
 * does not reset the limit, because an attacker may know one of several tokens.
 */
export class LoginLimit {
  /** By address: when its bucket will be full again, in the order of last use. */
  private readonly buckets = new Map<string, number>();

  /** Seconds until the address may try again; 0: now. */
  waitOf({ key, site }: LoginAddress, now: number): number {
    const wait = this.wait(key, COST, now);
    return Math.ceil((site === undefined ? wait : Math.max(wait, this.wait(site, COST / SITE_FACTOR, now))) / 1000);
  }

  failed({ key, site }: LoginAddress, now: number): void {
    this.charge(key, COST, now);
    // protection: dashboard: failed logins of the /48 around a prefix are limited
    if (site !== undefined) this.charge(site, COST / SITE_FACTOR, now);
    // end protection
  }

  /** Milliseconds until a bucket has room for a failure that costs so many of them. */
  private wait(key: string, cost: number, now: number): number {
    return Math.max(0, (this.buckets.get(key) ?? 0) + cost - now - FAILURE_WINDOW);
  }

  private charge(key: string, cost: number, now: number): void {
    const full = Math.max(this.buckets.get(key) ?? 0, now) + cost;
    this.buckets.delete(key);
    // protection: dashboard: addresses of failed logins are bounded
    if (this.buckets.size >= MAX_ADDRESSES) this.buckets.delete(this.buckets.keys().next().value!);
    // end protection
    this.buckets.set(key, full);
  }
}
