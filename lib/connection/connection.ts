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
import { listen, onDrain, startReading, unlink } from './transport-events.js';

/**
 * `open`: messages are sent and received. `draining`: the connection closes as soon as no handler runs. `closing`: one
 * side has started to close, and TCP has not ended. `closed`: TCP has ended, and the sink has been notified.
 */
export type ConnectionState = 'open' | 'draining' | 'closing' | 'closed';

/** The result of the handshake. */
export interface Agreed {
  readonly deflate: PerMessageDeflate | undefined;
  readonly subprotocol: string | undefined;
  /** When the session ends, in milliseconds since the epoch; `undefined`: never. */
  readonly expiresAt?: number | undefined;
}

/** Flags for the close frames of the closing handshake (RFC 6455, section 7.1.2). */
const SENT = 1;
const RECEIVED = 2;
/** Nothing more is read and no close frame is expected, because the peer violated the protocol. */
const FAILED = 4;

/** Milliseconds that a connection has to send its close frame when it is ended to free memory. */
const MEMORY_GRACE = 1000;
const NEVER = Number.POSITIVE_INFINITY;
const EMPTY = Buffer.alloc(0);

/** The state of a connection that ends, or is going to. */
class Ending {
  closeFrames = 0;
  /** The code and the reason of the peer's close frame. */
  closeCode = ABNORMAL_CLOSURE;
  closeReason: Buffer = EMPTY;
  failedWith: number | undefined = undefined;
  /** The code and reason with which the connection closes as soon as no handler runs. */
  leaving: { readonly code: number; readonly reason: string } | undefined = undefined;
  /** The time at which TCP must have ended, while the connection is closing. */
  goneBy = NEVER;
}

/**
 * A live connection, in either role: its state, reader, writer and deadlines, and the one place where it ends.
 * `transport` is a TCP or TLS socket whose opening handshake is complete.
 *
 * The ways in which it ends:
 *
 *  `close`         the application: a close frame behind what is queued, then the peer's answer
 *  `end`           a limit, a ban, a session: the same, unless it is closing already; `breach`: for a rate
 *  `goAway`        a shutdown: the same, once no handler runs
 *  `peerClosed`    the peer's close frame: answered with the same code
 *  `fail`          an invalid frame or message: a close frame that says why; nothing more is read
 *  `endForMemory`  a memory limit: drops what is queued, and has a second for the close frame
 *  `breakOff`      a message that cannot be sent completely: TCP ends without a close frame
 *  `kill`          a reset, or the end of TCP, without a close frame; `gone`: for a deadline that has passed
 *  `finish`        all of them lead here: TCP has ended, and everything is released
 */
export abstract class Connection extends Timed implements ConnectionCore, Holder {
  state: ConnectionState = 'open';
  /** Reads messages; created with the first received byte. */
  reader: MessageReader | undefined = undefined;
  /** Writes messages; created with the first message to send. */
  writer: FrameWriter | undefined = undefined;
  readonly keepalive: Keepalive;
  readonly deflate: PerMessageDeflate | undefined;
  readonly subprotocol: string;
  /** @internal */ held = 0;
  /** The connection was ended to free its memory. */
  isGivenUp = false;
  /** TCP has ended. */
  isCut = false;
  /** The time of the last message; only updated if there is an idle timeout. */
  lastMessageAt: number;
  /**
   * When the connection opened, in whole milliseconds of the clock: V8 stores integers without allocating an object.
   */
  readonly openedAt: number;
  /** Why this side ended the connection, or what failed. */
  cause: string | undefined = undefined;
  /** Created when the connection starts to end. */
  private knownEnding: Ending | undefined = undefined;

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

  /** The memory account of the address; `undefined`: limits per address do not apply. */
  abstract get account(): AddressEntry | undefined;
  /** Callbacks run in copies of this async context. */
  abstract get asyncContext(): AsyncContext;
  /** Reports an error that a callback of the application has thrown. */
  abstract report(error: unknown): void;

  /** Neither side has started to close. */
  get isOpen(): boolean {
    return this.state === 'open' || this.state === 'draining';
  }

  /** Whether messages are handed to the application. */
  get isServing(): boolean {
    return this.state === 'open';
  }

  /** Reading is paused; deadlines for bytes from the peer are suspended. */
  get isPaused(): boolean {
    return this.reader?.knownGate?.closed ?? false;
  }

  /** The code of the close frame that was sent because the peer violated the protocol. */
  get failedWith(): number | undefined {
    return this.knownEnding?.failedWith;
  }

  private get ending(): Ending {
    return (this.knownEnding ??= new Ending());
  }

  private get goneBy(): number {
    return this.knownEnding?.goneBy ?? NEVER;
  }

  get input(): MessageReader {
    return (this.reader ??= new MessageReader(this));
  }

  get output(): FrameWriter {
    return (this.writer ??= new FrameWriter(this));
  }

  /** Starts reading: first the bytes that arrived after the head of the handshake, then the transport. */
  begin(rest: Buffer): void {
    listen(this);
    if (rest.length > 0) startReading(this, rest);
    // The handshake has left the transport paused. If reading is paused already, the gate has to know that it is.
    if (this.isPaused) this.input.gate.pauseTransport();
    else this.transport.resume();
    this.schedule(this.keepalive.nextAt());
  }

  /**
   * Calls `run` with `self` and `args` in a new copy of the connection's async context. An error that it throws is
   * reported.
   */
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

  // Called by the thread pool and the scheduler

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

  // Handling of messages

  /** Records that a message was sent or received, if there is an idle timeout. */
  touch(now?: number): void {
    const { limits, clock } = this.context;
    if (limits.idleTimeout !== NEVER) this.lastMessageAt = now ?? clock.now();
  }

  /**
   * Frees the place of a message that was handled or timed out. `size`: its bytes, including those charged for its
   * structure.
   */
  finished(size: number): void {
    this.input.finished(size);
  }

  /** Called when no message is being handled any more. */
  handled(): void {
    const leaving = this.knownEnding?.leaving;
    if (leaving !== undefined) this.end(leaving.code, leaving.reason);
  }

  /** Called when the peer reads too slowly (true), or has caught up (false). */
  outputIsLong(isLong: boolean): void {
    if (isLong) this.pauseForOutput();
    else this.reader?.knownGate?.resume(Pause.OUTPUT);
  }

  protected abstract pauseForOutput(): void;

  /** Reports to the budget how many bytes are held. */
  settle(): void {
    if (this.state !== 'closed') this.context.budget.settle(this, (this.reader?.held ?? 0) + (this.writer?.held ?? 0));
  }

  // Ending

  /**
   * Starts the closing handshake: sends a close frame after the queued messages; the peer must answer within the close
   * timeout.
   */
  end(code: number, reason: string): void {
    if (!this.isOpen) return;
    this.cause ??= reason;
    this.close(isCloseCode(code) ? code : CloseCode.POLICY_VIOLATION, fitReason(reason));
  }

  /** Like {@link end}, but waits until running handlers have answered. */
  goAway(code: number, reason: string): void {
    if (this.state !== 'open') return;
    this.state = 'draining';
    this.ending.leaving = { code, reason };
    if (!this.reader?.running) this.end(code, reason);
  }

  /** Ends the connection because the peer exceeded a rate. */
  breach(reason: string): void {
    this.end(CloseCode.POLICY_VIOLATION, reason);
  }

  /**
   * Closes on behalf of the application. Throws for a code or reason that cannot be sent; the connection then stays
   * open.
   */
  close(code?: number, reason?: string | Uint8Array): void {
    if (this.state === 'closed') return;
    if (this.state === 'closing') return this.endTransportWhenDone();
    const text = reason?.length ? reason : defaultReason(code);
    this.output.close(code, text, (error) => {
      if (error) return;
      this.ending.closeFrames |= SENT;
      this.endTransportWhenDone();
    });
    this.state = 'closing';
    this.reader?.leave(this.sink.hearsWhenClosing);
    this.closing();
  }

  /** Handles the peer's close frame, which is answered with the same code and reason. */
  peerClosed(code: number, reason: Buffer): void {
    const { ending } = this;
    ending.closeFrames |= RECEIVED;
    ending.closeCode = code;
    ending.closeReason = reason;
    if (this.isCut) return;
    if (this.isOpen) this.answerClose(code, reason);
    else this.endTransportWhenDone();
    this.readToTheEnd();
  }

  /**
   * Ends the connection because the peer sent an invalid frame or message, or exceeded a limit; the close frame has the
   * reason.
   */
  fail({ code, reason, errorCode }: ProtocolError): void {
    const { ending } = this;
    if (this.state === 'closed' || (ending.closeFrames & FAILED) !== 0) return;
    ending.closeFrames |= FAILED;
    this.reader?.end();
    if (this.isOpen && !this.isCut) {
      ending.failedWith = code;
      this.answerClose(code);
    }
    this.readToTheEnd();
    this.call(this.sink.failed, this.sink, protocolError(reason, errorCode));
    if (this.isCut) this.finish();
  }

  /** Ends the connection because a message could not be sent: later messages must not be sent without it. */
  breakOff(error: Error): void {
    if (this.isCut || this.state === 'closed') return;
    this.state = 'closing';
    this.closing();
    this.endTransport();
    this.call(this.sink.failed, this.sink, error);
  }

  /** Terminates the connection without a close frame. */
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

  /**
   * Ends the connection and releases its memory at once. A partly written frame is completed and followed by the close
   * frame.
   */
  endForMemory(cause: string): void {
    if (this.state === 'closed' || this.isGivenUp) return;
    this.context.budget.giveUp(this);
    this.isGivenUp = true;
    // Bytes that were queued before a close frame are already in the socket, and are released only when the socket
    // ends.
    if (!this.isOpen) return this.kill(cause);
    this.cause ??= cause;
    // protection: an evicted peer gives back what waits for it
    this.output.drop();
    // end protection
    this.close(CloseCode.TRY_AGAIN_LATER, cause);
    // Data that is being received is no longer needed. What still arrives is charged to the rates of bytes.
    this.input.end();
    this.forget();
    this.readToTheEnd();
    // protection: an evicted peer is gone after a second
    this.goneWithin(MEMORY_GRACE);
    // end protection
    this.settle();
  }

  /** Discards messages that are waiting. */
  protected forget(): void {}

  /** Sets the deadline by which TCP must end, if there is none yet. */
  protected closing(): void {
    if (this.goneBy === NEVER) this.goneWithin(this.context.limits.closeTimeout);
  }

  protected goneWithin(timeout: number): void {
    this.ending.goneBy = Math.min(this.goneBy, this.context.clock.now() + timeout);
    this.schedule(this.goneBy);
  }

  /** TCP has ended: allows the application one more close timeout to handle the messages that arrived before. */
  protected linger(): void {
    this.ending.goneBy = NEVER;
    this.goneWithin(this.context.limits.closeTimeout);
  }

  /** @internal Called when TCP has ended and no earlier message is left to be handled. Idempotent. */
  finish(): void {
    if (this.state === 'closed') return;
    this.state = 'closed';
    this.deflate?.close();
    this.reader?.end();
    this.writer?.drop();
    this.context.wheel.cancel(this);
    this.context.budget.settle(this, 0);
    const { closeCode, closeReason } = this.ending;
    this.sink.ended(closeCode, closeReason);
  }

  /** Answers the peer's close frame. */
  private answerClose(code: number, reason?: Buffer): void {
    if (code === NO_STATUS) this.close();
    else this.close(code, reason);
  }

  /** Half-closes TCP after the queued bytes. */
  private endTransport(): void {
    if (this.writer === undefined) this.transport.end();
    else this.writer.end();
  }

  private endTransportWhenDone(): void {
    const { closeFrames } = this.ending;
    if ((closeFrames & SENT) !== 0 && closeFrames !== SENT) this.endTransport();
  }

  /** Discards everything that still arrives, but keeps reading to detect the end of TCP. */
  private readToTheEnd(): void {
    process.nextTick(readOn, this);
  }

  // Deadlines

  /** Makes sure that the deadlines are checked again at `at` or earlier. */
  schedule(at: number): void {
    if (this.state !== 'closed') this.context.wheel.schedule(this, at);
  }

  /** Extends the deadlines because the event loop was late. */
  override onStall(silence: number, now: number): void {
    if (this.goneBy !== NEVER) this.ending.goneBy += silence;
    this.writer?.standStill(silence);
    // While reading is paused, these deadlines are already suspended.
    if (!this.isPaused) this.excuse(silence, now);
  }

  /** Extends the deadlines for bytes from the peer by the time in which nothing could be read. */
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
    this.reader?.knownGate?.review(now);
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
    const resume = this.reader?.knownGate?.resumeAt ?? NEVER;
    return Math.min(keepalive, assembly, resume, this.writer?.nextAt ?? NEVER, this.goneBy);
  }

  private gone(cause: string): number {
    this.cause ??= cause;
    // The queue is discarded, but the close frame can still tell the peer the reason.
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

  /** @internal The peer has half-closed: the remaining bytes must be sent within the close timeout. */
  transportEnded(): void {
    if (this.isOpen) this.state = 'closing';
    this.endTransport();
    this.closing();
  }

  /** @internal The end is reported only after all bytes that had arrived have been parsed. */
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

const readOn = ({ input, isCut }: Connection): void => {
  if (!isCut) input.gate.readOn();
};

/** Errors for which `ws` has a message other than "Invalid WebSocket frame". */
const MESSAGES: Readonly<Record<string, string>> = {
  WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH: 'Unsupported WebSocket frame: payload length > 2^53 - 1',
  WS_ERR_UNSUPPORTED_MESSAGE_LENGTH: 'Max payload size exceeded',
  WS_ERR_TOO_MANY_BUFFERED_PARTS: 'Too many message fragments',
};

/** An error with the code and the message that `ws` uses. */
function protocolError(reason: string, code: string): Error {
  const error = code === 'WS_ERR_INVALID_UTF8' || code === 'WS_ERR_INVALID_COMPRESSED_DATA' ? Error : RangeError;
  return Object.assign(new error(MESSAGES[code] ?? `Invalid WebSocket frame: ${reason}`), { code });
}
