import { Buffer } from 'node:buffer';

/** Bytes of memory that a view may keep alive in excess of twice its own length. */
const SLACK = 512;
/** The smallest capacity of a buffer that grows. */
const LEAST = 64;

/**
 * Returns a copy where `bytes` is a small view of a much larger memory, and `bytes` itself otherwise. Call it before
 * keeping a view of a read: the view would keep the whole read alive.
 */
export function own(bytes: Buffer): Buffer {
  if (bytes.buffer.byteLength <= 2 * bytes.length + SLACK) return bytes;
  return copied(bytes);
}

/** A copy in memory of its own, not in Node's shared pool. */
export function copied(bytes: Buffer): Buffer {
  const copy = Buffer.allocUnsafeSlow(bytes.length);
  bytes.copy(copy);
  return copy;
}

/**
 * Returns a buffer with room for `needed` bytes that begins with the first `kept` bytes of `buffer`: `buffer` itself if
 * it is large enough, else a new one of twice the needed size, but at most `most` bytes.
 */
export function grown(buffer: Buffer | undefined, kept: number, needed: number, most: number): Buffer {
  if (buffer !== undefined && needed <= buffer.length) return buffer;
  const larger = Buffer.allocUnsafeSlow(Math.min(Math.max(2 * needed, LEAST), most));
  buffer?.copy(larger, 0, 0, kept);
  return larger;
}
