// @ts-nocheck
import type { Socket } from 'node:net';
import type { AddressEntry } from '../admission/address-table.js';
import { Timed } from '../net/timer-wheel.js';
import { CloseCode } from '../protocol/close-codes.js';
import { type ConnectionContext, DispatchState, type Peer } from './context.js';
import { Hooks } from './hooks.js';
import { Intake } from './intake.js';
import { Keepalive } from './keepalive.js';
import { Output } from './output.js';
import { shifted } from './reading.js';
import { reset } from './reset.js';
import type { SecureSocket } from './secure-socket.js';

/** How long a connection that ends for memory may take to send its close frame. */
const MEMORY_GRACE = 1000;
const NEVER = Number.POSITIVE_INFINITY;

/** One live peer: what it holds, what it waits for, how it ends. */
export class Connection extends Timed {
  /** What it receives with, once anything has come. */
  receiving: Intake | undefined = undefined;
  /** What it sends with, once anything was to be sent. */
  sending: Output | undefined = undefined;
  readonly keepalive: Keepalive;
  /** @internal */ held = 0;
  /** @internal */ isGivenUp = false;
  /** Noted only where there is an idle timeout. */
  lastMessageAt: number;
  /** TCP has ended. */
  ended = false;
  /** What we ended it for. */
  cause: string | undefined = undefined;
  /** It is to end as soon as no handler runs. */
  leaving: { readonly code: number; readonly reason: string } | undefined = undefined;
  private dispatched: DispatchState | undefined = undefined;
  private hooks: Hooks | undefined = undefined;
  /** One way or the other it is closing, and TCP must have ended by then. */
  private goneBy: number | undefined = undefined;

  constructor(
    readonly context: ConnectionContext,
    readonly socket: SecureSocket,
    readonly raw: Socket,
    readonly peer: Peer,
  ) {
    super();
    const now = context.clock.now();
    this.lastMessageAt = context.limits.idleTimeout === NEVER ? 0 : now;
    this.keepalive = new Keepalive(this, now);
  }

  /** Of the address; `undefined` for a trusted proxy, to which limits per address do not apply. */
  get account(): AddressEntry | undefined {
    const { address } = this.peer;
    return address.isExempt ? undefined : address;
  }

  /** What the dispatcher knows of it. */
  get dispatch(): DispatchState {
    return (this.dispatched ??= new DispatchState());
  }

  get intake(): Intake {
    return (this.receiving ??= new Intake(this));
  }

  get output(): Output {
    return (this.sending ??= new Output(this));
  }

  /** Nothing is read at present: what the peer owes us stands still. */
  get isPaused(): boolean {
    return this.receiving?.reading.paused ?? false;
  }

  /** Neither side has begun to close. */
  get isOpen(): boolean {
    return this.socket.readyState === 1;
  }

  /** Every `handleConnection` has settled: messages may be handled. */
  get ready(): boolean {
    return this.hooks === undefined;
  }

  /** Waits for as many `handleConnection` hooks. */
  awaitHooks(count: number): void {
    const { clock, limits } = this.context;
    if (count > 0) this.hooks = new Hooks(count, clock.now() + limits.hookTimeout);
    this.schedule(Math.min(this.hooksBy, this.keepalive.nextAt()));
  }

  hookSettled(): void {
    if (this.hooks?.settle()) this.becomeReady();
  }

  hookFailed(error: unknown): void {
    this.endForHook(error);
    this.hookSettled();
  }

  /** Runs `action` when the hooks have settled; at once where they have. */
  whenReady(action: () => void): void {
    if (this.hooks === undefined) action();
    else this.hooks.add(action);
  }

  /** A message went one way or the other; looked at only where there is an idle timeout. */
  touch(): void {
    const { limits, clock } = this.context;
    if (limits.idleTimeout !== NEVER) this.lastMessageAt = clock.now();
  }

  /** Asks again at `at`, or before. */
  schedule(at: number): void {
    if (!this.ended) this.context.wheel.schedule(this, at);
  }

  /** Says goodbye: a close frame behind what is queued, and the peer's answer within the close timeout. */
  end(code: number, reason: string): void {
    if (!this.isOpen) return;
    this.cause ??= reason;
    this.socket.close(code, reason);
  }

  /** Like `end`, but what is being handled is answered first. */
  goAway(code: number, reason: string): void {
    this.leaving ??= { code, reason };
    if (!this.receiving?.running) this.end(code, reason);
  }

  /** Ends it without a word. */
  kill(cause: string): void {
    this.cause ??= cause;
    this.receiving?.drop();
    this.sending?.drop();
    if (this.raw.writableLength > 0) reset(this.raw);
    this.socket.terminate();
    this.settle();
  }

  /** Gives back at once what is held for this peer; the frame being written is followed by the close. */
  endForMemory(cause: string): void {
    if (this.ended || this.isGivenUp) return;
    this.context.budget.giveUp(this);
    this.isGivenUp = true;
    // What was queued before a close frame is in the socket already: only its end frees that.
    if (!this.isOpen) return this.kill(cause);
    this.cause ??= cause;
    this.output.drop();
    this.socket.close(CloseCode.TRY_AGAIN_LATER, cause);
    // What is being received belongs to nobody any more.
    this.socket.forgetInput();
    this.goneWithin(MEMORY_GRACE);
    this.settle();
  }

  /** One way or the other it is closing: no message is handled any more, and TCP must end in time. */
  closing(): void {
    if (this.goneBy !== undefined) return;
    this.receiving?.drop();
    this.receiving?.assembly.inflate();
    this.goneWithin(this.context.limits.closeTimeout);
  }

  private goneWithin(timeout: number): void {
    this.goneBy = Math.min(this.goneBy ?? NEVER, this.context.clock.now() + timeout);
    this.schedule(this.goneBy);
  }

  /** TCP has ended: nothing is held any more. */
  close(code: number, reason: Buffer): void {
    if (this.ended) return;
    this.ended = true;
    this.receiving?.drop();
    this.sending?.drop();
    this.context.wheel.cancel(this);
    this.context.budget.settle(this, 0);
    this.peer.release();
    this.context.closed(this, code, reason);
    // `handleDisconnect` waits for `handleConnection`, but not for ever.
    this.context.wheel.schedule(this, this.hooksBy);
  }

  /** Tells the ledger what is held now. */
  settle(): void {
    if (!this.ended) this.context.budget.settle(this, (this.receiving?.held ?? 0) + (this.sending?.held ?? 0));
  }

  /** Reading had paused for so long: what the peer owes us may come as much later. */
  standStill(silence: number, now: number): void {
    if (this.lastMessageAt !== 0) this.lastMessageAt = shifted(this.lastMessageAt, silence, now);
    this.keepalive.standStill(silence, now);
    this.receiving?.assembly.standStill(silence, now);
    this.schedule(Math.min(this.receiving?.assembly.by ?? NEVER, this.keepalive.nextAt()));
  }

  override onDue(now: number): number {
    if (this.ended) return this.dueAfterEnd(now);
    if (now >= (this.goneBy ?? NEVER)) return this.gone();
    if (!this.isOpen) this.closing();
    if (now >= this.hooksBy) this.hooksOverdue();
    this.receiving?.reading.review(now);
    if (this.sending?.isStalled(now)) return this.gone('peer does not read');
    this.sending?.review(now);
    this.settle();
    if (this.isOpen && now >= this.assemblyBy) this.end(CloseCode.POLICY_VIOLATION, 'message took too long');
    const handlers = this.dispatched?.tasks === undefined ? NEVER : this.context.handlerOverdue(this, now);
    const keepalive = this.isOpen ? this.keepalive.check(now) : NEVER;
    return this.ended ? NEVER : this.nextAt(Math.min(handlers, keepalive));
  }

  private dueAfterEnd(now: number): number {
    if (now >= this.hooksBy) this.hooksOverdue();
    return this.hooksBy;
  }

  private get assemblyBy(): number {
    return this.receiving === undefined || this.isPaused ? NEVER : this.receiving.assembly.by;
  }

  private nextAt(others: number): number {
    const assembly = this.isOpen ? this.assemblyBy : NEVER;
    const resume = this.receiving?.reading.resumeAt ?? NEVER;
    const output = this.sending?.nextAt ?? NEVER;
    return Math.min(others, assembly, this.hooksBy, resume, output, this.goneBy ?? NEVER);
  }

  private gone(cause = 'close timeout'): number {
    this.kill(cause);
    return NEVER;
  }

  private get hooksBy(): number {
    return this.hooks?.by ?? NEVER;
  }

  private becomeReady(): void {
    const { hooks } = this;
    this.hooks = undefined;
    hooks?.release((error) => this.context.telemetry.fault('socket', error, this.context.path));
    if (this.ended) this.context.wheel.cancel(this);
    else this.receiving?.proceed();
  }

  private hooksOverdue(): void {
    this.endForHook(new Error('handleConnection did not settle in time'));
    this.becomeReady();
  }

  private endForHook(error: unknown): void {
    this.context.telemetry.fault('handleConnection', error, this.context.path);
    this.end(CloseCode.INTERNAL_ERROR, 'internal error');
  }
}
