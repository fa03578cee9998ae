import type { Socket } from 'node:net';
import type { ClientAddress } from '../admission/address.js';
import type { PendingPlace } from '../admission/capacity/pending.js';
import { ABANDONED } from '../admission/guard-runner.js';
import { own } from '../connection/chunks.js';
import { Timed } from '../connection/wheel.js';
import { REFUSALS, type Refusal } from '../errors/refusals.js';
import { refusalText } from '../handshake/respond.js';
import type { Port } from '../listener/port.js';
import type { RequestHead } from '../request/head.js';
import { COMPLETE, FAULT, HeadMeter, MORE } from '../request/head-meter.js';
import { parseRequestHead } from '../request/parse-head.js';
import { isRefusal, refusalOf } from '../request/verdicts.js';
import type { AddressEntry } from '../stores/address-entry.js';
import type { HeadHolder } from './held-heads.js';
import { Passage } from './passage.js';
import { FOREIGN, type Stop, travel } from './stages.js';
import { welcome } from './welcome.js';

const NEVER = Number.POSITIVE_INFINITY;
/** Bytes behind the head that are kept while the guards think; then TCP keeps them. */
const MAX_EARLY = 16 * 1024;
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

/** A raw connection on its way from accept to the 101, or out. All its sockets' listeners are shared by all openings. */
export class Opening extends Timed implements HeadHolder {
  readonly entry: AddressEntry;
  private socket: Socket;
  private state = State.TLS;
  private meter: HeadMeter | undefined = undefined;
  /** For `HeldHeads`. */ heldBytes = 0;
  private passage: Passage | undefined = undefined;
  /** The head as it came, until it is known to be ours: somebody else's parser may want it. */
  private head: Buffer | undefined = undefined;
  private early: Buffer[] | undefined = undefined;
  private headBytes = 0;
  private earlyBytes = 0;
  private discarded = 0;
  private received = false;
  private deadline: number;
  readonly place: PendingPlace<Opening>;
  /** Called once, when it is no longer an opening. */
  onLeft: (() => void) | undefined = undefined;

  constructor(
    readonly port: Port,
    /** Below TLS, where there is TLS. */
    private readonly tcp: Socket,
    readonly peer: ClientAddress,
    isExempt: boolean,
  ) {
    super();
    const { engine } = port;
    this.socket = tcp;
    this.entry = engine.addresses.acquire(peer, isExempt);
    this.place = engine.pending.enter(this.entry, this);
    this.deadline = engine.clock.now() + port.openTimeout;
    engine.wheel.schedule(this, this.deadline);
    attach(tcp, this);
    tcp.on('error', onError);
    tcp.on('close', onClose);
  }

  /** Bytes of a head may come: plaintext, or TLS has been set up over the same connection. */
  read(socket: Socket): void {
    if (this.state !== State.TLS) return;
    if (socket !== this.tcp) {
      this.socket = socket;
      attach(socket, this);
      socket.on('error', onError);
      socket.on('close', onClose);
    }
    this.state = State.HEAD;
    this.meter = this.port.newMeter();
    socket.on('data', onData);
    socket.on('end', onEnd);
  }

  /** A later request of a connection that Node has parsed so far. */
  resume(head: RequestHead, rest: Buffer): void {
    this.state = State.HEAD;
    this.received = true;
    this.socket.on('data', onData);
    this.socket.on('end', onEnd);
    this.decide(head, rest);
  }

  /** … that is refused whatever it says, once the request before it was answered: for that no deadline is ours. */
  refuseWhen(answered: (then: () => void) => void, refusal: Refusal): void {
    this.state = State.WAITING;
    this.deadline = NEVER;
    answered(() => {
      if (this.state !== State.WAITING) return;
      this.socket.on('data', onData);
      this.socket.on('end', onEnd);
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
    this.destroy();
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
    this.destroy();
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
    const passage = new Passage(engine, this.port, this.socket, head, this.peer, this.entry, this);
    this.passage = passage;
    if (rest.length > 0) this.keepEarly(rest);
    travel(passage, (stop) => this.settle(passage, stop));
    if (this.state === State.DECIDING) this.wait(passage);
  }

  /** Somebody must be waited for: what the head says is held meanwhile, and counts. */
  private wait({ endpoint, head }: Passage): void {
    if (endpoint !== undefined) this.head = undefined;
    this.headBytes = sizeOf(head) + (this.head?.length ?? 0);
    this.hold(this.headBytes + this.earlyBytes);
  }

  private settle(passage: Passage, stop: Stop | undefined): void {
    if (passage.over) return;
    if (stop === undefined) this.accept(passage);
    else if (stop === ABANDONED) this.drop();
    else if (stop !== FOREIGN) this.refuse(stop as Refusal);
    else if (this.head === undefined) this.refuse(REFUSALS.path);
    else this.handOver(Buffer.concat([this.head, ...(this.early ?? [])]));
  }

  private accept(passage: Passage): void {
    const head =
      this.early === undefined ? NOTHING : this.early.length === 1 ? this.early[0]! : Buffer.concat(this.early);
    // The slot and the entry go with the connection from here on.
    const { reservation } = passage;
    passage.over = true;
    this.detach();
    const { engine } = this.port;
    const held = passage.entry;
    let isReleased = false;
    const release = () => {
      if (isReleased) return;
      isReleased = true;
      reservation?.release();
      engine.addresses.release(held);
    };
    this.finish(held);
    if (!this.welcomes(passage, head, release)) {
      release();
      this.destroy();
    }
  }

  private welcomes(passage: Passage, head: Buffer, release: () => void): boolean {
    try {
      return welcome(passage, head, release);
    } catch (error) {
      this.port.engine.telemetry.fault('internal', error);
      return false;
    }
  }

  /** Answers, half-closes, and lingers for as long as the answer needs to arrive. */
  private refuse(refusal: Refusal): void {
    const { engine, serverHeader } = this.port;
    this.hold(0);
    this.chargeUnfinished();
    this.report(refusal);
    this.passage?.abandon('refused');
    this.head = this.early = this.meter = undefined;
    this.state = State.LINGERING;
    this.deadline = engine.clock.now() + LINGER;
    engine.wheel.schedule(this, this.deadline);
    if (!this.socket.writable) return this.drop();
    this.socket.end(refusalText(refusal, serverHeader), 'latin1');
    this.socket.resume();
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
    const { socket } = this;
    this.leave('ordinary');
    this.detach();
    this.port.handOver(socket, bytes);
  }

  private keepEarly(chunk: Buffer): void {
    (this.early ??= []).push(own(chunk));
    this.earlyBytes += chunk.length;
    this.hold(this.headBytes + this.earlyBytes);
    if (this.earlyBytes > MAX_EARLY) this.socket.pause();
  }

  private discard(chunk: Buffer): void {
    this.discarded += chunk.length;
    if (this.discarded > MAX_DISCARD) this.drop();
  }

  private hold(bytes: number): void {
    this.port.engine.heads.settle(this, bytes);
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
    this.hold(0);
    this.state = State.DONE;
    this.head = this.early = undefined;
    engine.wheel.cancel(this);
    engine.pending.leave(this.place);
    if (this.account !== kept) engine.addresses.release(this.account);
    this.port.openings.delete(this);
    this.onLeft?.();
    this.onLeft = undefined;
  }

  /** Lets go of the socket. What listens to errors stays: it does nothing any more, and none is ever nobody's. */
  private detach(): void {
    this.socket.removeListener('data', onData);
    this.socket.removeListener('end', onEnd);
    attach(this.socket, undefined);
    attach(this.tcp, undefined);
  }

  private destroy(): void {
    this.socket.destroy();
    if (this.socket !== this.tcp) this.tcp.destroy();
  }
}

const NOTHING = Buffer.alloc(0);
const CROWDED_OUT: Refusal = Object.freeze({
  reason: 'pending-full',
  status: 0,
  text: '',
  detail: 'dropped for newcomers',
});
const OPENING = Symbol('nest-secure-ws.opening');

interface Attached {
  [OPENING]?: Opening | undefined;
}

const attach = (socket: Socket, opening: Opening | undefined): void => {
  (socket as Attached)[OPENING] = opening;
};

/** The opening that a socket belongs to. */
export const openingOf = (socket: Socket): Opening | undefined => (socket as Attached)[OPENING];

function onData(this: Socket, chunk: Buffer): void {
  openingOf(this)?.onChunk(chunk);
}

function onEnd(this: Socket): void {
  openingOf(this)?.onFin();
}

function onError(this: Socket): void {
  openingOf(this)?.onGone();
}

function onClose(this: Socket): void {
  openingOf(this)?.onGone();
}

/** Characters of a head. */
const sizeOf = ({ target, rawHeaders }: RequestHead): number =>
  rawHeaders.reduce((sum, text) => sum + text.length, target.length);
