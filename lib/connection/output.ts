import type { Connection } from './connection.js';

/** Beyond this much in the socket, frames wait here, where they can still be dropped. */
const HIGH_WATER = 64 * 1024;
/** The slowest reader that is waited for: bytes per millisecond (4 KiB/s). */
const SLOWEST = 4.096;

export type SendCallback = (error?: Error) => void;
export interface SendOptions {
  binary?: boolean;
  compress?: boolean;
  fin?: boolean;
  mask?: boolean;
}
interface Waiting {
  readonly data: Sendable;
  /** `undefined`: `data` is a whole frame already. */
  readonly options: SendOptions | undefined;
  readonly callback: SendCallback | undefined;
  readonly size: number;
}
export type Sendable = string | Buffer | Uint8Array | ArrayBuffer | Blob;

/** Bytes of a payload. */
export const sizeOf = (data: Sendable): number =>
  typeof data === 'string' ? Buffer.byteLength(data) : data instanceof Blob ? data.size : data.byteLength;

/** What is on its way to one peer: bounded in bytes and in time. */
export class Output {
  /** Bytes that wait here, before the socket. */
  waitingBytes = 0;
  /** Nothing more is sent: the stream must have no gap. */
  refused = false;
  private waiting: Waiting[] | undefined = undefined;
  private corked = false;
  private watching = false;
  /** The last ping that could not be answered yet. */
  private lastPing: Buffer | undefined = undefined;
  /** The bytes up to this mark must have left by this time. */
  private stallMark = 0;
  stallBy = Number.POSITIVE_INFINITY;

  constructor(private readonly connection: Connection) {}

  /** Bytes queued towards the peer, here and in the socket. */
  get pending(): number {
    return this.connection.socket.bufferedAmount;
  }

  /** Holds what is written together until the end of this turn. */
  cork(): void {
    if (this.corked || this.connection.ended) return;
    this.corked = true;
    this.connection.raw.cork();
    this.connection.context.turns.uncork(this.connection);
  }

  uncork(): void {
    if (!this.corked) return;
    this.corked = false;
    this.connection.raw.uncork();
    this.connection.settle();
  }

  send(data: Sendable, options: SendOptions, callback: SendCallback | undefined): void {
    if (this.refused) return this.refuse(callback);
    const { raw, socket } = this.connection;
    if (this.corked && raw.writableLength >= HIGH_WATER) this.uncork();
    if (this.waitingBytes === 0 && raw.writableLength < HIGH_WATER) socket.write(data, options, callback);
    else this.wait(data, options, callback);
    if (raw.writableLength > 0 || this.waitingBytes > 0) this.judge();
  }

  /** A text message; a short one of ASCII goes out as one string, which costs neither a Buffer nor a second write. */
  sendText(text: string): void {
    const { raw, socket } = this.connection;
    const isPlain = text.length <= LONGEST_STRING && this.waitingBytes === 0 && socket.sendsPlain(text.length);
    if (this.refused || !isPlain || raw.writableLength >= HIGH_WATER || Buffer.byteLength(text) !== text.length) {
      return this.send(text, TEXT, undefined);
    }
    raw.write(textFrame(text), 'latin1');
    if (raw.writableLength > 0) this.judge();
  }

  /** A frame that was made once for many peers. */
  sendFrame(frame: Buffer): void {
    if (this.refused) return;
    const { raw } = this.connection;
    if (this.corked && raw.writableLength >= HIGH_WATER) this.uncork();
    if (this.waitingBytes === 0 && raw.writableLength < HIGH_WATER) raw.write(frame);
    else this.wait(frame, undefined, undefined);
    if (raw.writableLength > 0 || this.waitingBytes > 0) this.judge();
  }

  /** A ping of the peer: answered at once, or the last of many when the queue has gone (RFC 6455, 5.5.3). */
  pong(data: Buffer): void {
    if (this.refused) return;
    if (this.pending > this.connection.context.limits.writeLimit) this.lastPing = Buffer.from(data);
    else this.connection.socket.pong(data);
  }

  /** Hands everything that waits to the socket: a close frame is to follow. */
  flush(): void {
    const { waiting } = this;
    if (waiting === undefined) return;
    this.waiting = undefined;
    this.waitingBytes = 0;
    for (const item of waiting) this.write(item);
  }

  /** Forgets what has not been given to the socket, and takes nothing more. */
  drop(): void {
    const { waiting } = this;
    this.waiting = undefined;
    this.waitingBytes = 0;
    this.lastPing = undefined;
    this.refused = true;
    for (const { callback } of waiting ?? []) this.refuse(callback);
  }

  /** Looks again at what is left; called on drain and by the wheel. */
  review(now: number): void {
    const { raw } = this.connection;
    if (this.waiting !== undefined && raw.writableLength < HIGH_WATER) this.pour();
    const { pending } = this;
    if (pending <= this.connection.context.limits.writeLimit) this.answerPing();
    if (pending === 0) this.rest();
    else this.watch(now, pending);
    this.connection.settle();
  }

  /** True when the oldest queued byte is still here although its time is over. */
  stalled(now: number): boolean {
    if (now < this.stallBy) return false;
    const { raw } = this.connection;
    const left = raw.bytesWritten - raw.writableLength;
    if (left < this.stallMark) return true;
    this.stallBy = Number.POSITIVE_INFINITY;
    this.review(now);
    return false;
  }

  private wait(data: Sendable, options: SendOptions | undefined, callback: SendCallback | undefined): void {
    const size = sizeOf(data);
    (this.waiting ??= []).push({ data, options, callback, size });
    this.waitingBytes += size;
  }

  private judge(): void {
    const { limits, clock } = this.connection.context;
    if (this.corked && this.connection.raw.writableLength <= limits.writeLimit) return;
    let { pending } = this;
    if (this.corked && pending > limits.writeLimit) {
      this.uncork();
      pending = this.pending;
    }
    if (pending === 0 || this.corked) return;
    // A message on an empty queue is always taken, whatever its size: then nothing waits here.
    if (pending > limits.maxBuffered && this.waitingBytes > 0) return this.connection.endForMemory('slow reader');
    this.watch(clock.now(), pending);
    this.connection.settle();
  }

  private watch(now: number, pending: number): void {
    const { raw, context } = this.connection;
    if (!this.watching) {
      this.watching = true;
      raw.on('drain', onDrain);
    }
    if (pending > context.limits.writeLimit) this.connection.intake.pauseForOutput();
    else this.connection.intake.resumeAfterOutput();
    if (this.stallBy === Number.POSITIVE_INFINITY) {
      this.stallMark = raw.bytesWritten + this.waitingBytes;
      this.stallBy = now + context.limits.stallTimeout + pending / SLOWEST;
      context.wheel.schedule(this.connection, this.stallBy);
    }
    // Below the socket's own mark there is no 'drain': look again at the next tick.
    if (!raw.writableNeedDrain) context.wheel.schedule(this.connection, now + 1);
  }

  private rest(): void {
    this.stallBy = Number.POSITIVE_INFINITY;
    if (this.watching) {
      this.watching = false;
      this.connection.raw.removeListener('drain', onDrain);
    }
    this.connection.intake.resumeAfterOutput();
  }

  private pour(): void {
    const { raw } = this.connection;
    raw.cork();
    while (this.waiting !== undefined && raw.writableLength < HIGH_WATER) {
      const item = this.waiting.shift()!;
      this.waitingBytes -= item.size;
      if (this.waiting.length === 0) this.waiting = undefined;
      this.write(item);
    }
    raw.uncork();
  }

  private write({ data, options, callback }: Waiting): void {
    if (options === undefined) this.connection.raw.write(data as Buffer);
    else this.connection.socket.write(data, options, callback);
  }

  private answerPing(): void {
    const ping = this.lastPing;
    if (ping === undefined) return;
    this.lastPing = undefined;
    this.connection.socket.pong(ping);
  }

  private refuse(callback: SendCallback | undefined): void {
    if (callback !== undefined)
      process.nextTick(callback, new Error('The connection takes no more: its peer does not read'));
  }
}

const TEXT: SendOptions = Object.freeze({ binary: false });
/** Strings of up to this many bytes are written from the stack, without an allocation. */
const LONGEST_STRING = 16_000;
/** Heads of unmasked text frames (RFC 6455, section 5.2) of up to 125 bytes. */
const SHORT_HEADS = Array.from({ length: 126 }, (_, length) => String.fromCharCode(0x81, length));

const textFrame = (text: string): string =>
  text.length < SHORT_HEADS.length
    ? SHORT_HEADS[text.length]! + text
    : String.fromCharCode(0x81, 126, text.length >> 8, text.length & 255) + text;

function onDrain(this: object): void {
  const connection = (this as { [CONNECTION]?: Connection })[CONNECTION];
  connection?.output.review(connection.context.clock.now());
}

/** Where a raw socket keeps its connection, so that all listeners can be shared. */
export const CONNECTION = Symbol('nest-secure-ws.connection');
