import { AsyncResource } from 'node:async_hooks';
import type { Sendable, SendCallback } from './context.js';
import type { Waiting } from './fifo.js';
import type { FrameRun } from './frame-run.js';

/** Bytes of a payload. */
export const sizeOf = (data: Sendable): number =>
  typeof data === 'string' ? Buffer.byteLength(data) : data instanceof Blob ? data.size : data.byteLength;

/** Something that waits for room in the socket. */
export class Outgoing implements Waiting {
  next: this | undefined = undefined;
  /** Bytes of it that the socket has. */
  written = 0;
  callbacks: SendCallback[] | undefined = undefined;

  constructor(
    /** Texts of ASCII joined to a string, frames of broadcasts joined to a run, or bytes; `undefined`: not ready yet. */
    public frame: string | FrameRun | Buffer | undefined,
    public size: number,
    /** What is to be compressed, or to be read, before it is a frame. */
    readonly payload?: Buffer | Blob,
    readonly first = 0,
    readonly fin = true,
    readonly isCompressed = false,
  ) {}

  add(callback: SendCallback | undefined): void {
    // Who has sent it is called back in the async context in which it was sent.
    if (callback !== undefined) (this.callbacks ??= []).push(AsyncResource.bind(callback));
  }

  call(error?: Error): void {
    for (const callback of this.callbacks ?? []) callback(error);
  }

  /** It will not be sent. */
  lose(): void {
    if (this.callbacks !== undefined) process.nextTick(lost, this);
  }
}

const lost = (outgoing: Outgoing): void => outgoing.call(closedError());

/** What callbacks get for what came too late to be sent. */
export const closedError = (): Error => new Error('WebSocket is not open: nothing more is sent to this peer');

/** A payload as bytes; those of a view or a `Buffer` are not copied. */
export function bytesOf(data: Exclude<Sendable, Blob>): Buffer {
  if (typeof data === 'string') return Buffer.from(data);
  if (Buffer.isBuffer(data)) return data;
  return ArrayBuffer.isView(data) ? Buffer.from(data.buffer, data.byteOffset, data.byteLength) : Buffer.from(data);
}
