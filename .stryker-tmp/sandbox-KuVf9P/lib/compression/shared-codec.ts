// @ts-nocheck
import { DeflateContext } from './deflate-context.js';
import { InflateContext, type Inflated, Unfinished } from './inflate-context.js';
import { type CodecSettings, SYNC_DEFLATE_BYTES, SYNC_INFLATE_BYTES } from './settings.js';
import { spend } from './turn.js';
import { enqueue } from './zlib-jobs.js';
import { canStep } from './zlib-step.js';

/** Output of one job in the thread pool: large messages take few of them. */
const JOB_CHUNK = 64 * 1024;
/** A context that only works synchronously writes to the common scratch, not to its own output (zlib's least). */
const NO_CHUNK = 64;
/** Compressing takes about this many times as long as inflating. */
export const DEFLATE_WEIGHT = 4;

/** The streams that all connections share, one for each tuning in use: at most eight windows of one application. */
const deflaters = new Map<number, DeflateContext>();
const inflaters = new Map<number, InflateContext>();

const keyOf = ({ windowBits, memLevel, level }: CodecSettings): number => (windowBits * 16 + memLevel) * 16 + level + 1;

/**
 * Runs one message on a shared context. The context is in the map only while it is clean, new or reset after its last
 * message; whatever goes wrong while it is out, it does not come back.
 */
function withContext<C extends DeflateContext | InflateContext, R>(
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

/** Whether a message of so many bytes is compressed on the calling thread. */
export const deflatesAtOnce = (bytes: number): boolean => bytes <= SYNC_DEFLATE_BYTES && canStep();

/** Compresses a small message, or a fragment of one, with no context; see {@link deflatesAtOnce}. */
export function deflateShared(data: Buffer, fin: boolean, settings: CodecSettings): Buffer {
  spend(DEFLATE_WEIGHT * data.length);
  return withContext(
    deflaters,
    keyOf(settings),
    () => new DeflateContext(settings, NO_CHUNK),
    (context) => context.deflateSync(data, fin),
  );
}

/** The same for any size, in the thread pool, in its turn among all owners; `undefined` when closed by then. */
export function deflateSharedLater(
  owner: object,
  data: Buffer,
  fin: boolean,
  settings: CodecSettings,
  isClosed: () => boolean,
  done: (compressed: Buffer | undefined) => void,
): void {
  enqueue(owner, (finished) => {
    if (isClosed()) {
      finished();
      done(undefined);
      return;
    }
    const context = new DeflateContext(settings, JOB_CHUNK);
    context.deflate(data, fin, (compressed) => {
      context.close();
      finished();
      done(compressed);
    });
  });
}

/** Inflates a message with no context, if it turns out to be small; `undefined` if not. */
export function inflateShared(data: Buffer, limit: number, windowBits: number): Inflated | undefined {
  if (data.length > SYNC_INFLATE_BYTES || !canStep()) return undefined;
  const outcome = withContext(
    inflaters,
    windowBits,
    () => new InflateContext(windowBits, NO_CHUNK, false),
    (context) => context.inflateSync(data, limit),
  );
  if (outcome instanceof Unfinished) {
    spend(SYNC_INFLATE_BYTES);
    return undefined;
  }
  spend(typeof outcome === 'string' ? data.length : outcome.length);
  return outcome;
}

/** The same for any size, in the thread pool, in its turn among all owners. */
export function inflateSharedLater(
  owner: object,
  data: Buffer,
  limit: number,
  windowBits: number,
  done: (outcome: Inflated) => void,
): void {
  enqueue(owner, (finished) => {
    const context = new InflateContext(windowBits, JOB_CHUNK, false);
    context.inflate(data, limit, (outcome) => {
      context.close();
      finished();
      done(outcome);
    });
  });
}
