/**
 * The state that the processes of one application share, as a contract that any database and any message bus can
 * implement. The package contains an implementation for Redis; `clusterStoreTests` and `clusterBusTests` test other
 * implementations.
 *
 * No method of either interface may throw or reject: a store that cannot answer in time returns `unavailable`, and the
 * application's `cluster.onFailure` decides.
 */

/** A limit that applies to an attempt. */
export interface Claim {
  /**
   * The name of a counter, such as `a:{203.0.113.7}:n`. Names with the same text between braces belong to one shard; a
   * store that distributes names over machines may check claims of different shards separately.
   */
  readonly name: string;
  /** Maximum number of connections over all processes with this name. Without it, connections are not counted. */
  readonly max?: number;
  /**
   * Maximum rate of attempts with this name: a bucket of `limit` tokens that is refilled within `window` milliseconds.
   */
  readonly rate?: { readonly limit: number; readonly window: number };
}

export type ClaimAnswer =
  /** Every rate was charged, and one connection is counted for every name that has a `max`. */
  | { readonly outcome: 'admitted' }
  /**
   * No connection is counted. `claim` is the index of the first claim that refuses; `wait` is the number of
   * milliseconds until its bucket has a token, or `undefined` if there are too many connections. Either all rates are
   * charged or none, and they are charged before connections are counted: an attempt that is refused because of too
   * many connections has been charged, one that is refused by a rate has not.
   */
  | { readonly outcome: 'refused'; readonly claim: number; readonly wait: number | undefined }
  /**
   * The store did not answer. The connection is counted in this process as if it was admitted, until it is released,
   * and is written to the store as soon as possible.
   */
  | { readonly outcome: 'unavailable' };

/** A limit on the connections of one user. */
export interface UserClaim {
  readonly name: string;
  readonly max: number;
  readonly onLimit: 'refuse' | 'closeOldest';
}

/** One connection of a user, in any process. */
export interface UserConnection {
  /** The process, by `NodeInfo.id`. */
  readonly node: string;
  readonly id: string;
}

export type UserAnswer =
  /**
   * `displaced` connections are no longer counted under any of the names: the oldest ones, if `closeOldest` made room.
   */
  | { readonly outcome: 'admitted'; readonly displaced: readonly UserConnection[] }
  | { readonly outcome: 'refused'; readonly claim: number }
  | { readonly outcome: 'unavailable' };

/** A process that has joined the cluster. */
export interface NodeInfo {
  /** A random id, constant for the lifetime of the process. */
  readonly id: string;
  /** The description that the process publishes of itself: a JSON text of at most 1 KiB. */
  readonly about: string;
}

/** A ban as the store keeps it. */
export interface StoredBan {
  readonly id: string;
  /** Milliseconds since the epoch. */
  readonly until: number;
  /** A JSON text of at most 2 KiB. */
  readonly value: string;
}

export interface ClusterStoreStatus {
  /** The store answered last time, and the connections of this process count for the others. */
  readonly isAvailable: boolean;
  /** The processes that hold a lease, including this one; as last known. */
  readonly nodes: readonly NodeInfo[];
  /** When the lease of this process ends, in milliseconds since the epoch by the store's clock. */
  readonly leaseUntil: number;
  /**
   * The state of the circuit breaker: `closed`: calls are made; `open`: no calls are made; `probing`: one call is being
   * made.
   */
  readonly breaker: 'closed' | 'open' | 'probing';
  /** Number of failed calls. */
  readonly failures: number;
  /** The error of the last failed call. */
  readonly lastError: string | undefined;
}

export interface ClusterStoreOptions {
  /** `NodeInfo.id` of this process. */
  readonly id: string;
  /** `cluster.prefix`: what a store whose database holds other data too puts before its keys. */
  readonly prefix: string;
  /** Milliseconds: for one answer; between two renewals; until a process that has not renewed no longer counts. */
  readonly timeout: number;
  readonly heartbeat: number;
  readonly lease: number;
  /** `bans.max`: maximum number of stored bans. */
  readonly maxBans: number;
  /** Returns the description of this process; called at every renewal. */
  about(): string;
  /** Called when the status has changed: processes joined or left, or the store became available or unavailable. */
  onChange(): void;
  /** Called with bans that other processes have changed since the last call. `removed`: ids. */
  onBans(saved: readonly StoredBan[], removed: readonly string[]): void;
  /** Called when the store has lost all bans: processes that have copies should save them again. */
  onBansLost(): void;
}

/**
 * Counts and limits over all processes. Counts of a process that has ended, or whose lease has expired, are ignored.
 */
export interface ClusterStore {
  readonly status: ClusterStoreStatus;
  /** Joins the cluster. Resolves after the first attempt, successful or not; continues to try. */
  start(options: ClusterStoreOptions): Promise<void>;
  /** Leaves the cluster: the connections of this process no longer count. */
  stop(): Promise<void>;
  /** The best known time of the clock that all processes share, in milliseconds since the epoch. */
  now(): number;
  /** Checks all claims, in one round trip if they belong to one shard. */
  admit(claims: readonly Claim[]): Promise<ClaimAnswer>;
  /**
   * Releases the connections that `admit` has counted. Must be called exactly once for each answer that counts them.
   */
  release(claims: readonly Claim[]): void;
  /** All `claims` must be of one user and of one shard; `id` must be unique in this process. */
  admitUser(claims: readonly UserClaim[], id: string): Promise<UserAnswer>;
  /** Idempotent. */
  releaseUser(claims: readonly UserClaim[], id: string): void;
  /**
   * Reads the list of processes now, before the next renewal, because a process has announced that it joins or leaves.
   */
  refresh(): void;
  /** Saves a ban for all processes. Resolves to false if that failed. */
  saveBan(ban: StoredBan): Promise<boolean>;
  removeBan(id: string): Promise<boolean>;
  /**
   * Saves a value for `ttl` milliseconds, which can be taken once. Resolves to false if that failed, or if the name
   * exists.
   */
  put(name: string, value: string, ttl: number): Promise<boolean>;
  /** Takes a value, which is deleted. `null`: there is none; `undefined`: the store did not answer. */
  take(name: string): Promise<string | null | undefined>;
}

export interface ClusterBusOptions {
  /** Milliseconds for one answer. */
  readonly timeout: number;
  receive(channel: string, message: string): void;
  /** Called when the connection is lost, and when subscriptions are active again. */
  onChange(): void;
}

/**
 * Delivers texts to all processes that have subscribed to a channel, including this one: at most once, in order for
 * each publisher. A message has at most 1 MiB and a header of 512 bytes. Channels begin with `cluster.prefix`.
 */
export interface ClusterBus {
  readonly isAvailable: boolean;
  /** Connects. Resolves after the first attempt, successful or not; continues to try. */
  start(options: ClusterBusOptions): Promise<void>;
  stop(): Promise<void>;
  /** Resolves to whether the message was sent; to `false` at once if too much is unsent. */
  publish(channel: string, message: string): Promise<boolean>;
  /** Subscribes, also across reconnects, until `unsubscribe`. */
  subscribe(channel: string): void;
  unsubscribe(channel: string): void;
  /** Reconnects, because messages do not arrive although the connection seems alive. */
  reset(): void;
}
