import { REFUSALS, type Refusal } from '../http/refusal.js';
import { CloseCode } from '../protocol/close-codes.js';
import { CAPACITY_REFUSALS } from './capacity.js';
import { userKeyOf } from './guard-answer.js';
import type { SharedSlot, UserConnection, UserLimits } from './shared-slot.js';

export type { UserConnection, UserLimits } from './shared-slot.js';

/** `connections.maxPerUser` and `.onUserLimit`. */
export interface UserLimit {
  readonly max: number;
  readonly onLimit: UserLimits['onLimit'];
}

/**
 * Connections by user, in the order in which they came. `T` is whatever stands for a connection: it is its own
 * receipt, so a connection keeps nothing more than its key. Most users have one connection: only more cost a set.
 */
export class UserSlots<T extends object> {
  readonly #users = new Map<string, T | Set<T>>();

  /** Users with at least one connection. */
  get size(): number {
    return this.#users.size;
  }

  count(key: string): number {
    const holders = this.#users.get(key);
    return holders instanceof Set ? holders.size : holders === undefined ? 0 : 1;
  }

  /** The connections of a user, oldest first: a copy, so that they can be closed one after the other. */
  of(key: string): T[] {
    const holders = this.#users.get(key);
    return holders instanceof Set ? [...holders] : holders === undefined ? [] : [holders];
  }

  /**
   * Adds a connection of a user. Answers a refusal where the limit refuses it, or the connections that must be
   * closed for it, oldest first: they hold no slot any more.
   */
  take(key: string, holder: T, limit?: UserLimit): Refusal | readonly T[] {
    const excess = limit === undefined ? 0 : this.count(key) + 1 - limit.max;
    if (excess <= 0) {
      this.#add(key, holder);
      return NONE;
    }
    if (limit!.onLimit === 'refuse' || limit!.max < 1) return CAPACITY_REFUSALS.user;
    const oldest = this.of(key).slice(0, excess);
    for (const each of oldest) this.release(key, each);
    this.#add(key, holder);
    return oldest;
  }

  /** Idempotent. */
  release(key: string, holder: T): void {
    const holders = this.#users.get(key);
    if (holders === holder) this.#users.delete(key);
    if (!(holders instanceof Set)) return;
    holders.delete(holder);
    if (holders.size === 0) this.#users.delete(key);
  }

  #add(key: string, holder: T): void {
    const holders = this.#users.get(key);
    if (holders instanceof Set) holders.add(holder);
    else this.#users.set(key, holders === undefined || holders === holder ? holder : new Set([holders, holder]));
  }
}

const NONE: readonly never[] = Object.freeze([]);

/** A connection whose user may change. */
interface MovableConnection extends UserConnection {
  readonly peer: { userKey: string | undefined; readonly shared?: SharedSlot | undefined };
  readonly state: string;
}

interface Cap {
  readonly slots: UserSlots<UserConnection>;
  readonly limit: UserLimit;
}

/** Reason of the close frame. */
export const TOO_MANY_CONNECTIONS = 'too many connections of this user';

/** Who is connected to an endpoint, by user; and how many of one there may be: of the application, and here. */
export class UserCaps {
  /** The gateway's own first: what it closes makes room in the application's cap too. */
  private readonly caps: readonly Cap[];

  constructor(
    /** Everybody in the application, whether there is a cap or not. */
    private readonly allUsers: UserSlots<UserConnection>,
    readonly limits: UserLimits,
  ) {
    const { own, application, onLimit } = limits;
    this.caps = [
      { slots: new UserSlots<UserConnection>(), max: own },
      { slots: allUsers, max: application },
    ].flatMap((cap) => (cap.max === undefined ? [] : [{ slots: cap.slots, limit: { max: cap.max, onLimit } }]));
  }

  get areCapped(): boolean {
    return this.caps.length > 0;
  }

  /** What keeps one more connection of a user out. */
  refusalFor(key: string | undefined): Refusal | undefined {
    if (this.caps.length === 0) return undefined;
    if (key === undefined) return REFUSALS.userKeyMissing;
    const isFull = this.caps.some(({ slots, limit }) => limit.onLimit === 'refuse' && slots.count(key) >= limit.max);
    return isFull ? CAPACITY_REFUSALS.user : undefined;
  }

  /** The connection belongs to a user: those that are too many because of it are closed. */
  add(key: string, connection: UserConnection): void {
    for (const { slots, limit } of this.caps) {
      const excess = slots.take(key, connection, limit);
      for (const oldest of Array.isArray(excess) ? (excess as UserConnection[]) : []) close(key, oldest);
    }
    this.allUsers.take(key, connection);
  }

  /** Idempotent. */
  remove(key: string, connection: UserConnection): void {
    this.allUsers.release(key, connection);
    for (const { slots } of this.caps) slots.release(key, connection);
  }

  /** The connection belongs to somebody else from now on. Throws a `RangeError` where that cannot be, and changes nothing. */
  move(connection: MovableConnection, principal: unknown, userKey: string | number | undefined): void {
    const { peer } = connection;
    const key = userKeyOf(userKey ?? principal);
    if (key === undefined && userKey !== undefined)
      throw new RangeError('userKey must be a number, or a string that is not empty');
    if (key === peer.userKey || connection.state === 'closed') return;
    const breach = this.refusalFor(key);
    if (breach !== undefined)
      throw new RangeError(
        breach === CAPACITY_REFUSALS.user
          ? TOO_MANY_CONNECTIONS
          : 'maxPerUser needs a userKey, or a principal with an id or a sub',
      );
    if (peer.userKey !== undefined) this.remove(peer.userKey, connection);
    peer.userKey = key;
    if (key !== undefined) this.add(key, connection);
    if (this.areCapped) peer.shared?.moveUser(key, this.limits);
  }
}

/** It counts nowhere any more, though TCP may take its time. */
function close(key: string, connection: UserConnection): void {
  (connection.context as { readonly users: UserCaps }).users.remove(key, connection);
  connection.end(CloseCode.POLICY_VIOLATION, TOO_MANY_CONNECTIONS);
}
