import type { Refusal } from '../http/refusal.js';
import type { UpgradeAttempt } from './attempt.js';

/**
 * Decides about an upgrade before memory is allocated for a connection. `false` refuses with 403; an error refuses with
 * 500 (an `HttpException` with its own status); no answer within `connections.guardTimeout` refuses with 503.
 */
export interface AdmissionGuard {
  admit(attempt: UpgradeAttempt): Admission | boolean | Promise<Admission | boolean>;
  /** Called once, before the gateways listen. If it rejects, the application does not start. */
  prepare?(): void | Promise<void>;
}

/** A resolved guard: its class is instantiated, its method bound. Its `name` is for the log. */
export type AdmissionGuardFunction = (attempt: UpgradeAttempt) => Admission | boolean | Promise<Admission | boolean>;

/** Response headers by name; several values make several lines. */
export type AdmissionHeaders = Readonly<Record<string, string | readonly string[]>>;

/** The properties of an admission. */
export interface AllowOptions {
  /**
   * The principal: `attempt.principal` for later guards, then `socket.principal` and `@Principal()`. That of the last
   * guard counts.
   */
  readonly principal?: unknown;
  /**
   * The key by which `connections.maxPerUser` and `disconnectUser` identify the user. Default: the principal if it is a
   * string or a number, else its `id` or `sub`.
   */
  readonly userKey?: string | number;
  /**
   * A `Date`, or milliseconds since the epoch, at which the session ends (4401). The earliest of all guards counts; a
   * time in the past refuses with 401.
   */
  readonly expiresAt?: Date | number;
  /** Headers for the 101, except hop-by-hop headers and `Sec-WebSocket-*`. Those of all guards are sent. */
  readonly headers?: AdmissionHeaders;
  /** A subprotocol that the client has offered. That of the last guard counts. */
  readonly subprotocol?: string;
}

/** The result of `allow()`. */
export interface Allowed extends AllowOptions {
  readonly decision: 'allow';
}

/** The result of `refuse()`. */
export interface Refused {
  readonly decision: 'refuse';
  /** 400 to 599, or 3xx with a `Location`. */
  readonly status: number;
  /** Body of the response. Default: the reason phrase of the status. */
  readonly text?: string;
  readonly headers?: AdmissionHeaders;
}

/** The answer of a guard. */
export type Admission = Allowed | Refused;

const ALLOWED: Allowed = Object.freeze({ decision: 'allow' });

/** Admits the peer; later guards can still refuse it. */
export const allow = (options?: AllowOptions): Admission =>
  options === undefined ? ALLOWED : Object.freeze({ ...options, decision: 'allow' });

/**
 * Refuses the peer with an HTTP status (RFC 9110, section 15), a body and headers: `refuse(401, 'Unauthorized', {
 * 'WWW-Authenticate': 'Bearer' })`.
 */
export const refuse = (status: number, text?: string, headers?: AdmissionHeaders): Admission =>
  Object.freeze({ decision: 'refuse', status, text, headers });

/** The refusal of a built-in guard: with its own reason for the counters, and a text for the log. */
export class BuiltInRefusal implements Refused {
  readonly decision = 'refuse';
  readonly status: number;
  readonly text: string;

  constructor(readonly refusal: Refusal) {
    this.status = refusal.status;
    this.text = refusal.text;
  }
}

/** A guard that runs before the built-in checks of stages 5 and 6. Created by `beforeBuiltIn()`. */
export class EarlyGuard<G = unknown> {
  constructor(readonly guard: G) {}
}

/**
 * Makes a guard of any form run before TLS, host, origin, addresses and capacity (see `BUILT_IN_GUARDS`) instead of
 * after them: `forRoot({ guards: [beforeBuiltIn(AuditGuard), TokenGuard] })`. At that point the attempt was charged to
 * its address's rate, and its path has a gateway, but it holds no connection slot: the guard should be cheap.
 */
export const beforeBuiltIn = <G>(guard: G): EarlyGuard<G> => new EarlyGuard(guard);
