import { chargedBytes, type Inflated } from '../protocol/deflate/per-message-deflate.js';
import type { ProtocolError } from '../protocol/frame.js';
import { own } from '../protocol/kept.js';
import { type FrameParser, type FrameSink, giveParserBack, takeParser } from '../protocol/parser.js';
import type { ConnectionCore } from './context.js';
import { emptyFifo, pushed, type Waiting } from './fifo.js';
import { OVERHEAD } from './memory-budget.js';
import { Rates } from './rates.js';
import { Pause, ReadGate, shifted } from './read-gate.js';

/** A connection yields to others after this many bytes, or this many milliseconds. */
const TURN_BYTES = 256 * 1024;
const TURN_MS = 2;
/** Messages of at least this size take turns with those of other connections. */
const LARGE = 16 * 1024;
/**
 * Maximum number of frames that are read and discarded after the connection has started to close, to find the peer's
 * close frame.
 */
const FRAMES_AFTER_END = 1000;
/** Bytes that are read and discarded after the end without being charged: an honest peer has few of them under way. */
const FREE_AFTER_END = 64 * 1024;
/** The minimum rate of a sender: bytes per millisecond (16 KiB/s). */
const SLOWEST = 16.384;
/** Maximum length of a frame header (RFC 6455, section 5.2). */
const LONGEST_HEAD = 14;
const NEVER = Number.POSITIVE_INFINITY;

interface Message extends Waiting {
  readonly data: Buffer;
  readonly isBinary: boolean;
  /** A listener has got it already. */
  readonly isHeard: boolean;
}

/**
 * Reads one peer's messages; made with its first byte. From bytes to the reply, with the method or function of each step:
 *
 *  1  bytes            `read`: one chunk of the transport (`transport-events.ts`, `onData`)
 *  2  frames           `message`, `fragment`, `ping`, `pong`, `close`: called by `protocol/parser.ts`, `push`
 *  3  decompression    `inflate`
 *  4  messages, rates  `arrive`
 *  5  queue, fairness  `enqueue`, `handOver`
 *  6  sink             `start`: `secure-socket.ts`, `take`, and on the server `server/endpoint.ts`, `dispatch`
 *  7  event, handler   `dispatch/dispatcher.ts`, `handle`
 *  8  reply            `dispatch/dispatcher.ts`, `reply`, and `frame-writer.ts`, `sendText`
 *  9  place is free    `finished`
 */
export class MessageReader implements FrameSink {
  /** Decides whether the peer is read from; `undefined` until reading is paused for the first time. */
  knownGate: ReadGate | undefined = undefined;
  /** Number of messages that are being handled. */
  running = 0;
  /** When the current read, or the current turn, started. */
  turnStart = 0;
  /** When the frames being parsed count as received: at the read, or when parsing went on after a pause. */
  private parsedAt = 0;
  /** Number of messages received, and their bytes. */
  messages = 0;
  bytes = 0;
  private turnBytes = 0;
  /** `undefined` between messages: connections share one parser, because it has no state then. */
  private parser: FrameParser | undefined = undefined;
  private readonly rates = new Rates();
  private queue = emptyFifo<Message>();
  private runningBytes = 0;
  /** Bytes of the current read. */
  private readBytes = 0;
  /** Compressed bytes of the message that is in the thread pool. */
  private inflatingBytes = 0;
  /** When the first byte of the incomplete message arrived; 0 if there is none. */
  private assemblySince = 0;
  private completedOne = false;
  /** Frames to send are collected until the read has been parsed. */
  private collects = false;
  /** The connection has yielded and waits for its turn. */
  private yielded = false;
  /** `handOver` is running; a handler that finishes synchronously must not enter it again. */
  private handing = false;
  /** Messages are not handed over any more. */
  private discarding = false;
  /** Messages are not queued any more. */
  private left = false;
  private framesAfterEnd = 0;
  private bytesAfterEnd = 0;

  constructor(private readonly connection: ConnectionCore) {}

  get gate(): ReadGate {
    return (this.knownGate ??= new ReadGate(this.connection, this));
  }

  /** The parser, which belongs to this connection alone until it has no state again. */
  private get ownParser(): FrameParser {
    const { context, deflate } = this.connection;
    return (this.parser ??= takeParser(context.role, context.limits, this, deflate !== undefined));
  }

  // 1. Bytes

  /** Handles one read of the transport. */
  read(chunk: Buffer): void {
    const { context } = this.connection;
    this.turnStart = this.parsedAt = context.clock.now();
    this.turnBytes = 0;
    this.readBytes = chunk.length;
    context.scheduler.turn++;
    // protection: past the queue the socket is not read
    if (this.knownGate?.closed && !this.hasEnded) this.knownGate.pauseTransport();
    // end protection
    this.ownParser.push(chunk);
    this.readBytes = 0;
    // protection: bytes behind the end cost of the rate of bytes
    if (this.discarding || this.hasEnded) this.discard(chunk.length);
    // end protection
    this.parsed();
  }

  /** Charges bytes that are only read to find the peer's close frame, or the end of TCP. */
  private discard(bytes: number): void {
    this.bytesAfterEnd += bytes;
    if (this.bytesAfterEnd > FREE_AFTER_END) this.spend(bytes, this.turnStart);
  }

  /** Called when the bytes of a read have been parsed, as far as possible. */
  private parsed(): void {
    const { connection, parser, queue } = this;
    if (!parser?.isMidMessage) this.assemblySince = 0;
    else if (this.assemblySince === 0 || this.completedOne) {
      this.assemblySince = Math.max(this.parsedAt, 1);
      connection.schedule(this.assemblyBy);
    }
    this.completedOne = false;
    const messages = this.running + queue.length;
    if (messages === 0) connection.writer?.flush();
    // What was collected during the read does not wait for a slow handler.
    else if (messages > 1 || this.collects) connection.output.cork();
    this.collects = false;
    if (messages > 0 || connection.held > 0 || (parser !== undefined && parser.heldObjects > 0)) connection.settle();
    if (connection.isCut && !this.hasMore) connection.finish();
    if (this.parser?.isAtRest) {
      giveParserBack(this.parser);
      this.parser = undefined;
    }
  }

  // 2. Frames (RFC 6455, section 5.2)

  message(data: Buffer, isBinary: boolean, isCompressed: boolean): void {
    if (isCompressed) this.inflate(data, isBinary);
    else this.arrive(data, isBinary, data.length, data.length);
  }

  /** Handles a fragment that is not the last, or a message that is skipped because the connection is closing. */
  fragment(): void {
    const { connection } = this;
    if (this.discarding) return void this.afterEnd();
    // protection: fragments cost of the message rate
    if (!this.rates.fragment(this.parsedAt, connection.context.limits)) this.breach('message rate exceeded');
    // end protection
  }

  ping(data: Buffer): void {
    const { connection } = this;
    // protection: rate of pings
    if (!this.controlFrame()) return;
    // end protection
    if (connection.isOpen) connection.output.answer(data);
    connection.sink.pinged(data);
  }

  pong(data: Buffer): void {
    const { connection } = this;
    // protection: rate of unasked pongs
    if (!connection.keepalive.pong(data) && !this.controlFrame()) return;
    // end protection
    connection.sink.ponged(data);
  }

  close(code: number, reason: Buffer): void {
    this.connection.peerClosed(code, reason);
  }

  error(error: ProtocolError): void {
    this.connection.fail(error);
  }

  /** Counts a ping or an unsolicited pong. Returns false if it must be ignored. */
  private controlFrame(): boolean {
    const { context } = this.connection;
    if (this.discarding) return this.afterEnd();
    if (this.rates.controlFrame(context.clock.now(), context.limits)) return true;
    return this.breach('control frame rate exceeded');
  }

  // 3. Compressed messages (RFC 7692, section 6.2)

  private inflate(data: Buffer, isBinary: boolean): void {
    const { connection } = this;
    const kept = own(data);
    const done = (result: Inflated): void => this.inflatedLater(result, isBinary);
    const result = connection.deflate!.inflate(kept, !isBinary, connection, done);
    if (result !== undefined) return this.inflated(result, isBinary);
    this.inflatingBytes = kept.buffer.byteLength;
    this.gate.pause(Pause.INFLATING);
  }

  private inflatedLater(result: Inflated, isBinary: boolean): void {
    if (this.inflatingBytes === 0) return;
    this.inflatingBytes = 0;
    this.turnStart = this.parsedAt = this.connection.context.clock.now();
    this.turnBytes = 0;
    this.inflated(result, isBinary);
    this.gate.resume(Pause.INFLATING);
    this.parsed();
  }

  private inflated(result: Inflated, isBinary: boolean): void {
    // protection: a message that cannot be inflated ends the connection
    if (result.error !== undefined) return this.connection.fail(result.error);
    // end protection
    const { counters } = this.connection.context;
    counters.compressedIn += result.inputBytes;
    counters.inflatedIn += result.data!.length;
    this.arrive(result.data!, isBinary, chargedBytes(result), result.inputBytes);
  }

  // 4. Whole messages, and their rates

  private arrive(data: Buffer, isBinary: boolean, charge: number, received: number): void {
    const { connection, parsedAt: now } = this;
    const { limits } = connection.context;
    this.completedOne = true;
    if (this.discarding) return void this.afterEnd();
    // protection: rate of messages
    if (!this.rates.message(now, limits)) return void this.breach('message rate exceeded');
    // end protection
    this.count(data.length);
    // protection: rate of bytes
    this.spend(charge, now);
    // end protection
    connection.touch(now);
    // The read contains more than this message: the reply is collected and sent together with those of the following
    // messages.
    const isOneOfMany = this.readBytes > received + LONGEST_HEAD;
    if (isOneOfMany) {
      this.collects = true;
      connection.output.hold();
    }
    const isHeard = connection.sink.heard(data, isBinary);
    if (this.left) return;
    this.enqueue(data, isBinary, isHeard);
    if (isOneOfMany && this.isTurnOver) this.yield(false);
  }

  private count(bytes: number): void {
    const { counters } = this.connection.context;
    this.messages++;
    this.bytes += bytes;
    counters.messagesIn++;
    counters.bytesIn += bytes;
  }

  /** Counts a malformed or unknown message. Returns false if there were too many. */
  strike(): boolean {
    const { context } = this.connection;
    return this.rates.strike(context.clock.now(), context.limits) || this.breach('too many malformed messages');
  }

  /**
   * Charges the bytes of the parsed structure of a message that is being handled, in addition to its payload, until
   * {@link finished}.
   */
  charge(bytes: number): void {
    this.runningBytes += bytes;
    // protection: the structure of a message costs of the rate of bytes
    this.spend(bytes, this.parsedAt);
    // end protection
    this.judgeQueue();
    // Small amounts are reported to the budget together with the rest of the read or turn.
    if (bytes >= LARGE) this.connection.settle();
  }

  private spend(bytes: number, now: number): void {
    const { connection } = this;
    const wait = this.rates.pauseFor(bytes, now, connection.account, connection.context.limits);
    if (wait > 0 && !connection.isCut) this.gate.pauseUntil(now + wait);
  }

  private breach(reason: string): false {
    this.connection.breach(reason);
    return false;
  }

  private afterEnd(): false {
    // protection: a flood behind the end is not read
    if (++this.framesAfterEnd > FRAMES_AFTER_END) this.gate.pause(Pause.CLOSING);
    // end protection
    return false;
  }

  // 5. The queue and fairness

  private enqueue(data: Buffer, isBinary: boolean, isHeard: boolean): void {
    if (this.queue.length === 0 && this.hasPlace && this.takesTurn(data.length)) return this.start(data, isBinary);
    const kept = own(data);
    this.queue = pushed(this.queue, { data: kept, isBinary, isHeard, size: kept.length, next: undefined });
    this.judgeQueue();
  }

  private get hasPlace(): boolean {
    const { context, isServing, sink } = this.connection;
    return (
      this.running < context.limits.concurrency && isServing && !this.knownGate?.isClosedFor(Pause.OUTPUT) && sink.takes
    );
  }

  /** Whether a message may be handled in this turn. Otherwise the connection gets another turn later. */
  private takesTurn(size: number): boolean {
    if (this.yielded) return false;
    const isLarge = size >= LARGE;
    if (!this.isTurnOver && (!isLarge || this.connection.context.scheduler.hasRoomFor(size))) return true;
    this.yield(isLarge);
    return false;
  }

  private get isTurnOver(): boolean {
    if (this.turnBytes === 0) return false;
    return this.turnBytes >= TURN_BYTES || this.connection.context.clock.now() - this.turnStart >= TURN_MS;
  }

  private yield(isLarge: boolean): void {
    if (this.yielded) return;
    this.yielded = true;
    this.gate.pause(Pause.TURN);
    this.connection.context.scheduler.proceedLater(this.connection, isLarge);
  }

  /** Called by the scheduler when it is this connection's turn. */
  proceed(): void {
    this.yielded = false;
    this.turnStart = this.parsedAt = this.connection.context.clock.now();
    this.turnBytes = 0;
    this.handOver(true);
    this.gate.resume(Pause.TURN);
  }

  /** Hands waiting messages to the sink until the turn is over. */
  handOver(isMyTurn = false): void {
    if (this.handing) return;
    const { queue } = this;
    this.handing = true;
    try {
      for (let { first } = queue; first !== undefined && this.hasPlace; { first } = queue) {
        if (!isMyTurn && !this.takesTurn(first.size)) break;
        isMyTurn = false;
        queue.shift();
        this.start(first.data, first.isBinary);
      }
    } finally {
      this.handing = false;
    }
    this.judgeQueue();
    // While a read is being parsed, more messages may follow.
    if (this.readBytes === 0 && queue.length === 0 && this.running === 0) this.connection.writer?.flush();
  }

  private judgeQueue(): void {
    // After we have closed, the connection is only read for the peer's close frame, and must not wait for handlers that
    // still run.
    if (this.left) return;
    const { maxQueue, maxQueueBytes } = this.connection.context.limits;
    const messages = this.running + this.queue.length;
    const bytes = this.queue.bytes + this.runningBytes;
    // protection: waiting messages are bounded
    if (messages >= maxQueue || bytes >= maxQueueBytes) return this.gate.pause(Pause.QUEUE);
    // end protection
    // Reading resumes only when the queue is half empty, because pausing and resuming for each message would be
    // expensive.
    if (2 * messages <= maxQueue && 2 * bytes <= maxQueueBytes) this.knownGate?.resume(Pause.QUEUE);
  }

  // 6. The sink

  private start(data: Buffer, isBinary: boolean): void {
    const { context, sink } = this.connection;
    const { length } = data;
    this.running++;
    this.runningBytes += length;
    // The extra byte makes empty messages count.
    this.turnBytes += length + 1;
    // protection: large messages count for a turn of the event loop
    if (length >= LARGE) context.scheduler.charge(length);
    // end protection
    this.judgeQueue();
    sink.take(data, isBinary);
  }

  /** Frees the place of a message that was handled or timed out. */
  finished(size: number): void {
    const { connection } = this;
    this.running--;
    this.runningBytes -= size;
    if (this.running === 0) connection.handled();
    if (!this.yielded) this.handOver();
    if (connection.held > 0) connection.settle();
  }

  /** Takes the first waiting message after the connection has ended. */
  shift(): { readonly data: Buffer; readonly isBinary: boolean } | undefined {
    const message = this.queue.shift();
    if (message !== undefined) this.judgeQueue();
    return message;
  }

  /** We have closed: messages that still arrive are not queued. */
  get isLeft(): boolean {
    return this.left;
  }

  /** Number of waiting messages, and their bytes. */
  get waiting(): number {
    return this.queue.length;
  }

  get waitingBytes(): number {
    return this.queue.bytes;
  }

  // Held bytes and deadlines

  /** Bytes of memory held for the peer's input, including objects. */
  get held(): number {
    const { parser, queue } = this;
    const unread = this.knownGate?.closed ? this.connection.transport.readableLength : 0;
    const objects = (parser?.heldObjects ?? 0) + queue.length;
    return (
      (parser?.heldBytes ?? 0) + queue.bytes + this.runningBytes + this.inflatingHeld + objects * OVERHEAD + unread
    );
  }

  /** Bytes of the compressed message in the thread pool, and of its output so far. */
  private get inflatingHeld(): number {
    return this.inflatingBytes === 0 ? 0 : this.inflatingBytes + this.connection.deflate!.heldBytes;
  }

  /** When the message that is being received must be complete. */
  get assemblyBy(): number {
    if (this.assemblySince === 0 || this.knownGate?.closed) return NEVER;
    return this.assemblySince + this.connection.context.limits.assemblyTimeout + (this.parser?.received ?? 0) / SLOWEST;
  }

  /** Extends the deadline by the time in which nothing was read. */
  excuse(silence: number, now: number): void {
    if (this.assemblySince !== 0) this.assemblySince = shifted(this.assemblySince, silence, now);
  }

  /** TCP has ended, but there are bytes to parse that are still wanted. */
  get hasMore(): boolean {
    return !this.left && !this.hasEnded && (this.parser?.hasUnread || this.inflatingBytes > 0);
  }

  // The gate and the end

  /** @internal Nothing more is parsed; what still arrives is discarded. */
  get hasEnded(): boolean {
    return this.parser?.hasEnded ?? false;
  }

  /** @internal Called by the gate. */
  stop(): void {
    this.ownParser.stop();
  }

  /** @internal Called by the gate. */
  goOn(parses: boolean): void {
    this.parsedAt = this.connection.context.clock.now();
    if (this.turnBytes === 0) this.turnStart = this.parsedAt;
    if (parses) this.parser?.resume();
    if (!this.yielded) this.handOver();
    if (parses) this.parsed();
  }

  /**
   * Called when the connection starts to close: messages are not queued any more. What still arrives is read to find
   * the peer's close frame, and for listeners if there are any.
   */
  leave(hears: boolean): void {
    this.left = true;
    this.discarding ||= !hears;
    this.inflatingBytes = 0;
    if (this.discarding) this.ownParser.discardMessages();
    this.knownGate?.resume(Pause.QUEUE | Pause.BYTES | Pause.USER | Pause.INFLATING | Pause.TURN);
  }

  /** Discards the messages that wait for a handler. */
  drop(): void {
    this.queue.clear();
  }

  /** Discards those that a listener has got. */
  dropHeard(): void {
    let message = this.queue.clear();
    while (message !== undefined) {
      const { next } = message;
      message.next = undefined;
      if (!message.isHeard) this.queue = pushed(this.queue, message);
      message = next;
    }
    this.judgeQueue();
  }

  /** Stops reading and discards what was read. Messages that wait for a handler are kept. */
  end(): void {
    this.discarding = this.left = true;
    this.ownParser.end();
    this.inflatingBytes = 0;
    this.assemblySince = 0;
  }

  /** Reads what was still unread when TCP ended, which may contain a close frame. */
  lastRead(): void {
    const { transport } = this.connection;
    if (transport.readableLength === 0 || transport.readableEnded) return;
    const rest: Buffer | null = transport.read(transport.readableLength);
    if (rest !== null) this.read(rest);
  }
}
