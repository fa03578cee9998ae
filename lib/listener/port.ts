import type { Socket } from 'node:net';
import { isAddressAllowed } from '../admission/ip/address-rules.js';
import type { ClientRoute } from '../admission/proxy/client-route.js';
import { REFUSALS, type Refusal } from '../errors/refusals.js';
import type { GatewaySettings } from '../options/settings.js';
import type { Endpoint } from '../pipeline/endpoint.js';
import type { Engine } from '../pipeline/engine.js';
import { Opening } from '../pipeline/opening.js';
import { type Passage, peerAddress } from '../pipeline/passage.js';
import type { HeadLimits } from '../request/head.js';
import { HeadMeter } from '../request/head-meter.js';

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
    const isProxy = engine.proxy.trusted.has(peer);
    if (!isProxy && !isAddressAllowed(peer, engine.addressRules))
      return this.reset(tcp, peer.text, REFUSALS.addressDenied);
    if (this.closed) return this.reset(tcp, peer.text, REFUSALS.shutdown);
    const opening = new Opening(this, tcp, peer, isProxy);
    this.openings.add(opening);
    this.makeRoom(opening);
    return opening.place.isHeld ? opening : undefined;
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
    tcp.resetAndDestroy();
    this.engine.telemetry.refused({
      reason: refusal.reason,
      status: 0,
      ip,
      path: undefined,
      detail: 'reset at accept',
    });
    return undefined;
  }
}

function ignore(): void {}
