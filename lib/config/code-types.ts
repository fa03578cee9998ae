import type { UpgradeAttempt } from '../admission/attempt.js';
import type { Admission, AdmissionGuard, EarlyGuard } from '../admission/guard.js';
import type { Duration, List } from './kinds.js';

/** What stands for `class` in a list of guards: resolved through dependency injection. */
export type GuardClass = abstract new (...args: never[]) => AdmissionGuard | { canActivate(...args: never[]): unknown };

/** A guard behind the built-in ones: a class, an instance or a function; Nest's own `CanActivate` guards too. */
export type PlainGuard =
  | GuardClass
  | AdmissionGuard
  | { canActivate(...args: never[]): unknown }
  | ((attempt: UpgradeAttempt) => Admission | boolean | Promise<Admission | boolean>);

/** A guard as one may write it; `beforeBuiltIn()` puts one before the built-in guards. */
export type GuardLike = PlainGuard | EarlyGuard<PlainGuard>;

/** Turns a received message into an event for a handler; nothing drops the message in silence. */
export type MessageParser = (data: string | Buffer) => { event: unknown; data?: unknown } | null | undefined | void;

/** What a path of another library may say of its own: what gateways say in `connections`. */
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
  /** Everything below the path, too: `/socket.io/` with it is also `/socket.io/x`. Default false. */
  readonly prefix?: boolean;
  /** Admission guards of this path, behind those of `forRoot({ guards })`. */
  readonly guards?: readonly GuardLike[];
  /** What a gateway can say of its own: `max`, `maxPerIp`, `maxPerUser`, `allowedOrigins`, `guardTimeout` and others. */
  readonly connections?: ForeignConnections;
}

/** An ioredis client, `Redis` or `Cluster`: only what is called of it. */
export interface RedisClientLike {
  duplicate(...args: never[]): unknown;
  evalsha(...args: never[]): unknown;
  subscribe(...args: never[]): unknown;
  publish(...args: never[]): unknown;
}
