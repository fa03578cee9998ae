import type { MessageReader } from '../connection/message-reader.js';

/** A received message: text as a string, binary as a `Buffer`. */
export type Message = string | Buffer;

export type Result = IteratorResult<Message, undefined>;

const DONE: Result = Object.freeze({ value: undefined, done: true });
const asMessage = (data: Buffer, isBinary: boolean): Message => (isBinary ? data : data.toString());

/**
 * Passes messages to consumers that ask for the next one. Messages that nobody has asked for wait in the reader's
 * queue.
 */
export class Inbox {
  /** Number of active iterators. */
  iterators = 0;
  private askers: ((result: Result) => void)[] = [];
  private ended = false;

  /**
   * `reader`: returns the reader with the queued messages, if anything was received. `asked`: called when a message is
   * requested.
   */
  constructor(
    private readonly reader: () => MessageReader | undefined,
    private readonly asked: () => void,
  ) {}

  /** A consumer is waiting for a message. */
  get isAsked(): boolean {
    return this.askers.length > 0;
  }

  /** Passes a message to the first waiting consumer. */
  give(data: Buffer, isBinary: boolean): void {
    this.askers.shift()?.({ value: asMessage(data, isBinary), done: false });
  }

  /** The next message; `done` when the connection has ended and no message is queued. */
  next(): Promise<Result> {
    this.asked();
    const waiting = this.reader()?.shift();
    if (waiting !== undefined)
      return Promise.resolve({ value: asMessage(waiting.data, waiting.isBinary), done: false });
    if (this.ended) return Promise.resolve(DONE);
    return new Promise((resolve) => this.askers.push(resolve));
  }

  /** Records that no more messages will arrive. Queued ones can still be taken. */
  end(): void {
    this.ended = true;
    this.dismiss();
  }

  /** Ends all iterations at once. */
  dismiss(): void {
    for (const asker of this.askers.splice(0)) asker(DONE);
  }
}
