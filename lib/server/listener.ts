import type { Server, Socket } from 'node:net';
import { type AcceptHook, type Handle, interceptAccept, resetHandle } from '../compat/node-handles.js';
import { acceptProblem } from '../compat/probes.js';
import type { GatewaySettings } from '../config/settings.js';
import { PendingHandshake } from '../handshake/pending-handshake.js';
import { Router } from '../handshake/router.js';
import { type HandshakeListener, peerAddress, type UpgradeTarget } from '../handshake/upgrade-context.js';
import type { HeadLimits } from '../http/head.js';
import { HeadMeter } from '../http/head-meter.js';
import { REFUSALS, type Refusal } from '../http/refusal.js';
import { type ClientAddress, NO_ADDRESS, parseAddress } from '../net/address.js';
import { isAddressAllowed } from '../net/address-list.js';
import type { ProxyVersions } from '../net/proxy-protocol.js';
import { reset } from '../net/reset.js';
import { SocketTransport } from '../net/socket-transport.js';
import type { Transport } from '../net/transport.js';
import type { Endpoint } from './endpoint.js';
import { ProxyProtocolReader } from './proxy-protocol-reader.js';
import type { ServerContext } from './server-context.js';

/** A listening port and its paths. */
export abstract class Listener implements HandshakeListener {
  /** Targets by path, or pattern of paths. */
  readonly endpoints = new Map<string, Endpoint>();
  readonly router = new Router<UpgradeTarget>();
  readonly headLimits: HeadLimits;
  readonly openTimeout: number;
  readonly serverHeader: string | null;
  /** Reads the PROXY protocol, if it is enabled on the port. */
  protected readonly proxyReader: ProxyProtocolReader | undefined;
  protected isClosed = false;

  constructor(
    readonly context: ServerContext,
    readonly settings: GatewaySettings,
  ) {
    const { http, serverHeader } = settings;
    this.headLimits = http;
    this.openTimeout = http.openTimeout;
    this.serverHeader = serverHeader;
    this.proxyReader = settings.proxy.protocol === 'off' ? undefined : this.newProxyReader(settings.proxy.protocol);
  }

  /** Adds an endpoint with its path; `isCatchAll`: also for every path that no other endpoint has. */
  add(path: string, endpoint: Endpoint, isCatchAll: boolean): void {
    const problem = isCatchAll ? this.router.addPrefix(path, endpoint) : this.router.add(path, endpoint);
    if (problem !== undefined) throw new Error(problem);
    this.endpoints.set(path, endpoint);
  }

  abstract readonly isDedicated: boolean;
  abstract readonly hasOtherListeners: boolean;
  abstract passesOn(path: string): boolean;
  abstract newMeter(): HeadMeter;
  abstract handOver(transport: Transport, bytes: Buffer, hasEnded: boolean): void;

  /** The pending handshakes of this port, in a new array. */
  protected get handshakes(): PendingHandshake[] {
    return this.context.pending
      .holders()
      .filter((holder) => holder instanceof PendingHandshake && holder.listener === this) as PendingHandshake[];
  }

  /**
   * Stage 0: a connection from a denied address is reset before anything is read or written. Returns false if it was
   * reset.
   */
  checkSocket(tcp: Socket): boolean {
    const peer = this.peerOf(tcp);
    const refusal = this.checkAddress(peer);
    if (refusal === undefined) return true;
    tcp.on('error', ignore);
    reset(tcp);
    this.reportReset(peer, refusal);
    return false;
  }

  /** Starts a handshake on a socket that has passed stage 0. */
  accept(tcp: Socket): PendingHandshake | undefined {
    return this.checkSocket(tcp) ? this.open(new SocketTransport(tcp), this.peerOf(tcp)) : undefined;
  }

  /**
   * Applies stage 0 to all connections of a server, before Node creates their sockets. `take` gets those that pass, and
   * returns whether it has taken the connection from Node. Returns a function that undoes this.
   */
  protected acceptEarly(
    server: Server,
    take: (client: Handle, acceptHook: AcceptHook, peer: ClientAddress) => boolean,
  ): () => void {
    const { connections, nativeAccept } = this.context.settings;
    if (acceptProblem(nativeAccept) !== undefined) return () => undefined;
    const { ipv6Prefix } = connections;
    return interceptAccept(server, (address, client, acceptHook) => {
      const peer = parseAddress(address, ipv6Prefix) ?? NO_ADDRESS;
      const refusal = this.checkAddress(peer);
      if (refusal === undefined) return take(client, acceptHook, peer);
      resetHandle(client);
      this.reportReset(peer, refusal);
      return true;
    });
  }

  /** Whether a connection can be read before Node creates a socket for it. */
  protected isHandleUsable(server: Server, peer: ClientAddress): boolean {
    // The PROXY protocol is read from a socket, before TLS and HTTP.
    // protection: a trusted proxy is read for its PROXY header before HTTP
    if (this.proxyReader !== undefined && this.context.proxy.trusted.has(peer)) return false;
    // end protection
    // A server with `maxConnections` drops connections when it creates sockets.
    // protection: maxConnections of a server holds at accept
    if (server.maxConnections > 0) return false;
    // end protection
    return true;
  }

  peerOf(socket: Socket): ClientAddress {
    return peerAddress(socket, this.context.settings.connections.ipv6Prefix);
  }

  /** Whether a connection must be refused whatever it sends, because there is no room; this counts as an attempt. */
  protected capacityRefusal(_peer: ClientAddress): Refusal | undefined {
    return undefined;
  }

  /** Ends all pending handshakes. */
  shutDown(refusal: Refusal): void {
    for (const handshake of this.handshakes) handshake.shutDown(refusal);
  }

  /** Ends all remaining connections. */
  dropAll(): void {
    for (const handshake of this.handshakes) handshake.drop();
  }

  /** Ends the pending handshakes, and refuses new ones. */
  async close(): Promise<void> {
    this.isClosed = true;
    this.dropAll();
  }

  private newProxyReader(versions: ProxyVersions): ProxyProtocolReader {
    const { context, openTimeout } = this;
    const { ipv6Prefix, maxPending } = context.settings.connections;
    return new ProxyProtocolReader({
      clock: context.clock,
      wheel: context.wheel,
      versions,
      timeout: openTimeout,
      maxWaiting: maxPending,
      peerOf: (socket) => {
        const peer = peerAddress(socket, ipv6Prefix);
        return peer === NO_ADDRESS ? 'gone' : context.proxy.trusted.has(peer) ? 'proxy' : 'untrusted';
      },
      refused: (socket, detail) => {
        const { text: ip } = this.peerOf(socket);
        context.telemetry.refused({ reason: 'proxy-protocol', status: 0, ip, path: undefined, detail });
      },
    });
  }

  private checkAddress(peer: ClientAddress): Refusal | undefined {
    const { proxy, addressRules } = this.context;
    const isProxy = proxy.trusted.has(peer);
    // protection: denied addresses are dropped at accept
    if (!isProxy && !isAddressAllowed(peer, addressRules)) return REFUSALS.addressDenied;
    // end protection
    // protection: banned addresses are reset at accept
    if (!isProxy && this.context.bans.ofAddress(peer) !== undefined) return REFUSALS.banned;
    // end protection
    if (this.isClosed) return REFUSALS.shutdown;
    return isProxy ? undefined : this.capacityRefusal(peer);
  }

  protected open(transport: Transport, peer: ClientAddress): PendingHandshake | undefined {
    const handshake = new PendingHandshake(this, transport, peer, this.context.proxy.trusted.has(peer));
    // protection: pending handshakes are bounded
    handshake.enforcePendingLimits();
    // end protection
    return handshake.place.isHeld ? handshake : undefined;
  }

  private reportReset({ text: ip }: ClientAddress, { reason }: Refusal): void {
    this.context.telemetry.refused({ reason, status: 0, ip, path: undefined, detail: 'reset at accept' });
  }
}

function ignore(): void {}
