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

/** Compressed messages of at most this many bytes are inflated on the calling thread: a millisecond, at the worst. */
export const SYNC_INFLATE_BYTES = 4 * 1024;

/** Output of one job in the thread pool where the stream is for one message, and where it lives with its connection. */
const ONE_MESSAGE = 64 * 1024;
const LONG_LIVED = 4 * 1024;
/** A stream that only works synchronously writes to the common scratch, not to its own output (zlib's least). */
const NO_CHUNK = 64;

/** What inflating is charged for a millisecond: a third of the bytes that it usually yields in one. */
const BYTES_PER_MILLI = 32 * 1024;

/** What a compressed message is charged in byte rates: the greater of what came, what came out, and the time it took. */
export const chargedBytes = ({ inputBytes, outputBytes, millis }: InflateWork): number =>
  Math.max(inputBytes, outputBytes, Math.ceil(millis * BYTES_PER_MILLI));

/** An inflated message, or why there is none, and what it has cost. */
export interface Inflated extends InflateWork {
  readonly data: Buffer | undefined;
  readonly error: ProtocolError | undefined;
  /** Of a text: `latin1Slice` decodes it. */
  readonly isAscii: boolean;
}

/** The streams that all connections share on the calling thread, one for each tuning in use. */
const inflaters = new Map<number, InflateContext>();
const deflaters = new Map<number, DeflateContext>();

/**
 * Runs one message on a shared context. The context is in the map only while it is clean, new or reset after its last
 * message; whatever goes wrong while it is out, it does not come back.
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

/** A message that is being compressed in the thread pool, or was, for everybody with the same tuning. */
interface Once {
  compressed: Buffer | undefined;
  waiting: ((compressed: Buffer) => void)[];
}

const payloads = new WeakMap<Buffer, Map<number, Once>>();

/**
 * Marks a payload that will be sent to many peers of a server, unchanged, so that the thread pool compresses it once for
 * each tuning in use. The result lives as long as the buffer does.
 */
export function shareCompressed(payload: Buffer): void {
  if (!payloads.has(payload)) payloads.set(payload, new Map());
}

const NOBODY: PoolUser = { poolGroup: undefined, runInContext: (callback) => callback() };

/**
 * permessage-deflate of one connection (RFC 7692). In `shared` mode it is a reference to the common profile; with
 * contexts of its own it makes them when the first message needs them. Each context works on one message at a time, in
 * order; what needs none may be done before what was asked for earlier.
 */
export class PerMessageDeflate {
  private closed = false;
  private inflater: InflateContext | undefined = undefined;
  private deflater: DeflateContext | undefined = undefined;
  /** The last message that went to the thread pool, and how many are there for the context that compresses. */
  private inflating: InflateTask | undefined = undefined;
  private deflating = 0;

  /** `release` gives back what was taken from the budget. */
  constructor(
    readonly profile: DeflateProfile,
    private readonly release: (() => void) | undefined = undefined,
  ) {}

  /** Whether a message of so many bytes is worth it: `compression.threshold`. */
  isWorth(bytes: number): boolean {
    return bytes >= this.profile.settings.threshold;
  }

  /** Whether messages that were compressed for several peers may be sent to this one: it has no context for them. */
  get isShared(): boolean {
    return !sendsWithContext(this.profile);
  }

  /** Bytes that have come out of the message that the thread pool is inflating, beside what the caller holds of it. */
  get heldBytes(): number {
    return this.inflating?.output.bytes ?? 0;
  }

  /**
   * Inflates a whole message as it was received. Returns the result where it is there at once; else `undefined`, and
   * `done` gets it later, in the async context of `user`, unless {@link close} is called before.
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
        // What was inflated before it went to the pool has been read, too.
        const whole = { ...work, inputBytes: data.length };
        user.runInContext(() => done(resultOf(result, task.output.isAscii, whole)));
      },
    );
    this.inflating = task;
    pool.add(user, task);
    return undefined;
  }

  /**
   * Compresses a message, or a fragment of one: the payload of a frame with RSV1 set in the first. Returns it where it
   * is there at once; else `undefined`, and `done` gets it later, in the async context of `user`, unless {@link close}
   * is called before.
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

  /** A whole message, compressed before this returns; `undefined` where that takes a context of the peer's own, or the pool. */
  compressAtOnce(payload: Buffer): Buffer | undefined {
    const isPossible = payload.length > 0 && payload.length <= SYNC_DEFLATE_BYTES && this.isShared && canStep();
    return isPossible ? deflateShared(payload, true, this.profile.outgoing) : undefined;
  }

  /** The connection has ended: frees everything. Nothing is called back any more. */
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

  /** `undefined`: it is for the thread pool. */
  private inflateNow(data: Buffer, limit: number, isText: boolean): Inflated | Unfinished | undefined {
    const { pool, incomingBits } = this.profile;
    const hasContext = receivesWithContext(this.profile);
    // A stream must not be touched while the thread pool works with it: Node ends the process.
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
    const { bytes, isAscii } = outcome.output;
    const millis = pool.waste.end(started, data.length, bytes);
    if (outcome instanceof Unfinished) return hasContext ? outcome : undefined;
    return resultOf(outcome.result, isAscii, { inputBytes: data.length, outputBytes: bytes, millis });
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

/** Whether our side keeps its context from message to message. */
export const sendsWithContext = (profile: DeflateProfile): boolean => takesOver(profile, profile.role === 'server');

/** Whether the other side does. */
export const receivesWithContext = (profile: DeflateProfile): boolean => takesOver(profile, profile.role === 'client');

const resultOf = (outcome: Buffer | ProtocolError, isAscii: boolean, work: InflateWork): Inflated =>
  Buffer.isBuffer(outcome)
    ? { data: outcome, error: undefined, isAscii, ...work }
    : { data: undefined, error: outcome, isAscii: false, ...work };
