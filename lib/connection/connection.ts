import type { Socket } from 'node:net';
import type { AddressEntry } from '../admission/address-table.js';
import { type AsyncContext, runInFork } from '../net/async-context.js';
import { reset } from '../net/reset.js';
import { Timed } from '../net/timer-wheel.js';
import {
  ABNORMAL_CLOSURE,
  CloseCode,
  defaultReason,
  fitReason,
  isCloseCode,
  NO_STATUS,
} from '../protocol/close-codes.js';
import type { PerMessageDeflate } from '../protocol/deflate/per-message-deflate.js';
import type { ProtocolError } from '../protocol/frame.js';
import type { ConnectionContext, ConnectionCore, ConnectionSink } from './context.js';
import { FrameWriter } from './frame-writer.js';
import { Keepalive } from './keepalive.js';
import type { Holder } from './memory-budget.js';
import { MessageReader } from './message-reader.js';
import { Pause, shifted } from './read-gate.js';
import { listen, onDrain, startReading, stopReading, unlink } from './transport-events.js';

/**
 * `open`: messages go both ways. `draining`: as soon as no handler runs it will close. `closing`: one side has begun to
 * close, and TCP has not ended. `closed`: it is over, and was told.
 */
export type ConnectionState = 'open' | 'draining' | 'closing' | 'closed';

/** What both sides agreed on in the handshake. */
export interface Agreed {
  readonly deflate: PerMessageDeflate | undefined;
  readonly subprotocol: string | undefined;
  /** When the session ends, in milliseconds since the epoch; `undefined`: never. */
  readonly expiresAt?: number | undefined;
}

/** What has been seen of the closing handshake (RFC 6455, section 7.1.2). */
const SENT = 1;
const RECEIVED = 2;
/** Nothing more is read, and no close frame expected: the peer broke the protocol. */
const FAILED = 4;

/** How long a connection that ends for memory may take to send its close frame. */
const MEMORY_GRACE = 1000;
const NEVER = Number.POSITIVE_INFINITY;
const EMPTY = Buffer.alloc(0);

/**
 * A live connection, of either role: its state, what reads it, what writes it, its deadlines, and the one place where it
 * ends. `transport` is a socket of TCP or TLS behind its opening handshake.
 */
export abstract class Connection extends Timed implements ConnectionCore, Holder {
  state: ConnectionState = 'open';
  /** What it receives with, once anything has come. */
  reader: MessageReader | undefined = undefined;
  /** What it sends with, once anything was to be sent. */
  writer: FrameWriter | undefined = undefined;
  readonly keepalive: Keepalive;
  readonly deflate: PerMessageDeflate | undefined;
  readonly subprotocol: string;
  /** @internal */ held = 0;
  /** Its memory was taken away. */
  isGivenUp = false;
  /** TCP has ended. */
  isCut = false;
  /** Noted only where there is an idle timeout. */
  lastMessageAt: number;
  /** When it opened, in whole milliseconds of the clock: an integer needs no box of its own. */
  readonly openedAt: number;
  /** What we ended it for, or what broke. */
  cause: string | undefined = undefined;
  private closeFrames = 0;
  private closeCode = ABNORMAL_CLOSURE;
  private closeReason: Buffer = EMPTY;
  /** The code of the close frame that was sent because the peer broke the protocol. */
  failedWith: number | undefined = undefined;
  /** With what it closes as soon as no handler runs. */
  private leaving: { readonly code: number; readonly reason: string } | undefined = undefined;
  /** It is closing, and TCP must have ended by then. */
  private goneBy = NEVER;

  constructor(
    readonly context: ConnectionContext,
    readonly transport: Socket,
    readonly sink: ConnectionSink,
    { deflate, subprotocol, expiresAt }: Agreed,
  ) {
    super();
    this.deflate = deflate;
    this.subprotocol = subprotocol ?? '';
    const now = context.clock.now();
    this.openedAt = Math.floor(now);
    this.lastMessageAt = context.limits.idleTimeout === NEVER ? 0 : now;
    this.keepalive = new Keepalive(this, now, expiresAt);
  }

  /** Of the address; `undefined`: limits per address do not apply. */
  abstract get account(): AddressEntry | undefined;
  /** The async context that callbacks run in copies of. */
  abstract get asyncContext(): AsyncContext;
  /** Something that the application was called with has thrown. */
  abstract report(error: unknown): void;

  /** Neither side has begun to close. */
  get isOpen(): boolean {
    return this.state === 'open' || this.state === 'draining';
  }

  /** Messages are handed to the application. */
  get isServing(): boolean {
    return this.state === 'open';
  }

  /** Nothing is read at present: what the peer owes us stands still. */
  get isPaused(): boolean {
    return this.reader?.gate.closed ?? false;
  }

  get input(): MessageReader {
    return (this.reader ??= new MessageReader(this));
  }

  get output(): FrameWriter {
    return (this.writer ??= new FrameWriter(this));
  }

  /** The bytes that came behind the head of the handshake, and then what comes. */
  begin(rest: Buffer): void {
    listen(this);
    if (rest.length > 0) startReading(this, rest);
    if (!this.isPaused) this.transport.resume();
    this.schedule(this.keepalive.nextAt());
  }

  /** Calls `run` with `self` and `args` in a fresh copy of the connection's async context; what it throws is reported. */
  call<Self, Args extends readonly unknown[]>(
    run: (this: Self, ...args: Args) => unknown,
    self: Self,
    ...args: Args
  ): void {
    try {
      runInFork(this.asyncContext, run, self, ...args);
    } catch (error) {
      this.report(error);
    }
  }

  // The thread pool, and the scheduler

  get poolGroup(): unknown {
    return this.account;
  }

  runInContext(callback: () => void): void {
    callback();
  }

  flush(): void {
    this.writer?.endTurn();
  }

  proceed(): void {
    this.reader?.proceed();
  }

  // Handling

  /** A message went one way or the other; looked at only where there is an idle timeout. */
  touch(now?: number): void {
    const { limits, clock } = this.context;
    if (limits.idleTimeout !== NEVER) this.lastMessageAt = now ?? clock.now();
  }

  /** A message was handled, or has had its time. `size`: its bytes, and those that were charged for it. */
  finished(size: number): void {
    this.input.finished(size);
  }

  /** No message is being handled. */
  handled(): void {
    if (this.leaving !== undefined) this.end(this.leaving.code, this.leaving.reason);
  }

  /** The peer takes what is written to it too slowly, or in time again. */
  outputIsLong(isLong: boolean): void {
    if (isLong) this.pauseForOutput();
    else this.reader?.gate.resume(Pause.OUTPUT);
  }

  protected abstract pauseForOutput(): void;

  /** Tells the budget what is held now. */
  settle(): void {
    if (this.state !== 'closed') this.context.budget.settle(this, (this.reader?.held ?? 0) + (this.writer?.held ?? 0));
  }

  // The end

  /** Says goodbye: a close frame behind what is queued, and the peer's answer within the close timeout. */
  end(code: number, reason: string): void {
    if (!this.isOpen) return;
    this.cause ??= reason;
    this.close(isCloseCode(code) ? code : CloseCode.POLICY_VIOLATION, fitReason(reason));
  }

  /** Like {@link end}, but what is being handled is answered first. */
  goAway(code: number, reason: string): void {
    if (this.state !== 'open') return;
    this.state = 'draining';
    this.leaving = { code, reason };
    if (!this.reader?.running) this.end(code, reason);
  }

  /** A rate of the peer's is not kept. */
  breach(reason: string): void {
    this.end(CloseCode.POLICY_VIOLATION, reason);
  }

  /** The application closes; throws for a code or a reason that cannot be sent, and is still open then. */
  close(code?: number, reason?: string | Uint8Array): void {
    if (this.state === 'closed') return;
    if (this.state === 'closing') return this.endTransportWhenDone();
    const text = reason === undefined || reason.length === 0 ? defaultReason(code) : reason;
    this.output.close(code, text, (error) => {
      if (error) return;
      this.closeFrames |= SENT;
      this.endTransportWhenDone();
    });
    this.state = 'closing';
    this.reader?.leave(this.sink.hearsWhenClosing);
    this.closing();
  }

  /** The peer's close frame: it is answered with the same. */
  peerClosed(code: number, reason: Buffer): void {
    this.closeFrames |= RECEIVED;
    this.closeCode = code;
    this.closeReason = reason;
    if (this.isCut) return;
    if (this.isOpen) this.answerClose(code, reason);
    else this.endTransportWhenDone();
    this.readToTheEnd();
  }

  /** What came is no frame, or no message, or too much: the close frame says why. */
  fail({ code, reason, errorCode }: ProtocolError): void {
    if (this.state === 'closed' || (this.closeFrames & FAILED) !== 0) return;
    this.closeFrames |= FAILED;
    this.reader?.end();
    if (this.isOpen && !this.isCut) {
      this.failedWith = code;
      this.answerClose(code);
    }
    this.readToTheEnd();
    this.call(this.sink.failed, this.sink, protocolError(reason, errorCode));
    if (this.isCut) this.finish();
  }

  /** What was to be sent cannot be, and must not be missing among what follows. */
  breakOff(error: Error): void {
    if (this.isCut || this.state === 'closed') return;
    this.state = 'closing';
    this.closing();
    this.endTransport();
    this.call(this.sink.failed, this.sink, error);
  }

  /** Ends it without a word. */
  kill(cause?: string): void {
    this.cause ??= cause;
    if (this.state === 'closed') return;
    if (this.isCut) return this.finish();
    this.state = 'closing';
    this.reader?.end();
    this.forget();
    this.writer?.drop();
    if (this.transport.writableLength > 0) reset(this.transport);
    else this.transport.destroy();
    this.settle();
  }

  /** Gives back at once what is held for this peer; the frame being written is followed by the close. */
  endForMemory(cause: string): void {
    if (this.state === 'closed' || this.isGivenUp) return;
    this.context.budget.giveUp(this);
    this.isGivenUp = true;
    // What was queued before a close frame is in the socket already: only its end frees that.
    if (!this.isOpen) return this.kill(cause);
    this.cause ??= cause;
    // protection: an evicted peer gives back what waits for it
    this.output.drop();
    // end protection
    this.close(CloseCode.TRY_AGAIN_LATER, cause);
    // What is being received belongs to nobody any more.
    this.reader?.end();
    this.forget();
    stopReading(this);
    // protection: an evicted peer is gone after a second
    this.goneWithin(MEMORY_GRACE);
    // end protection
    this.settle();
  }

  /** What waits is not wanted any more. */
  protected forget(): void {}

  /** One way or the other it is closing: TCP must end in time. */
  protected closing(): void {
    if (this.goneBy === NEVER) this.goneWithin(this.context.limits.closeTimeout);
  }

  protected goneWithin(timeout: number): void {
    this.goneBy = Math.min(this.goneBy, this.context.clock.now() + timeout);
    this.schedule(this.goneBy);
  }

  /** TCP has ended, and the application has as much time again for what came before. */
  protected linger(): void {
    this.goneBy = NEVER;
    this.goneWithin(this.context.limits.closeTimeout);
  }

  /** @internal TCP has ended, and nothing of what came before is left to be handled. Idempotent. */
  finish(): void {
    if (this.state === 'closed') return;
    this.state = 'closed';
    this.deflate?.close();
    this.reader?.end();
    this.writer?.drop();
    this.context.wheel.cancel(this);
    this.context.budget.settle(this, 0);
    this.sink.ended(this.closeCode, this.closeReason);
  }

  /** The close frame that answers the peer: what could not be sent, because the peer is slow, must not keep it. */
  private answerClose(code: number, reason?: Buffer): void {
    if (code === NO_STATUS) this.close();
    else this.close(code, reason);
  }

  /** Behind what was sent. */
  private endTransport(): void {
    if (this.writer === undefined) this.transport.end();
    else this.writer.end();
  }

  private endTransportWhenDone(): void {
    if ((this.closeFrames & SENT) !== 0 && this.closeFrames !== SENT) this.endTransport();
  }

  /** Nothing is kept of what still comes, but the end of TCP must be seen. */
  private readToTheEnd(): void {
    process.nextTick(resume, this.transport);
  }

  // Deadlines

  /** Asks again at `at`, or before. */
  schedule(at: number): void {
    if (this.state !== 'closed') this.context.wheel.schedule(this, at);
  }

  /** The event loop was late. */
  override onStall(silence: number, now: number): void {
    if (this.goneBy !== NEVER) this.goneBy += silence;
    this.writer?.standStill(silence);
    // While nothing is read everything stands still already.
    if (!this.isPaused) this.excuse(silence, now);
  }

  /** Nothing could be read for so long: what the peer owes us may come as much later. */
  excuse(silence: number, now: number): void {
    if (this.lastMessageAt !== 0) this.lastMessageAt = shifted(this.lastMessageAt, silence, now);
    this.keepalive.excuse(silence, now);
    this.reader?.excuse(silence, now);
    this.schedule(Math.min(this.reader?.assemblyBy ?? NEVER, this.keepalive.nextAt()));
  }

  override onDue(now: number): number {
    // protection: closing takes as long as it may
    if (now >= this.goneBy) return this.gone(this.isCut ? 'messages were not read' : 'close timeout');
    // end protection
    if (this.isCut) return this.goneBy;
    if (!this.isOpen) this.closing();
    this.reader?.gate.review(now);
    // protection: stalled peers are terminated
    if (this.writer?.isStalled(now)) return this.gone(this.stallCause);
    // end protection
    this.writer?.review(now);
    this.settle();
    // protection: a message must be complete in time
    if (this.isOpen && now >= this.assemblyBy) this.end(CloseCode.POLICY_VIOLATION, 'message took too long');
    // end protection
    const keepalive = this.isOpen ? this.keepalive.check(now) : NEVER;
    return this.state === 'closed' ? NEVER : this.nextAt(keepalive);
  }

  protected abstract get stallCause(): string;

  private get assemblyBy(): number {
    return this.reader?.assemblyBy ?? NEVER;
  }

  private nextAt(keepalive: number): number {
    const assembly = this.isOpen ? this.assemblyBy : NEVER;
    const resume = this.reader?.gate.resumeAt ?? NEVER;
    return Math.min(keepalive, assembly, resume, this.writer?.nextAt ?? NEVER, this.goneBy);
  }

  private gone(cause: string): number {
    this.cause ??= cause;
    // Of what nobody has taken in time the close frame may still tell how it ended.
    if (this.isCut) this.reader?.leave(false);
    this.kill();
    return NEVER;
  }

  // Events of the transport

  watchDrain(): void {
    this.transport.on('drain', onDrain);
  }

  unwatchDrain(): void {
    this.transport.removeListener('drain', onDrain);
  }

  /** @internal The peer has half-closed: what is left to say to it must be said in time. */
  transportEnded(): void {
    if (this.isOpen) this.state = 'closing';
    this.endTransport();
    this.closing();
  }

  /** @internal The end is told when all is parsed that had been read. */
  transportClosed(): void {
    if (this.isOpen) this.state = 'closing';
    this.closing();
    this.lastRead();
    this.isCut = true;
    unlink(this.transport);
    if (this.reader?.hasMore) this.linger();
    else this.finish();
  }

  private lastRead(): void {
    if (this.transport.readableLength > 0 && !this.transport.readableEnded) this.input.lastRead();
  }
}

const resume = (transport: Socket): unknown => transport.resume();

/** Errors that `ws` words otherwise than as an invalid frame. */
const MESSAGES: Readonly<Record<string, string>> = {
  WS_ERR_UNSUPPORTED_MESSAGE_LENGTH: 'Max payload size exceeded',
  WS_ERR_TOO_MANY_BUFFERED_PARTS: 'Too many message fragments',
};

/** The error under the name, and in the words, of `ws`. */
function protocolError(reason: string, code: string): Error {
  const error = code === 'WS_ERR_INVALID_UTF8' || code === 'WS_ERR_INVALID_COMPRESSED_DATA' ? Error : RangeError;
  return Object.assign(new error(MESSAGES[code] ?? `Invalid WebSocket frame: ${reason}`), { code });
}
