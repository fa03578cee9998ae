import type { TLSSocket } from 'node:tls';
import type { ClientAddress } from '../admission/address.js';
import type { PendingPlace } from '../admission/capacity/pending.js';
import { ABANDONED } from '../admission/guard-runner.js';
import { REFUSALS, type Refusal } from '../errors/refusals.js';
import { refusalText } from '../handshake/respond.js';
import type { Port } from '../listener/port.js';
import type { RequestHead } from '../request/head.js';
import { COMPLETE, FAULT, HeadMeter, MORE } from '../request/head-meter.js';
import { parseRequestHead } from '../request/parse-head.js';
import { isRefusal, refusalOf } from '../request/verdicts.js';
import type { AddressEntry } from '../stores/address-entry.js';
import { OpeningBytes } from './opening-bytes.js';
import { Passage } from './passage.js';
import { FOREIGN, type Stop, travel } from './stages.js';
import { enter } from './welcome.js';
import type { Wire, WireReader } from './wire.js';

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
export class Opening extends OpeningBytes implements WireReader {
  readonly entry: AddressEntry;
  private state = State.TLS;
  private meter: HeadMeter | undefined = undefined;
  private passage: Passage | undefined = undefined;
  private discarded = 0;
  private received = false;
  private deadline: number;
  readonly place: PendingPlace<Opening>;
  /** Called once, when it is no longer an opening. */
  onLeft: (() => void) | undefined = undefined;

  constructor(
    readonly port: Port,
    protected readonly wire: Wire,
    readonly peer: ClientAddress,
    isExempt: boolean,
  ) {
    super();
    wire.attend(this);
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
    this.wire.read(tls);
  }

  /** A later request of a connection that Node has parsed so far. */
  resume(head: RequestHead, rest: Buffer): void {
    this.state = State.HEAD;
    this.received = true;
    this.wire.read();
    this.decide(head, rest);
  }

  /** … that is refused whatever it says, once the request before it was answered: for that no deadline is ours. */
  refuseWhen(answered: (then: () => void) => void, refusal: Refusal): void {
    this.state = State.WAITING;
    this.deadline = NEVER;
    answered(() => {
      if (this.state !== State.WAITING) return;
      this.wire.read();
      this.refuse(refusal);
    });
  }

  /** What the store remembers of the address that counts. */
  get account(): AddressEntry {
    return this.passage?.entry ?? this.entry;
  }

  /** Ends it without an answer. */
  drop(): void {
    this.leave('dropped');
    this.wire.destroy();
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
    else if (this.state === State.DECIDING && this.passage !== undefined) this.refuse(REFUSALS.openTimeout);
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
    this.wire.destroy();
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
    const passage = new Passage(engine, this.port, this.wire, head, this.peer, this.entry, this);
    this.passage = passage;
    if (rest.length > 0) this.keepEarly(rest);
    travel(passage, (stop) => this.settle(passage, stop));
    if (this.state !== State.DECIDING) return;
    if (passage.endpoint !== undefined) this.head = undefined;
    this.holdHead(head);
  }

  private settle(passage: Passage, stop: Stop | undefined): void {
    if (passage.over) return;
    if (stop === undefined) this.accept(passage);
    else if (stop === ABANDONED) this.drop();
    else if (stop !== FOREIGN) this.refuse(stop as Refusal);
    else if (this.head === undefined) this.refuse(REFUSALS.path);
    else this.handOver(Buffer.concat([this.head, this.behindHead]));
  }

  /** The slot and the entry go with the connection from here on. */
  private accept(passage: Passage): void {
    const head = this.behindHead;
    passage.over = true;
    this.finish(passage.entry);
    if (!enter(passage, head)) this.wire.destroy();
  }

  /** Answers, half-closes, and lingers for as long as the answer needs to arrive. */
  private refuse(refusal: Refusal): void {
    const { engine, serverHeader } = this.port;
    this.forgetBytes();
    this.chargeUnfinished();
    this.report(refusal);
    this.passage?.abandon('refused');
    this.meter = undefined;
    this.state = State.LINGERING;
    this.deadline = engine.clock.now() + LINGER;
    engine.wheel.schedule(this, this.deadline);
    if (!this.wire.conclude(refusalText(refusal, serverHeader))) this.drop();
  }

  private report(refusal: Refusal): void {
    const { passage } = this;
    const { engine } = this.port;
    const ip = passage?.route?.address.text ?? this.peer.text;
    engine.telemetry.refused({
      reason: refusal.reason,
      status: refusal.status,
      ip,
      path: passage?.request?.path,
      detail: refusal.detail,
    });
    const forAddress = refusal.reason === 'connection-rate' || refusal.reason === 'connections-per-ip';
    if (forAddress && passage?.route?.strayHeaders) engine.hints.refused(passage.route);
  }

  /** Node's own parser goes on from the first byte. */
  private handOver(bytes: Buffer): void {
    this.leave('ordinary');
    const socket = this.wire.release();
    if (socket === undefined) this.wire.destroy();
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
    this.passage?.abandon(reason);
    this.finish(undefined);
  }

  /** What ends before stage 2 has charged it is an attempt all the same; an ordinary request is none. */
  private chargeUnfinished(): void {
    if (this.passage !== undefined) return;
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
    this.port.openings.delete(this);
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
