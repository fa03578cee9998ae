// @ts-nocheck
import type { ReceiverInternals } from './ws-internals.js';

const MANY_CHUNKS = 64;
/** Memory that a view may keep alive beyond its own bytes: Node's pool for small buffers is no more. */
const PINNED = 8 * 1024;

/** Lets go of the reads that an unfinished message would keep alive for a few bytes in them. */
export function compact(receiver: ReceiverInternals): void {
  const { _buffers: buffers, _fragments: fragments, _mask: mask } = receiver;
  if (buffers.length > MANY_CHUNKS) coalesce(buffers);
  if (buffers.length > 0) buffers[0] = own(buffers[0]!);
  // Reads after the first hold little but this message.
  if (fragments.length > 0) fragments[0] = own(fragments[0]!);
  if (mask !== undefined) receiver._mask = own(mask);
}

/** The same bytes, without a much larger memory that they may be a part of. */
export function own(bytes: Buffer): Buffer {
  if (bytes.buffer.byteLength <= 2 * bytes.length + PINNED) return bytes;
  const copy = Buffer.allocUnsafeSlow(bytes.length);
  bytes.copy(copy);
  return copy;
}

/** Puts small chunks together, each byte a logarithmic number of times. */
function coalesce(buffers: Buffer[]): void {
  let from = buffers.length - 1;
  let size = buffers[from]!.length;
  while (from > 0 && buffers[from - 1]!.length <= 2 * size) size += buffers[--from]!.length;
  if (from < buffers.length - 1) buffers.splice(from, buffers.length - from, Buffer.concat(buffers.slice(from), size));
}
