import { AsyncResource } from 'node:async_hooks';
import { isAscii } from 'node:buffer';
import { constants, createDeflateRaw, createInflateRaw, type DeflateRaw, type InflateRaw } from 'node:zlib';
import { FAILED, step, unread } from '../../compat/zlib.js';
import { Failure, type ProtocolError } from '../frame.js';
import { COMPLETE, checkUtf8, INVALID } from '../utf8.js';
import { type Ending, isEmptyAfterFinal, LAST_ENDING, QUIET_ENDING, storedBlocks, TRAILER } from './message-end.js';
import { type PoolTask, workMillis } from './pool.js';
import type { CodecSettings } from './settings.js';

/** What inflating a message has cost; see `chargedBytes`. */
export interface InflateWork {
  readonly inputBytes: number;
  readonly outputBytes: number;
  readonly millis: number;
}

/** Size of the output buffer that all synchronous work shares. Results are copied out of it. */
export const SCRATCH_BYTES = 64 * 1024;
const scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES);

/** Compressed bytes that one step in the thread pool reads: about 5 ms for the slowest input. */
const INFLATE_STEP = 16 * 1024;
/** Bytes that one step in the thread pool compresses: about 2 ms. */
const DEFLATE_STEP = 64 * 1024;

/** Streams are created in an empty async context: they may outlive the connection that needs them first. */
const neutral = new AsyncResource('SecureWsZlib');

type Written = (read: number, isOk: boolean) => void;

/**
 * One zlib stream, used through its public interface except for `step`. Its output may depend on earlier messages: a
 * stream that connections share must be reset before each message.
 */
class ZlibContext<Stream extends InflateRaw | DeflateRaw> {
  protected readonly stream: Stream;
  private onChunk: ((chunk: Buffer) => void) | undefined = undefined;
  private onWritten: Written | undefined = undefined;

  constructor(create: () => Stream) {
    this.stream = neutral.runInAsyncScope(create);
    this.stream.on('error', () => {});
  }

  /** The stream has failed or was closed and cannot be used any more. */
  get broken(): boolean {
    return this.stream.destroyed;
  }

  reset(): void {
    this.stream.reset();
  }

  /** Frees the stream. A pending {@link write} fails. */
  close(): void {
    this.stream.destroy();
  }

  /** Sets the receiver of the output of {@link write}. */
  collect(onChunk: ((chunk: Buffer) => void) | undefined): void {
    this.onChunk = onChunk;
    if (this.stream.listenerCount('data') > 0) return;
    this.stream.on('data', (chunk: Buffer) => this.onChunk?.(chunk));
    this.stream.on('close', () => this.settle(0, false));
  }

  /** Puts data through the stream in the thread pool; `then` is called once, with the bytes that were read. */
  write(data: Buffer, then: Written): void {
    const before = this.stream.bytesWritten;
    this.onWritten = then;
    this.stream.write(data, () => this.settle(this.stream.bytesWritten - before, !this.broken));
  }

  private settle(read: number, isOk: boolean): void {
    const then = this.onWritten;
    this.onWritten = undefined;
    then?.(read, isOk);
  }
}

/** The result of inflating a message on the calling thread. */
export interface InflatedNow {
  readonly output: Output;
  readonly result: Buffer | ProtocolError;
}

/** A message whose output exceeds {@link SCRATCH_BYTES}: the output so far, and the input that is left. */
export class Unfinished {
  constructor(
    readonly output: Output,
    readonly rest: Buffer,
  ) {}
}

/** The output of one message; its size and encoding are checked chunk by chunk. */
export class Output {
  bytes = 0;
  error: ProtocolError | undefined = undefined;
  private readonly chunks: Buffer[] = [];
  private utf8 = COMPLETE;

  constructor(
    readonly limit: number,
    private readonly isText: boolean,
  ) {}

  /** Takes the next bytes, or a copy of them; false when they break the limit or are not UTF-8. */
  add(bytes: Buffer, isScratch = false): boolean {
    this.bytes += bytes.length;
    if (this.bytes > this.limit) this.error = Failure.SIZE;
    else if (this.isText) this.check(bytes);
    if (this.error !== undefined) this.chunks.length = 0;
    else if (bytes.length > 0) this.chunks.push(isScratch ? Buffer.from(bytes) : bytes);
    return this.error === undefined;
  }

  /** The whole message. */
  take(): Buffer | ProtocolError {
    if (this.utf8 !== COMPLETE) return Failure.UTF8;
    return this.chunks.length === 1 ? this.chunks[0]! : Buffer.concat(this.chunks, this.bytes);
  }

  private check(bytes: Buffer): void {
    if (this.utf8 === COMPLETE && isAscii(bytes)) return;
    this.utf8 = checkUtf8(this.utf8, bytes, 0, bytes.length);
    if (this.utf8 === INVALID) this.error = Failure.UTF8;
  }
}

/** An inflating stream. After a failure it is `broken` for good; after a final block it is `spent` until it is reset. */
export class InflateContext extends ZlibContext<InflateRaw> {
  readonly ending: Ending;
  private hasEnded = false;

  /**
   * `chunkSize`: bytes of output of one job in the thread pool; as much is held while the stream lives. `takesOver`:
   * the window is kept from message to message; without it the context is reset after each.
   */
  constructor(windowBits: number, chunkSize: number, takesOver: boolean) {
    super(() => createInflateRaw({ windowBits, chunkSize, flush: constants.Z_SYNC_FLUSH }));
    this.ending = takesOver ? QUIET_ENDING : LAST_ENDING;
  }

  get spent(): boolean {
    return this.hasEnded || this.broken;
  }

  override reset(): void {
    super.reset();
    this.hasEnded = false;
  }

  /**
   * Inflates a whole message on this thread, if its output fits {@link SCRATCH_BYTES}. If there is more output, an
   * `InflateTask` continues, or the context is reset.
   */
  inflateSync(data: Buffer, limit: number, isText: boolean): InflatedNow | Unfinished {
    const output = new Output(limit, isText);
    const end = Math.min(limit + 1, SCRATCH_BYTES);
    const produced = step(this.stream, data, scratch, 0, end);
    if (produced === FAILED) return { output, result: Failure.COMPRESSED_DATA };
    const rest = data.subarray(data.length - unread);
    if (!output.add(scratch.subarray(0, produced), true)) this.close();
    else if (produced === end) return new Unfinished(output, rest);
    return { output, result: output.error ?? (this.isComplete(rest) ? output.take() : Failure.COMPRESSED_DATA) };
  }

  /**
   * Appends the bytes that the sender has removed, and checks that the message is complete; `rest`: the bytes after a
   * final block.
   */
  private isComplete(rest: Buffer): boolean {
    if (rest.length > 0) return this.endedBefore(rest);
    const { bytes, unread: left } = this.ending;
    if (step(this.stream, bytes, scratch, 0, 1) === 0 && unread === left) return true;
    this.close();
    return false;
  }

  /** Whether `rest` may follow a final block (RFC 7692, 7.2.3.5). */
  endedBefore(rest: Buffer): boolean {
    this.hasEnded = true;
    return isEmptyAfterFinal(Buffer.concat([rest, TRAILER]));
  }
}

/**
 * The source of a task's stream, called at its first step; `take()` returns `undefined` if the result is no longer
 * needed.
 */
export interface ContextSource<Context> {
  take(): Context | undefined;
  /** Whether the stream stays open behind the task. */
  readonly isKept: boolean;
}

type Next = (isDone: boolean, millis: number) => void;

/** Inflates one message, or the rest of one, in the thread pool. */
export class InflateTask implements PoolTask {
  readonly output: Output;
  private readonly data: Buffer;
  private context: InflateContext | undefined = undefined;
  private at = 0;
  private millis = 0;

  /** `done` is called once, unless the result is no longer needed; a failure leaves the context broken. */
  constructor(
    private readonly source: ContextSource<InflateContext>,
    message: Buffer | Unfinished,
    limit: number,
    isText: boolean,
    private readonly now: () => number,
    private readonly done: (outcome: Buffer | ProtocolError, work: InflateWork) => void,
  ) {
    const isRest = message instanceof Unfinished;
    this.output = isRest ? message.output : new Output(limit, isText);
    this.data = isRest ? message.rest : message;
  }

  step(next: Next): void {
    const context = (this.context ??= this.source.take());
    if (context === undefined) return next(true, 0);
    const { data, output } = this;
    const piece = data.subarray(this.at, this.at + INFLATE_STEP);
    const { bytes } = output;
    const started = this.now();
    const pause = (outcome?: Buffer | ProtocolError): void => {
      const millis = workMillis(this.now() - started, piece.length, output.bytes - bytes);
      this.millis += millis;
      if (outcome !== undefined) this.leave(context, outcome);
      next(outcome !== undefined, millis);
      if (outcome !== undefined) this.done(outcome, this.work);
    };
    context.collect((chunk) => {
      if (!output.add(chunk)) context.close();
    });
    context.write(piece, (read, isOk) => {
      const rest = data.subarray(this.at + read);
      this.at += piece.length;
      if (!isOk) pause(output.error ?? Failure.COMPRESSED_DATA);
      else if (read < piece.length) pause(context.endedBefore(rest) ? output.take() : Failure.COMPRESSED_DATA);
      else if (this.at < data.length) pause();
      else this.end(context, pause);
    });
  }

  /** Appends the bytes that the sender has removed, and checks that the message is complete. */
  private end({ ending }: InflateContext, pause: (outcome: Buffer | ProtocolError) => void): void {
    const { context, output } = this;
    const { bytes } = output;
    context!.write(ending.bytes, (read, isOk) => {
      const isWhole = isOk && output.bytes === bytes && read === ending.bytes.length - ending.unread;
      pause(isWhole ? output.take() : Failure.COMPRESSED_DATA);
    });
  }

  private leave(context: InflateContext, outcome: Buffer | ProtocolError): void {
    context.collect(undefined);
    if (!this.source.isKept || !Buffer.isBuffer(outcome)) context.close();
  }

  private get work(): InflateWork {
    return { inputBytes: this.data.length, outputBytes: this.output.bytes, millis: this.millis };
  }
}

/**
 * The window of 256 bytes that a server may ask of a client (RFC 7692, 7.1.2.2) is one that zlib cannot keep to. Run
 * lengths only look back one byte, whatever the window.
 */
const RUN_LENGTH_BITS = 8;

/**
 * A deflating stream. Compressing never fails: where zlib does, the data goes in stored blocks and the context is
 * `broken` for good.
 */
export class DeflateContext extends ZlibContext<DeflateRaw> {
  /** `chunkSize`: bytes of output of one job in the thread pool; as much is held while the stream lives. */
  constructor({ windowBits, memLevel, level }: CodecSettings, chunkSize: number) {
    super(() =>
      createDeflateRaw({
        windowBits: Math.max(windowBits, RUN_LENGTH_BITS + 1),
        memLevel,
        level,
        chunkSize,
        strategy: windowBits <= RUN_LENGTH_BITS ? constants.Z_RLE : constants.Z_DEFAULT_STRATEGY,
        flush: constants.Z_SYNC_FLUSH,
      }),
    );
  }

  /** Compresses at most half of {@link SCRATCH_BYTES} on this thread. `fin`: the last part, without its trailer. */
  deflateSync(data: Buffer, fin: boolean): Buffer {
    const produced = step(this.stream, data, scratch, 0, SCRATCH_BYTES);
    // The scratch is twice the input: a full one means that something is left inside the stream.
    if (produced === FAILED || produced === SCRATCH_BYTES) return this.stored(data, fin);
    return Buffer.from(scratch.subarray(0, fin ? produced - TRAILER.length : produced));
  }

  /** The data uncompressed, for when zlib has no memory. */
  stored(data: Buffer, fin: boolean): Buffer {
    this.close();
    return cutTrailer(storedBlocks(data), fin);
  }
}

/** Compresses one message, or a fragment of one, in the thread pool. */
export class DeflateTask implements PoolTask {
  private readonly chunks: Buffer[] = [];
  private context: DeflateContext | undefined = undefined;
  private at = 0;

  /** `done` is called once, unless the result is no longer needed. */
  constructor(
    private readonly source: ContextSource<DeflateContext>,
    private readonly data: Buffer,
    private readonly fin: boolean,
    private readonly now: () => number,
    private readonly done: (compressed: Buffer) => void,
  ) {}

  step(next: Next): void {
    const context = (this.context ??= this.source.take());
    if (context === undefined) return next(true, 0);
    const { data } = this;
    const started = this.now();
    context.collect((chunk) => this.chunks.push(chunk));
    context.write(data.subarray(this.at, this.at + DEFLATE_STEP), (_read, isOk) => {
      this.at += DEFLATE_STEP;
      const millis = this.now() - started;
      if (isOk && this.at < data.length) return next(false, millis);
      const compressed = this.result(context, isOk);
      next(true, millis);
      this.done(compressed);
    });
  }

  private result(context: DeflateContext, isOk: boolean): Buffer {
    const { chunks, data, fin } = this;
    context.collect(undefined);
    if (!isOk) return context.stored(data, fin);
    if (!this.source.isKept) context.close();
    return cutTrailer(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks), fin);
  }
}

const cutTrailer = (compressed: Buffer, fin: boolean): Buffer =>
  fin ? compressed.subarray(0, compressed.length - TRAILER.length) : compressed;
