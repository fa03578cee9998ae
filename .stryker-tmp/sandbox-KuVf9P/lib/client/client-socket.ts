// @ts-nocheck
import type { Socket } from 'node:net';
import { WebSocket } from 'ws';
import type { PeerDeflate } from '../compression/peer-deflate.js';
import { EXTENSION_NAME } from '../compression/settings.js';
import type { Sendable, SendCallback, SendOptions } from '../connection/sendable.js';
import { CloseCode, defaultReason } from '../protocol/close-codes.js';
import type { Dialled } from './dial.js';
import { bytesOf, type Message } from './inbox.js';
import { Intake } from './intake.js';
import { Lifeline } from './lifeline.js';
import type { ClientLimits } from './limits.js';
import { flushSoon, listen } from './listeners.js';
import { Outflow } from './outflow.js';
import type { ClientRuntime } from './runtime.js';
import { type ClientInternals, clientInternalsOf } from './ws-internals.js';

/** How a connection ended. */
export interface Closed {
  /** Of the server's close frame; 1005: it had none; 1006: there was no close frame (RFC 6455, section 7.4.1). */
  readonly code: number;
  readonly reason: string;
  /** Why we ended it, or what broke, where that was it. */
  readonly cause: string | undefined;
}

const SOCKET_OPTIONS = { autoPong: false, allowSynchronousEvents: true, skipUTF8Validation: false };
const NO_OPTIONS: SendOptions = Object.freeze({});

/**
 * An open connection to a server: a `WebSocket` of `ws`, with the limits of the call kept.
 *
 * Messages wait, `messages.maxQueue` of them at most, until somebody listens to `'message'` or iterates; then reading
 * pauses, and with it what the server may be late with. The rest of what was read waits as it came, compressed, and the
 * end of the connection behind it: where the server closes, or TCP ends, whoever reads gets what was complete before,
 * and then the end. What nobody takes for `keepalive.closeTimeout` after the end of TCP is dropped. Our own `close()`
 * and `terminate()` drop at once what had not begun to wait for the iterator.
 *
 * An `'error'` without a listener is no end of the process: how the connection ended is told by `closed`.
 */
export class ClientSocket extends WebSocket {
  /**
   * Fulfilled when TCP has ended, and what came before its end has been taken, or no message of it for the close
   * timeout; never rejected.
   */
  readonly closed: Promise<Closed>;
  /** @internal */ readonly raw: Socket;
  /** @internal */ readonly intake: Intake;
  /** @internal */ readonly outflow: Outflow;
  /** @internal */ readonly lifeline: Lifeline;
  private cause: string | undefined = undefined;
  private tellClosed!: (closed: Closed) => void;

  /** @hidden */
  constructor({ raw, rest, target, subprotocol, deflate }: Dialled, limits: ClientLimits, runtime: ClientRuntime) {
    super(null as unknown as string, undefined, { ...SOCKET_OPTIONS, closeTimeout: limits.closeTimeout } as object);
    this.closed = new Promise((resolve) => {
      this.tellClosed = resolve;
    });
    this.raw = raw;
    this.intake = new Intake(this, limits);
    this.outflow = new Outflow(this, limits);
    this.lifeline = new Lifeline(this, limits, runtime);
    const { internals } = this;
    internals._isServer = false;
    internals._url = target.href;
    internals._protocol = subprotocol;
    if (deflate !== undefined) internals._extensions = { [EXTENSION_NAME]: deflate };
    const { maxSize, maxFragments } = limits;
    internals.setSocket(raw, rest, { ...SOCKET_OPTIONS, maxBufferedChunks: 0, maxFragments, maxPayload: maxSize });
    this.intake.assembly.attach(internals._receiver);
    listen(this, raw);
    this.lifeline.begin();
    // The handshake left it paused.
    raw.resume();
  }

  /** Round trip of the last ping in milliseconds, `undefined` before the first pong. */
  get latency(): number | undefined {
    return this.lifeline.latency;
  }

  /** @internal */ get internals(): ClientInternals {
    return clientInternalsOf(this);
  }

  /** @internal What stands for compression here, where it was agreed. */
  get deflate(): PeerDeflate | undefined {
    return this.internals._extensions[EXTENSION_NAME] as PeerDeflate | undefined;
  }

  /** @internal Neither side has begun to close. */
  get isOpen(): boolean {
    return this.readyState === WebSocket.OPEN;
  }

  /** Sends `{ event, data }` as JSON text, as Nest's gateways understand it. */
  sendEvent(event: string, data?: unknown): void {
    this.send(JSON.stringify({ event, data }));
  }

  override send(data: Sendable | number, options?: SendOptions | SendCallback, callback?: SendCallback): void {
    if (typeof options === 'function') [options, callback] = [NO_OPTIONS, options];
    const before = this.bufferedAmount;
    super.send(data as Buffer, options ?? NO_OPTIONS, callback as (error?: Error) => void);
    if (!this.isOpen) return;
    this.lifeline.messaged();
    this.outflow.judge(before);
  }

  override close(code?: number, reason?: string | Buffer): void {
    const wasOpen = this.isOpen;
    super.close(code, reason ?? defaultReason(code));
    if (wasOpen) this.lifeline.closing();
    this.intake.leave();
  }

  override terminate(): void {
    this.intake.leave();
    super.terminate();
  }

  /** Stops reading until {@link resume}; reading also pauses by itself while messages wait. */
  override pause(): void {
    if (this.readyState !== WebSocket.CLOSED) this.intake.pauseForUser();
  }

  override resume(): void {
    this.intake.resumeForUser();
    flushSoon(this);
  }

  /**
   * The messages, text as a string, binary as a `Buffer`, until the connection has ended, however it does. Leaving the
   * loop does not close the connection; iterating again goes on with the next message.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<Message> {
    const { intake } = this;
    let isDone = false;
    intake.iterators++;
    return {
      next: () => (isDone ? Promise.resolve({ value: undefined, done: true }) : intake.inbox.next()),
      return: async () => {
        if (!isDone) intake.iterators--;
        isDone = true;
        if (intake.iterators === 0) intake.inbox.dismiss();
        if (intake.iterators === 0 && this.listenerCount('message') > 0) intake.inbox.clear();
        return { value: undefined, done: true };
      },
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  /** @internal Where everything that `ws` tells passes. */
  override emit(event: string | symbol, ...args: unknown[]): boolean {
    switch (event) {
      case 'message':
        return this.received(args[0] as Buffer, args[1] as boolean);
      case 'ping':
        if (!this.isOpen || !this.intake.admitControl()) return false;
        this.outflow.answer(args[0] as Buffer);
        break;
      case 'pong':
        if (!this.lifeline.pong(args[0] as Buffer) && !this.intake.admitControl()) return false;
        break;
      case 'error':
        this.cause ??= (args[0] as Error).message;
        if (this.listenerCount('error') === 0) return false;
        break;
      case 'close':
        this.over(args[0] as number, args[1] as Buffer);
        break;
    }
    return super.emit(event, ...args);
  }

  /** @internal Says goodbye, for a reason of ours. */
  end(code: number, reason: string): void {
    if (!this.isOpen) return;
    this.cause ??= reason;
    this.close(code, reason);
  }

  /** @internal Ends it without a word. */
  kill(cause: string): void {
    this.cause ??= cause;
    if (this.raw.destroyed) this.terminate();
    else super.terminate();
  }

  /** @internal A rate that the call names is not kept. */
  breach(reason: string): void {
    if (this.isOpen) this.end(CloseCode.POLICY_VIOLATION, reason);
    else if (this.intake.keeps) {
      this.cause ??= reason;
      this.terminate();
    }
  }

  /** @internal Too much waits for the server to read it. */
  overflow(): void {
    this.end(CloseCode.TRY_AGAIN_LATER, 'slow reader');
    this.lifeline.overflow();
  }

  /** @internal */ stopReading(): void {
    super.pause();
  }

  /** @internal */ startReading(): void {
    super.resume();
  }

  /** @internal Hands what waits to the listeners. */
  flush(): void {
    const { intake } = this;
    while (intake.iterators === 0 && !intake.pausedByUser && this.listenerCount('message') > 0) {
      const message = intake.inbox.shift();
      if (message === undefined) return;
      if (typeof message === 'string') super.emit('message', Buffer.from(message), false);
      else super.emit('message', message, true);
    }
  }

  private received(data: Buffer, isBinary: boolean): boolean {
    const { intake } = this;
    const size = bytesOf(data);
    this.lifeline.messaged();
    if (!intake.admit(size)) return false;
    const listened = this.listenerCount('message') > 0;
    const waiting = intake.iterators === 0 && intake.inbox.length > 0;
    if (listened && !waiting) super.emit('message', data, isBinary);
    // After our own close() nobody is waited for any more.
    if ((intake.iterators > 0 || !listened || waiting) && intake.keeps)
      intake.keep(isBinary ? data : data.toString(), size);
    return true;
  }

  private over(code: number, reason: Buffer): void {
    this.lifeline.end();
    this.intake.inbox.end();
    this.tellClosed({ code, reason: reason.toString(), cause: this.cause });
  }
}
