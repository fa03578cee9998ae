// @ts-nocheck
import type { CodecSettings } from './settings.js';
import { deflateShared, deflateSharedLater, deflatesAtOnce } from './shared-codec.js';

type Done = (compressed: Buffer | undefined) => void;

/** A large message that is being compressed, or was, for everybody with the same window. */
interface Once {
  compressed?: Buffer;
  waiting: Done[];
}

const payloads = new WeakMap<Buffer, Map<number, Once>>();

/**
 * A message for many peers, compressed for those who agreed on this window or a larger one: the payload of a frame
 * with RSV1. `undefined` where it is too large for the calling thread; then mark it with {@link sharePayload} and
 * send it to each peer, which keeps the order of each peer's messages.
 *
 * Only for servers: a client masks what it sends in place.
 */
export function compressShared(payload: Buffer, settings: CodecSettings): Buffer | undefined {
  return deflatesAtOnce(payload.length) ? deflateShared(payload, true, settings) : undefined;
}

/**
 * Marks a buffer that will be sent to many peers of a server, unchanged, so that it is compressed once for each
 * window in use. The result lives as long as the buffer does.
 */
export function sharePayload(payload: Buffer): void {
  if (!payloads.has(payload)) payloads.set(payload, new Map());
}

/** Compresses in the thread pool; a marked payload once for all. `done` gets nothing when `isClosed` by its turn. */
export function deflateOnce(
  owner: object,
  data: Buffer,
  fin: boolean,
  settings: CodecSettings,
  isClosed: () => boolean,
  done: Done,
): void {
  const windows = fin ? payloads.get(data) : undefined;
  if (windows === undefined) deflateSharedLater(owner, data, fin, settings, isClosed, done);
  else join(windows, data, settings, done);
}

function join(windows: Map<number, Once>, data: Buffer, settings: CodecSettings, done: Done): void {
  const known = windows.get(settings.windowBits);
  if (known !== undefined) {
    if (known.compressed === undefined) known.waiting.push(done);
    else done(known.compressed);
    return;
  }
  const once: Once = { waiting: [done] };
  windows.set(settings.windowBits, once);
  deflateSharedLater(
    once,
    data,
    true,
    settings,
    () => false,
    (compressed) => {
      const { waiting } = once;
      once.compressed = compressed;
      once.waiting = [];
      for (const next of waiting) next(compressed);
    },
  );
}
