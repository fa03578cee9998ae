import { type Duration, duration as durationKind } from '../config/kinds.js';
import type { ClientAddress } from '../net/address.js';
import { type Network, NetworkMap, parseNetwork } from '../net/network-map.js';
import { CloseCode } from '../protocol/close-codes.js';

/** The target of a ban: exactly one of the three properties. */
export type BanTarget =
  | { readonly address: string; readonly cidr?: undefined; readonly userKey?: undefined }
  | { readonly cidr: string; readonly address?: undefined; readonly userKey?: undefined }
  | { readonly userKey: string | number; readonly address?: undefined; readonly cidr?: undefined };

/** A ban that is in effect. */
export interface Ban {
  /** `ip:192.0.2.7/32`, `ip:2001:db8::/64`, `user:alice`: the same for equal targets. */
  readonly id: string;
  /** The network in canonical form, for a ban of an address or a network. */
  readonly network: string | undefined;
  readonly userKey: string | undefined;
  /** Start, in milliseconds since the epoch. */
  readonly since: number;
  /** End, in milliseconds since the epoch. */
  readonly until: number;
  readonly reason: string | undefined;
}

export const MAX_BAN_REASON = 256;
const MAX_USER_KEY = 512;

interface Resolved {
  readonly id: string;
  readonly network: Network | undefined;
  readonly userKey: string | undefined;
}

/** Parses a target. Throws a `RangeError` for an invalid one. */
export function resolveBanTarget(target: BanTarget, ipv6Prefix: number): Resolved {
  const { address, cidr, userKey } = target ?? {};
  if ([address, cidr, userKey].filter((each) => each !== undefined).length !== 1)
    throw new RangeError('a ban needs exactly one of address, cidr, userKey');
  if (userKey !== undefined) {
    const key = typeof userKey === 'number' ? String(userKey) : userKey;
    if (typeof key !== 'string' || key === '' || key.length > MAX_USER_KEY)
      throw new RangeError(`the userKey of a ban must be a number, or a string of 1 to ${MAX_USER_KEY} characters`);
    return { id: `user:${key}`, network: undefined, userKey: key };
  }
  const text = String(address ?? cidr);
  // An IPv6 address is banned with the whole prefix that counts as one client.
  const network = address !== undefined && text.includes('/') ? undefined : parseNetwork(text, ipv6Prefix);
  if (network === undefined)
    throw new RangeError(`'${text.slice(0, 64)}' is not a valid ${address === undefined ? 'CIDR' : 'IP address'}`);
  return { id: `ip:${network.text}`, network, userKey: undefined };
}

/**
 * The bans of this process. Their number is bounded: when there are too many, those that end soonest are dropped.
 * Looking up an address costs one lookup per distinct prefix length, and nothing if there is no ban.
 */
export class BanList {
  readonly #bans = new Map<string, Ban>();
  readonly #networks = new NetworkMap<Ban>();
  readonly #users = new Map<string, Ban>();

  constructor(
    /** `bans.max` */
    private readonly max: number,
    /** Milliseconds since the epoch. */
    private readonly now: () => number = Date.now,
  ) {}

  get size(): number {
    return this.#bans.size;
  }

  /** The ban of an address, or of a network that contains it. */
  ofAddress(address: ClientAddress): Ban | undefined {
    if (this.#bans.size === 0) return undefined;
    const now = this.now();
    return this.#networks.find(address, ({ until }) => until > now);
  }

  ofUser(userKey: string | undefined): Ban | undefined {
    if (userKey === undefined || this.#users.size === 0) return undefined;
    const ban = this.#users.get(userKey);
    return ban !== undefined && ban.until > this.now() ? ban : undefined;
  }

  get(id: string): Ban | undefined {
    return this.#bans.get(id);
  }

  /** Adds a ban, which replaces an earlier one of the same target. */
  add(ban: Ban): void {
    // protection: bans are bounded
    if (!this.#bans.has(ban.id) && this.#bans.size >= this.max) this.#makeRoom();
    // end protection
    this.#bans.set(ban.id, ban);
    if (ban.userKey !== undefined) this.#users.set(ban.userKey, ban);
    const network = ban.network === undefined ? undefined : parseNetwork(ban.network);
    if (network !== undefined) this.#networks.set(network, ban);
  }

  /** Removes a ban. Returns false if there is none. */
  remove(id: string): boolean {
    const ban = this.#bans.get(id);
    if (ban === undefined) return false;
    this.#bans.delete(id);
    if (ban.userKey !== undefined) this.#users.delete(ban.userKey);
    const network = ban.network === undefined ? undefined : parseNetwork(ban.network);
    if (network !== undefined) this.#networks.delete(network);
    return true;
  }

  /** The bans in effect, after removing those that have ended. */
  list(): Ban[] {
    this.#dropEnded();
    return [...this.#bans.values()];
  }

  #dropEnded(): void {
    const now = this.now();
    for (const { id, until } of this.#bans.values()) if (until <= now) this.remove(id);
  }

  /** Removes several at once, so that a full list is not searched for each new ban. */
  #makeRoom(): void {
    this.#dropEnded();
    if (this.#bans.size < this.max) return;
    const soonest = [...this.#bans.values()].sort((a, b) => a.until - b.until);
    for (const { id } of soonest.slice(0, Math.max(1, this.max >> 6))) this.remove(id);
  }
}

/** A ban in the form that processes of a cluster exchange. */
export interface StoredBan {
  readonly id: string;
  readonly until: number;
  readonly value: string;
}

export const storedBan = ({ id, until, since, reason, network, userKey }: Ban): StoredBan => ({
  id,
  until,
  value: JSON.stringify({ since, reason, network, userKey }),
});

/** Parses a ban of another process; `undefined` if it is invalid or has ended. */
export function parseStoredBan({ id, until, value }: StoredBan): Ban | undefined {
  try {
    const { since, reason, network, userKey } = JSON.parse(value) as Record<string, unknown>;
    const target = userKey === undefined ? { cidr: network } : { userKey };
    const resolved = resolveBanTarget(target as BanTarget, 128);
    if (resolved.id !== id || !Number.isFinite(until) || until <= Date.now()) return undefined;
    return Object.freeze({
      id,
      network: resolved.network?.text,
      userKey: resolved.userKey,
      since: typeof since === 'number' ? since : Date.now(),
      until,
      reason: typeof reason === 'string' ? reason.slice(0, MAX_BAN_REASON) : undefined,
    });
  } catch {
    return undefined;
  }
}

/** Whether two bans of one target are equal: a process can receive the same ban in more than one way. */
export const bansEqual = (a: Ban, b: Ban): boolean => a.since === b.since && a.until === b.until;

export interface BanOptions {
  /** Duration: milliseconds, or a string such as `'15m'`. Default: `bans.time`. */
  readonly for?: Duration;
  /** The reason, for `list()` and the log; it is not sent to peers. At most 256 characters. */
  readonly reason?: string;
}

/** The functions of an application that the service needs. */
export interface BanContext {
  readonly bans: BanList;
  readonly settings: {
    readonly bans: { readonly time: number };
    readonly connections: { readonly ipv6Prefix: number };
  };
  connectionsOf(userKey: string): readonly { end(code: number, reason: string): void }[];
  /** Publishes the ban to the other processes of a cluster. */
  readonly shared?: { banned(ban: Ban): void; unbanned(id: string): void };
}

const duration = durationKind({ min: 1, max: 10 * 365 * 86_400_000 });

/**
 * Bans addresses, networks and users for a limited time. Connections of a banned address are reset at accept; behind a
 * trusted proxy, and for a later request of an open connection, the upgrade is refused with 403. A banned user is
 * refused with 403 after the guards, and the user's connections are closed (1008). Trusted proxies are exempt. With
 * `cluster` a ban applies in every process. Injectable.
 *
 * @example
 * bans.ban({ address: '203.0.113.7' }, { for: '15m', reason: 'scraping' });
 * bans.unban({ address: '203.0.113.7' });
 */
export class SecureWsBans {
  /** @hidden */
  constructor(private readonly context: BanContext) {}

  /**
   * Bans a target at once, replacing an earlier ban of the same target. Throws a `RangeError` for an invalid target.
   */
  ban(target: BanTarget, options: BanOptions = {}): Ban {
    const { settings } = this.context;
    const { id, network, userKey } = resolveBanTarget(target, settings.connections.ipv6Prefix);
    const time = options.for === undefined ? settings.bans.time : duration.parse(options.for);
    if (time === undefined) throw new RangeError(`the time of a ban must be ${duration.expected}`);
    const since = Date.now();
    const until = Math.ceil(since + time);
    const reason = options.reason === undefined ? undefined : String(options.reason).slice(0, MAX_BAN_REASON);
    const ban: Ban = Object.freeze({ id, network: network?.text, userKey, since, until, reason });
    this.apply(ban);
    this.context.shared?.banned(ban);
    return ban;
  }

  /** Ends the ban of exactly this target. Returns false if there is none. */
  unban(target: BanTarget): boolean {
    const { id } = resolveBanTarget(target, this.context.settings.connections.ipv6Prefix);
    this.context.shared?.unbanned(id);
    return this.context.bans.remove(id);
  }

  /** The bans in effect. */
  list(): readonly Ban[] {
    return this.context.bans.list();
  }

  /** @internal Applies a ban of this process, or of another. */
  apply(ban: Ban): void {
    const { bans } = this.context;
    bans.add(ban);
    if (ban.userKey === undefined) return;
    // protection: connections of a banned user are closed
    for (const connection of this.context.connectionsOf(ban.userKey))
      connection.end(CloseCode.POLICY_VIOLATION, 'banned');
    // end protection
  }
}
