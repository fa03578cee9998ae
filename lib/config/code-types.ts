import type { UpgradeAttempt } from '../admission/attempt.js';
import type { Admission, AdmissionGuard, EarlyGuard } from '../admission/guard.js';
import type { Duration, List } from './kinds.js';

/** The class of a guard; it is resolved through dependency injection. */
export type GuardClass = abstract new (...args: never[]) => AdmissionGuard | { canActivate(...args: never[]): unknown };

/** A guard that runs after the built-in checks: a class, an instance or a function, or a Nest guard (`CanActivate`). */
export type PlainGuard =
  | GuardClass
  | AdmissionGuard
  | { canActivate(...args: never[]): unknown }
  | ((attempt: UpgradeAttempt) => Admission | boolean | Promise<Admission | boolean>);

/** An entry of the option `guards`; `beforeBuiltIn()` makes a guard run before the built-in checks. */
export type GuardLike = PlainGuard | EarlyGuard<PlainGuard>;

/** Converts a received message to an event for a handler. If it returns nothing, the message is dropped silently. */
export type MessageParser = (data: string | Buffer) => { event: unknown; data?: unknown } | null | undefined | void;

/** The settings of the group `connections` that an entry of `foreign` can have, as gateways can. */
export interface ForeignConnections {
  readonly max?: number | string;
  readonly maxPerIp?: number | string;
  readonly maxPerUser?: number | string;
  readonly onUserLimit?: 'refuse' | 'closeOldest';
  readonly guardTimeout?: Duration;
  readonly allowedOrigins?: List;
  readonly subprotocols?: List;
}

/** Upgrades that another library answers on the application's own port: socket.io, graphql-ws, a dev server. */
export interface ForeignUpgrades {
  /** A path such as `/graphql`, or a pattern. */
  readonly path: string;
  /** Also match everything below the path: `/socket.io/` then matches `/socket.io/x`. Default: false. */
  readonly prefix?: boolean;
  /** Admission guards of this path; they run after those of `forRoot({ guards })`. */
  readonly guards?: readonly GuardLike[];
  /** Connection settings of this path, as for a gateway: `max`, `maxPerIp`, `maxPerUser`, `allowedOrigins` and others. */
  readonly connections?: ForeignConnections;
}

/** The methods of an ioredis client (`Redis` or `Cluster`) that this library calls. */
export interface RedisClientLike {
  duplicate(...args: never[]): unknown;
  evalsha(...args: never[]): unknown;
  subscribe(...args: never[]): unknown;
  publish(...args: never[]): unknown;
}
