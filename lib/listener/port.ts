import type { Server, Socket } from 'node:net';
import { type ClientAddress, NO_ADDRESS, parseAddress } from '../admission/address.js';
import { isAddressAllowed } from '../admission/ip/address-rules.js';
import type { ClientRoute } from '../admission/proxy/client-route.js';
import { reset } from '../connection/reset.js';
import { REFUSALS, type Refusal } from '../errors/refusals.js';
import type { GatewaySettings } from '../options/settings.js';
import type { Endpoint } from '../pipeline/endpoint.js';
import type { Engine } from '../pipeline/engine.js';
import { Opening } from '../pipeline/opening.js';
import { type Passage, peerAddress } from '../pipeline/passage.js';
import type { Wire } from '../pipeline/wire.js';
import type { HeadLimits } from '../request/head.js';
import { HeadMeter } from '../request/head-meter.js';
import { drop, intercept } from './handle.js';
import { HandleWire } from './handle-wire.js';
import { SocketWire } from './socket-wire.js';

/** One listening place and the paths on it. */
export abstract class Port {
  readonly endpoints = new Map<string, Endpoint>();
  readonly openings = new Set<Opening>();
  readonly headLimits: HeadLimits;
  readonly openTimeout: number;
  readonly serverHeader: string | null;
  private closed = false;

  constructor(
    readonly engine: Engine,
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
  accept(tcp: Socket): Opening | undefined {
    const peer = peerAddress(tcp, this.engine.settings.connections.ipv6Prefix);
    const refusal = this.judge(peer);
    if (refusal === undefined) return this.open(new SocketWire(tcp), peer);
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
      if (isTls || server.maxConnections > 0 || !HandleWire.fits(client)) return false;
      this.open(new HandleWire(client, gate), peer)?.read();
      return true;
    });
  }

  /** Whether it is certain before anything was read that there is no room; an attempt then as any other. */
  protected isFullFor(_peer: ClientAddress): Refusal | undefined {
    return undefined;
  }

  /** The client turned out to be another address than the peer: it counts from here on. */
  moveTo(passage: Passage, { address, isExempt }: ClientRoute): void {
    const { engine } = this;
    const { opening } = passage;
    const entry = engine.addresses.acquire(address, isExempt);
    const before = passage.entry;
    passage.entry = entry;
    engine.pending.move(opening.place, entry);
    engine.addresses.release(before);
    this.makeRoom(opening);
  }

  /** Ends whatever is still on its way in. */
  shutDown(refusal: Refusal): void {
    for (const opening of [...this.openings]) opening.shutDown(refusal);
  }

  /** Ends what is still there, whatever it is doing. */
  dropAll(): void {
    for (const opening of [...this.openings]) opening.drop();
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

  private open(wire: Wire, peer: ClientAddress): Opening | undefined {
    const opening = new Opening(this, wire, peer, this.engine.proxy.trusted.has(peer));
    this.openings.add(opening);
    this.makeRoom(opening);
    return opening.place.isHeld ? opening : undefined;
  }

  private makeRoom(opening: Opening): void {
    for (
      let victim = this.engine.pending.victim(opening.place);
      victim !== undefined;
      victim = this.engine.pending.victim(opening.place)
    ) {
      victim.crowdedOut();
    }
  }

  private reportReset({ text: ip }: ClientAddress, { reason }: Refusal): void {
    this.engine.telemetry.refused({ reason, status: 0, ip, path: undefined, detail: 'reset at accept' });
  }
}

function ignore(): void {}
