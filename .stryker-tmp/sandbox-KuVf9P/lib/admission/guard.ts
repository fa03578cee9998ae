// @ts-nocheck
import type { Refusal } from '../http/refusal.js';
import type { UpgradeAttempt } from './attempt.js';

/**
 * Decides about an upgrade before anything is allocated for it. `false` refuses with 403, a throw with 500
 * (an `HttpException` with its own status), silence past `connections.guardTimeout` with 503.
 */
export interface AdmissionGuard {
  admit(attempt: UpgradeAttempt): Admission | boolean | Promise<Admission | boolean>;
}

/** A guard of any form, resolved: the class instantiated, the method bound. Its `name` is for the log. */
export type AdmissionGuardFunction = (attempt: UpgradeAttempt) => Admission | boolean | Promise<Admission | boolean>;

/** Response headers by name; several values make several lines. */
export type AdmissionHeaders = Readonly<Record<string, string | readonly string[]>>;

/** What a guard may say with its yes. */
export interface AllowOptions {
  /** Who this is: `attempt.principal` for later guards, then `socket.principal` and `@Principal()`. The last guard's counts. */
  readonly principal?: unknown;
  /** What `connections.maxPerUser` and `disconnectUser` know the user by. Default: the principal if it is a string or a number, else its `id` or `sub`. */
  readonly userKey?: string | number;
  /** A `Date`, or milliseconds since 1970, at which the session ends (4401). The earliest of all guards counts; one in the past is 401. */
  readonly expiresAt?: Date | number;
  /** For the 101: no hop-by-hop and no `Sec-WebSocket-*` names. Those of all guards are sent. */
  readonly headers?: AdmissionHeaders;
  /** One of those that the client offered. The last guard's counts. */
  readonly subprotocol?: string;
}

/** Made by `allow()`. */
export interface Allowed extends AllowOptions {
  readonly decision: 'allow';
}

/** Made by `refuse()`. */
export interface Refused {
  readonly decision: 'refuse';
  /** 400 to 599, or 3xx with a `Location`. */
  readonly status: number;
  /** Body of the response. Default: the status code's name. */
  readonly text?: string;
  readonly headers?: AdmissionHeaders;
}

/** A guard's answer. */
export type Admission = Allowed | Refused;

const ALLOWED: Allowed = Object.freeze({ decision: 'allow' });

/** Lets the peer in, as far as this guard is concerned. */
export const allow = (options?: AllowOptions): Admission =>
  options === undefined ? ALLOWED : Object.freeze({ ...options, decision: 'allow' });

/**
 * Turns the peer away with an HTTP status (RFC 9110, section 15), a body and headers:
 * `refuse(401, 'Unauthorized', { 'WWW-Authenticate': 'Bearer' })`.
 */
export const refuse = (status: number, text?: string, headers?: AdmissionHeaders): Admission =>
  Object.freeze({ decision: 'refuse', status, text, headers });

/** How a guard of the library itself says no: with a reason of its own for the counters, and words for the log. */
export class BuiltInRefusal implements Refused {
  readonly decision = 'refuse';
  readonly status: number;
  readonly text: string;

  constructor(readonly refusal: Refusal) {
    this.status = refusal.status;
    this.text = refusal.text;
  }
}

/** A guard that runs before the built-in ones of stages 5 and 6. Made by `beforeBuiltIn()`. */
export class EarlyGuard<G = unknown> {
  constructor(readonly guard: G) {}
}

/**
 * Puts a guard of any form before TLS, host, origin, addresses and capacity (see `BUILT_IN_GUARDS`), instead of behind
 * them: `forRoot({ guards: [beforeBuiltIn(AuditGuard), TokenGuard] })`. The attempt was charged to its address's rate,
 * its path has a gateway, and it holds no connection slot yet: keep it cheap.
 */
export const beforeBuiltIn = <G>(guard: G): EarlyGuard<G> => new EarlyGuard(guard);
