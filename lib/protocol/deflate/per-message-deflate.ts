import { canStep } from '../../compat/zlib.js';
import type { ProtocolError } from '../frame.js';
import {
  DeflateContext,
  DeflateTask,
  InflateContext,
  InflateTask,
  type InflateWork,
  SCRATCH_BYTES,
  Unfinished,
} from './contexts.js';
import type { PoolUser } from './pool.js';
import { type CodecSettings, type DeflateProfile, tuningKey } from './settings.js';

/**
 * Messages of at most this many bytes are compressed on the calling thread: about half a millisecond for the
 * largest. The thread pool never costs less CPU; it is for what would hold the event loop for longer than that
 * (`bench/compression/results.md`).
 */
export const SYNC_DEFLATE_BYTES = SCRATCH_BYTES / 2;

/** Compressed messages of at most this many bytes are inflated on the calling thread: about a millisecond at worst. */
export const SYNC_INFLATE_BYTES = 4 * 1024;

/** Size of the output buffer of a stream for one message, and of a stream that lives as long as its connection. */
const ONE_MESSAGE = 64 * 1024;
const LONG_LIVED = 4 * 1024;
/** Synchronous work does not use the stream's own output buffer: the minimum that zlib allows. */
const NO_CHUNK = 64;

/** Bytes charged for a millisecond of inflating: about a third of the usual output in that time. */
const BYTES_PER_MILLI = 32 * 1024;

/** Bytes that a compressed message is charged in byte rates: the greatest of input, output, and time as bytes. */
export const chargedBytes = ({ inputBytes, outputBytes, millis }: InflateWork): number =>
  Math.max(inputBytes, outputBytes, Math.ceil(millis * BYTES_PER_MILLI));

/** An inflated message or an error, and the cost. */
export interface Inflated extends InflateWork {
  readonly data: Buffer | undefined;
  readonly error: ProtocolError | undefined;
}

/** The streams that all connections share on the calling thread, one for each tuning in use. */
const inflaters = new Map<number, InflateContext>();
const deflaters = new Map<number, DeflateContext>();

/**
 * Processes one message with a shared context. The context is in the map only while it is clean: new, or reset after
 * its last message. A context that fails or throws is not put back.
 */
function using<C extends DeflateContext | InflateContext, R>(
  contexts: Map<number, C>,
  key: number,
  make: () => C,
  work: (context: C) => R,
): R {
  const context = contexts.get(key) ?? make();
  contexts.delete(key);
  const result = work(context);
  if (!context.broken) {
    context.reset();
    contexts.set(key, context);
  }
  return result;
}

const deflateShared = (data: Buffer, fin: boolean, settings: CodecSettings): Buffer =>
  using(
    deflaters,
    tuningKey(settings),
    () => new DeflateContext(settings, NO_CHUNK),
    (context) => context.deflateSync(data, fin),
  );

/** The compression of a shared payload with one tuning, pending or complete. */
interface Once {
  compressed: Buffer | undefined;
  waiting: ((compressed: Buffer) => void)[];
}

const payloads = new WeakMap<Buffer, Map<number, Once>>();

/**
 * Marks a payload that a server sends to many peers, so that the thread pool compresses it once for each tuning. The
 * payload must not change. The result lives as long as the payload.
 */
export function shareCompressed(payload: Buffer): void {
  if (!payloads.has(payload)) payloads.set(payload, new Map());
}

const NOBODY: PoolUser = { poolGroup: undefined, runInContext: (callback) => callback() };

/**
 * permessage-deflate of one connection (RFC 7692). In `shared` mode it holds no context. In `dedicated` mode contexts
 * are created when the first message needs them, and process one message at a time, in order. Messages that need no
 * context may complete before earlier ones.
 */
export class PerMessageDeflate {
  private closed = false;
  private inflater: InflateContext | undefined = undefined;
  private deflater: DeflateContext | undefined = undefined;
  /** The last message given to the thread pool, and the number of messages pending there for {@link deflater}. */
  private inflating: InflateTask | undefined = undefined;
  private deflating = 0;

  /** `release` returns the memory of the contexts to the budget. */
  constructor(
    readonly profile: DeflateProfile,
    private readonly release: (() => void) | undefined = undefined,
  ) {}

  /** Whether a message of so many bytes should be compressed (`compression.threshold`). */
  isWorth(bytes: number): boolean {
    return bytes >= this.profile.settings.threshold;
  }

  /** Whether messages compressed for several peers may be sent to this one: our side keeps no context. */
  get isShared(): boolean {
    return !sendsWithContext(this.profile);
  }

  /** Output bytes so far of the message that the thread pool is inflating; its input is not counted. */
  get heldBytes(): number {
    return this.inflating?.output.bytes ?? 0;
  }

  /**
   * Inflates a whole message as received. Returns the result, or `undefined` where the thread pool does the work: `done`
   * is called later then, unless {@link close} is called before.
   */
  inflate(data: Buffer, isText: boolean, user: PoolUser, done: (result: Inflated) => void): Inflated | undefined {
    const limit = this.limitFor(data.length);
    const outcome = this.inflateNow(data, limit, isText);
    if (outcome !== undefined && !(outcome instanceof Unfinished)) return outcome;
    const { pool } = this.profile;
    const task: InflateTask = new InflateTask(
      this.inflaterSource(),
      outcome ?? data,
      limit,
      isText,
      pool.now,
      (result, work) => {
        if (this.closed) return;
        if (this.inflating === task) this.inflating = undefined;
        // The task may have begun with a part of the input.
        const whole = { ...work, inputBytes: data.length };
        user.runInContext(() => done(resultOf(result, whole)));
      },
    );
    this.inflating = task;
    pool.add(user, task);
    return undefined;
  }

  /**
   * Compresses a message or a fragment of one. Returns the payload for the frame, or `undefined` where the thread pool
   * does the work: `done` is called later then, unless {@link close} is called before.
   */
  compress(data: Buffer, fin: boolean, user: PoolUser, done: (compressed: Buffer) => void): Buffer | undefined {
    // zlib writes nothing when asked to flush twice; an empty stored block says the same (RFC 7692, 7.2.3.6).
    if (data.length === 0) return Buffer.alloc(fin ? 1 : 0);
    const { profile } = this;
    if (data.length <= SYNC_DEFLATE_BYTES && canStep() && this.deflating === 0)
      return this.isShared ? deflateShared(data, fin, profile.outgoing) : this.usableDeflater().deflateSync(data, fin);
    const deliver = (compressed: Buffer): void => {
      if (!this.closed) user.runInContext(() => done(compressed));
    };
    const windows = fin && this.isShared ? payloads.get(data) : undefined;
    if (windows === undefined) this.deflateLater(data, fin, user, deliver);
    else return this.compressOnce(windows, data, deliver);
    return undefined;
  }

  /** Compresses a whole message synchronously; `undefined` where it needs a context or the thread pool. */
  compressAtOnce(payload: Buffer): Buffer | undefined {
    const isPossible = payload.length > 0 && payload.length <= SYNC_DEFLATE_BYTES && this.isShared && canStep();
    return isPossible ? deflateShared(payload, true, this.profile.outgoing) : undefined;
  }

  /** Frees everything when the connection has ended. No callback is called afterwards. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.inflater?.close();
    this.deflater?.close();
    this.inflater = undefined;
    this.deflater = undefined;
    this.inflating = undefined;
    this.release?.();
  }

  /** Inflates on the calling thread; `undefined` where the thread pool must do it. */
  private inflateNow(data: Buffer, limit: number, isText: boolean): Inflated | Unfinished | undefined {
    const { pool, incomingBits } = this.profile;
    const hasContext = receivesWithContext(this.profile);
    // Node aborts the process when a stream is used while the thread pool is working with it.
    if (hasContext && this.inflating !== undefined) return undefined;
    if (data.length > SYNC_INFLATE_BYTES || !canStep() || !pool.waste.allows(data.length)) return undefined;
    const started = pool.waste.begin(data.length);
    const outcome = hasContext
      ? this.usableInflater().inflateSync(data, limit, isText)
      : using(
          inflaters,
          incomingBits,
          () => new InflateContext(incomingBits, NO_CHUNK, false),
          (context) => context.inflateSync(data, limit, isText),
        );
    const { bytes } = outcome.output;
    const millis = pool.waste.end(started, data.length, bytes);
    if (outcome instanceof Unfinished) return hasContext ? outcome : undefined;
    return resultOf(outcome.result, { inputBytes: data.length, outputBytes: bytes, millis });
  }

  private inflaterSource() {
    const isKept = receivesWithContext(this.profile);
    const { incomingBits } = this.profile;
    const take = () => (isKept ? this.usableInflater() : new InflateContext(incomingBits, ONE_MESSAGE, false));
    return { isKept, take: () => (this.closed ? undefined : take()) };
  }

  private deflateLater(data: Buffer, fin: boolean, user: PoolUser, done: (compressed: Buffer) => void): void {
    const { pool, outgoing } = this.profile;
    const isKept = !this.isShared;
    const take = () => (isKept ? this.usableDeflater() : new DeflateContext(outgoing, ONE_MESSAGE));
    const source = { isKept, take: () => (this.closed ? undefined : take()) };
    if (isKept) this.deflating++;
    const task = new DeflateTask(source, data, fin, pool.now, (compressed) => {
      if (isKept) this.deflating--;
      done(compressed);
    });
    pool.add(user, task);
  }

  private compressOnce(
    windows: Map<number, Once>,
    data: Buffer,
    done: (compressed: Buffer) => void,
  ): Buffer | undefined {
    const { pool, outgoing } = this.profile;
    const known = windows.get(tuningKey(outgoing));
    if (known !== undefined) {
      if (known.compressed === undefined) known.waiting.push(done);
      return known.compressed;
    }
    const once: Once = { compressed: undefined, waiting: [done] };
    windows.set(tuningKey(outgoing), once);
    const source = { isKept: false, take: () => new DeflateContext(outgoing, ONE_MESSAGE) };
    const task = new DeflateTask(source, data, true, pool.now, (compressed) => {
      const { waiting } = once;
      once.compressed = compressed;
      once.waiting = [];
      for (const next of waiting) next(compressed);
    });
    pool.add({ ...NOBODY }, task);
    return undefined;
  }

  private usableInflater(): InflateContext {
    if (this.inflater?.spent) this.inflater.close();
    if (this.inflater === undefined || this.inflater.spent)
      this.inflater = new InflateContext(this.profile.incomingBits, LONG_LIVED, true);
    return this.inflater;
  }

  private usableDeflater(): DeflateContext {
    if (this.deflater === undefined || this.deflater.broken)
      this.deflater = new DeflateContext(this.profile.outgoing, LONG_LIVED);
    return this.deflater;
  }

  private limitFor(received: number): number {
    const { maxSize, maxRatio } = this.profile.settings;
    return maxRatio === undefined ? maxSize : Math.min(maxSize, Math.floor(maxRatio * received));
  }
}

const takesOver = ({ agreement }: DeflateProfile, isServer: boolean): boolean =>
  isServer ? agreement.serverTakeover : agreement.clientTakeover;

/** Whether our side keeps its compression context between messages. */
export const sendsWithContext = (profile: DeflateProfile): boolean => takesOver(profile, profile.role === 'server');

/** Whether the other side keeps its compression context between messages. */
export const receivesWithContext = (profile: DeflateProfile): boolean => takesOver(profile, profile.role === 'client');

const resultOf = (outcome: Buffer | ProtocolError, work: InflateWork): Inflated =>
  Buffer.isBuffer(outcome)
    ? { data: outcome, error: undefined, ...work }
    : { data: undefined, error: outcome, ...work };
