// @ts-nocheck
import { constants, createInflateRaw, type InflateRaw } from 'node:zlib';
import { type Ending, isEmptyAfterFinal, LAST_ENDING, QUIET_ENDING, TRAILER } from './message-end.js';
import type { InflateFailure } from './ws-error.js';
import { scratch, step, unread } from './zlib-step.js';

/** A message, or why there is none. */
export type Inflated = Buffer | InflateFailure;

/** A message that is too large to be inflated in one go, and its input that is still to be read. */
export class Unfinished {
  constructor(readonly rest: Buffer) {}
}

/**
 * One inflating stream. Which messages it has seen before decides what back-references may mean: whoever shares one
 * between connections calls `reset` before each message. After a failure it is `broken` for good; after a final block it is
 * `spent` until it is reset.
 */
export class InflateContext {
  readonly #stream: InflateRaw;
  readonly #chunks: Buffer[] = [];
  #total = 0;
  #limit = 0;
  #settle: ((outcome: Inflated) => void) | undefined;
  #spent = false;

  readonly #ending: Ending;

  /**
   * `chunkSize`: bytes of output of one job in the thread pool; as much is held while the stream lives. `takesOver`:
   * the window is kept from message to message; without it the context is reset before each.
   */
  constructor(windowBits: number, chunkSize: number, takesOver: boolean) {
    this.#ending = takesOver ? QUIET_ENDING : LAST_ENDING;
    this.#stream = createInflateRaw({ windowBits, chunkSize, flush: constants.Z_SYNC_FLUSH });
    this.#stream.on('error', () => this.#finish('corrupt'));
    // Output is taken where zlib puts it: nothing of Readable's own buffering, and no end that would close the stream.
    this.#stream.push = (chunk: Buffer | null) => this.#collect(chunk);
  }

  get broken(): boolean {
    return this.#stream.destroyed;
  }

  get spent(): boolean {
    return this.#spent || this.broken;
  }

  /** Forgets all that was seen. A back-reference to before the next message is an error from here on. */
  reset(): void {
    this.#stream.reset();
    this.#clear();
    this.#spent = false;
  }

  /** Frees everything; a message still being inflated ends as `corrupt`. */
  close(): void {
    this.#finish('corrupt');
  }

  /**
   * Inflates a whole message on this thread, if it is small enough. Where there is more, what there is so far is
   * kept, and `inflate` must be called for the rest, or `reset`.
   */
  inflateSync(data: Buffer, limit: number): Inflated | Unfinished {
    const end = Math.min(limit + 1, scratch.length);
    const produced = step(this.#stream, data, 0, end);
    if (produced < 0) return this.#fail('corrupt');
    if (produced > limit) return this.#fail('too-large');
    if (produced === end) return this.#keepForLater(data.subarray(data.length - unread));
    if (unread > 0) {
      this.#spent = true;
      if (!endsWell(data.subarray(data.length - unread))) return 'corrupt';
    } else if (step(this.#stream, this.#ending.bytes, produced, end) !== 0 || unread !== this.#ending.unread) {
      return this.#fail('corrupt');
    }
    return Buffer.from(scratch.subarray(0, produced));
  }

  /** Inflates a whole message, or the rest of one, in the thread pool. `done` is called once. */
  inflate(data: Buffer, limit: number, done: (outcome: Inflated) => void): void {
    this.#settle = done;
    this.#limit = limit;
    const before = this.#stream.bytesWritten;
    this.#write(data, () => {
      const rest = data.subarray(this.#stream.bytesWritten - before);
      if (rest.length === 0) return this.#end();
      this.#spent = true;
      this.#finish(endsWell(rest) ? this.#take() : 'corrupt');
    });
  }

  #end(): void {
    const { bytes, unread: left } = this.#ending;
    const before = this.#stream.bytesWritten;
    const total = this.#total;
    this.#write(bytes, () => {
      const whole = this.#total === total && this.#stream.bytesWritten - before === bytes.length - left;
      this.#finish(whole ? this.#take() : 'corrupt');
    });
  }

  #write(data: Buffer, then: () => void): void {
    this.#stream.write(data, (error) => {
      if (this.#settle === undefined) return;
      if (error) this.#finish('corrupt');
      else then();
    });
  }

  #collect(chunk: Buffer | null): boolean {
    if (chunk === null) return true;
    this.#chunks.push(chunk);
    this.#total += chunk.length;
    if (this.#total > this.#limit && this.#settle !== undefined) this.#finish('too-large');
    return true;
  }

  #take(): Buffer {
    const message = Buffer.concat(this.#chunks, this.#total);
    this.#clear();
    return message;
  }

  #keepForLater(rest: Buffer): Unfinished {
    this.#chunks.push(Buffer.from(scratch));
    this.#total = scratch.length;
    return new Unfinished(rest);
  }

  #clear(): void {
    this.#chunks.length = 0;
    this.#total = 0;
  }

  #finish(outcome: Inflated): void {
    const settle = this.#settle;
    this.#settle = undefined;
    if (typeof outcome === 'string') this.#fail(outcome);
    settle?.(outcome);
  }

  #fail(failure: InflateFailure): InflateFailure {
    this.#clear();
    this.#stream.destroy();
    return failure;
  }
}

const endsWell = (rest: Buffer): boolean => isEmptyAfterFinal(Buffer.concat([rest, TRAILER]));
