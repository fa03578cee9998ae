import type { PeerCertificate } from 'node:tls';
import { lowerCaseHeaders, parseCookies } from '../request/headers.js';
import type { AttemptInit, GatewayType } from './attempt-init.js';

export type { AttemptInit, GatewayType } from './attempt-init.js';

let initOf: (attempt: UpgradeAttempt<unknown>) => AttemptInit;
let write: (attempt: UpgradeAttempt<unknown>, principal: unknown) => void;
let end: (attempt: UpgradeAttempt<unknown>, reason: Error) => void;
let listen: (attempt: UpgradeAttempt<unknown>, onEnd: () => void) => void;

/**
 * A peer that asks for a WebSocket, as a guard sees it. Nothing is parsed before it is read; nothing here outlives
 * the decision unless a guard keeps it. `P` is the principal's type.
 */
export class UpgradeAttempt<P = unknown> {
  readonly #init: AttemptInit;
  #principal: P | undefined;
  #query: URLSearchParams | undefined;
  #headers: Readonly<Record<string, string>> | undefined;
  #cookies: Readonly<Record<string, string>> | undefined;
  #controller: AbortController | undefined;
  #ended: Error | undefined;
  #onEnd: (() => void) | undefined;

  static {
    initOf = (attempt) => attempt.#init;
    write = (attempt, principal) => {
      attempt.#principal = principal;
    };
    end = (attempt, reason) => {
      if (attempt.#ended !== undefined) return;
      attempt.#ended = reason;
      attempt.#controller?.abort(reason);
      attempt.#onEnd?.();
    };
    listen = (attempt, onEnd) => {
      attempt.#onEnd = onEnd;
      if (attempt.#ended !== undefined) onEnd();
    };
  }

  /** @hidden Tests of guards make one with `attempt()` of `nest-secure-ws/testing`. */
  constructor(init: AttemptInit) {
    this.#init = init;
  }

  /** The client's address: canonical text, an embedded IPv4 address as IPv4. Read through `proxy.trusted`. */
  get ip(): string {
    return this.#init.address.text;
  }

  /** The address of the socket's peer: a proxy's, where there is one. */
  get remoteAddress(): string {
    return this.#init.peer.text;
  }

  /** TLS here, or said to be TLS by the nearest trusted proxy. */
  get secure(): boolean {
    return this.#init.tls || this.#init.secure === true;
  }

  /** The raw request target up to `?`. */
  get path(): string {
    return this.#init.path;
  }

  get query(): URLSearchParams {
    return (this.#query ??= new URLSearchParams(this.#init.rawQuery));
  }

  /** By lower-case name, repeated ones joined, without a prototype. */
  get headers(): Readonly<Record<string, string>> {
    return (this.#headers ??= lowerCaseHeaders(this.#init.rawHeaders));
  }

  /** Names and values in turn, as they came. */
  get rawHeaders(): readonly string[] {
    return this.#init.rawHeaders;
  }

  /** The value of `Host` in lower case, with its port where it names one. */
  get host(): string {
    const { name, port } = this.#init.host;
    return port === undefined ? name : `${name}:${port}`;
  }

  /** The value of `Origin`; browsers always send one. */
  get origin(): string | undefined {
    return this.#init.origin;
  }

  /** By name, the first of each, without a prototype. */
  get cookies(): Readonly<Record<string, string>> {
    return (this.#cookies ??= parseCookies(this.headers['cookie']));
  }

  /** The offered subprotocols, in the client's order: a copy. */
  get protocols(): string[] {
    return [...this.#init.protocols];
  }

  /** The client's certificate, where one was asked for and verified. */
  get certificate(): PeerCertificate | undefined {
    return this.#init.certificate?.();
  }

  /** The class of the gateway that was asked for. */
  get gateway(): GatewayType {
    return this.#init.gateway;
  }

  /** What earlier guards said who this is. */
  get principal(): P | undefined {
    return this.#principal;
  }

  /**
   * Fires when the guards' time is up, and when the peer leaves before they have decided. A listener that throws is an
   * uncaught exception of its own, as on every `AbortSignal`: Node throws it where nobody else can catch it.
   */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#ended !== undefined) this.#controller.abort(this.#ended);
    }
    return this.#controller.signal;
  }
}

/** For the library's own guards. */
export const factsOf = (attempt: UpgradeAttempt<unknown>): AttemptInit => initOf(attempt);

/** For the guard runner: what the next guard reads as `attempt.principal`. */
export const setPrincipal = (attempt: UpgradeAttempt<unknown>, principal: unknown): void => write(attempt, principal);

/** For the guard runner: `onEnd` is called when the attempt is aborted. */
export const onAttemptEnd = (attempt: UpgradeAttempt<unknown>, onEnd: () => void): void => listen(attempt, onEnd);

/** Fires `attempt.signal`; only the first reason counts. Costs nothing where no guard has read the signal. */
export const abortAttempt = (attempt: UpgradeAttempt<unknown>, reason: Error): void => end(attempt, reason);
