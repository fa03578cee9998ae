// @ts-nocheck
import { Fifo, type Waiting } from './fifo.js';
import { type Sendable, type SendCallback, type SendOptions, sizeOf } from './sendable.js';

/** A message, or a whole frame, that waits for room in the socket. */
export interface Outgoing extends Waiting {
  readonly data: Exclude<Sendable, string>;
  readonly options: SendOptions;
  readonly callback: SendCallback | undefined;
  /** The same as one frame, which may be written when nothing is being compressed. */
  readonly frame: Buffer | undefined;
}

/** What waits before the socket, where it can still be dropped. */
export class Outbox extends Fifo<Outgoing> {
  /** Strings wait as bytes, so that they cost what is counted. */
  add(data: Sendable, options: SendOptions, callback: SendCallback | undefined, frame?: Buffer): void {
    const isText = typeof data === 'string';
    const bytes = isText ? Buffer.from(data) : data;
    this.push({
      data: bytes,
      options: isText && options.binary === undefined ? { ...options, binary: false } : options,
      callback,
      frame,
      size: sizeOf(bytes),
      next: undefined,
    });
  }
}
