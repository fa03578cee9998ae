// @ts-nocheck
import type { UpgradeAttempt } from '../admission/attempt.js';
import type { Admission, AdmissionGuard, EarlyGuard } from '../admission/guard.js';

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
export type MessageParser = (data: string | Buffer) => { event: string; data?: unknown } | null | undefined | void;
