import type { PeerCertificate } from 'node:tls';
import { lowerCaseHeaders, parseCookies } from '../http/fields.js';
import type { HostPort } from '../http/host.js';
import type { ClientAddress } from '../net/address.js';
import type { ProxiedConnection } from '../net/proxied-connection.js';
import type { AddressEntry } from './address-table.js';

/** The class of a gateway. */
export type GatewayType = abstract new (...args: never[]) => unknown;

/** The sources of an attempt: values that exist anyway, and functions for values that few guards read. */
export interface AttemptInit {
  /** The client's address, as reported by trusted proxies. */
  readonly address: ClientAddress;
  /** The address of the socket's peer: the proxy, if there is one. */
  readonly peer: ClientAddress;
  /** The state of `address`, for the rate and capacity guards. */
  readonly entry?: AddressEntry;
  /** Whether the connection to this server uses TLS. */
  readonly tls: boolean;
  /** Whether the client uses TLS, if known: see `ClientRoute`. */
  readonly secure: boolean | undefined;
  /** Whether the peer is a trusted proxy. */
  readonly viaProxy: boolean;
  /** The raw request target up to `?`, and the query after it. */
  readonly path: string;
  readonly rawQuery: string;
  /** The gateway's path: `path` itself, or the pattern that it matches. */
  readonly route: string;
  /** Decoded parameters of the path. */
  readonly params: Readonly<Record<string, string>>;
  readonly rawHeaders: readonly string[];
  readonly host: HostPort;
  /** The value of `Origin`, if there is one. */
  readonly origin: string | undefined;
  /** The subprotocols that the client offers, in its order. */
  readonly protocols: readonly string[];
  /** The subprotocols of the gateway. */
  readonly subprotocols: readonly string[];
  readonly gateway: GatewayType;
  /** The values that a trusted proxy has sent with the PROXY protocol. */
  readonly proxied?: ProxiedConnection | undefined;
  readonly certificate?: () => PeerCertificate | undefined;
  /** The ports, and our own address, of the TCP connection of `peer`; empty if unknown. */
  readonly socketAddresses?: () => SocketEnds | undefined;
}

/** Both ends of a TCP connection, with the names of `net.Socket`, except the peer's address. */
export interface SocketEnds {
  readonly remotePort: number;
  readonly localAddress: string;
  readonly localPort: number;
  readonly localFamily: string;
}

/** The values that a trusted proxy has sent with the PROXY protocol. */
export interface AttemptProxy {
  readonly version: 1 | 2;
  /** The proxy's own address. */
  readonly address: string;
  /** The address to which the client connected, as the proxy reports it. */
  readonly destination: { readonly address: string; readonly port: number } | undefined;
  /** The host name that the client requested, such as its SNI. */
  readonly authority: string | undefined;
  /** Up to 128 opaque bytes that identify the connection. */
  readonly uniqueId: Buffer | undefined;
  /** The TLS version of the client's connection, such as `TLSv1.3`. */
  readonly tlsVersion: string | undefined;
  /** Common name of the client's certificate, only if the proxy has verified the certificate. */
  readonly commonName: string | undefined;
}

let initOf: (attempt: UpgradeAttempt<unknown>) => AttemptInit;
let write: (attempt: UpgradeAttempt<unknown>, principal: unknown) => void;
let end: (attempt: UpgradeAttempt<unknown>, reason: Error) => void;
let listen: (attempt: UpgradeAttempt<unknown>, onEnd: () => void) => void;

/**
 * An upgrade request for guards. Values are parsed when they are first read. The object is not kept after the decision,
 * unless a guard keeps it. `P` is the type of the principal.
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

  /** @hidden Tests of guards create one with `attempt()` of `nest-secure-ws/testing`. */
  constructor(init: AttemptInit) {
    this.#init = init;
  }

  /** The client's address in canonical form, an embedded IPv4 address as IPv4. Determined with `proxy.trusted`. */
  get ip(): string {
    return this.#init.address.text;
  }

  /** The address of the socket's peer: that of the proxy, if there is one. */
  get remoteAddress(): string {
    return this.#init.peer.text;
  }

  /** Whether the client uses TLS, to this server or to the nearest trusted proxy. */
  get secure(): boolean {
    return this.#init.tls || this.#init.secure === true;
  }

  /** The raw request target up to `?`. */
  get path(): string {
    return this.#init.path;
  }

  /** The path pattern of the gateway, such as `/rooms/:id`; its path if it has no parameters. */
  get route(): string {
    return this.#init.route;
  }

  /**
   * Decoded values of the path's parameters by name, without a prototype. A `*name` is the rest of the path, including
   * slashes.
   */
  get params(): Readonly<Record<string, string>> {
    return this.#init.params;
  }

  get query(): URLSearchParams {
    return (this.#query ??= new URLSearchParams(this.#init.rawQuery));
  }

  /** Headers by lower-case name, repeated ones joined, without a prototype. */
  get headers(): Readonly<Record<string, string>> {
    return (this.#headers ??= lowerCaseHeaders(this.#init.rawHeaders));
  }

  /** Alternating names and values, as received. */
  get rawHeaders(): readonly string[] {
    return this.#init.rawHeaders;
  }

  /** The value of `Host` in lower case, with the port if it has one. */
  get host(): string {
    const { name, port } = this.#init.host;
    return port === undefined ? name : `${name}:${port}`;
  }

  /** The value of `Origin`; browsers always send one. */
  get origin(): string | undefined {
    return this.#init.origin;
  }

  /** Cookies by name, the first of each, without a prototype. */
  get cookies(): Readonly<Record<string, string>> {
    return (this.#cookies ??= parseCookies(this.headers['cookie']));
  }

  /** A copy of the offered subprotocols, in the client's order. */
  get protocols(): string[] {
    return [...this.#init.protocols];
  }

  /** The client's certificate, if one was requested and verified. */
  get certificate(): PeerCertificate | undefined {
    return this.#init.certificate?.();
  }

  /** The values that the relaying proxy has sent; only with `proxy.protocol`, and only from trusted proxies. */
  get proxy(): AttemptProxy | undefined {
    const { proxied } = this.#init;
    if (proxied === undefined) return undefined;
    const { version, destination, authority, uniqueId, tls } = proxied.header;
    const { version: tlsVersion, commonName } = tls ?? {};
    return { version, address: proxied.proxy, destination, authority, uniqueId, tlsVersion, commonName };
  }

  /** The class of the requested gateway. */
  get gateway(): GatewayType {
    return this.#init.gateway;
  }

  /** The principal that earlier guards have returned. */
  get principal(): P | undefined {
    return this.#principal;
  }

  /**
   * Aborts when the guard timeout has passed, and when the peer leaves before the guards have decided. An error that a
   * listener throws is an uncaught exception, as for every `AbortSignal`: Node throws it where nothing can catch it.
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

/** For the guard runner: sets `attempt.principal` for the next guard. */
export const setPrincipal = (attempt: UpgradeAttempt<unknown>, principal: unknown): void => write(attempt, principal);

/** For the guard runner: `onEnd` is called when the attempt is aborted. */
export const onAttemptEnd = (attempt: UpgradeAttempt<unknown>, onEnd: () => void): void => listen(attempt, onEnd);

/** Aborts `attempt.signal`; only the first reason counts. Costs nothing if no guard has read the signal. */
export const abortAttempt = (attempt: UpgradeAttempt<unknown>, reason: Error): void => end(attempt, reason);
