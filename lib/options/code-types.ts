import type { UpgradeAttempt } from '../admission/attempt.js';
import type { Admission, AdmissionGuard } from '../admission/guards.js';

/** What stands for `class` in a list of guards: resolved through dependency injection. */
export type GuardClass = abstract new (...args: never[]) => AdmissionGuard | { canActivate(...args: never[]): unknown };

/** A guard as one may write it: a class, an instance or a function; Nest's own `CanActivate` guards too. */
export type GuardLike =
  | GuardClass
  | AdmissionGuard
  | { canActivate(...args: never[]): unknown }
  | ((attempt: UpgradeAttempt) => Admission | boolean | Promise<Admission | boolean>);

/** Turns a received message into an event for a handler; nothing drops the message in silence. */
export type MessageParser = (data: string | Buffer) => { event: string; data?: unknown } | null | undefined | void;
