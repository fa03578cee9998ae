import type { Server, Socket } from 'node:net';
import type { PeerCertificate, TLSSocket } from 'node:tls';
import type { AddressEntry } from '../admission/address-table.js';
import { abortAttempt, type SocketEnds, UpgradeAttempt } from '../admission/attempt.js';
import type { Reservation } from '../admission/capacity.js';
import type { Admitted } from '../admission/guard-answer.js';
import { NOTHING_SAID } from '../admission/guard-runner.js';
import type { TransportFacts } from '../admission/transport.js';
import type { RequestHead } from '../http/head.js';
import type { HostPort } from '../http/host.js';
import type { UpgradeRequest } from '../http/upgrade-request.js';
import { type ClientAddress, NO_ADDRESS, parseAddress, UNIX_PEER } from '../net/address.js';
import { type AsyncContext, runInFork } from '../net/async-context.js';
import type { ClientRoute } from '../net/forwarding.js';
import type { Transport } from '../net/transport.js';
import type { Listener } from '../server/listener.js';
import type { ServerContext } from '../server/server-context.js';
import type { UpgradeTarget } from '../server/upgrade-target.js';
import type { PendingHandshake } from './pending-handshake.js';
import type { PathParams } from './router.js';

/** One request for a WebSocket on its way through the stages; each adds what it found out, and reads the facts in it. */
export class UpgradeContext implements TransportFacts {
  route!: ClientRoute;
  request!: UpgradeRequest;
  endpoint!: UpgradeTarget;
  /** Parameters of the path. */
  params!: PathParams;
  attempt: UpgradeAttempt | undefined = undefined;
  admitted: Admitted = NOTHING_SAID;
  /** What its guards have entered. */
  asyncContext: AsyncContext = undefined;
  /** Milliseconds that asynchronous guards have taken. */
  guardTime = 0;
  reservation: Reservation | undefined = undefined;
  /** The peer has gone, or its time has run out: whatever a stage still finds out is too late. */
  over = false;

  constructor(
    readonly engine: ServerContext,
    readonly port: Listener,
    readonly transport: Transport,
    readonly head: RequestHead,
    readonly peer: ClientAddress,
    /** What the store remembers of the address that counts; at first the peer's own. */
    public entry: AddressEntry,
    readonly handshake: PendingHandshake,
  ) {}

  get tls(): boolean {
    return this.transport.tls !== undefined;
  }

  get address(): ClientAddress {
    return this.route.address;
  }

  get secure(): boolean | undefined {
    return this.route.secure;
  }

  get viaProxy(): boolean {
    return this.route.viaProxy;
  }

  get host(): HostPort {
    return this.request.host;
  }

  get origin(): string | undefined {
    return this.request.origin;
  }

  /** The attempt as guards see it, made when the first of them asks. */
  toAttempt(): UpgradeAttempt {
    const { request, transport } = this;
    this.attempt = new UpgradeAttempt({
      address: this.address,
      peer: this.peer,
      entry: this.entry,
      tls: this.tls,
      secure: this.secure,
      viaProxy: this.viaProxy,
      path: request.path,
      rawQuery: request.rawQuery,
      route: this.endpoint.path,
      params: this.params,
      rawHeaders: this.head.rawHeaders,
      host: this.host,
      origin: this.origin,
      protocols: request.protocols,
      subprotocols: this.endpoint.settings.connections.subprotocols,
      gateway: this.endpoint.gateway,
      proxied: transport.proxied,
      certificate: () => verifiedCertificate(transport.tls),
      ends: () => this.ends(),
    });
    return this.attempt;
  }

  /** Nothing of a connection whose peer is somebody else than the one that is judged. */
  private ends(): SocketEnds | undefined {
    const ends = this.transport.ends();
    if (ends === undefined || parseAddress(ends.remoteAddress)?.text !== this.peer.text) return undefined;
    const { remotePort, localAddress, localPort, localFamily } = ends;
    return { remotePort, localAddress, localPort, localFamily };
  }

  /** Ends it, whoever still works on it; gives the slot back. */
  abandon(reason: string): void {
    if (this.over) return;
    this.over = true;
    // protection: guards are told that the peer has left
    if (this.attempt !== undefined)
      runInFork(this.asyncContext, abortAttempt, undefined, this.attempt, new DOMException(reason, 'AbortError'));
    // end protection
    // protection: the slot of a failed upgrade is given back
    this.reservation?.release();
    // end protection
  }
}

function verifiedCertificate(tls: TLSSocket | undefined): PeerCertificate | undefined {
  if (tls?.authorized !== true) return undefined;
  const certificate = tls.getPeerCertificate();
  return Object.keys(certificate).length === 0 ? undefined : certificate;
}

/** The address of a socket's peer. Without one it is one of a Unix domain socket, or one that has left already. */
export function peerAddress(socket: Socket, ipv6Prefix: number): ClientAddress {
  const { remoteAddress, server } = socket as Socket & { readonly server?: Server | null };
  if (remoteAddress !== undefined) return parseAddress(remoteAddress, ipv6Prefix) ?? NO_ADDRESS;
  // The server knows which: whoever resets TCP in time must not pass for a local peer.
  return typeof server?.address() === 'string' ? UNIX_PEER : NO_ADDRESS;
}
