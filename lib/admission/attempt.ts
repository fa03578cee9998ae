import type { PeerCertificate } from 'node:tls';
import { lowerCaseHeaders, parseCookies } from '../http/fields.js';
import type { HostPort } from '../http/host.js';
import type { ClientAddress } from '../net/address.js';
import type { ProxiedConnection } from '../net/proxied-connection.js';
import type { AddressEntry } from './address-table.js';

/** A gateway's class. */
export type GatewayType = abstract new (...args: never[]) => unknown;

/** What an attempt is made of: values that are there anyway, and functions for what few guards ask for. */
export interface AttemptInit {
  /** The client's address, seen through trusted proxies. */
  readonly address: ClientAddress;
  /** The socket's own peer: the proxy, where there is one. */
  readonly peer: ClientAddress;
  /** What the store remembers of `address`; the rate and capacity guards need it. */
  readonly entry?: AddressEntry;
  /** TLS ends here. */
  readonly tls: boolean;
  /** Whether the client speaks TLS, where that is known: see `ClientRoute`. */
  readonly secure: boolean | undefined;
  /** The peer is a trusted proxy. */
  readonly viaProxy: boolean;
  /** The raw request target up to `?`, and what follows it. */
  readonly path: string;
  readonly rawQuery: string;
  /** The gateway's path: `path` itself, or the pattern that it fits. */
  readonly route: string;
  /** Decoded parameters of the path. */
  readonly params: Readonly<Record<string, string>>;
  readonly rawHeaders: readonly string[];
  readonly host: HostPort;
  /** The value of `Origin`, where there is one. */
  readonly origin: string | undefined;
  /** The subprotocols that the client offers, in its order. */
  readonly protocols: readonly string[];
  /** Those that the gateway chooses from. */
  readonly subprotocols: readonly string[];
  readonly gateway: GatewayType;
  /** What a trusted proxy has said of the connection with the PROXY protocol. */
  readonly proxied?: ProxiedConnection | undefined;
  readonly certificate?: () => PeerCertificate | undefined;
  /** Ports, and our own address, of the TCP connection of `peer`; nothing where they are not known. */
  readonly socketAddresses?: () => SocketEnds | undefined;
}

/** Both ends of a TCP connection as `net.Socket` names them, its peer's address apart. */
export interface SocketEnds {
  readonly remotePort: number;
  readonly localAddress: string;
  readonly localPort: number;
  readonly localFamily: string;
}

/** What a trusted proxy said with the PROXY protocol. */
export interface AttemptProxy {
  readonly version: 1 | 2;
  /** The proxy's own address. */
  readonly address: string;
  /** Where the client connected to, as the proxy saw it. */
  readonly destination: { readonly address: string; readonly port: number } | undefined;
  /** Host name that the client asked for, such as its SNI. */
  readonly authority: string | undefined;
  /** Up to 128 opaque bytes that name the connection. */
  readonly uniqueId: Buffer | undefined;
  /** Such as `TLSv1.3`, of the client's side. */
  readonly tlsVersion: string | undefined;
  /** Common name of the client's certificate, only where the proxy has verified the certificate. */
  readonly commonName: string | undefined;
}

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

  /** The path pattern of the gateway, such as `/rooms/:id`; its path where it has no parameters. */
  get route(): string {
    return this.#init.route;
  }

  /** Decoded values of the path's parameters, by name, without a prototype. A `*name` is the rest with its slashes. */
  get params(): Readonly<Record<string, string>> {
    return this.#init.params;
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

  /** What the proxy said that relays the connection; only with `proxy.protocol`, and only of trusted proxies. */
  get proxy(): AttemptProxy | undefined {
    const { proxied } = this.#init;
    if (proxied === undefined) return undefined;
    const { version, destination, authority, uniqueId, tls } = proxied.header;
    const { version: tlsVersion, commonName } = tls ?? {};
    return { version, address: proxied.proxy, destination, authority, uniqueId, tlsVersion, commonName };
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
