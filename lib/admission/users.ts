import { REFUSALS, type Refusal } from '../http/refusal.js';
import { CloseCode } from '../protocol/close-codes.js';
import { CAPACITY_REFUSALS } from './capacity.js';
import { userKeyOf } from './guard-answer.js';
import type { SharedSlot, UserConnection, UserLimits } from './shared-slot.js';

/** `connections.maxPerUser` and `.onUserLimit`. */
export interface UserLimit {
  readonly max: number;
  readonly onLimit: UserLimits['onLimit'];
}

/**
 * Connections by user, in the order of opening. `T` represents a connection, and serves as the handle for its removal,
 * so that a connection needs to store only its key. Most users have one connection; a set is only allocated for more.
 */
export class UserSlots<T extends object> {
  readonly #users = new Map<string, T | Set<T>>();

  /** Number of users with at least one connection. */
  get size(): number {
    return this.#users.size;
  }

  count(key: string): number {
    const holders = this.#users.get(key);
    return holders instanceof Set ? holders.size : holders === undefined ? 0 : 1;
  }

  /** A copy of a user's connections, oldest first, so that they can be closed one after the other. */
  of(key: string): T[] {
    const holders = this.#users.get(key);
    return holders instanceof Set ? [...holders] : holders === undefined ? [] : [holders];
  }

  /**
   * Adds a connection of a user. Returns a refusal if the limit refuses it, or the connections that must be closed for
   * it, oldest first; these are no longer counted.
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

  /** Removes a connection. Idempotent. */
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

/** A connection whose user can change. */
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

/** The connections of an endpoint by user, and the caps on them: that of the application, and that of the endpoint. */
export class UserCaps {
  /** The gateway's cap comes first: a connection that it closes also makes room in the application's cap. */
  private readonly caps: readonly Cap[];

  constructor(
    /** All connections of the application by user, with or without a cap. */
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

  /** The refusal for one more connection of a user, or `undefined`. */
  refusalFor(key: string | undefined): Refusal | undefined {
    if (this.caps.length === 0) return undefined;
    if (key === undefined) return REFUSALS.userKeyMissing;
    const isFull = this.caps.some(({ slots, limit }) => limit.onLimit === 'refuse' && slots.count(key) >= limit.max);
    return isFull ? CAPACITY_REFUSALS.user : undefined;
  }

  /** Adds a connection to a user, and closes the connections that exceed the cap. */
  add(key: string, connection: UserConnection): void {
    for (const { slots, limit } of this.caps) {
      const excess = slots.take(key, connection, limit);
      for (const oldest of Array.isArray(excess) ? (excess as UserConnection[]) : []) close(key, oldest);
    }
    this.allUsers.take(key, connection);
  }

  /** Removes a connection. Idempotent. */
  remove(key: string, connection: UserConnection): void {
    this.allUsers.release(key, connection);
    for (const { slots } of this.caps) slots.release(key, connection);
  }

  /**
   * Reassigns a connection to another user. Throws a `RangeError`, without changing anything, if that is not possible.
   */
  move(connection: MovableConnection, principal: unknown, userKey: string | number | undefined): void {
    const { peer } = connection;
    const key = userKeyOf(userKey ?? principal);
    if (key === undefined && userKey !== undefined)
      throw new RangeError('userKey must be a number or a non-empty string');
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

/** Removes a closing connection from the counts, although TCP may end later. */
function close(key: string, connection: UserConnection): void {
  (connection.context as { readonly users: UserCaps }).users.remove(key, connection);
  connection.end(CloseCode.POLICY_VIOLATION, TOO_MANY_CONNECTIONS);
}
