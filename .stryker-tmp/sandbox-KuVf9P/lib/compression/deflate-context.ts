// @ts-nocheck
import { constants, createDeflateRaw, type DeflateRaw } from 'node:zlib';
import { storedBlocks, TRAILER } from './message-end.js';
import type { CodecSettings } from './settings.js';
import { scratch, step } from './zlib-step.js';

/**
 * The window of 256 bytes that a server may ask of a client (RFC 7692, 7.1.2.2) is one that zlib cannot keep to. Run
 * lengths only look back one byte, whatever the window.
 */
const RUN_LENGTH_BITS = 8;

const strategyFor = (windowBits: number): number =>
  windowBits <= RUN_LENGTH_BITS ? constants.Z_RLE : constants.Z_DEFAULT_STRATEGY;

/**
 * One deflating stream. What it has seen it may refer back to: whoever shares one between connections calls `reset`
 * before each message. Compressing never fails: where zlib does, the data goes in stored blocks and the context is
 * `broken` for good.
 */
export class DeflateContext {
  readonly #stream: DeflateRaw;
  readonly #chunks: Buffer[] = [];
  #settle: ((closed: boolean) => void) | undefined;

  /** `chunkSize`: bytes of output of one job in the thread pool; as much is held while the stream lives. */
  constructor({ windowBits, memLevel, level }: CodecSettings, chunkSize: number) {
    const bits = Math.max(windowBits, RUN_LENGTH_BITS + 1);
    const options = { windowBits: bits, memLevel, level, chunkSize, strategy: strategyFor(windowBits) };
    this.#stream = createDeflateRaw({ ...options, flush: constants.Z_SYNC_FLUSH });
    this.#stream.on('error', () => this.#settle?.(false));
    this.#stream.push = (chunk: Buffer | null) => chunk === null || this.#chunks.push(chunk) > 0;
  }

  get broken(): boolean {
    return this.#stream.destroyed;
  }

  reset(): void {
    this.#stream.reset();
  }

  /** Frees everything; a message still being compressed ends as `undefined`. */
  close(): void {
    this.#settle?.(true);
    this.#chunks.length = 0;
    this.#stream.destroy();
  }

  /** Compresses at most `SYNC_DEFLATE_BYTES` on this thread. `fin`: the end of the message, whose trailer goes. */
  deflateSync(data: Buffer, fin: boolean): Buffer {
    const produced = step(this.#stream, data, 0, scratch.length);
    // The scratch is twice the input, so a full one means that something is left inside, and lost.
    if (produced < 0 || produced === scratch.length) return this.#stored(data, fin);
    return Buffer.from(scratch.subarray(0, fin ? produced - TRAILER.length : produced));
  }

  /** Compresses in the thread pool. `done` is called once. */
  deflate(data: Buffer, fin: boolean, done: (compressed: Buffer | undefined) => void): void {
    this.#settle = (closed) => {
      this.#settle = undefined;
      if (closed) done(undefined);
      else done(this.broken ? this.#stored(data, fin) : cutTrailer(this.#take(), fin));
    };
    this.#stream.write(data, () => this.#settle?.(false));
  }

  #take(): Buffer {
    const [first, second] = this.#chunks;
    const compressed = second === undefined && first !== undefined ? first : Buffer.concat(this.#chunks);
    this.#chunks.length = 0;
    return compressed;
  }

  #stored(data: Buffer, fin: boolean): Buffer {
    this.close();
    return cutTrailer(storedBlocks(data), fin);
  }
}

const cutTrailer = (compressed: Buffer, fin: boolean): Buffer =>
  fin ? compressed.subarray(0, compressed.length - TRAILER.length) : compressed;
