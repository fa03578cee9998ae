import type { TLSSocket } from 'node:tls';
import type { AddressEntry } from '../admission/address-table.js';
import { ABANDONED, isDetailLazy } from '../admission/guard-runner.js';
import type { PendingPlace } from '../admission/pending-registry.js';
import type { ClientRoute } from '../http/forwarding.js';
import { COMPLETE, FAULT, type HeadVerdict, MORE, type RequestHead } from '../http/head.js';
import { firstLook, type HeadMeter } from '../http/head-meter.js';
import { parseRequestHead } from '../http/head-parser.js';
import { consentLine } from '../http/probe-consent.js';
import { isRefusal, REFUSALS, type Refusal, refusalOf } from '../http/refusal.js';
import { refusalText } from '../http/response.js';
import type { ClientAddress } from '../net/address.js';
import type { Transport, TransportReader } from '../net/transport.js';
import { HandshakeBytes } from './handshake-bytes.js';
import type { HeadReader } from './head-scheduler.js';
import { FOREIGN, runStages, type StageExit } from './stages.js';
import { type HandshakeListener, UpgradeContext, type UpgradeOwner } from './upgrade-context.js';

const NOTHING = Buffer.alloc(0);
const NEVER = Number.POSITIVE_INFINITY;
/**
 * After a refusal, this many bytes are read and discarded, for at most this many milliseconds, so that the response
 * arrives.
 */
const MAX_DISCARD = 64 * 1024;
const LINGER = 1000;
/** First byte of a TLS record that begins a handshake (RFC 8446, section 5.1). */
const TLS_HELLO = 0x16;

enum State {
  /** TLS is being set up; nothing is read here. */
  TLS,
  HEAD,
  /** Refused, but the response to the previous request must be sent first; nothing is read meanwhile. */
  WAITING,
  /** The stages are running. */
  DECIDING,
  /** Refused: everything that still arrives is discarded. */
  LINGERING,
  /** Handed over, accepted, or closed. */
  DONE,
}

/** A raw connection from accept until the 101, a refusal, or the hand-over to Node's HTTP server. */
export class PendingHandshake extends HandshakeBytes implements TransportReader, HeadReader, UpgradeOwner {
  readonly entry: AddressEntry;
  private state = State.TLS;
  private meter: HeadMeter | undefined = undefined;
  private upgrade: UpgradeContext | undefined = undefined;
  /** Number of bytes of the head, and bytes received after a refusal. */
  private bytesRead = 0;
  private received = false;
  /** When reading was paused because other handshakes are read first. */
  private pausedAt: number | undefined = undefined;
  /** The attempt was counted in its address's rate before the head was complete. */
  isCharged = false;
  private deadline: number;
  readonly place: PendingPlace<{ evict(): void }>;
  private emitUpgrade: ((rest: Buffer) => void) | undefined = undefined;
  /** Called once, when the handshake is no longer pending. */
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
    // On a shared port the handshake begins when the peer has asked for a WebSocket; before that, Node's timeouts
    // apply.
    const begun = listener.isDedicated ? transport.proxied?.acceptedAt : undefined;
    this.deadline = (begun ?? context.clock.now()) + listener.openTimeout;
    if (listener.isDedicated) this.watchDeadline();
  }

  /** On a shared port only after the first bytes were handled: most handshakes are complete by then. */
  private watchDeadline(): void {
    if (this.state === State.DONE) return;
    // protection: a handshake must be complete in time
    this.context.wheel.schedule(this, this.deadline);
    // end protection
  }

  /** Starts to read a head: plaintext, or over `tls`, which has been set up on the same connection. */
  read(tls?: TLSSocket): void {
    if (this.state !== State.TLS) return;
    this.state = State.HEAD;
    this.meter = this.listener.newMeter();
    this.transport.read(tls);
  }

  /** Takes over a connection that asks for a WebSocket; `meter` has read its first bytes. */
  begin(meter: HeadMeter, verdict: HeadVerdict, size: number, rest: Buffer): void {
    this.state = State.HEAD;
    this.meter = meter;
    this.received = true;
    this.transport.read();
    try {
      this.onVerdict(meter, verdict, size, rest);
    } finally {
      this.watchDeadline();
    }
  }

  /**
   * Starts with a later request of a connection, which Node has parsed. `emitUpgrade` passes it to other libraries,
   * with the bytes after its head.
   */
  resume(head: RequestHead, rest: Buffer, emitUpgrade: (rest: Buffer) => void): void {
    this.emitUpgrade = emitUpgrade;
    this.state = State.HEAD;
    this.received = true;
    this.transport.read();
    try {
      this.runStages(head, rest);
    } finally {
      this.watchDeadline();
    }
  }

  /**
   * Refuses a request as soon as the previous request of the connection was answered; no deadline applies until then.
   */
  refuseWhen(answered: (then: () => void) => void, refusal: Refusal): void {
    this.state = State.WAITING;
    this.deadline = NEVER;
    answered(() => {
      if (this.state !== State.WAITING) return;
      this.transport.read();
      this.refuse(refusal);
    });
  }

  /** Milliseconds since TCP accept, or since a later request arrived; valid while the stages run. */
  get age(): number {
    return this.context.clock.now() - this.deadline + this.listener.openTimeout;
  }

  /** The state of the address that is counted. */
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

  /** Ends other handshakes, or this one, until the limits of pending handshakes are kept. */
  enforcePendingLimits(): void {
    const { pending } = this.context;
    for (let victim = pending.victim(this.place); victim !== undefined; victim = pending.victim(this.place))
      victim.evict();
  }

  /** Ends it without a response. */
  drop(): void {
    this.release('dropped');
    this.transport.destroy();
  }

  /** Ends it if its head is incomplete. */
  dropHead(): void {
    if (this.state === State.HEAD) this.drop();
  }

  /** Ends it to make room for another one. */
  evict(): void {
    // A lingering handshake was already reported as refused.
    if (this.state !== State.LINGERING) this.report(EVICTED);
    this.release('dropped');
    const { transport } = this;
    transport.pause();
    this.context.endScheduler.add(() => transport.destroy());
  }

  /** Ends it at shutdown, unless it waits for the response to an earlier request. */
  shutDown(refusal: Refusal): void {
    if (this.state === State.WAITING) return;
    if (this.state === State.DECIDING) this.refuse(refusal);
    else this.drop();
  }

  /** Extends the deadline because the event loop was late. */
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

  /** @internal The peer has half-closed: a handshake cannot be completed any more. */
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
    this.onVerdict(meter, meter.push(first), first.length, first === chunk ? NOTHING : chunk.subarray(first.length));
  }

  /** `rest`: bytes of the chunk that are not parsed yet. */
  private onVerdict(meter: HeadMeter, verdict: HeadVerdict, size: number, rest: Buffer): void {
    this.bytesRead += size;
    if (verdict === MORE) return this.onIncomplete(meter, size, rest);
    if (verdict === COMPLETE) this.onComplete(meter);
    else if (verdict === FAULT) this.refuse(refusalOf(meter.fault!));
    else this.handOver(meter.bytesSoFar);
  }

  /** Refuses an address that exceeds its limits before the head is complete. */
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

  /** Refuses in a later turn of the event loop, so that many refusals at once do not delay others. Releases the head. */
  private refuseLater(refusal: Refusal): void {
    this.state = State.WAITING;
    this.dropBytes();
    this.meter = undefined;
    this.transport.pause();
    this.context.endScheduler.add(() => {
      if (this.state === State.WAITING) this.refuse(refusal);
    });
  }

  /** Checks the limits of the address, unless the client's address is still unknown (behind a trusted proxy). */
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

  /** The time in which reading was paused does not count. */
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
    // Another library's parser reads the request from the beginning.
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

  /** Accepts the upgrade. From here on the slot and the address entry belong to the connection. */
  private accept(upgrade: UpgradeContext): void {
    const { target, emitUpgrade } = upgrade;
    const withHead = target.isForeign && emitUpgrade === undefined;
    const bytes = withHead ? Buffer.concat([this.head!, this.bytesAfterHead]) : this.bytesAfterHead;
    upgrade.isOver = true;
    this.finish(upgrade.entry);
    if (!target.complete(upgrade, bytes)) this.transport.destroy();
  }

  /** Writes the response, half-closes, and lingers until the response has arrived. */
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
    // If the peer has already sent much, it is not read any more, because reading would cost more than the response.
    else if (this.bytesRead >= MAX_DISCARD) this.transport.pause();
  }

  private report(refusal: Refusal): void {
    const { upgrade, context } = this;
    const { reason, status } = refusal;
    const ip = upgrade?.route?.address.text ?? this.peer.text;
    const path = upgrade?.request?.path;
    context.telemetry.refused(
      isDetailLazy(refusal)
        ? {
            reason,
            status,
            ip,
            path,
            // The text of a thrown error is only created if something reads it.
            get detail() {
              return refusal.detail;
            },
          }
        : { reason, status, ip, path, detail: refusal.detail },
    );
    const forAddress = reason === 'connection-rate' || reason === 'connections-per-ip';
    if (forAddress && upgrade?.route?.strayHeaders) context.proxyDetector.onRefused(upgrade.route);
  }

  /** Hands the connection over to Node's HTTP server, which parses it from the first byte. */
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

  /** Releases everything but the socket. Idempotent. */
  private release(reason: string): void {
    if (this.state === State.DONE) return;
    if (this.state !== State.LINGERING) this.chargeIncomplete();
    this.upgrade?.abandon(reason);
    this.finish(undefined);
  }

  /** Counts the attempt if it ends before stage 2 has counted it; an ordinary request is not an attempt. */
  private chargeIncomplete(): void {
    if (this.upgrade !== undefined || this.isCharged) return;
    const { context } = this;
    const { isDedicated } = this.listener;
    const isAttempt = this.state === State.WAITING || (this.meter?.isUpgrade ?? isDedicated);
    // protection: attempts that end within their head are counted
    if (isAttempt) context.attempts.charge(this.entry);
    // end protection
  }

  /** `kept`: an address entry that is released elsewhere. */
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
    this.onRelease?.();
    this.onRelease = undefined;
  }
}

const EVICTED: Refusal = Object.freeze({
  reason: 'pending-full',
  status: 0,
  text: '',
  detail: 'dropped to make room for newer handshakes',
});
