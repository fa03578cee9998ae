// @ts-nocheck
import { debt, fits, spend } from '../net/token-bucket.js';
import { Assembly } from './assembly.js';
import type { ClientSocket } from './client-socket.js';
import { Inbox, type Message } from './inbox.js';
import type { ClientLimits } from './limits.js';

/** Why nothing is read from the server: several reasons may hold at once. */
const USER = 1;
const INBOX = 2;
const BYTES = 4;

const NEVER = Number.POSITIVE_INFINITY;

/** What comes from the server: metered, and kept for the iterator within bounds. */
export class Intake {
  readonly inbox = new Inbox(() => this.tookOne());
  readonly assembly: Assembly;
  /** Iterators at work. */
  iterators = 0;
  /** When reading may go on after too many bytes. */
  resumeAt = NEVER;
  private pauses = 0;
  private pausedAt = 0;
  /** We have ended the connection: nobody is waited for any more. */
  private left = false;
  private deaf = false;
  private messages = 0;
  private bytes = 0;
  private control = 0;

  constructor(
    private readonly socket: ClientSocket,
    private readonly limits: ClientLimits,
  ) {
    this.assembly = new Assembly(socket, limits.assemblyTimeout);
  }

  get paused(): boolean {
    return this.pauses !== 0;
  }

  get pausedByUser(): boolean {
    return (this.pauses & USER) !== 0;
  }

  /** Messages are kept for who iterates. */
  get keeps(): boolean {
    return !this.left;
  }

  /** What still comes reaches nobody, and is not worth inflating. */
  get isDeaf(): boolean {
    return (this.deaf ||= this.left && this.socket.listenerCount('message') === 0);
  }

  /** A whole message; false when it must not reach anybody. */
  admit(size: number): boolean {
    const now = this.socket.lifeline.now();
    this.assembly.completed();
    if (this.isDeaf) return false;
    const { rate, byteRate } = this.limits;
    if (rate !== undefined && !fits((this.messages = spend(this.messages, now, 1, rate)), now, rate)) {
      this.socket.breach('message rate exceeded');
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
    this.socket.breach('control frame rate exceeded');
    return false;
  }

  keep(message: Message, size: number): void {
    this.inbox.push(message, size);
    this.judgeInbox();
  }

  pauseForUser(): void {
    this.pause(USER);
  }

  resumeForUser(): void {
    this.resume(USER);
    this.socket.lifeline.tookOne();
  }

  /** Reads on after a pause for too many bytes. */
  resumeAfterBytes(): void {
    this.resumeAt = NEVER;
    this.resume(BYTES);
  }

  /** We end the connection, or give it up: what is behind what waits must be read. */
  leave(): void {
    this.left = true;
    this.resume(USER | INBOX | BYTES);
  }

  private tookOne(): void {
    this.socket.lifeline.tookOne();
    this.judgeInbox();
  }

  /** Goes on when half of what may wait has been taken: to stop and go for each message would cost more than it. */
  private judgeInbox(): void {
    const { maxQueue, maxQueueBytes } = this.limits;
    const { length, bytes } = this.inbox;
    if (length >= maxQueue || bytes >= maxQueueBytes) this.pause(INBOX);
    else if (2 * length <= maxQueue && 2 * bytes <= maxQueueBytes) this.resume(INBOX);
  }

  private meterBytes(size: number, now: number, rate: NonNullable<ClientLimits['byteRate']>): void {
    this.bytes = spend(this.bytes, now, size, rate);
    const wait = debt(this.bytes, now, rate);
    // When TCP has ended, there is nobody to slow down.
    if (wait === 0 || this.socket.raw.destroyed) return;
    this.resumeAt = now + wait;
    this.pause(BYTES);
    this.socket.lifeline.lookAt(this.resumeAt);
  }

  private pause(reason: number): void {
    if (this.left) return;
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
    const now = this.socket.lifeline.now();
    this.assembly.standStill(now - this.pausedAt, now);
    this.socket.lifeline.standStill(now - this.pausedAt, now);
    if (!this.assembly.proceed()) this.socket.startReading();
  }
}
