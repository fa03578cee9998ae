/**
 * What the processes of one application share, as a contract that any database and any message bus can fulfil. The
 * package has it for Redis; `clusterStoreTests` and `clusterBusTests` show whether another implementation fulfils it.
 *
 * No method of either interface may throw or reject: a store that cannot answer in time says `unavailable`, and the
 * application's `cluster.onFailure` decides.
 */

/** A limit that one attempt meets. */
export interface Claim {
  /**
   * What is counted, such as `a:{203.0.113.7}:n`: an opaque name. Claims of one attempt that have the same text between
   * braces are of one shard; a store that spreads names over machines may judge others apart from them.
   */
  readonly name: string;
  /** Connections that all processes may hold under this name. Without it none are counted. */
  readonly max?: number;
  /** Attempts under this name: a bucket of `limit` that fills within `window` milliseconds. */
  readonly rate?: { readonly limit: number; readonly window: number };
}

export type ClaimAnswer =
  /** Every rate was charged, and one connection is held under every name that has a `max`. */
  | { readonly outcome: 'admitted' }
  /**
   * Nothing is held. `claim` is the index of the first claim that refuses, `wait` the milliseconds until its bucket has
   * room, `undefined` where the connections are too many. Rates are charged all or none, and before connections are
   * counted: an attempt that finds no room has been charged, one that finds an empty bucket has not.
   */
  | { readonly outcome: 'refused'; readonly claim: number; readonly wait: number | undefined }
  /** Held in this process all the same, as if admitted, until it is released: told to the others as soon as possible. */
  | { readonly outcome: 'unavailable' };

/** A limit of connections of one user. */
export interface UserClaim {
  readonly name: string;
  readonly max: number;
  readonly onLimit: 'refuse' | 'closeOldest';
}

/** One connection of a user, in whichever process. */
export interface UserConnection {
  /** The process, by `NodeInfo.id`. */
  readonly node: string;
  readonly id: string;
}

export type UserAnswer =
  /** `displaced` counts no more under any of the names: the oldest, where `closeOldest` made room. */
  | { readonly outcome: 'admitted'; readonly displaced: readonly UserConnection[] }
  | { readonly outcome: 'refused'; readonly claim: number }
  | { readonly outcome: 'unavailable' };

/** A process that has joined. */
export interface NodeInfo {
  /** Random, one for the life of the process. */
  readonly id: string;
  /** What it says of itself: a JSON text of at most 1 KiB. */
  readonly about: string;
}

/** A ban as the store keeps it. */
export interface StoredBan {
  readonly id: string;
  /** Milliseconds since 1970. */
  readonly until: number;
  /** A JSON text of at most 2 KiB. */
  readonly value: string;
}

export interface ClusterStoreStatus {
  /** It answered last time, and this process counts for the others. */
  readonly isAvailable: boolean;
  /** Processes that hold a lease, this one included; as last known. */
  readonly nodes: readonly NodeInfo[];
  /** Milliseconds since 1970 at which the lease of this process ends, by the store's clock. */
  readonly leaseUntil: number;
  /** Of the circuit breaker: `closed` answers, `open` does not ask, `probing` tries once. */
  readonly breaker: 'closed' | 'open' | 'probing';
  /** Times it could not answer. */
  readonly failures: number;
  /** Why it could not, last time. */
  readonly lastError: string | undefined;
}

export interface ClusterStoreOptions {
  /** `NodeInfo.id` of this process. */
  readonly id: string;
  /** Milliseconds: for one answer, between two renewals, until a process that does not renew counts for nothing. */
  readonly timeout: number;
  readonly heartbeat: number;
  readonly lease: number;
  /** `bans.max`: of stored bans. */
  readonly maxBans: number;
  /** Asked at every renewal. */
  about(): string;
  /** The status has changed: nodes came or went, it became available or unavailable. */
  onChange(): void;
  /** Bans that changed since the last call: in any process, this one excepted. `removed`: by id. */
  onBans(saved: readonly StoredBan[], removed: readonly string[]): void;
  /** The store has lost all bans: whoever has copies should save them again. */
  onBansLost(): void;
}

/** Counts and limits over all processes. Counts of a process that has ended, or whose lease has, count for nothing. */
export interface ClusterStore {
  readonly status: ClusterStoreStatus;
  /** Joins. Resolves after the first attempt, whether it succeeded or not; goes on trying. */
  start(options: ClusterStoreOptions): Promise<void>;
  /** Leaves: this process counts for nothing from here on. */
  stop(): Promise<void>;
  /** Milliseconds since 1970 by the clock that all processes share, as near as is known. */
  now(): number;
  /** Judges all claims, in one round trip where they are of one shard. */
  admit(claims: readonly Claim[]): Promise<ClaimAnswer>;
  /** Gives back what `admit` holds under the names that have a `max`: exactly once for each answer that holds. */
  release(claims: readonly Claim[]): void;
  /** `claims` are of one user and of one shard, `id` is unique in this process. */
  admitUser(claims: readonly UserClaim[], id: string): Promise<UserAnswer>;
  /** Idempotent. */
  releaseUser(claims: readonly UserClaim[], id: string): void;
  /** Looks at the nodes now, not only at the next renewal: one has said that it comes or goes. */
  refresh(): void;
  /** Keeps a ban for everybody; false: could not. */
  saveBan(ban: StoredBan): Promise<boolean>;
  removeBan(id: string): Promise<boolean>;
  /** Keeps a value for `ttl` milliseconds, to be taken once; false: could not, or the name is taken. */
  put(name: string, value: string, ttl: number): Promise<boolean>;
  /** Takes a value away; `null`: there is none; `undefined`: could not ask. */
  take(name: string): Promise<string | null | undefined>;
}

export interface ClusterBusOptions {
  /** Milliseconds for one answer. */
  readonly timeout: number;
  receive(channel: string, message: string): void;
  /** Connected or not, and when subscriptions hold again. */
  onChange(): void;
}

/**
 * Text to all processes that have subscribed to a channel, this one included: at most once, in the order of each
 * publisher. Messages are at most 1 MiB and a header of 512 bytes.
 */
export interface ClusterBus {
  readonly isAvailable: boolean;
  /** Resolves after the first attempt, whether it succeeded or not; goes on trying. */
  start(options: ClusterBusOptions): Promise<void>;
  stop(): Promise<void>;
  /** Resolves to whether it was handed over; `false` at once rather than waiting behind much that was not. */
  publish(channel: string, message: string): Promise<boolean>;
  /** Holds across connections until `unsubscribe`. */
  subscribe(channel: string): void;
  unsubscribe(channel: string): void;
  /** Messages do not arrive though the connection seems well: makes a new one. */
  reset(): void;
}
