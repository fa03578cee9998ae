import type { Socket } from 'node:net';

/** The slowest reader that is waited for: bytes per millisecond (4 KiB/s). */
const SLOWEST = 4.096;
const NEVER = Number.POSITIVE_INFINITY;

/** Bytes that have left a socket. */
const left = (socket: Socket): number => socket.bytesWritten - socket.writableLength;

/** How long what was given to a socket may take to leave it. */
export class StallWatch {
  /** When the bytes up to the mark must have left. */
  by = NEVER;
  private mark = 0;

  /** Begins to wait for what is in the socket now, unless something is waited for already. `pending`: bytes of the whole queue. */
  watch(socket: Socket, now: number, timeout: number, pending: number): void {
    if (this.by !== NEVER && left(socket) < this.mark) return;
    this.mark = socket.bytesWritten;
    this.by = now + timeout + pending / SLOWEST;
  }

  rest(): void {
    this.by = NEVER;
  }

  /** True when the oldest of those bytes is still there although its time is over. */
  isOverdue(socket: Socket, now: number): boolean {
    return now >= this.by && left(socket) < this.mark;
  }
}
