// @ts-nocheck
import type { TLSSocket } from 'node:tls';
import type { AddressEntry } from '../admission/address-table.js';
import { ABANDONED } from '../admission/guard-runner.js';
import type { PendingPlace } from '../admission/pending.js';
import { own } from '../connection/chunks.js';
import type { RequestHead } from '../http/head.js';
import { COMPLETE, FAULT, HeadMeter, MORE } from '../http/head-meter.js';
import { parseRequestHead } from '../http/head-parser.js';
import { isRefusal, REFUSALS, type Refusal, refusalOf } from '../http/refusal.js';
import { refusalText } from '../http/response.js';
import type { ClientAddress } from '../net/address.js';
import { Timed } from '../net/timer-wheel.js';
import type { Transport, TransportReader } from '../net/transport.js';
import type { Listener } from '../server/listener.js';
import { enter } from './complete-upgrade.js';
import type { HeadHolder } from './handshake-budget.js';
import { FOREIGN, runStages, type Stop } from './stages.js';
import { UpgradeContext } from './upgrade-context.js';

/** Bytes behind the head that are kept while the guards think; then TCP keeps them. */
const MAX_EARLY = 16 * 1024;
const NOTHING = Buffer.alloc(0);

/** What a peer has sent before its 101, and what is held of it. */
export abstract class HandshakeBytes extends Timed implements HeadHolder {
  /** For `HandshakeBudget`. */ heldBytes = 0;
  /** The head as it came, until it is known to be ours: somebody else's parser may want it. */
  protected head: Buffer | undefined = undefined;
  private early: Buffer[] | undefined = undefined;
  private headBytes = 0;
  private earlyBytes = 0;

  abstract readonly port: Listener;
  protected abstract readonly transport: Transport;
  abstract get account(): AddressEntry;
  abstract crowdedOut(): void;

  protected hold(bytes: number): void {
    this.port.engine.heads.settle(this, bytes);
  }

  /** Somebody must be waited for: what the head says is held meanwhile, and counts. */
  protected holdHead(head: RequestHead): void {
    this.headBytes = sizeOf(head) + (this.head?.length ?? 0);
    this.hold(this.headBytes + this.earlyBytes);
  }

  protected keepEarly(chunk: Buffer): void {
    (this.early ??= []).push(own(chunk));
    this.earlyBytes += chunk.length;
    this.hold(this.headBytes + this.earlyBytes);
    if (this.earlyBytes > MAX_EARLY) this.transport.pause();
  }

  /** What came behind the head, in one piece. */
  protected get behindHead(): Buffer {
    const { early } = this;
    if (early === undefined) return NOTHING;
    return early.length === 1 ? early[0]! : Buffer.concat(early);
  }

  /** Nothing is kept any longer. */
  protected forgetBytes(): void {
    this.hold(0);
    this.head = this.early = undefined;
  }
}

/** Characters of a head. */
const sizeOf = ({ target, rawHeaders }: RequestHead): number =>
  rawHeaders.reduce((sum, text) => sum + text.length, target.length);

const NEVER = Number.POSITIVE_INFINITY;
/** What is read and thrown away after a refusal, so that its answer arrives, and for how long. */
const MAX_DISCARD = 64 * 1024;
const LINGER = 1000;
/** First byte of a TLS record that begins a handshake (RFC 8446, section 5.1). */
const TLS_HELLO = 0x16;

enum State {
  /** TLS is being set up; nothing is read here. */
  TLS,
  HEAD,
  /** Refused, but the response to the request before it comes first; nothing is read meanwhile. */
  WAITING,
  /** The stages decide. */
  DECIDING,
  /** Refused: what still comes is thrown away. */
  LINGERING,
  /** Somebody else's: a connection's, Node's, nobody's. */
  DONE,
}

/** A raw connection on its way from accept to the 101, or out. */
export class PendingHandshake extends HandshakeBytes implements TransportReader {
  readonly entry: AddressEntry;
  private state = State.TLS;
  private meter: HeadMeter | undefined = undefined;
  private upgrade: UpgradeContext | undefined = undefined;
  private discarded = 0;
  private received = false;
  private deadline: number;
  readonly place: PendingPlace<PendingHandshake>;
  /** Called once, when it is no longer an opening. */
  onLeft: (() => void) | undefined = undefined;

  constructor(
    readonly port: Listener,
    protected readonly transport: Transport,
    readonly peer: ClientAddress,
    isExempt: boolean,
  ) {
    super();
    transport.attend(this);
    const { engine } = port;
    this.entry = engine.addresses.acquire(peer, isExempt);
    this.place = engine.pending.enter(this.entry, this);
    this.deadline = engine.clock.now() + port.openTimeout;
    engine.wheel.schedule(this, this.deadline);
  }

  /** Bytes of a head may come: plaintext, or over `tls`, which has been set up over the same connection. */
  read(tls?: TLSSocket): void {
    if (this.state !== State.TLS) return;
    this.state = State.HEAD;
    this.meter = this.port.newMeter();
    this.transport.read(tls);
  }

  /** A later request of a connection that Node has parsed so far. */
  resume(head: RequestHead, rest: Buffer): void {
    this.state = State.HEAD;
    this.received = true;
    this.transport.read();
    this.decide(head, rest);
  }

  /** … that is refused whatever it says, once the request before it was answered: for that no deadline is ours. */
  refuseWhen(answered: (then: () => void) => void, refusal: Refusal): void {
    this.state = State.WAITING;
    this.deadline = NEVER;
    answered(() => {
      if (this.state !== State.WAITING) return;
      this.transport.read();
      this.refuse(refusal);
    });
  }

  /** What the store remembers of the address that counts. */
  get account(): AddressEntry {
    return this.upgrade?.entry ?? this.entry;
  }

  /** Ends it without an answer. */
  drop(): void {
    this.leave('dropped');
    this.transport.destroy();
  }

  /** Others need the place. */
  crowdedOut(): void {
    // One that lingers was refused, and told of, already.
    if (this.state !== State.LINGERING) this.report(CROWDED_OUT);
    this.drop();
  }

  /** The application shuts down. What waits for a response is its response's. */
  shutDown(refusal: Refusal): void {
    if (this.state === State.WAITING) return;
    if (this.state === State.DECIDING) this.refuse(refusal);
    else this.drop();
  }

  override onDue(now: number): number {
    if (this.state === State.DONE || now < this.deadline) return this.state === State.DONE ? NEVER : this.deadline;
    if (this.state === State.HEAD && this.received) this.refuse(REFUSALS.headTimeout);
    else if (this.state === State.DECIDING && this.upgrade !== undefined) this.refuse(REFUSALS.openTimeout);
    else this.drop();
    return this.state === State.LINGERING ? this.deadline : NEVER;
  }

  /** @internal */ onChunk(chunk: Buffer): void {
    switch (this.state) {
      case State.HEAD:
        return this.onHead(chunk);
      case State.DECIDING:
        return this.keepEarly(chunk);
      case State.LINGERING:
        return this.discard(chunk);
      default:
        return;
    }
  }

  /** @internal The peer says no more: on this way there is nothing that could still follow. */
  onFin(): void {
    if (this.state !== State.LINGERING) this.drop();
  }

  /** @internal */ onGone(): void {
    this.leave('the peer has left');
    this.transport.destroy();
  }

  private onHead(chunk: Buffer): void {
    if (!this.received && this.port.isOwn && chunk[0] === TLS_HELLO) return this.drop();
    this.received = true;
    const meter = this.meter!;
    const verdict = meter.push(chunk);
    if (verdict === MORE) return this.hold(meter.bytes);
    if (verdict === COMPLETE) this.onComplete(meter);
    else if (verdict === FAULT) this.refuse(refusalOf(meter.fault!));
    else this.handOver(meter.taken);
  }

  private onComplete({ head, rest }: HeadMeter): void {
    const parsed = parseRequestHead(head);
    if (isRefusal(parsed)) return this.refuse(parsed);
    this.head = head;
    this.decide(parsed, rest);
  }

  private decide(head: RequestHead, rest: Buffer): void {
    this.state = State.DECIDING;
    this.meter = undefined;
    const { engine } = this.port;
    const upgrade = new UpgradeContext(engine, this.port, this.transport, head, this.peer, this.entry, this);
    this.upgrade = upgrade;
    if (rest.length > 0) this.keepEarly(rest);
    runStages(upgrade, (stop) => this.settle(upgrade, stop));
    if (this.state !== State.DECIDING) return;
    if (upgrade.endpoint !== undefined) this.head = undefined;
    this.holdHead(head);
  }

  private settle(upgrade: UpgradeContext, stop: Stop | undefined): void {
    if (upgrade.over) return;
    if (stop === undefined) this.accept(upgrade);
    else if (stop === ABANDONED) this.drop();
    else if (stop !== FOREIGN) this.refuse(stop as Refusal);
    else if (this.head === undefined) this.refuse(REFUSALS.path);
    else this.handOver(Buffer.concat([this.head, this.behindHead]));
  }

  /** The slot and the entry go with the connection from here on. */
  private accept(upgrade: UpgradeContext): void {
    const head = this.behindHead;
    upgrade.over = true;
    this.finish(upgrade.entry);
    if (!enter(upgrade, head)) this.transport.destroy();
  }

  /** Answers, half-closes, and lingers for as long as the answer needs to arrive. */
  private refuse(refusal: Refusal): void {
    const { engine, serverHeader } = this.port;
    this.forgetBytes();
    this.chargeUnfinished();
    this.report(refusal);
    this.upgrade?.abandon('refused');
    this.meter = undefined;
    this.state = State.LINGERING;
    this.deadline = engine.clock.now() + LINGER;
    engine.wheel.schedule(this, this.deadline);
    if (!this.transport.conclude(refusalText(refusal, serverHeader))) this.drop();
  }

  private report(refusal: Refusal): void {
    const { upgrade } = this;
    const { engine } = this.port;
    const ip = upgrade?.route?.address.text ?? this.peer.text;
    engine.telemetry.refused({
      reason: refusal.reason,
      status: refusal.status,
      ip,
      path: upgrade?.request?.path,
      detail: refusal.detail,
    });
    const forAddress = refusal.reason === 'connection-rate' || refusal.reason === 'connections-per-ip';
    if (forAddress && upgrade?.route?.strayHeaders) engine.hints.refused(upgrade.route);
  }

  /** Node's own parser goes on from the first byte. */
  private handOver(bytes: Buffer): void {
    this.leave('ordinary');
    const socket = this.transport.release();
    if (socket === undefined) this.transport.destroy();
    else this.port.handOver(socket, bytes);
  }

  private discard(chunk: Buffer): void {
    this.discarded += chunk.length;
    if (this.discarded > MAX_DISCARD) this.drop();
  }

  /** Gives back everything but the socket. Idempotent. */
  private leave(reason: string): void {
    if (this.state === State.DONE) return;
    if (this.state !== State.LINGERING) this.chargeUnfinished();
    this.upgrade?.abandon(reason);
    this.finish(undefined);
  }

  /** What ends before stage 2 has charged it is an attempt all the same; an ordinary request is none. */
  private chargeUnfinished(): void {
    if (this.upgrade !== undefined) return;
    const { engine, isOwn } = this.port;
    const isAttempt = this.state === State.WAITING || (this.meter?.isOurs ?? isOwn);
    if (isAttempt) void engine.store.chargeAttempt(this.entry);
  }

  /** `kept`: an address entry that somebody else will release. */
  private finish(kept: AddressEntry | undefined): void {
    const { engine } = this.port;
    this.forgetBytes();
    this.state = State.DONE;
    engine.wheel.cancel(this);
    engine.pending.leave(this.place);
    if (this.account !== kept) engine.addresses.release(this.account);
    this.port.handshakes.delete(this);
    this.onLeft?.();
    this.onLeft = undefined;
  }
}

const CROWDED_OUT: Refusal = Object.freeze({
  reason: 'pending-full',
  status: 0,
  text: '',
  detail: 'dropped for newcomers',
});
