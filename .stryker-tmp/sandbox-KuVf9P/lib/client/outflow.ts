// @ts-nocheck
import type { ClientSocket } from './client-socket.js';
import type { ClientLimits } from './limits.js';

/** The slowest reader that is waited for: bytes per millisecond (4 KiB/s). */
const SLOWEST = 4.096;
const NEVER = Number.POSITIVE_INFINITY;

/** What is on its way to the server: bounded in bytes and in time. Reading never stops for it. */
export class Outflow {
  /** The last ping that could not be answered yet. */
  private lastPing: Buffer | undefined;
  /** The bytes up to this mark must have left by this time. */
  private stallMark = 0;
  private stallBy = NEVER;

  constructor(
    private readonly socket: ClientSocket,
    private readonly limits: ClientLimits,
  ) {}

  /** After something was written: `before` bytes had been queued already. */
  judge(before: number): void {
    const pending = this.socket.bufferedAmount;
    if (pending > this.limits.maxBuffered && before > 0) this.socket.overflow();
    else if (pending > 0) this.watch(pending);
  }

  /** A ping: answered at once, or the last of many when the queue has gone (RFC 6455, 5.5.3). */
  answer(data: Buffer): void {
    const pending = this.socket.bufferedAmount;
    if (pending > this.limits.writeLimit) this.lastPing = Buffer.from(data);
    else this.socket.pong(data);
    if (this.socket.bufferedAmount > 0) this.watch(pending);
  }

  /** True when the oldest queued byte is still here although its time is over. */
  stalled(now: number): boolean {
    const pending = this.socket.bufferedAmount;
    if (pending <= this.limits.writeLimit) this.answerPing();
    if (pending === 0) this.stallBy = NEVER;
    if (now < this.stallBy) return false;
    const { raw } = this.socket;
    if (raw.bytesWritten - raw.writableLength < this.stallMark) return true;
    this.stallBy = NEVER;
    this.watch(pending);
    return false;
  }

  /** When to look again. */
  nextAt(now: number): number {
    return this.stallBy === NEVER ? NEVER : now;
  }

  private watch(pending: number): void {
    if (this.stallBy !== NEVER) return;
    const { lifeline, raw } = this.socket;
    const now = lifeline.now();
    this.stallMark = raw.bytesWritten;
    this.stallBy = now + this.limits.stallTimeout + pending / SLOWEST;
    lifeline.lookAt(now);
  }

  private answerPing(): void {
    const ping = this.lastPing;
    if (ping === undefined) return;
    this.lastPing = undefined;
    this.socket.pong(ping);
  }
}
