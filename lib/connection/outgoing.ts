import { Buffer } from 'node:buffer';
import { bindContext } from '../net/async-context.js';
import type { Sendable, SendCallback } from './context.js';
import type { Waiting } from './fifo.js';

/** The size of a payload in bytes. */
export const sizeOf = (data: Sendable): number =>
  typeof data === 'string' ? Buffer.byteLength(data) : isBlob(data) ? data.size : data.byteLength;

/** `Blob` is not read for data of another kind: it is a getter of the global object. */
export const isBlob = (data: unknown): data is Blob =>
  typeof data === 'object' && !ArrayBuffer.isView(data) && data instanceof Blob;

/** An item that waits for room in the socket. */
export class Outgoing implements Waiting {
  next: this | undefined = undefined;
  /** Number of bytes that were already written to the socket. */
  written = 0;
  callbacks: SendCallback[] | undefined = undefined;

  constructor(
    /** ASCII text frames joined to a string, or bytes; `undefined` if not ready yet. */
    public frame: string | Buffer | undefined,
    public size: number,
    /** The data that must be compressed, or read, before it is framed. */
    readonly payload?: Buffer | Blob,
    readonly first = 0,
    readonly fin = true,
    readonly isCompressed = false,
  ) {}

  add(callback: SendCallback | undefined): void {
    // Callbacks run in the async context of the code that called `send`.
    if (callback !== undefined) (this.callbacks ??= []).push(bindContext(callback));
  }

  call(error?: Error): void {
    for (const callback of this.callbacks ?? []) callback(error);
  }

  /** Calls the callbacks with an error, because the item will not be sent. */
  lose(): void {
    if (this.callbacks !== undefined) process.nextTick(lost, this);
  }
}

const lost = (outgoing: Outgoing): void =>
  outgoing.call(new Error('WebSocket is not open: the connection ended before the message was sent'));

/** The payload as bytes; a view or a `Buffer` is not copied. */
export function bytesOf(data: Exclude<Sendable, Blob>): Buffer {
  if (typeof data === 'string') return Buffer.from(data);
  if (Buffer.isBuffer(data)) return data;
  return ArrayBuffer.isView(data) ? Buffer.from(data.buffer, data.byteOffset, data.byteLength) : Buffer.from(data);
}
