// @ts-nocheck
import type { Server, Socket } from 'node:net';
import { drop, intercept } from '../compat/native-accept.js';
import type { GatewaySettings } from '../config/settings.js';
import { reset } from '../connection/reset.js';
import { PendingHandshake } from '../handshake/pending-handshake.js';
import { peerAddress, type UpgradeContext } from '../handshake/upgrade-context.js';
import type { HeadLimits } from '../http/head.js';
import { HeadMeter } from '../http/head-meter.js';
import { REFUSALS, type Refusal } from '../http/refusal.js';
import { type ClientAddress, NO_ADDRESS, parseAddress } from '../net/address.js';
import { isAddressAllowed } from '../net/address-list.js';
import type { ClientRoute } from '../net/forwarding.js';
import { HandleTransport } from '../net/handle-transport.js';
import { SocketTransport } from '../net/socket-transport.js';
import type { Transport } from '../net/transport.js';
import type { Endpoint } from './endpoint.js';
import type { ServerContext } from './server-context.js';

/** One listening place and the paths on it. */
export abstract class Listener {
  readonly endpoints = new Map<string, Endpoint>();
  readonly handshakes = new Set<PendingHandshake>();
  readonly headLimits: HeadLimits;
  readonly openTimeout: number;
  readonly serverHeader: string | null;
  private closed = false;

  constructor(
    readonly engine: ServerContext,
    readonly settings: GatewaySettings,
  ) {
    const { http, serverHeader } = settings;
    this.headLimits = { maxLineLength: http.maxLineLength, maxNumHeaders: http.maxNumHeaders };
    this.openTimeout = http.openTimeout;
    this.serverHeader = serverHeader;
  }

  /** Ours alone: every head is held to the limits. */
  abstract readonly isOwn: boolean;
  /** Others listen for upgrades too, and unknown paths are theirs. */
  abstract readonly hasForeignUpgrades: boolean;
  abstract newMeter(): HeadMeter;
  /** A connection that is not for us. */
  abstract handOver(socket: Socket, bytes: Buffer): void;

  /** 0: accept. Denied addresses and crowds are reset here, before anything is read or written. */
  accept(tcp: Socket): PendingHandshake | undefined {
    const peer = peerAddress(tcp, this.engine.settings.connections.ipv6Prefix);
    const refusal = this.judge(peer);
    if (refusal === undefined) return this.open(new SocketTransport(tcp), peer);
    tcp.on('error', ignore);
    reset(tcp);
    this.reportReset(peer, refusal);
    return undefined;
  }

  /** … for all connections of a server before Node makes sockets of them; those over TLS become sockets then. */
  protected acceptEarly(server: Server, isTls: boolean): void {
    const { ipv6Prefix } = this.engine.settings.connections;
    intercept(server, (address, client, gate) => {
      const peer = parseAddress(address, ipv6Prefix) ?? NO_ADDRESS;
      const refusal = this.judge(peer);
      if (refusal !== undefined) {
        drop(client);
        this.reportReset(peer, refusal);
        return true;
      }
      // A server that has enough of them says so at accept.
      if (isTls || server.maxConnections > 0 || !HandleTransport.fits(client)) return false;
      this.open(new HandleTransport(client, gate), peer)?.read();
      return true;
    });
  }

  /** Whether it is certain before anything was read that there is no room; an attempt then as any other. */
  protected isFullFor(_peer: ClientAddress): Refusal | undefined {
    return undefined;
  }

  /** The client turned out to be another address than the peer: it counts from here on. */
  moveTo(upgrade: UpgradeContext, { address, isExempt }: ClientRoute): void {
    const { engine } = this;
    const { handshake } = upgrade;
    const entry = engine.addresses.acquire(address, isExempt);
    const before = upgrade.entry;
    upgrade.entry = entry;
    engine.pending.move(handshake.place, entry);
    engine.addresses.release(before);
    this.makeRoom(handshake);
  }

  /** Ends whatever is still on its way in. */
  shutDown(refusal: Refusal): void {
    for (const handshake of [...this.handshakes]) handshake.shutDown(refusal);
  }

  /** Ends what is still there, whatever it is doing. */
  dropAll(): void {
    for (const handshake of [...this.handshakes]) handshake.drop();
  }

  /** Ends what is still there, and lets nobody in any more. */
  async close(): Promise<void> {
    this.closed = true;
    this.dropAll();
  }

  private judge(peer: ClientAddress): Refusal | undefined {
    const { proxy, addressRules } = this.engine;
    const isProxy = proxy.trusted.has(peer);
    if (!isProxy && !isAddressAllowed(peer, addressRules)) return REFUSALS.addressDenied;
    if (this.closed) return REFUSALS.shutdown;
    return isProxy ? undefined : this.isFullFor(peer);
  }

  private open(transport: Transport, peer: ClientAddress): PendingHandshake | undefined {
    const handshake = new PendingHandshake(this, transport, peer, this.engine.proxy.trusted.has(peer));
    this.handshakes.add(handshake);
    this.makeRoom(handshake);
    return handshake.place.isHeld ? handshake : undefined;
  }

  private makeRoom(handshake: PendingHandshake): void {
    for (
      let victim = this.engine.pending.victim(handshake.place);
      victim !== undefined;
      victim = this.engine.pending.victim(handshake.place)
    ) {
      victim.crowdedOut();
    }
  }

  private reportReset({ text: ip }: ClientAddress, { reason }: Refusal): void {
    this.engine.telemetry.refused({ reason, status: 0, ip, path: undefined, detail: 'reset at accept' });
  }
}

function ignore(): void {}
