import type { MessageReader } from '../connection/message-reader.js';

/** A received message: text as a string, binary as a `Buffer`. */
export type Message = string | Buffer;

export type Result = IteratorResult<Message, undefined>;

const DONE: Result = Object.freeze({ value: undefined, done: true });
const asMessage = (data: Buffer, isBinary: boolean): Message => (isBinary ? data : data.toString());

/** Hands messages to whoever asks for the next. Those that nobody has asked for yet wait in the reader's queue. */
export class Inbox {
  /** Iterators at work. */
  iterators = 0;
  private askers: ((result: Result) => void)[] = [];
  private ended = false;

  /** `reader`: what waits, if anything ever came. `asked`: called when somebody has asked. */
  constructor(
    private readonly reader: () => MessageReader | undefined,
    private readonly asked: () => void,
  ) {}

  /** Somebody waits for a message. */
  get isAsked(): boolean {
    return this.askers.length > 0;
  }

  /** To the first who waits. */
  give(data: Buffer, isBinary: boolean): void {
    this.askers.shift()?.({ value: asMessage(data, isBinary), done: false });
  }

  /** The next message; `done` when the connection has ended and nothing waits any more. */
  next(): Promise<Result> {
    this.asked();
    const waiting = this.reader()?.shift();
    if (waiting !== undefined)
      return Promise.resolve({ value: asMessage(waiting.data, waiting.isBinary), done: false });
    if (this.ended) return Promise.resolve(DONE);
    return new Promise((resolve) => this.askers.push(resolve));
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
