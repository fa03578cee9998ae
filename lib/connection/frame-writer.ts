import { Buffer } from 'node:buffer';
import { bindContext } from '../net/async-context.js';
import { FrameEncoder, frameHeader, LONGEST_STRING } from '../protocol/encoder.js';
import { FIN, Opcode } from '../protocol/frame.js';
import type { FrameRun } from '../protocol/frame-run.js';
import type { ConnectionCore, Sendable, SendCallback, SendOptions } from './context.js';
import { emptyFifo, pushed } from './fifo.js';
import { OVERHEAD } from './memory-budget.js';
import { bytesOf, isBlob, Outgoing, sizeOf } from './outgoing.js';
import { StallWatch } from './stall-watch.js';

/**
 * When the socket has this many unsent bytes, or this many pending writes of any size, further frames wait in the
 * queue.
 */
const HIGH_WATER = 64 * 1024;
const MOST_WRITES = 256;
/** A payload of at least this many bytes is written after its header instead of being copied behind it. */
const NOT_COPIED = 16 * 1024;
/** Maximum number of bytes of a frame that TLS gets at once: it keeps an encrypted copy until they are sent. */
const TLS_SLICE = 32 * 1024;
const NEVER = Number.POSITIVE_INFINITY;
/** The encoders of connections that have not begun a fragmented message: until then, an encoder has no state. */
const ENCODERS = { server: new FrameEncoder('server'), client: new FrameEncoder('client') };

/**
 * Sends frames to one peer in order, within limits of bytes and time. The first frame in a turn of the event loop is
 * written at once; further frames in the same turn are sent together, in one write. Created with the first frame.
 */
export class FrameWriter {
  /** Nothing more may be sent, because a frame was lost or a close frame was sent. */
  refused = false;
  /** Bytes of messages that came too late to be sent: `bufferedAmount` keeps counting them, as in `ws`. */
  lostBytes = 0;
  /** Number of messages sent, and their bytes before compression. */
  messages = 0;
  bytes = 0;
  private encoder: FrameEncoder;
  private queue = emptyFifo<Outgoing>();
  /** The frames of broadcasts that follow the queue. Most peers are sent nothing else in a turn, and need no queue. */
  private run: FrameRun | undefined = undefined;
  /** The socket may have unsent bytes. Until the next write it is not asked again once it had none. */
  private mayBeUnsent = true;
  /** The items of the queue that are not ready (compressed or read from a `Blob`) yet, in order. */
  private unready: Outgoing[] | undefined = undefined;
  private corked = false;
  private isEnding = false;
  /** The scheduler will call {@link endTurn}. */
  private scheduled = false;
  /** Frames of whole messages that must wait until a fragmented message is complete. */
  private deferred: Buffer[] | undefined = undefined;
  private deferredBytes = 0;
  /** The turn of the event loop in which something was last written. */
  private turn = 0;
  private watching = false;
  /** Number of writes since the socket was last empty. */
  private writes = 0;
  /** Size of a message beyond `maxBuffered` that was accepted because little else was queued. */
  private oversize = 0;
  /** The current message is compressed. */
  private compresses = false;
  /** The last ping that could not be answered yet. */
  private lastPing: Buffer | undefined = undefined;
  private stall: StallWatch | undefined = undefined;
  private onWritten: SendCallback | undefined = undefined;
  private onPrepared: ((bytes: Buffer) => void) | undefined = undefined;

  constructor(private readonly connection: ConnectionCore) {
    this.encoder = ENCODERS[connection.context.role];
  }

  // Sending

  /** Sends a message, or a fragment of one. */
  send(data: Sendable, options: SendOptions, callback: SendCallback | undefined): void {
    if (this.refused || !this.connection.isOpen) return this.lose(data, callback);
    const size = sizeOf(data);
    this.count(size);
    const { isShort } = this;
    this.spendAllowance();
    const isBinary = options.binary ?? typeof data !== 'string';
    const fin = options.fin ?? true;
    if (!fin) this.encoder = this.ownEncoder;
    if (!this.encoder.isMidMessage) this.compresses = options.compress !== false && this.isWorth(size);
    if (this.compresses || isBlob(data)) this.prepare(data, size, isBinary, fin, callback);
    else this.frame(data, size, isBinary, fin, callback);
    if (fin && this.deferred !== undefined) this.undefer(this.deferred);
    this.sent(isShort);
  }

  /** Sends a whole text message. */
  sendText(text: string): void {
    const { connection } = this;
    if (this.refused || !connection.isOpen) return this.lose(text, undefined);
    // protection: no message between the fragments of another
    if (this.encoder.isMidMessage) return this.deferText(text);
    // end protection
    if (connection.deflate?.isWorth(text.length)) return this.send(text, TEXT, undefined);
    const size = Buffer.byteLength(text);
    this.count(size);
    const { isShort } = this;
    this.spendAllowance();
    const frame = this.encoder.text(text, size);
    this.put(frame, frame.length, undefined);
    this.sent(isShort);
  }

  /**
   * Sends the frame of a message of `size` bytes that goes to many peers. It is always corked, because it is seldom the
   * last frame of its turn.
   */
  sendShared(frame: FrameRun, size: number): void {
    if (this.refused || !this.connection.isOpen) return;
    this.count(size);
    this.connection.context.counters.deliveries++;
    // protection: no message between the fragments of another
    if (this.encoder.isMidMessage) return this.defer(frame.bytes());
    // end protection
    const { isShort } = this;
    this.cork();
    const longer = this.run?.with(frame);
    if (longer === undefined) this.queueRun();
    this.run = longer ?? frame;
    this.sent(isShort);
  }

  private get ownEncoder(): FrameEncoder {
    const { role } = this.connection.context;
    return this.encoder === ENCODERS[role] ? new FrameEncoder(role) : this.encoder;
  }

  private count(bytes: number): void {
    const { counters } = this.connection.context;
    this.messages++;
    this.bytes += bytes;
    counters.messagesOut++;
    counters.bytesOut += bytes;
  }

  private countCompressed(before: number, after: number): void {
    const { counters } = this.connection.context;
    counters.plainOut += before;
    counters.compressedOut += after;
  }

  /** The application has started a fragmented message, within which no other message may be sent. */
  private defer(frame: Buffer): void {
    (this.deferred ??= []).push(frame);
    this.deferredBytes += frame.length + OVERHEAD;
    this.judge();
  }

  private deferText(text: string): void {
    const bytes = Buffer.from(text);
    this.count(bytes.length);
    this.defer(this.encoder.frame(FIN | Opcode.TEXT, bytes));
  }

  private undefer(frames: readonly Buffer[]): void {
    this.deferred = undefined;
    for (const frame of frames) this.append(frame, frame.length, undefined);
    this.deferredBytes = 0;
  }

  /** Sends a ping or a pong. Throws a `RangeError` for a payload of more than 125 bytes. */
  control(opcode: typeof Opcode.PING | typeof Opcode.PONG, data: Buffer, callback: SendCallback | undefined): void {
    const frame = this.encoder.control(opcode, data);
    const { isShort } = this;
    this.put(frame, frame.length, callback);
    this.sent(isShort);
  }

  /**
   * Answers a ping of the peer: at once, or, of several pings, only the last one when the queue is empty (RFC 6455,
   * 5.5.3).
   */
  answer(data: Buffer): void {
    if (this.refused) return;
    if (this.isShort) this.control(Opcode.PONG, data, undefined);
    else this.lastPing = Buffer.from(data);
  }

  /**
   * Sends a close frame after the queued frames. Throws for an invalid code or reason. Nothing can be sent afterwards.
   */
  close(code: number | undefined, reason: string | Uint8Array | undefined, callback: SendCallback): void {
    const frame = this.encoder.close(code, reason);
    this.refused = true;
    this.lastPing = undefined;
    this.append(frame, frame.length, callback);
    this.uncork();
    this.judge();
  }

  /** Half-closes TCP as soon as everything has been written to the socket. Nothing can be sent afterwards. */
  end(): void {
    this.refused = true;
    this.isEnding = true;
    this.uncork();
    if (!this.isQueued) this.connection.transport.end();
  }

  /** Discards the queued frames and accepts no more. A partly written frame is completed while the socket is open. */
  drop(): void {
    const { queue } = this;
    this.lastPing = undefined;
    this.refused = true;
    this.unready = this.deferred = undefined;
    this.lostBytes += this.deferredBytes + (this.run?.size ?? 0);
    this.deferredBytes = 0;
    this.run = undefined;
    const isPartlyWritten = (queue.first?.written ?? 0) > 0;
    const kept = isPartlyWritten && !this.connection.transport.destroyed ? queue.shift() : undefined;
    for (let item = queue.clear(); item !== undefined; item = item.next) {
      this.lostBytes += item.size;
      item.lose();
    }
    if (kept === undefined) return;
    kept.next = undefined;
    queue.push(kept);
  }

  /** A message that comes too late to be sent. The callback gets the error that `ws` gives. */
  lose(data: Sendable, callback: SendCallback | undefined): void {
    this.lostBytes += sizeOf(data);
    if (callback === undefined) return;
    const state = this.connection.state === 'closed' ? '3 (CLOSED)' : '2 (CLOSING)';
    process.nextTick(callback, new Error(`WebSocket is not open: readyState ${state}`));
  }

  // Frames

  private isWorth(size: number): boolean {
    return this.connection.deflate?.isWorth(size) ?? false;
  }

  private frame(
    data: Exclude<Sendable, Blob>,
    size: number,
    isBinary: boolean,
    fin: boolean,
    callback: SendCallback | undefined,
  ): void {
    const { encoder } = this;
    if (typeof data === 'string' && !isBinary && fin) {
      const frame = encoder.text(data, size);
      return this.put(frame, frame.length, callback);
    }
    const payload = bytesOf(data);
    const first = encoder.next(isBinary, fin);
    if (payload.length < NOT_COPIED || this.connection.context.role === 'client') {
      const frame = encoder.frame(first, payload);
      return this.put(frame, frame.length, callback);
    }
    const header = frameHeader(first, payload.length);
    this.cork();
    this.append(header, header.length, undefined);
    this.append(payload, payload.length, callback);
  }

  /**
   * Queues a message that must be compressed, or read from a `Blob`, before it is framed. Such messages are prepared
   * one after the other.
   */
  private prepare(
    data: Sendable,
    size: number,
    isBinary: boolean,
    fin: boolean,
    callback: SendCallback | undefined,
  ): void {
    const { encoder } = this;
    const payload = isBlob(data) ? data : bytesOf(data);
    const first = encoder.next(isBinary, fin, this.compresses);
    if (!this.unready?.length && !isBlob(payload)) {
      const compressed = this.compress(payload, fin);
      if (compressed !== undefined) {
        this.countCompressed(payload.length, compressed.length);
        const frame = encoder.frame(first, compressed);
        return this.put(frame, frame.length, callback);
      }
    }
    const outgoing = new Outgoing(undefined, size, payload, first, fin, this.compresses);
    outgoing.add(callback);
    this.enqueue(outgoing);
    const unready = (this.unready ??= []);
    unready.push(outgoing);
    if (unready.length === 1 && isBlob(payload)) this.prepareNext();
  }

  /**
   * Compresses a payload. `undefined`: the result comes later, through {@link prepared}, for the first item that is not
   * ready.
   */
  private compress(payload: Buffer, fin: boolean): Buffer | undefined {
    return this.connection.deflate!.compress(payload, fin, this.connection, this.whenPrepared);
  }

  private get whenPrepared(): (bytes: Buffer) => void {
    this.onPrepared ??= (bytes) => this.prepared(bytes);
    return this.onPrepared;
  }

  private prepared(bytes: Buffer): void {
    this.ready(bytes);
    this.prepareNext();
    this.review(this.connection.context.clock.now());
  }

  private prepareNext(): void {
    for (let next = this.unready?.[0]; next !== undefined; next = this.unready?.[0]) {
      const { payload, fin } = next;
      if (isBlob(payload)) return void this.read(payload);
      const compressed = this.compress(payload!, fin);
      if (compressed === undefined) return;
      this.ready(compressed);
    }
  }

  private read(blob: Blob): void {
    blob.arrayBuffer().then(
      (bytes) => {
        const payload = Buffer.from(bytes);
        const outgoing = this.unready?.[0];
        if (outgoing === undefined) return;
        const compressed = outgoing.isCompressed ? this.compress(payload, outgoing.fin) : payload;
        if (compressed !== undefined) this.prepared(compressed);
      },
      (error: unknown) => this.connection.breakOff(error as Error),
    );
  }

  private ready(bytes: Buffer): void {
    const outgoing = this.unready?.shift();
    if (outgoing === undefined) return;
    if (outgoing.isCompressed) this.countCompressed(outgoing.size, bytes.length);
    const frame = this.encoder.frame(outgoing.first, bytes);
    this.queue.grow(outgoing, frame.length - outgoing.size);
    outgoing.frame = frame;
  }

  // One write per turn

  /** Collects frames until the caller calls {@link cork} or {@link flush}, at the latest when the read has been parsed. */
  hold(): void {
    if (!this.connection.isCut) this.corked = true;
  }

  /** Collects frames until {@link flush}, or until the end of this turn. */
  cork(): void {
    if (this.connection.isCut) return;
    this.corked = true;
    if (this.scheduled) return;
    this.scheduled = true;
    this.connection.context.scheduler.flushLater(this.connection);
  }

  endTurn(): void {
    this.scheduled = false;
    if (!this.connection.isCut) this.flush();
  }

  /** Writes the collected frames. */
  flush(): void {
    if (!this.corked) return;
    this.uncork();
    if (this.pending > 0) this.judge();
    else if (this.connection.held > 0) this.connection.settle();
  }

  private uncork(): void {
    this.corked = false;
    this.pour();
  }

  private put(frame: string | Buffer, size: number, callback: SendCallback | undefined): void {
    const { turn } = this.connection.context.scheduler;
    if (!this.isQueued && !this.corked && this.turn !== turn && this.hasRoom && this.fits(size)) {
      this.turn = turn;
      // The socket calls the callback of a write that waits for another one in the async context of that one.
      const waits = callback !== undefined && this.unsent > 0;
      return this.write(frame, waits ? bindContext(callback) : callback);
    }
    if (this.turn === turn && !this.corked) this.cork();
    this.turn = turn;
    this.append(frame, size, callback);
  }

  private fits(size: number): boolean {
    return size <= TLS_SLICE || !this.isTls;
  }

  private append(frame: string | Buffer, size: number, callback: SendCallback | undefined): void {
    this.queueRun();
    const { last } = this.queue;
    const isText = typeof frame === 'string' && this.hasRoom;
    if (isText && typeof last?.frame === 'string' && last.size + size <= LONGEST_STRING) {
      last.frame += frame;
      last.add(callback);
      return this.queue.grow(last, size);
    }
    // An item that stays beyond this turn is converted to bytes, whose memory is exactly what is counted.
    const outgoing = new Outgoing(isText || typeof frame !== 'string' ? frame : Buffer.from(frame, 'latin1'), size);
    outgoing.add(callback);
    this.enqueue(outgoing);
  }

  private enqueue(outgoing: Outgoing): void {
    this.queueRun();
    this.queue = pushed(this.queue, outgoing);
  }

  /**
   * Adds the run to the queue, because other frames follow it, or because only a part of it can be written. The one
   * buffer of a whole run, which peers share, takes what is counted; its small frames take several times that.
   */
  private queueRun(): void {
    const { run } = this;
    if (run === undefined) return;
    this.run = undefined;
    this.enqueue(new Outgoing(run.bytes(), run.size));
  }

  private get isQueued(): boolean {
    return this.run !== undefined || this.queue.length > 0;
  }

  // The socket

  /** Writes as many queued frames as the socket has room for. */
  private pour(): void {
    const { run, queue } = this;
    if (!this.isQueued || !this.hasRoom) return;
    if (queue.length > 0) this.pourQueue();
    else if (run !== undefined) this.pourRun(run);
    if (this.isEnding && !this.isQueued) this.connection.transport.end();
  }

  private pourRun(run: FrameRun): void {
    if (!this.fits(run.size)) {
      this.queueRun();
      return this.pourQueue();
    }
    this.run = undefined;
    this.write(run.bytes(), undefined);
  }

  private pourQueue(): void {
    const { transport } = this.connection;
    if (this.queue.first?.frame === undefined) return;
    this.queueRun();
    const isOne = this.queue.length === 1;
    if (!isOne) transport.cork();
    for (let next = this.queue.first; next?.frame !== undefined && this.hasRoom; next = this.queue.first)
      this.writeFirst(next);
    if (!isOne) transport.uncork();
  }

  private writeFirst(outgoing: Outgoing): void {
    const frame = outgoing.frame!;
    if (typeof frame !== 'string' && frame.length - outgoing.written > TLS_SLICE && this.isTls) {
      const slice = frame.subarray(outgoing.written, outgoing.written + TLS_SLICE);
      outgoing.written += slice.length;
      return this.write(slice, undefined);
    }
    this.queue.shift();
    const rest = outgoing.written === 0 ? frame : (frame as Buffer).subarray(outgoing.written);
    this.write(rest, outgoing.callbacks === undefined ? undefined : (error) => outgoing.call(error ?? undefined));
  }

  private write(frame: string | Buffer, callback: SendCallback | undefined): void {
    const { transport } = this.connection;
    // While the socket is below its high-water mark there is no 'drain' event, so the write's callback reports that
    // there is room again.
    const then = this.unsent > 0 ? this.thenReview(callback) : callback;
    this.writes++;
    this.mayBeUnsent = true;
    if (typeof frame === 'string') transport.write(frame, 'latin1', then as () => void);
    else transport.write(frame, then as () => void);
  }

  private get whenWritten(): SendCallback {
    this.onWritten ??= (error) => {
      // Nothing more is written to a socket that fails: if this callback runs within Node's own loop over its buffer, a
      // write would be called back twice.
      if (!error && this.watching && this.hasRoom) this.review(this.connection.context.clock.now());
    };
    return this.onWritten;
  }

  private thenReview(callback: SendCallback | undefined): SendCallback {
    const { whenWritten } = this;
    if (callback === undefined) return whenWritten;
    return (error) => {
      callback(error);
      whenWritten(error);
    };
  }

  private get hasRoom(): boolean {
    const { unsent } = this;
    return this.writes < MOST_WRITES && unsent < HIGH_WATER;
  }

  /** Bytes that the socket has not sent. Nothing else writes to it once there is a writer. */
  private get unsent(): number {
    if (!this.mayBeUnsent) return 0;
    const { writableLength } = this.connection.transport;
    if (writableLength === 0) {
      this.mayBeUnsent = false;
      this.writes = 0;
    }
    return writableLength;
  }

  private get isTls(): boolean {
    return 'encrypted' in this.connection.transport;
  }

  // Held bytes and deadlines

  /** Bytes queued for the peer, here and in the socket. */
  get pending(): number {
    return this.unsent + this.queue.bytes + (this.run?.size ?? 0) + this.deferredBytes;
  }

  /** Bytes of memory held for the peer: bytes that TLS has encrypted count twice, and objects count too. */
  get held(): number {
    const { unsent, pending, run, queue } = this;
    const items = queue.length + (run === undefined ? 0 : 1);
    return (this.isTls ? unsent : 0) + pending + items * OVERHEAD;
  }

  /** When to call {@link review} again. */
  get nextAt(): number {
    return this.watching && !this.connection.transport.writableNeedDrain ? 0 : (this.stall?.by ?? NEVER);
  }

  private get isShort(): boolean {
    return this.pending <= this.connection.context.limits.writeLimit;
  }

  /** Called when something was queued. A message is always accepted, whatever its size, if at most `writeLimit`
   * bytes were unsent before it. */
  private sent(wasShort: boolean): void {
    const { pending } = this;
    if (wasShort) this.oversize = pending > this.connection.context.limits.maxBuffered ? pending : 0;
    if (pending === 0) return;
    if (!this.corked && this.isQueued) this.pour();
    this.judge();
  }

  /**
   * A client's application may send without limit: after a message larger than `maxBuffered` no other is accepted until
   * it is sent.
   */
  private spendAllowance(): void {
    if (this.oversize > 0 && this.connection.context.role === 'client') this.oversize = 0;
  }

  /** Checks the bytes that the socket has not sent yet; to be called after every write. */
  judge(): void {
    const { pending, connection } = this;
    if (pending === 0) return;
    const { limits, clock } = connection.context;
    if (this.corked) {
      if (pending > Math.min(HIGH_WATER, limits.writeLimit)) this.flush();
      return;
    }
    // protection: slow readers are closed
    if (this.held - this.oversize > limits.maxBuffered && !this.refused) return connection.endForMemory('slow reader');
    // end protection
    if (!this.watching || pending > limits.writeLimit) this.watch(clock.now(), pending);
    connection.settle();
  }

  /** Checks the remaining bytes again; called on drain and by the timer wheel. */
  review(now: number): void {
    if (this.connection.isCut) return;
    if (this.isQueued && !this.corked) this.pour();
    if (this.isShort) this.answerLastPing();
    const { pending } = this;
    if (pending < this.oversize) this.oversize = 0;
    if (pending === 0) this.rest();
    else this.watch(now, pending);
    this.connection.settle();
  }

  private answerLastPing(): void {
    const ping = this.lastPing;
    if (ping === undefined) return;
    this.lastPing = undefined;
    this.answer(ping);
  }

  private watch(now: number, pending: number): void {
    const { connection } = this;
    const { transport, context } = connection;
    if (!this.watching) {
      this.watching = true;
      connection.watchDrain();
    }
    const stall = (this.stall ??= new StallWatch());
    stall.watch(transport, now, context.limits.stallTimeout, pending);
    // Below the socket's high-water mark there is no 'drain' event: review again at the next tick.
    connection.schedule(transport.writableNeedDrain ? stall.by : now + 1);
    // protection: who does not read is not read
    connection.outputIsLong(pending > context.limits.writeLimit);
    // end protection
  }

  private rest(): void {
    this.stall?.rest();
    if (this.watching) {
      this.watching = false;
      this.connection.unwatchDrain();
    }
    this.connection.outputIsLong(false);
  }

  /** Whether the oldest queued byte is still unsent after its deadline. */
  isStalled(now: number): boolean {
    return this.stall?.isOverdue(this.connection.transport, now) ?? false;
  }

  /** Extends the deadline because the event loop was late. */
  standStill(silence: number): void {
    if (this.stall !== undefined) this.stall.by += silence;
  }
}

const TEXT: SendOptions = Object.freeze({ binary: false });
