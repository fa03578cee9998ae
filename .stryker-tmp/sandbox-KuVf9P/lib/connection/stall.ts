// @ts-nocheck
import type { Socket } from 'node:net';

/** The slowest reader that is waited for: bytes per millisecond (4 KiB/s). */
const SLOWEST = 4.096;
const NEVER = Number.POSITIVE_INFINITY;

const left = (raw: Socket): number => raw.bytesWritten - raw.writableLength;

/** How long what was given to a socket may take to leave it. */
export class Stall {
  /** When the bytes up to the mark must have left. */
  by = NEVER;
  private mark = 0;

  /** Begins to wait for what is in the socket now, unless something is waited for already. `pending`: bytes of the whole queue. */
  watch(raw: Socket, now: number, timeout: number, pending: number): void {
    if (this.by !== NEVER && left(raw) < this.mark) return;
    this.mark = raw.bytesWritten;
    this.by = now + timeout + pending / SLOWEST;
  }

  rest(): void {
    this.by = NEVER;
  }

  isOverdue(raw: Socket, now: number): boolean {
    return now >= this.by && left(raw) < this.mark;
  }
}
