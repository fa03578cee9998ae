// @ts-nocheck
import { own } from '../connection/chunks.js';
import { Fifo, type Waiting } from '../connection/fifo.js';

/** A received message: text as a string, binary as a `Buffer`. */
export type Message = string | Buffer;

interface Item extends Waiting {
  readonly message: Message;
}
type Result = IteratorResult<Message, undefined>;

/** Messages that wait for whoever asks for the next. How many may wait is for others to see to. */
export class Inbox {
  private readonly items = new Fifo<Item>();
  private askers: ((result: Result) => void)[] = [];
  private ended = false;

  /** `tookOne`: called when a message has left. */
  constructor(private readonly tookOne: () => void) {}

  /** Messages that wait. */
  get length(): number {
    return this.items.length;
  }

  /** Bytes that wait. */
  get bytes(): number {
    return this.items.bytes;
  }

  push(message: Message, size: number): void {
    const asker = this.askers.shift();
    if (asker !== undefined) asker({ value: message, done: false });
    else this.items.push({ message: Buffer.isBuffer(message) ? own(message) : message, size, next: undefined });
  }

  shift(): Message | undefined {
    const item = this.items.shift();
    if (item === undefined) return undefined;
    this.tookOne();
    return item.message;
  }

  /** The next message; `done` when the connection has ended and nothing waits any more. */
  next(): Promise<Result> {
    const message = this.shift();
    if (message !== undefined) return Promise.resolve({ value: message, done: false });
    if (this.ended) return Promise.resolve(DONE);
    return new Promise((resolve) => this.askers.push(resolve));
  }

  clear(): void {
    this.items.clear();
    this.tookOne();
  }

  /** No more will come. What waits can still be taken. */
  end(): void {
    this.ended = true;
    this.dismiss();
  }

  /** Whoever asks now gets nothing. */
  dismiss(): void {
    for (const asker of this.askers.splice(0)) asker(DONE);
  }
}

const DONE: Result = Object.freeze({ value: undefined, done: true });

/** Bytes of a message in any of the forms of `binaryType`. */
export function bytesOf(data: Buffer | ArrayBuffer | Blob | Buffer[]): number {
  if (Array.isArray(data)) return data.reduce((bytes, { length }) => bytes + length, 0);
  return data instanceof Blob ? data.size : data.byteLength;
}
