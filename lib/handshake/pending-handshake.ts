import type { TLSSocket } from 'node:tls';
import type { AddressEntry } from '../admission/address-table.js';
import { ABANDONED } from '../admission/guard-runner.js';
import type { PendingPlace } from '../admission/pending-registry.js';
import type { ClientRoute } from '../http/forwarding.js';
import type { RequestHead } from '../http/head.js';
import { COMPLETE, FAULT, firstLook, type HeadMeter, type HeadVerdict, MORE } from '../http/head-meter.js';
import { parseRequestHead } from '../http/head-parser.js';
import { ByteAccumulator } from '../http/partial-head.js';
import { consentLine } from '../http/probe-consent.js';
import { isRefusal, REFUSALS, type Refusal, refusalOf } from '../http/refusal.js';
import { refusalText } from '../http/response.js';
import type { ClientAddress } from '../net/address.js';
import { Timed } from '../net/timer-wheel.js';
import type { Transport, TransportReader } from '../net/transport.js';
import type { HeadHolder } from './handshake-budget.js';
import type { HeadReader } from './head-scheduler.js';
import { FOREIGN, runStages, type StageExit } from './stages.js';
import { type HandshakeContext, type HandshakeListener, UpgradeContext, type UpgradeOwner } from './upgrade-context.js';

/** Bytes behind the head that are kept while the guards think; then TCP keeps them. */
const MAX_EARLY = 16 * 1024;
const NOTHING = Buffer.alloc(0);

/** What a peer has sent before its 101, and what is held of it. */
export abstract class HandshakeBytes extends Timed implements HeadHolder {
  /** For `HandshakeBudget`. */ heldBytes = 0;
  /** The head as it came, until it is known to be ours: somebody else's parser may want it. */
  protected head: Buffer | undefined = undefined;
  private early: ByteAccumulator | undefined = undefined;
  private headBytes = 0;

  abstract readonly listener: HandshakeListener;
  protected abstract readonly transport: Transport;
  abstract get account(): AddressEntry;
  abstract evict(): void;

  protected get context(): HandshakeContext {
    return this.listener.context;
  }

  protected hold(bytes: number): void {
    this.context.headBudget.set(this, bytes);
  }

  /** Somebody must be waited for: what the head says is held meanwhile, and counts. */
  protected holdHead(head: RequestHead): void {
    this.headBytes = sizeOf(head) + (this.head?.length ?? 0);
    // protection: what a pending handshake holds is counted
    this.hold(this.headBytes + (this.early?.capacity ?? 0));
    // end protection
  }

  /** Bytes behind the head, in one buffer: a peer that sends them one by one is held at what they take. */
  protected keepEarly(chunk: Buffer): void {
    const early = (this.early ??= new ByteAccumulator());
    early.append(chunk);
    // protection: what a pending handshake holds is counted
    this.hold(this.headBytes + early.capacity);
    // end protection
    if (early.length > MAX_EARLY) this.transport.pause();
  }

  /** What came behind the head, in one piece. */
  protected get bytesAfterHead(): Buffer {
    return this.early?.take(NOTHING) ?? NOTHING;
  }

  /** Nothing is kept any longer. */
  protected dropBytes(): void {
    this.hold(0);
    this.head = this.early = undefined;
  }
}

/** Bytes of a string beside its characters. */
const STRING_BYTES = 32;

/** What the texts of a head hold. */
const sizeOf = ({ target, rawHeaders }: RequestHead): number =>
  rawHeaders.reduce((sum, text) => sum + text.length + STRING_BYTES, target.length);

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
export class PendingHandshake extends HandshakeBytes implements TransportReader, HeadReader, UpgradeOwner {
  readonly entry: AddressEntry;
  private state = State.TLS;
  private meter: HeadMeter | undefined = undefined;
  private upgrade: UpgradeContext | undefined = undefined;
  /** Bytes of the head, and of what came behind a refusal. */
  private bytesRead = 0;
  private received = false;
  /** Set while nothing is read because others are read first. */
  private pausedAt: number | undefined = undefined;
  /** The attempt was counted in its address's rate before the head was complete. */
  isCharged = false;
  private deadline: number;
  readonly place: PendingPlace<{ evict(): void }>;
  private emitUpgrade: ((rest: Buffer) => void) | undefined = undefined;
  /** Called once, when it is no longer an opening. */
  onRelease: (() => void) | undefined = undefined;

  constructor(
    readonly listener: HandshakeListener,
    protected readonly transport: Transport,
    readonly peer: ClientAddress,
    isExempt: boolean,
  ) {
    super();
    transport.setReader(this);
    const { context } = listener;
    this.entry = context.addresses.acquire(peer, isExempt);
    this.place = context.pending.add(this.entry, this);
    // On a shared port it begins when the peer has asked for a WebSocket; before that, Node's timeouts hold.
    const begun = listener.isDedicated ? transport.proxied?.acceptedAt : undefined;
    this.deadline = (begun ?? context.clock.now()) + listener.openTimeout;
    // protection: a handshake must be complete in time
    context.wheel.schedule(this, this.deadline);
    // end protection
  }

  /** Bytes of a head may come: plaintext, or over `tls`, which has been set up over the same connection. */
  read(tls?: TLSSocket): void {
    if (this.state !== State.TLS) return;
    this.state = State.HEAD;
    this.meter = this.listener.newMeter();
    this.transport.read(tls);
  }

  /**
   * Takes a connection whose first bytes `meter` has read; they ask for a WebSocket. `rest`: what else was in the first
   * chunk, not parsed yet.
   */
  begin(meter: HeadMeter, verdict: HeadVerdict, size: number, rest: Buffer): void {
    this.state = State.HEAD;
    this.meter = meter;
    this.received = true;
    this.transport.read();
    this.onVerdict(meter, verdict, size, rest);
  }

  /**
   * A later request of a connection that Node has parsed so far. `emitUpgrade` tells other libraries of it, with the
   * bytes behind its head.
   */
  resume(head: RequestHead, rest: Buffer, emitUpgrade: (rest: Buffer) => void): void {
    this.emitUpgrade = emitUpgrade;
    this.state = State.HEAD;
    this.received = true;
    this.transport.read();
    this.runStages(head, rest);
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

  /** Milliseconds since TCP accept, or since a later request; while the stages decide. */
  get age(): number {
    return this.context.clock.now() - this.deadline + this.listener.openTimeout;
  }

  /** What the store remembers of the address that counts. */
  get account(): AddressEntry {
    return this.upgrade?.entry ?? this.entry;
  }

  changeAddress(upgrade: UpgradeContext, { address, isExempt }: ClientRoute): void {
    const { addresses, pending } = this.context;
    const entry = addresses.acquire(address, isExempt);
    const before = upgrade.entry;
    upgrade.entry = entry;
    pending.move(this.place, entry);
    addresses.release(before);
    // protection: pending handshakes of a client behind a proxy are bounded
    this.enforcePendingLimits();
    // end protection
  }

  /** Ends others, or itself, until the limits of pending handshakes hold. */
  enforcePendingLimits(): void {
    const { pending } = this.context;
    for (let victim = pending.victim(this.place); victim !== undefined; victim = pending.victim(this.place))
      victim.evict();
  }

  /** Ends it without an answer. */
  drop(): void {
    this.release('dropped');
    this.transport.destroy();
  }

  /** Ends it where its head is not complete. */
  dropHead(): void {
    if (this.state === State.HEAD) this.drop();
  }

  /** Others need the place. */
  evict(): void {
    // One that lingers was refused, and told of, already.
    if (this.state !== State.LINGERING) this.report(EVICTED);
    this.release('dropped');
    const { transport } = this;
    transport.pause();
    this.context.endScheduler.add(() => transport.destroy());
  }

  /** The application shuts down. What waits for a response is its response's. */
  shutDown(refusal: Refusal): void {
    if (this.state === State.WAITING) return;
    if (this.state === State.DECIDING) this.refuse(refusal);
    else this.drop();
  }

  /** The event loop was late: the peer has as much more time. */
  override onStall(silence: number): void {
    this.deadline += silence;
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

  /** @internal The peer has half-closed: nothing that a handshake needs can follow. */
  onEnd(): void {
    if (this.state === State.LINGERING) return;
    if (this.state === State.HEAD && !this.listener.isDedicated) this.handOver(this.meter!.takeAll(), true);
    else this.drop();
  }

  /** @internal */ onClose(): void {
    this.release('the peer has left');
    this.transport.destroy();
  }

  private onHead(chunk: Buffer): void {
    // protection: a TLS hello gets no plaintext answer
    if (!this.received && this.listener.isDedicated && chunk[0] === TLS_HELLO) return this.drop();
    // end protection
    const first = this.received ? chunk : firstLook(chunk);
    this.received = true;
    const meter = this.meter!;
    this.onVerdict(meter, meter.push(first), first.length, chunk.subarray(first.length));
  }

  /** `rest`: what else was in the chunk, not parsed yet. */
  private onVerdict(meter: HeadMeter, verdict: HeadVerdict, size: number, rest: Buffer): void {
    this.bytesRead += size;
    if (verdict === MORE) return this.onIncomplete(meter, size, rest);
    if (verdict === COMPLETE) this.onComplete(meter);
    else if (verdict === FAULT) this.refuse(refusalOf(meter.fault!));
    else this.handOver(meter.bytesSoFar);
  }

  /** Whoever is past a limit of its address is refused before its head is complete. */
  private onIncomplete(meter: HeadMeter, size: number, rest: Buffer): void {
    const { context } = this;
    const refusal = this.checkLimitsEarly();
    if (refusal !== undefined) {
      this.bytesRead += rest.length;
      return this.refuseLater(refusal);
    }
    if (rest.length > 0) return this.onVerdict(meter, meter.push(rest), rest.length, NOTHING);
    this.hold(meter.bytes);
    if (this.state === State.HEAD) context.headScheduler.addBytes(this, size);
  }

  /** … in one of the next turns: a crowd that is refused together must not keep others waiting. Keeps nothing of the head. */
  private refuseLater(refusal: Refusal): void {
    this.state = State.WAITING;
    this.dropBytes();
    this.meter = undefined;
    this.transport.pause();
    this.context.endScheduler.add(() => {
      if (this.state === State.WAITING) this.refuse(refusal);
    });
  }

  /** Behind a trusted proxy the address is not known yet. */
  private checkLimitsEarly(): Refusal | undefined {
    const { entry, isCharged } = this;
    const { cluster, attempts, capacity } = this.context;
    if (isCharged || entry.isExempt) return undefined;
    const refusal = cluster?.rateRefusal(entry) ?? attempts.refusal(entry) ?? capacity.refusalFor(entry);
    this.isCharged = true;
    return refusal;
  }

  pauseHead(): void {
    this.pausedAt = this.context.clock.now();
    this.transport.pause();
  }

  /** The time in which nothing was read is not the peer's. */
  resumeHead(): void {
    if (this.pausedAt === undefined || this.state !== State.HEAD) return;
    this.deadline += this.context.clock.now() - this.pausedAt;
    this.pausedAt = undefined;
    this.transport.resume();
  }

  private onComplete({ head, rest }: HeadMeter): void {
    const parsed = parseRequestHead(head);
    if (isRefusal(parsed)) return this.refuse(parsed);
    this.head = head;
    this.runStages(parsed, rest);
  }

  private runStages(head: RequestHead, rest: Buffer): void {
    this.state = State.DECIDING;
    this.meter = undefined;
    const { listener, transport, peer, entry, emitUpgrade } = this;
    const upgrade = new UpgradeContext(listener, transport, head, peer, entry, this, emitUpgrade);
    this.upgrade = upgrade;
    if (rest.length > 0) this.keepEarly(rest);
    runStages(upgrade, (stop) => this.onDecision(upgrade, stop));
    if (this.state !== State.DECIDING) return;
    // Another library's parser reads it from the beginning.
    if (upgrade.target?.isForeign === false) this.head = undefined;
    this.holdHead(head);
  }

  private onDecision(upgrade: UpgradeContext, stop: StageExit | undefined): void {
    if (upgrade.isOver) return;
    if (stop === undefined) this.accept(upgrade);
    else if (stop === ABANDONED) this.drop();
    else if (stop !== FOREIGN) this.refuse(stop as Refusal);
    else if (this.head === undefined) this.refuse(REFUSALS.path);
    else this.handOver(Buffer.concat([this.head, this.bytesAfterHead]));
  }

  /** The slot and the entry go with the connection from now on. */
  private accept(upgrade: UpgradeContext): void {
    const { target, emitUpgrade } = upgrade;
    const withHead = target.isForeign && emitUpgrade === undefined;
    const bytes = withHead ? Buffer.concat([this.head!, this.bytesAfterHead]) : this.bytesAfterHead;
    upgrade.isOver = true;
    this.finish(upgrade.entry);
    if (!target.complete(upgrade, bytes)) this.transport.destroy();
  }

  /** Answers, half-closes, and lingers for as long as the answer needs to arrive. */
  private refuse(refusal: Refusal): void {
    const { context } = this;
    const { serverHeader } = this.listener;
    this.dropBytes();
    this.chargeIncomplete();
    this.report(refusal);
    this.upgrade?.abandon('refused');
    this.meter = undefined;
    if (this.pausedAt !== undefined) context.headScheduler.remove(this);
    this.pausedAt = undefined;
    this.state = State.LINGERING;
    this.deadline = context.clock.now() + LINGER;
    // protection: a refused peer stays for a second at most
    context.wheel.schedule(this, this.deadline);
    // end protection
    const consent = this.upgrade && consentLine(this.upgrade.head.rawHeaders, context.settings.probe.token);
    const told = consent === undefined ? refusal : { ...refusal, headers: [...(refusal.headers ?? []), consent] };
    if (!this.transport.end(refusalText(told, serverHeader))) this.drop();
    // A peer that has sent much already is not read from again: reading would cost more than the answer.
    else if (this.bytesRead >= MAX_DISCARD) this.transport.pause();
  }

  private report(refusal: Refusal): void {
    const { upgrade } = this;
    const { context } = this;
    const ip = upgrade?.route?.address.text ?? this.peer.text;
    context.telemetry.refused({
      reason: refusal.reason,
      status: refusal.status,
      ip,
      path: upgrade?.request?.path,
      // A thrown error is put into words only where somebody reads them.
      get detail() {
        return refusal.detail;
      },
    });
    const forAddress = refusal.reason === 'connection-rate' || refusal.reason === 'connections-per-ip';
    if (forAddress && upgrade?.route?.strayHeaders) context.proxyDetector.onRefused(upgrade.route);
  }

  /** Gives the connection to Node's HTTP server, which parses it from the first byte. */
  private handOver(bytes: Buffer, hasEnded = false): void {
    this.release('ordinary');
    this.listener.handOver(this.transport, bytes, hasEnded);
  }

  private discard(chunk: Buffer): void {
    this.bytesRead += chunk.length;
    // protection: a refused peer is read no further than 64 KiB
    if (this.bytesRead > MAX_DISCARD) this.drop();
    // end protection
  }

  /** Gives back everything but the socket. Idempotent. */
  private release(reason: string): void {
    if (this.state === State.DONE) return;
    if (this.state !== State.LINGERING) this.chargeIncomplete();
    this.upgrade?.abandon(reason);
    this.finish(undefined);
  }

  /** What ends before stage 2 has charged it is an attempt all the same; an ordinary request is none. */
  private chargeIncomplete(): void {
    if (this.upgrade !== undefined || this.isCharged) return;
    const { context } = this;
    const { isDedicated } = this.listener;
    const isAttempt = this.state === State.WAITING || (this.meter?.isUpgrade ?? isDedicated);
    // protection: attempts that end within their head are counted
    if (isAttempt) context.attempts.charge(this.entry);
    // end protection
  }

  /** `kept`: an address entry that somebody else will release. */
  private finish(kept: AddressEntry | undefined): void {
    const { context } = this;
    this.dropBytes();
    if (this.pausedAt !== undefined) context.headScheduler.remove(this);
    this.state = State.DONE;
    context.wheel.cancel(this);
    // protection: a finished handshake leaves its pending place
    context.pending.remove(this.place);
    // end protection
    // protection: a finished handshake releases the address
    if (this.account !== kept) context.addresses.release(this.account);
    // end protection
    this.listener.removeHandshake(this);
    this.onRelease?.();
    this.onRelease = undefined;
  }
}

const EVICTED: Refusal = Object.freeze({
  reason: 'pending-full',
  status: 0,
  text: '',
  detail: 'dropped for newcomers',
});
