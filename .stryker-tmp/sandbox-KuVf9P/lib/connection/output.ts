// @ts-nocheck
import { OVERHEAD } from './assembly.js';
import type { Connection } from './connection.js';
import { LONGEST_STRING, textFrame } from './frame-text.js';
import { writeJoined } from './joined-write.js';
import { onDrain } from './listeners.js';
import { Outbox } from './outbox.js';
import { type Sendable, type SendCallback, type SendOptions, sizeOf } from './sendable.js';
import type { PeerSender } from './sender.js';
import { Stall } from './stall.js';

/** Beyond this much in the socket, frames wait in the outbox: bytes, and frames however small. */
const HIGH_WATER = 64 * 1024;
const MOST_FRAMES = 256;

/** What is on its way to one peer: bounded in bytes and in time. There is none before the first of it. */
export class Output {
  /** Nothing more is sent: the stream must have no gap. */
  refused = false;
  /** Bytes of messages that came too late to be sent: `bufferedAmount` counts them for ever, as that of `ws` does. */
  lostBytes = 0;
  private readonly outbox = new Outbox();
  private readonly stall = new Stall();
  private corked = false;
  private watching = false;
  /** Frames given to the socket since it was last seen empty. */
  private frames = 0;
  /** Bytes of a message beyond `maxBuffered` that was taken because little else was queued. */
  private oversize = 0;
  /** The last ping that could not be answered yet. */
  private lastPing: Buffer | undefined = undefined;
  private onWritten: (() => void) | undefined = undefined;
  /** Once something was sent that is neither a short text nor a frame that is ready. */
  sender: PeerSender | undefined = undefined;

  constructor(private readonly connection: Connection) {
    connection.raw._writev = writeJoined;
  }

  /** Bytes that the sender of `ws` holds back while it compresses; with none, a frame may be written past it. */
  get senderBytes(): number {
    return this.sender?._bufferedBytes ?? 0;
  }

  /** Bytes queued towards the peer, here and in the socket. */
  get pending(): number {
    return this.inSocket + this.outbox.bytes;
  }

  /** Bytes held for the peer, with what their objects cost. */
  get held(): number {
    return this.pending + this.outbox.length * OVERHEAD;
  }

  /** When to look again. */
  get nextAt(): number {
    return this.watching && !this.connection.raw.writableNeedDrain ? 0 : this.stall.by;
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
    if (this.pending > 0) this.judge();
    else if (this.connection.held > 0) this.connection.settle();
  }

  send(data: Sendable, options: SendOptions, callback: SendCallback | undefined): void {
    if (this.refused || !this.connection.isOpen) return this.lose(data, callback);
    const { isShort } = this;
    if (this.goesAtOnce) this.write(data, options, callback);
    else this.outbox.add(data, options, callback);
    if (isShort) this.takeWhole();
    this.judge();
  }

  /** A text message; a short one of ASCII goes out as one string, which costs neither a Buffer nor a second write. */
  sendText(text: string): void {
    const isPlain = text.length <= LONGEST_STRING && !this.refused && this.connection.socket.sendsPlain(text.length);
    if (!isPlain || !this.goesAtOnce || Buffer.byteLength(text) !== text.length)
      return this.send(text, TEXT, undefined);
    this.writeRaw(textFrame(text), 'latin1');
    this.judge();
  }

  /** A text message for many peers, with the frame that was made of it once. */
  sendFrame(payload: Buffer, frame: Buffer): void {
    if (this.refused) return;
    const { isShort } = this;
    if (this.goesAtOnce && this.senderBytes === 0) this.writeRaw(frame);
    else this.outbox.add(payload, TEXT, undefined, frame);
    if (isShort) this.takeWhole();
    this.judge();
  }

  /** A ping of the peer: answered at once, or the last of many when the queue has gone (RFC 6455, 5.5.3). */
  pong(data: Buffer): void {
    if (this.refused) return;
    if (this.pending > this.connection.context.limits.writeLimit) this.lastPing = Buffer.from(data);
    else this.connection.socket.pong(data);
  }

  /** Hands everything that waits to the socket: a close frame is to follow. */
  flush(): void {
    while (this.outbox.length > 0) this.writeNext();
  }

  /** Forgets what has not been given to the socket, and takes nothing more. */
  drop(): void {
    this.lastPing = undefined;
    this.refused = true;
    for (let item = this.outbox.clear(); item !== undefined; item = item.next) this.lose(item.data, item.callback);
  }

  /** Looks again at what is left; called on drain and by the wheel. */
  review(now: number): void {
    if (!this.watching) return;
    if (this.outbox.length > 0) this.pour();
    if (this.pending <= this.connection.context.limits.writeLimit) this.answerPing();
    const { pending } = this;
    if (pending < this.oversize) this.oversize = 0;
    if (pending === 0) this.rest();
    else this.watch(now, pending);
    this.connection.settle();
  }

  /** True when the oldest queued byte is still here although its time is over. */
  isStalled(now: number): boolean {
    return this.stall.isOverdue(this.connection.raw, now);
  }

  private get inSocket(): number {
    return this.connection.raw.writableLength + this.senderBytes;
  }

  private get hasRoom(): boolean {
    if (this.connection.raw.writableLength === 0) this.frames = 0;
    return this.frames < MOST_FRAMES && this.inSocket < HIGH_WATER;
  }

  /** Nothing is before it; of what was held together, it is enough. */
  private get goesAtOnce(): boolean {
    if (this.outbox.length > 0) return false;
    if (this.hasRoom) return true;
    this.uncork();
    return this.outbox.length === 0 && this.hasRoom;
  }

  private get isShort(): boolean {
    return this.pending <= this.connection.context.limits.writeLimit;
  }

  /** A message on a queue that is short, or empty, is always taken, whatever its size. */
  private takeWhole(): void {
    const { pending } = this;
    this.oversize = pending > this.connection.context.limits.maxBuffered ? pending : 0;
  }

  /** Looks at what the socket did not take: to be called after every write. */
  judge(): void {
    const { pending, connection } = this;
    if (pending === 0) return;
    const { limits, clock } = connection.context;
    if (this.corked) {
      if (pending > limits.writeLimit) this.uncork();
      return;
    }
    if (this.held - this.oversize > limits.maxBuffered) return connection.endForMemory('slow reader');
    if (!this.watching || pending > limits.writeLimit) this.watch(clock.now(), pending);
    connection.settle();
  }

  private watch(now: number, pending: number): void {
    const { connection } = this;
    const { raw, context } = connection;
    if (!this.watching) {
      this.watching = true;
      raw.on('drain', onDrain);
    }
    this.stall.watch(raw, now, context.limits.stallTimeout, pending);
    // Below the socket's own mark there is no 'drain': look again at the next tick.
    connection.schedule(raw.writableNeedDrain ? this.stall.by : now + 1);
    if (pending > context.limits.writeLimit) connection.intake.pauseForOutput();
    else connection.receiving?.resumeAfterOutput();
  }

  private rest(): void {
    this.stall.rest();
    if (this.watching) {
      this.watching = false;
      this.connection.raw.removeListener('drain', onDrain);
    }
    this.connection.receiving?.resumeAfterOutput();
  }

  private pour(): void {
    const { raw, isOpen } = this.connection;
    if (!isOpen) return this.drop();
    raw.cork();
    while (this.outbox.length > 0 && this.hasRoom) this.writeNext();
    raw.uncork();
  }

  private writeNext(): void {
    const { data, options, callback, frame } = this.outbox.shift()!;
    // What is being compressed must not be overtaken.
    if (frame !== undefined && this.senderBytes === 0) this.writeRaw(frame);
    else this.write(data, options, callback);
  }

  private write(data: Sendable, options: SendOptions, callback: SendCallback | undefined): void {
    const { raw, socket } = this.connection;
    this.frames++;
    const mayWait = raw.writableLength > 0 || socket.deflate !== undefined;
    socket.write(data, options, mayWait ? this.thenReview(callback) : callback);
  }

  private writeRaw(frame: string | Buffer, encoding?: 'latin1'): void {
    const { raw } = this.connection;
    this.frames++;
    if (raw.writableLength > 0) raw.write(frame, encoding, this.whenWritten);
    else raw.write(frame, encoding);
  }

  /** Below the socket's own mark nothing else tells that there is room again. */
  private get whenWritten(): () => void {
    this.onWritten ??= () => {
      if (this.watching && this.hasRoom) this.review(this.connection.context.clock.now());
    };
    return this.onWritten;
  }

  private thenReview(callback: SendCallback | undefined): SendCallback {
    const { whenWritten } = this;
    if (callback === undefined) return whenWritten;
    return (error) => {
      callback(error);
      whenWritten();
    };
  }

  private answerPing(): void {
    const ping = this.lastPing;
    if (ping === undefined) return;
    this.lastPing = undefined;
    this.connection.socket.pong(ping);
  }

  lose(data: Sendable, callback: SendCallback | undefined): void {
    this.lostBytes += sizeOf(data);
    if (callback !== undefined)
      process.nextTick(callback, new Error('WebSocket is not open: nothing more is sent to this peer'));
  }
}

const TEXT: SendOptions = Object.freeze({ binary: false });
