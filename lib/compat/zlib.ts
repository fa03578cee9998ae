import {
  constants,
  createDeflateRaw,
  createInflateRaw,
  type DeflateRaw,
  deflateRawSync,
  type InflateRaw,
} from 'node:zlib';

/**
 * Node has no public function that processes data with an existing zlib stream on the calling thread, and a new stream
 * for each message doubles the cost of a small one (`bench/compression/results.md`). {@link step} uses what the public
 * synchronous functions use internally. It is probed before its first use; if the probe fails, all work is done through
 * the public, asynchronous interface.
 */
interface Internals {
  /** Bytes of room left in the output, and bytes of input left, after a step. */
  readonly _writeState: Uint32Array;
  readonly _handle: { writeSync: WriteSync } | null;
}
type WriteSync = (
  flush: number,
  input: Uint8Array,
  inputOffset: number,
  inputLength: number,
  output: Uint8Array,
  outputOffset: number,
  outputLength: number,
) => void;

/** The result of {@link step} if zlib rejects the data. */
export const FAILED = -1;

/** Number of input bytes that the last {@link step} left unread. */
export let unread = 0;

/**
 * Processes `input` into `output[start, end)` with Z_SYNC_FLUSH, on the calling thread. Returns the number of bytes
 * written, or {@link FAILED}; the stream is then destroyed, and emits 'error'.
 */
export function step(
  stream: DeflateRaw | InflateRaw,
  input: Uint8Array,
  output: Uint8Array,
  start: number,
  end: number,
): number {
  const { _handle: handle, _writeState: state } = stream as unknown as Internals;
  if (handle === null) return FAILED;
  handle.writeSync(constants.Z_SYNC_FLUSH, input, 0, input.length, output, start, end - start);
  if (stream.destroyed) return FAILED;
  unread = state[1]!;
  return end - start - state[0]!;
}

let works: boolean | undefined;

/** Whether {@link step} gives the results of the public functions on this version of Node; probed once. */
export function canStep(): boolean {
  works ??= probe();
  return works;
}

function probe(): boolean {
  const text = Buffer.from('a probe, a probe');
  const output = Buffer.alloc(256);
  const deflate = createDeflateRaw();
  const inflate = createInflateRaw();
  for (const stream of [deflate, inflate]) stream.on('error', () => {});
  try {
    const compressed = Buffer.from(output.subarray(0, step(deflate, text, output, 0, output.length)));
    if (unread !== 0 || !compressed.equals(deflateRawSync(text, { finishFlush: constants.Z_SYNC_FLUSH }))) return false;
    const length = step(inflate, compressed, output, 0, output.length);
    if (unread !== 0 || !output.subarray(0, length).equals(text)) return false;
    inflate.reset();
    return step(inflate, Buffer.from([0xff]), output, 0, output.length) === FAILED;
  } catch {
    return false;
  } finally {
    deflate.destroy();
    inflate.destroy();
  }
}
