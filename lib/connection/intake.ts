import { CloseCode } from '../errors/close-codes.js';
import { debt, fits, spend } from '../stores/token-bucket.js';
import type { Connection } from './connection.js';
import { GET_INFO, INFLATING, type ReceiverInternals } from './ws-internals.js';

/** Why nothing is read from a peer: several reasons may hold at once. */
const QUEUE = 1;
const OUTPUT = 2;
const BYTES = 4;
const USER = 8;

/** Work for one connection yields after this much. */
const TURN_BYTES = 256 * 1024;
const TURN_MS = 2;
/** Messages from here on take turns with those of other connections. */
export const LARGE = 16 * 1024;
/** What an object that refers to bytes costs beside them. */
const OVERHEAD = 256;
/** The slowest sender that is waited for: bytes per millisecond (16 KiB/s). */
const SLOWEST = 16.384;
/** A fragment costs a sixteenth of a message. */
const FRAGMENT = 1 / 16;
const MANY_CHUNKS = 64;

/** What comes from one peer: metered, queued, and handed to handlers in order. */
export class Intake {
  private queue: (Buffer | boolean)[] | undefined = undefined;
  private queuedBytes = 0;
  private runningBytes = 0;
  /** Handlers that run. */
  running = 0;
  private pauses = 0;
  private pausedAt = 0;
  private turnStart = 0;
  private turnBytes = 0;
  /** Waits for its turn among the connections. */
  private yielded = false;
  /** Inside of `proceed`, which a handler that is done at once must not enter again. */
  private proceeding = false;
  private messages = 0;
  private control = 0;
  private bytes = 0;
  private strikeCount = 0;
  private completed = 0;
  /** When the first byte of the unfinished message came; 0: there is none. */
  assemblySince = 0;
  /** When reading may go on after too many bytes. */
  resumeAt = Number.POSITIVE_INFINITY;

  constructor(private readonly connection: Connection) {}

  get paused(): boolean {
    return this.pauses !== 0;
  }

  /** Bytes of the peer's that are held, with what their objects cost. */
  get held(): number {
    const receiver = this.connection.receiver;
    const objects = receiver._buffers.length + receiver._fragments.length + (this.queue?.length ?? 0);
    return (
      receiver._bufferedBytes + receiver._messageLength + this.queuedBytes + this.runningBytes + objects * OVERHEAD
    );
  }

  /** One read of the raw socket. */
  chunk(chunk: Buffer): void {
    const { receiver, raw, context } = this.connection;
    if (!receiver.writable) return;
    const now = context.clock.now();
    const completed = this.completed;
    this.turnStart = now;
    this.turnBytes = 0;
    if (!receiver.write(chunk)) raw.pause();
    this.assemble(receiver, now, this.completed !== completed);
    if (this.running + this.waitingCount > 1 || (this.isInflating && receiver._bufferedBytes > 0))
      this.connection.output.cork();
    if (this.assemblySince !== 0 || this.running > 0 || this.connection.held > 0) this.connection.settle();
  }

  /** A whole message, from the receiver. */
  message(data: Buffer, isBinary: boolean): void {
    const { connection } = this;
    const { limits, clock } = connection.context;
    this.completed++;
    if (!connection.isOpen) return;
    // The clock was read when the read began; a message that was inflated later may have waited.
    const now = this.isInflating ? clock.now() : this.turnStart;
    connection.touch();
    this.messages = spend(this.messages, now, 1, limits.rate);
    if (!fits(this.messages, now, limits.rate))
      return connection.end(CloseCode.POLICY_VIOLATION, 'message rate exceeded');
    this.meterBytes(data.length, now);
    if (this.mayStart(data.length)) this.start(data, isBinary);
    else this.wait(data, isBinary);
  }

  /** A fragment that is not the last, from the receiver. */
  fragment(): void {
    const { connection } = this;
    const { limits, clock } = connection.context;
    const now = clock.now();
    this.messages = spend(this.messages, now, FRAGMENT, limits.rate);
    if (!fits(this.messages, now, limits.rate)) connection.end(CloseCode.POLICY_VIOLATION, 'message rate exceeded');
  }

  /** A ping, or a pong that was not asked for; false when there were too many. */
  controlFrame(): boolean {
    const { connection } = this;
    const { limits, clock } = connection.context;
    const now = clock.now();
    this.control = spend(this.control, now, 1, limits.controlRate);
    if (fits(this.control, now, limits.controlRate)) return true;
    connection.end(CloseCode.POLICY_VIOLATION, 'control frame rate exceeded');
    return false;
  }

  /** A malformed or unknown message; false when there were too many. */
  strike(): boolean {
    const { connection } = this;
    const { limits, clock } = connection.context;
    const now = clock.now();
    this.strikeCount = spend(this.strikeCount, now, 1, limits.strikes);
    if (fits(this.strikeCount, now, limits.strikes)) return true;
    connection.end(CloseCode.POLICY_VIOLATION, 'too many malformed messages');
    return false;
  }

  /** A handler is done, or has had its time: the place of its message is free. */
  finished(size: number): void {
    this.running--;
    this.runningBytes -= size;
    const { leaving } = this.connection;
    if (leaving !== undefined && this.running === 0) this.connection.end(leaving.code, leaving.reason);
    if (!this.yielded && !this.proceeding) this.proceed();
    if (this.connection.held > 0) this.connection.settle();
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
    this.proceeding = true;
    while (this.queue !== undefined && this.hasPlace()) {
      if (!isMyTurn && this.turnIsOver((this.queue[0] as Buffer).length)) {
        this.giveWay();
        break;
      }
      isMyTurn = false;
      this.startNext(this.queue);
    }
    this.proceeding = false;
    // While more of the same read is being inflated, the replies to all of it leave together at the end of the turn.
    if (this.queue === undefined && this.running === 0 && !this.isInflating) this.connection.output.uncork();
    this.judgeQueue();
  }

  /** Forgets what waits: the connection ends. */
  drop(): void {
    this.queue = undefined;
    this.queuedBytes = 0;
  }

  pauseForOutput(): void {
    this.pause(OUTPUT);
  }

  resumeAfterOutput(): void {
    this.resume(OUTPUT);
  }

  pauseForUser(): void {
    this.pause(USER);
  }

  resumeForUser(): void {
    this.resume(USER);
  }

  /** Reads on after a pause for too many bytes. */
  resumeAfterBytes(): void {
    this.resumeAt = Number.POSITIVE_INFINITY;
    this.resume(BYTES);
  }

  /** When the message that is being received must be complete. */
  assemblyBy(): number {
    if (this.assemblySince === 0 || this.connection.receiver._state === INFLATING) return Number.POSITIVE_INFINITY;
    const receiver = this.connection.receiver;
    const received = receiver._bufferedBytes + receiver._messageLength;
    return this.assemblySince + this.connection.context.limits.assemblyTimeout + received / SLOWEST;
  }

  private get isInflating(): boolean {
    return this.connection.receiver._state === INFLATING;
  }

  private get waitingCount(): number {
    return this.queue === undefined ? 0 : this.queue.length / 2;
  }

  private hasPlace(): boolean {
    const { isOpen, ready, leaving, context } = this.connection;
    return isOpen && ready && leaving === undefined && this.running < context.limits.concurrency;
  }

  private mayStart(size: number): boolean {
    if (this.queue !== undefined || !this.hasPlace()) return false;
    if (!this.turnIsOver(size)) return true;
    this.giveWay();
    return false;
  }

  private giveWay(): void {
    this.yielded = true;
    this.connection.context.turns.resume(this.connection);
  }

  private startNext(queue: (Buffer | boolean)[]): void {
    const data = queue.shift() as Buffer;
    const isBinary = queue.shift() as boolean;
    this.queuedBytes -= data.length;
    if (queue.length === 0) this.queue = undefined;
    this.start(data, isBinary);
  }

  private turnIsOver(size: number): boolean {
    if (this.yielded) return true;
    if (size >= LARGE && !this.connection.context.turns.takeLarge(size)) return true;
    if (this.turnBytes === 0) return false;
    return this.turnBytes >= TURN_BYTES || this.connection.context.clock.now() - this.turnStart >= TURN_MS;
  }

  private start(data: Buffer, isBinary: boolean): void {
    this.running++;
    this.runningBytes += data.length;
    this.turnBytes += data.length;
    this.judgeQueue();
    this.connection.context.dispatch(this.connection, data, isBinary);
  }

  private wait(data: Buffer, isBinary: boolean): void {
    if (this.queue === undefined) this.queue = [data, isBinary];
    else this.queue.push(data, isBinary);
    this.queuedBytes += data.length;
    this.judgeQueue();
  }

  private judgeQueue(): void {
    const { maxQueue, maxQueueBytes } = this.connection.context.limits;
    const full = this.running + this.waitingCount >= maxQueue;
    const heavy = this.queuedBytes + this.runningBytes >= maxQueueBytes;
    if (full || heavy) this.pause(QUEUE);
    else this.resume(QUEUE);
  }

  private meterBytes(size: number, now: number): void {
    const { limits, wheel } = this.connection.context;
    const { account } = this.connection;
    this.bytes = spend(this.bytes, now, size, limits.byteRate);
    let wait = debt(this.bytes, now, limits.byteRate);
    if (account !== undefined) {
      account.bytes = spend(account.bytes, now, size, limits.byteRatePerIp);
      wait = Math.max(wait, debt(account.bytes, now, limits.byteRatePerIp));
    }
    if (wait === 0) return;
    this.resumeAt = now + wait;
    this.pause(BYTES);
    wheel.schedule(this.connection, this.resumeAt);
  }

  private assemble(receiver: ReceiverInternals, now: number, completedOne: boolean): void {
    const unfinished = receiver._state !== GET_INFO || receiver._fragmented !== 0 || receiver._bufferedBytes > 0;
    if (!unfinished) {
      this.assemblySince = 0;
      return;
    }
    if (receiver._buffers.length > MANY_CHUNKS) coalesce(receiver);
    if (this.assemblySince !== 0 && !completedOne) return;
    this.assemblySince = Math.max(now, 1);
    const { wheel } = this.connection.context;
    wheel.schedule(this.connection, this.assemblyBy());
  }

  private pause(reason: number): void {
    if ((this.pauses & reason) !== 0) return;
    if (this.pauses === 0) {
      this.pausedAt = this.connection.context.clock.now();
      this.connection.socket.stopReading();
    }
    this.pauses |= reason;
  }

  private resume(reason: number): void {
    if ((this.pauses & reason) === 0) return;
    this.pauses &= ~reason;
    if (this.pauses !== 0) return;
    const silence = this.connection.context.clock.now() - this.pausedAt;
    if (this.assemblySince !== 0) this.assemblySince += silence;
    this.connection.standStill(silence);
    this.connection.socket.startReading();
  }
}

/** Puts small chunks together, each byte a logarithmic number of times. */
function coalesce(receiver: ReceiverInternals): void {
  const buffers = receiver._buffers;
  let from = buffers.length - 1;
  let size = buffers[from]!.length;
  while (from > 0 && buffers[from - 1]!.length <= 2 * size) size += buffers[--from]!.length;
  if (from < buffers.length - 1) buffers.splice(from, buffers.length - from, Buffer.concat(buffers.slice(from), size));
}
