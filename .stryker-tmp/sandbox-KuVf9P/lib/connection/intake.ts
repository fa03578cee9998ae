// @ts-nocheck
import { CloseCode } from '../protocol/close-codes.js';
import { Assembly, OVERHEAD } from './assembly.js';
import { own } from './chunks.js';
import type { Connection } from './connection.js';
import { Fifo, type Waiting } from './fifo.js';
import { Meters } from './meters.js';
import { Pause, Reading } from './reading.js';
import { PeerReceiver } from './receiver.js';
import { INFLATING } from './ws-internals.js';

/** Work for one connection yields after this much. */
const TURN_BYTES = 256 * 1024;
const TURN_MS = 2;
/** Messages from here on take turns with those of other connections. */
const LARGE = 16 * 1024;
/** Larger reads are given to the receiver as to any stream, which then pauses the socket for the rest of the turn. */
const SMALL_READ = 16 * 1024;
/** Frames that are read, and forgotten, after the connection began to close: the peer's close frame may be behind them. */
const FRAMES_AFTER_END = 1000;

interface Message extends Waiting {
  readonly data: Buffer;
  readonly isBinary: boolean;
}

/** What comes from one peer: metered, queued, and handed to handlers in order. There is none before the first byte. */
export class Intake {
  readonly receiver: PeerReceiver;
  readonly reading: Reading;
  readonly assembly: Assembly;
  /** Handlers that run. */
  running = 0;
  private runningBytes = 0;
  private readonly queue = new Fifo<Message>();
  private readonly meters = new Meters();
  /** When the read, or the turn, began that is being worked on. */
  turnStart = 0;
  private turnBytes = 0;
  /** Waits for its turn among the connections. */
  private yielded = false;
  /** Inside of `proceed`, which a handler that is done at once must not enter again. */
  private proceeding = false;
  private completedOne = false;
  private framesAfterEnd = 0;

  constructor(private readonly connection: Connection) {
    this.receiver = new PeerReceiver(connection, this);
    this.reading = new Reading(connection);
    this.assembly = new Assembly(connection, this.receiver);
  }

  /** Bytes of the peer's that are held, with what their objects cost. */
  get held(): number {
    const { queue } = this;
    const unread = this.reading.paused ? this.connection.raw.readableLength : 0;
    return this.assembly.held + queue.bytes + this.runningBytes + queue.length * OVERHEAD + unread;
  }

  /** One read of the raw socket. */
  chunk(chunk: Buffer): void {
    const { receiver } = this;
    const { raw, socket, context } = this.connection;
    if (!receiver.writable) return;
    this.turnStart = context.clock.now();
    this.turnBytes = 0;
    // Without compression all is parsed before the call returns: a small read needs nothing of a stream's book-keeping.
    if (chunk.length < SMALL_READ && socket.deflate === undefined) parse(receiver, chunk);
    else if (!receiver.write(chunk)) raw.pause();
  }

  /** What was still unread when TCP ended: a close frame may be in it. */
  lastRead(rest: Buffer): void {
    const { receiver } = this;
    if (!receiver.writableEnded && !receiver._writableState.errorEmitted) receiver.write(rest);
  }

  /** TCP has ended, and nothing more comes. True when all has been parsed; else the receiver tells when it has. */
  conclude(): boolean {
    const { receiver, assembly } = this;
    receiver.end();
    const isDone = receiver.writableFinished || receiver._writableState.errorEmitted;
    assembly.inflate();
    return isDone;
  }

  /** The receiver has parsed all that was read, as far as it can: at once, or once more after it has inflated a message. */
  parsed(): void {
    const { connection, queue } = this;
    this.assembly.parsed(this.completedOne ? this.turnStart : connection.context.clock.now(), this.completedOne);
    this.completedOne = false;
    const moreToCome = this.isInflating && this.receiver._bufferedBytes > 0;
    // A message may wait for its turn although none is handled.
    const messages = this.running + queue.length;
    if (messages > 1 || moreToCome) connection.output.cork();
    if (this.assembly.isUnderWay || messages > 0 || connection.held > 0) connection.settle();
  }

  /** A whole message, from the receiver; false when it is not to be handled. */
  admit(size: number): boolean {
    const { connection } = this;
    const { limits, clock } = connection.context;
    this.completedOne = true;
    if (!connection.isOpen) return this.afterEnd();
    // The clock was read when the read began; a message that was inflated later may have waited.
    const now = this.isInflating ? clock.now() : this.turnStart;
    connection.touch();
    if (!this.meters.message(now, limits)) return this.breach('message rate exceeded');
    const wait = this.meters.pauseFor(size, now, connection.account, limits);
    if (wait > 0) this.reading.pauseUntil(now + wait);
    return true;
  }

  /** Hands an admitted message to its handler, or lets it wait. */
  take(data: Buffer, isBinary: boolean): void {
    if (this.queue.length === 0 && this.hasPlace && this.takesTurn(data.length)) return this.start(data, isBinary);
    const kept = own(data);
    this.queue.push({ data: kept, isBinary, size: kept.length, next: undefined });
    this.judgeQueue();
  }

  /** A fragment that is not the last, from the receiver. */
  fragment(): void {
    const { isOpen, context } = this.connection;
    if (!isOpen) this.afterEnd();
    else if (!this.meters.fragment(context.clock.now(), context.limits)) this.breach('message rate exceeded');
  }

  /** A ping, or a pong that was not asked for; false when it is not to be noticed. */
  controlFrame(): boolean {
    const { isOpen, context } = this.connection;
    if (!isOpen) return this.afterEnd();
    return this.meters.controlFrame(context.clock.now(), context.limits) || this.breach('control frame rate exceeded');
  }

  /** A malformed or unknown message; false when there were too many. */
  strike(): boolean {
    const { context } = this.connection;
    return this.meters.strike(context.clock.now(), context.limits) || this.breach('too many malformed messages');
  }

  /** A handler is done, or has had its time: the place of its message is free. */
  finished(size: number): void {
    const { connection } = this;
    this.running--;
    this.runningBytes -= size;
    const { leaving } = connection;
    if (leaving !== undefined && this.running === 0) connection.end(leaving.code, leaving.reason);
    if (!this.yielded && !this.proceeding) this.proceed();
    if (connection.held > 0) connection.settle();
  }

  /** The turn of this connection has come. */
  goOn(): void {
    this.yielded = false;
    this.turnStart = this.connection.context.clock.now();
    this.turnBytes = 0;
    this.proceed(true);
  }

  /** Hands waiting messages to handlers for as long as the turn lasts. */
  proceed(isMyTurn = false): void {
    const { queue } = this;
    this.proceeding = true;
    for (let first = queue.first; first !== undefined && this.hasPlace; first = queue.first) {
      if (!isMyTurn && !this.takesTurn(first.size)) break;
      isMyTurn = false;
      queue.shift();
      this.start(first.data, first.isBinary);
    }
    this.proceeding = false;
    if (queue.length === 0 && this.running === 0) this.connection.sending?.uncork();
    this.judgeQueue();
  }

  /** Forgets what waits: the connection ends. What still comes is read for the peer's close frame only. */
  drop(): void {
    this.queue.clear();
    this.reading.resume(Pause.QUEUE);
    this.reading.resume(Pause.BYTES);
  }

  /** The peer does not take what is written to it: no more is read, and none of it handled. */
  pauseForOutput(): void {
    this.reading.pause(Pause.OUTPUT);
  }

  resumeAfterOutput(): void {
    if (!this.reading.isPausedFor(Pause.OUTPUT)) return;
    this.reading.resume(Pause.OUTPUT);
    if (!this.yielded && !this.proceeding) this.proceed();
  }

  private get isInflating(): boolean {
    return this.receiver._state === INFLATING;
  }

  private get hasPlace(): boolean {
    const { isOpen, ready, leaving, context } = this.connection;
    const isFree = this.running < context.limits.concurrency && !this.reading.isPausedFor(Pause.OUTPUT);
    return isFree && isOpen && ready && leaving === undefined;
  }

  /** Whether a message may be handled in this turn; else the connection gets one later. */
  private takesTurn(size: number): boolean {
    if (this.yielded) return false;
    const { clock, turns } = this.connection.context;
    const isLarge = size >= LARGE;
    const isOver = this.turnBytes >= TURN_BYTES || clock.now() - this.turnStart >= TURN_MS;
    if (!isOver && (!isLarge || turns.hasRoomFor(size))) return true;
    this.yielded = true;
    turns.resume(this.connection, isLarge);
    return false;
  }

  private start(data: Buffer, isBinary: boolean): void {
    const { context } = this.connection;
    const { length } = data;
    this.running++;
    this.runningBytes += length;
    this.turnBytes += length;
    if (length >= LARGE) context.turns.took(length);
    this.judgeQueue();
    context.dispatch(this.connection, data, isBinary);
  }

  private judgeQueue(): void {
    const { isOpen, context } = this.connection;
    // What still comes is read for the peer's close frame, and does not wait for handlers that go on.
    if (!isOpen) return;
    const { limits } = context;
    const full = this.running + this.queue.length >= limits.maxQueue;
    const heavy = this.queue.bytes + this.runningBytes >= limits.maxQueueBytes;
    if (full || heavy) this.reading.pause(Pause.QUEUE);
    else this.reading.resume(Pause.QUEUE);
  }

  private breach(reason: string): false {
    this.connection.end(CloseCode.POLICY_VIOLATION, reason);
    return false;
  }

  private afterEnd(): false {
    if (++this.framesAfterEnd > FRAMES_AFTER_END) this.reading.pause(Pause.CLOSING);
    return false;
  }
}

let failure: Error | undefined;
const whenParsed = (error?: Error): void => {
  failure = error;
};

/** What `receiver.write()` comes to where nothing is asynchronous. */
function parse(receiver: PeerReceiver, chunk: Buffer): void {
  receiver._write(chunk, 'buffer', whenParsed);
  if (failure === undefined) return;
  const error = failure;
  failure = undefined;
  receiver.destroy(error);
}
