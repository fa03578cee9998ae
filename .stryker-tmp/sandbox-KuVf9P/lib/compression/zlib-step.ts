// @ts-nocheck
import { createDeflateRaw, type DeflateRaw, deflateRawSync, type InflateRaw } from 'node:zlib';
import { SYNC_INFLATE_BYTES } from './settings.js';

/**
 * Node has no public call that puts a message through an existing zlib stream on the calling thread; building one
 * for each message doubles what a small one costs (`bench/compression/results.md`). So these use what the public
 * synchronous calls use inside. It is looked for and tried before it is used; without it
 * everything takes the public, asynchronous way.
 */
interface Internals {
  /** Bytes of room left and bytes of input left, after a step. */
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

/** Output of all synchronous steps; what is kept is copied out of it before the next one. */
export const scratch = Buffer.allocUnsafeSlow(SYNC_INFLATE_BYTES);

const FAILED = -1;
const Z_SYNC_FLUSH = 2;

/** Input bytes that the last step left unread. */
export let unread = 0;

/**
 * Puts `input` through the stream into `scratch[offset, end)` with Z_SYNC_FLUSH. Returns the bytes written, or −1
 * when zlib refused the data; the stream is destroyed then.
 */
export function step(stream: DeflateRaw | InflateRaw, input: Uint8Array, offset: number, end: number): number {
  const { _handle: handle, _writeState: state } = stream as unknown as Internals;
  if (handle === null) return FAILED;
  handle.writeSync(Z_SYNC_FLUSH, input, 0, input.length, scratch, offset, end - offset);
  if (stream.destroyed) return FAILED;
  unread = state[1]!;
  return end - offset - state[0]!;
}

let checked: boolean | undefined;

/** Whether {@link step} does on this Node what the public calls do. */
export function canStep(): boolean {
  checked ??= tryStep();
  return checked;
}

function tryStep(): boolean {
  const probe = Buffer.from('a probe, a probe');
  const stream = createDeflateRaw();
  stream.on('error', () => {});
  try {
    const length = step(stream, probe, 0, scratch.length);
    return scratch.subarray(0, length).equals(deflateRawSync(probe, { finishFlush: Z_SYNC_FLUSH })) && unread === 0;
  } catch {
    return false;
  } finally {
    stream.destroy();
  }
}
