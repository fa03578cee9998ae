// @ts-nocheck
import type { Connection } from './connection.js';

/** Why nothing is read from a peer: several reasons may hold at once. */
export const Pause = {
  /** Enough of its messages are handled or wait. */
  QUEUE: 1,
  /** It does not take what is written to it. */
  OUTPUT: 2,
  /** It has sent more bytes than its rate allows. */
  BYTES: 4,
  /** The application said so. */
  USER: 8,
  /** It goes on sending although the connection is closing. */
  CLOSING: 16,
} as const;
export type Pause = (typeof Pause)[keyof typeof Pause];

const NEVER = Number.POSITIVE_INFINITY;

/** Whether a peer is read from. What it owes us stands still while it is not. */
export class Reading {
  /** When reading goes on after too many bytes. */
  resumeAt = NEVER;
  private reasons = 0;
  private since = 0;

  constructor(private readonly connection: Connection) {}

  get paused(): boolean {
    return this.reasons !== 0;
  }

  isPausedFor(reason: Pause): boolean {
    return (this.reasons & reason) !== 0;
  }

  pause(reason: Pause): void {
    if (this.isPausedFor(reason)) return;
    const isFirst = this.reasons === 0;
    this.reasons |= reason;
    if (!isFirst) return;
    const { clock } = this.connection.context;
    this.since = clock.now();
    this.connection.socket.stopReading();
    // Node reads once more before it stops: look at how much that was.
    this.connection.schedule(this.since + 1);
  }

  pauseUntil(at: number): void {
    this.resumeAt = at;
    this.pause(Pause.BYTES);
    this.connection.schedule(at);
  }

  /** The time of {@link pauseUntil} may have come. */
  review(now: number): void {
    if (now < this.resumeAt) return;
    this.resumeAt = NEVER;
    this.resume(Pause.BYTES);
  }

  resume(reason: Pause): void {
    if (!this.isPausedFor(reason)) return;
    this.reasons &= ~reason;
    if (this.reasons !== 0) return;
    const now = this.connection.context.clock.now();
    this.connection.standStill(now - this.since, now);
    this.connection.socket.startReading();
    this.connection.receiving?.assembly.inflate();
  }
}

/** A time in the past, after `silence` that ended now was taken out. What began in the silence began now. */
export const shifted = (time: number, silence: number, now: number): number => Math.min(now, time + silence);
