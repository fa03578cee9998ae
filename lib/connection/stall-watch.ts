import type { Socket } from 'node:net';

/** The minimum rate of a reader: bytes per millisecond (4 KiB/s). */
const SLOWEST = 4.096;
const NEVER = Number.POSITIVE_INFINITY;

/** Number of bytes that a socket has sent. */
const left = (socket: Socket): number => socket.bytesWritten - socket.writableLength;

/** Watches whether bytes that were given to a socket are sent in time. */
export class StallWatch {
  /** When the watched bytes must have been sent. */
  by = NEVER;
  private mark = 0;

  /**
   * Starts to watch the bytes that are in the socket now, unless others are being watched. `pending`: bytes of the
   * whole queue.
   */
  watch(socket: Socket, now: number, timeout: number, pending: number): void {
    if (this.by !== NEVER && left(socket) < this.mark) return;
    this.mark = socket.bytesWritten;
    this.by = now + timeout + pending / SLOWEST;
  }

  rest(): void {
    this.by = NEVER;
  }

  /** Whether the oldest of these bytes is still unsent after its deadline. */
  isOverdue(socket: Socket, now: number): boolean {
    return now >= this.by && left(socket) < this.mark;
  }
}
