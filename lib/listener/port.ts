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
import type { HeadLimits } from '../request/head.js';
import { HeadMeter } from '../request/head-meter.js';
import { dropEarly } from './early-drop.js';

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
    const { engine } = this;
    const peer = peerAddress(tcp, engine.settings.connections.ipv6Prefix);
    if (this.isDenied(peer)) return this.reset(tcp, peer.text, REFUSALS.addressDenied);
    if (this.closed) return this.reset(tcp, peer.text, REFUSALS.shutdown);
    const isProxy = engine.proxy.trusted.has(peer);
    const full = isProxy ? undefined : this.isFullFor(peer);
    if (full !== undefined) return this.reset(tcp, peer.text, full);
    const opening = new Opening(this, tcp, peer, isProxy);
    this.openings.add(opening);
    this.makeRoom(opening);
    return opening.place.isHeld ? opening : undefined;
  }

  /** Whether it is certain before anything was read that there is no room; an attempt then as any other. */
  protected isFullFor(_peer: ClientAddress): Refusal | undefined {
    return undefined;
  }

  /** … or earlier still, where this Node lets us. */
  protected judgeEarly(server: Server): void {
    const { allowedIps, deniedIps, ipv6Prefix } = this.engine.settings.connections;
    if (allowedIps === undefined && deniedIps.length === 0) return;
    dropEarly(server, (text) => {
      const peer = parseAddress(text, ipv6Prefix) ?? NO_ADDRESS;
      if (!this.isDenied(peer)) return false;
      this.reportReset(peer.text, REFUSALS.addressDenied);
      return true;
    });
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

  private isDenied(peer: ClientAddress): boolean {
    const { proxy, addressRules } = this.engine;
    return !proxy.trusted.has(peer) && !isAddressAllowed(peer, addressRules);
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

  private reset(tcp: Socket, ip: string, refusal: Refusal): undefined {
    tcp.on('error', ignore);
    reset(tcp);
    this.reportReset(ip, refusal);
    return undefined;
  }

  private reportReset(ip: string, { reason }: Refusal): void {
    this.engine.telemetry.refused({ reason, status: 0, ip, path: undefined, detail: 'reset at accept' });
  }
}

function ignore(): void {}
