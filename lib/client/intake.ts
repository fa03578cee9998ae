import { GET_INFO, INFLATING, type ReceiverInternals } from '../connection/ws-internals.js';
import { CloseCode } from '../errors/close-codes.js';
import { debt, fits, spend } from '../stores/token-bucket.js';
import type { ClientSocket } from './client-socket.js';
import { Inbox, type Message } from './inbox.js';
import type { ClientLimits } from './limits.js';

/** Why nothing is read from the server: several reasons may hold at once. */
const USER = 1;
const INBOX = 2;
const BYTES = 4;

/** The slowest sender that is waited for: bytes per millisecond (16 KiB/s). */
const SLOWEST = 16.384;
const MANY_CHUNKS = 64;
const NEVER = Number.POSITIVE_INFINITY;

/** What comes from the server: metered, and kept for the iterator within bounds. */
export class Intake {
  readonly inbox = new Inbox(() => this.judgeInbox());
  /** Iterators at work. */
  iterators = 0;
  /** When reading may go on after too many bytes. */
  resumeAt = NEVER;
  private pauses = 0;
  private pausedAt = 0;
  /** When the first byte of the unfinished message came; 0: there is none. */
  private assemblySince = 0;
  private completed = 0;
  private messages = 0;
  private bytes = 0;
  private control = 0;

  constructor(
    private readonly socket: ClientSocket,
    private readonly limits: ClientLimits,
  ) {}

  get paused(): boolean {
    return this.pauses !== 0;
  }

  /** One read of the raw socket has been given to the receiver. */
  chunk(receiver: ReceiverInternals): void {
    const { completed } = this;
    this.completed = 0;
    const unfinished = receiver._state !== GET_INFO || receiver._fragmented !== 0 || receiver._bufferedBytes > 0;
    if (!unfinished) {
      this.assemblySince = 0;
      return;
    }
    if (receiver._buffers.length > MANY_CHUNKS) coalesce(receiver);
    if (this.assemblySince !== 0 && completed === 0) return;
    this.assemblySince = Math.max(this.socket.lifeline.now(), 1);
    this.socket.lifeline.lookAt(this.assemblyBy());
  }

  /** A whole message; false when it must not reach anybody. */
  admit(size: number): boolean {
    const now = this.socket.lifeline.now();
    this.completed++;
    const { rate, byteRate } = this.limits;
    if (rate !== undefined && !fits((this.messages = spend(this.messages, now, 1, rate)), now, rate)) {
      this.socket.end(CloseCode.POLICY_VIOLATION, 'message rate exceeded');
      return false;
    }
    if (byteRate !== undefined) this.meterBytes(size, now, byteRate);
    return true;
  }

  /** A ping, or a pong that was not asked for; false when there were too many. */
  admitControl(): boolean {
    const { controlRate } = this.limits;
    if (controlRate === undefined) return true;
    const now = this.socket.lifeline.now();
    this.control = spend(this.control, now, 1, controlRate);
    if (fits(this.control, now, controlRate)) return true;
    this.socket.end(CloseCode.POLICY_VIOLATION, 'control frame rate exceeded');
    return false;
  }

  keep(message: Message, size: number): void {
    this.inbox.push(message, size);
    this.judgeInbox();
  }

  /** When the message that is being received must be complete. */
  assemblyBy(): number {
    const { _receiver: receiver } = this.socket.internals;
    if (this.assemblySince === 0 || this.paused || receiver._state === INFLATING) return NEVER;
    const received = receiver._bufferedBytes + receiver._messageLength;
    return this.assemblySince + this.limits.assemblyTimeout + received / SLOWEST;
  }

  pauseForUser(): void {
    this.pause(USER);
  }

  resumeForUser(): void {
    this.resume(USER);
  }

  /** Reads on after a pause for too many bytes. */
  resumeAfterBytes(): void {
    this.resumeAt = NEVER;
    this.resume(BYTES);
  }

  /** Whatever paused reading: the end of the connection must be read. */
  release(): void {
    this.resume(USER | INBOX | BYTES);
  }

  private judgeInbox(): void {
    const { maxQueue, maxQueueBytes } = this.limits;
    const isFull = this.inbox.length >= maxQueue || this.inbox.bytes >= maxQueueBytes;
    if (isFull && this.socket.isOpen) this.pause(INBOX);
    else this.resume(INBOX);
  }

  private meterBytes(size: number, now: number, rate: NonNullable<ClientLimits['byteRate']>): void {
    this.bytes = spend(this.bytes, now, size, rate);
    const wait = debt(this.bytes, now, rate);
    if (wait === 0) return;
    this.resumeAt = now + wait;
    this.pause(BYTES);
    this.socket.lifeline.lookAt(this.resumeAt);
  }

  private pause(reason: number): void {
    if (this.pauses === 0) {
      this.pausedAt = this.socket.lifeline.now();
      this.socket.stopReading();
    }
    this.pauses |= reason;
  }

  private resume(reason: number): void {
    if ((this.pauses & reason) === 0) return;
    this.pauses &= ~reason;
    if (this.pauses !== 0) return;
    const silence = this.socket.lifeline.now() - this.pausedAt;
    if (this.assemblySince !== 0) this.assemblySince += silence;
    this.socket.lifeline.standStill(silence);
    this.socket.startReading();
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
