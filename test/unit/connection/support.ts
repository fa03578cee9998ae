import { AsyncResource } from 'node:async_hooks';
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { resolveSettings } from '../../../lib/config/resolve.js';
import type { SecureWsOptions } from '../../../lib/config/settings.js';
import { type Agreed, Connection } from '../../../lib/connection/connection.js';
import type { ConnectionContext, ConnectionSink } from '../../../lib/connection/context.js';
import { clientLimitsOf, limitsOf } from '../../../lib/connection/limits.js';
import { MemoryBudget } from '../../../lib/connection/memory-budget.js';
import { type AsyncContext, captureContext } from '../../../lib/net/async-context.js';
import { FairScheduler } from '../../../lib/net/fair-scheduler.js';
import { TimerWheel } from '../../../lib/net/timer-wheel.js';
import type { Role } from '../../../lib/protocol/frame.js';
import { GatewayCounters } from '../../../lib/telemetry/metrics.js';
import { ManualClock } from '../../support/time.js';

/** How the kernel handles a write: at once, at {@link KernelSocket.release}, or with an error. */
export type Kernel = 'now' | 'later' | 'error';

/**
 * Node's stream implementation as in `net.Socket` (corking, `'drain'`, callbacks in a later tick), over a fake
 * kernel.
 */
export class KernelSocket extends Duplex {
  timeout = 0;
  /** How each write is handled; the last value applies to all that follow. */
  kernel: () => Kernel = () => 'now';
  /** The bytes that the kernel has accepted. */
  readonly taken: Buffer[] = [];
  /** Calls of `_write` and `_writev`; each would be a system call of a socket. */
  calls = 0;
  ended = false;
  private given = 0;
  private waiting: (() => void) | undefined;

  constructor(readonly encrypted: true | undefined = undefined) {
    super({ decodeStrings: false, highWaterMark: 16 * 1024, allowHalfOpen: true });
    if (encrypted === undefined) delete (this as { encrypted?: true }).encrypted;
  }

  /** As `bytesWritten` of `net.Socket`: all bytes passed to it, sent or not. */
  get bytesWritten(): number {
    return this.given;
  }

  override write(chunk: unknown, ...rest: unknown[]): boolean {
    this.given += (chunk as { length: number }).length;
    return super.write(chunk, ...(rest as [BufferEncoding]));
  }

  override _read(): void {}

  override _write(chunk: Buffer | string, encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    this.accept([{ chunk, encoding }], callback);
  }

  override _writev(
    chunks: { chunk: Buffer | string; encoding: BufferEncoding }[],
    callback: (error?: Error | null) => void,
  ): void {
    this.accept(chunks, callback);
  }

  override _final(callback: () => void): void {
    this.ended = true;
    callback();
  }

  setNoDelay(): this {
    return this;
  }

  resetAndDestroy(): this {
    return this.destroy();
  }

  /** Accepts the writes that are pending. */
  release(): void {
    const { waiting } = this;
    this.waiting = undefined;
    waiting?.();
  }

  get isWaiting(): boolean {
    return this.waiting !== undefined;
  }

  private accept(
    chunks: readonly { chunk: Buffer | string; encoding: BufferEncoding }[],
    callback: (error?: Error | null) => void,
  ): void {
    this.calls++;
    const kernel = this.kernel();
    if (kernel === 'error') return callback(new Error('EPIPE'));
    const done = (): void => {
      for (const { chunk, encoding } of chunks)
        this.taken.push(typeof chunk === 'string' ? Buffer.from(chunk, encoding) : Buffer.from(chunk));
      callback();
    };
    if (kernel === 'now') done();
    // As in Node, a write completes in the async context in which it was begun.
    else this.waiting = AsyncResource.bind(done);
  }
}

/** A connection without an application; it records what it is told. */
export class BareConnection extends Connection {
  readonly account = undefined;
  readonly asyncContext: AsyncContext = captureContext();
  readonly reported: unknown[] = [];
  protected readonly stallCause = 'peer does not read';

  report(error: unknown): void {
    this.reported.push(error);
  }

  protected override pauseForOutput(): void {}
}

export interface Bare {
  readonly connection: BareConnection;
  readonly socket: KernelSocket;
  readonly clock: ManualClock;
  readonly wheel: TimerWheel;
  readonly scheduler: FairScheduler;
  readonly budget: MemoryBudget;
  /** Messages passed to the sink. */
  readonly messages: string[];
  /** Close codes passed to the sink. */
  readonly ends: number[];
}

export interface BareOptions {
  readonly role?: Role;
  readonly options?: SecureWsOptions;
  /** Paths of the settings that the client's call sets. */
  readonly named?: readonly string[];
  readonly encrypted?: true;
  /** Bytes after the head of the handshake, which leaves the transport paused. */
  readonly rest?: Buffer;
  /** The codec, if compression was negotiated. */
  readonly deflate?: Agreed['deflate'];
  /** Handles a message and must call `finished`; without it every message finishes at once. */
  readonly take?: (data: Buffer, connection: BareConnection) => void;
}

/** A connection over a fake kernel, clock and application. */
export function bareConnection(given: BareOptions = {}): Bare {
  const { role = 'server', options = {}, named = [], encrypted, rest = Buffer.alloc(0), deflate, take } = given;
  const { settings } = resolveSettings(options, { get: () => undefined, names: [] });
  const limits = role === 'server' ? limitsOf(settings) : clientLimitsOf(settings, new Set(named));
  const clock = new ManualClock();
  const [wheel, scheduler, budget] = [new TimerWheel(clock, 50), new FairScheduler(), new MemoryBudget(1e9, 1e9)];
  const counters = new GatewayCounters();
  const context: ConnectionContext = { role, limits, budget, clock, wheel, scheduler, counters, random: () => 0.5 };
  const socket = new KernelSocket(encrypted);
  const messages: string[] = [];
  const ends: number[] = [];
  const sink: ConnectionSink = {
    takes: true,
    hearsWhenClosing: false,
    heard: () => false,
    take(data) {
      messages.push(data.toString());
      if (take === undefined) connection.finished(data.length);
      else take(data, connection);
    },
    pinged: () => undefined,
    ponged: () => undefined,
    failed: () => undefined,
    ended: (code) => void ends.push(code),
  };
  const connection: BareConnection = new BareConnection(context, socket as unknown as Socket, sink, {
    deflate,
    subprotocol: undefined,
  });
  socket.pause();
  connection.begin(rest);
  return { connection, socket, clock, wheel, scheduler, budget, messages, ends };
}
