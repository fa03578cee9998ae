/** Memory that a view may keep alive beyond twice its own bytes. */
const SLACK = 512;
/** The smallest buffer that grows. */
const LEAST = 64;

/**
 * The same bytes without a much larger memory that they are a part of: a copy where the memory is more than twice
 * their size, the bytes themselves otherwise. For whoever keeps what was read.
 */
export function own(bytes: Buffer): Buffer {
  if (bytes.buffer.byteLength <= 2 * bytes.length + SLACK) return bytes;
  return copied(bytes);
}

/** A copy in memory of its own, not in a pool that it would keep alive. */
export function copied(bytes: Buffer): Buffer {
  const copy = Buffer.allocUnsafeSlow(bytes.length);
  bytes.copy(copy);
  return copy;
}

/**
 * A buffer with room for `needed` bytes that begins with the first `kept` of `buffer`: the same where they fit, else
 * one of twice what is needed, or of `most` where no more than that will ever be.
 */
export function grown(buffer: Buffer | undefined, kept: number, needed: number, most: number): Buffer {
  if (buffer !== undefined && needed <= buffer.length) return buffer;
  const larger = Buffer.allocUnsafeSlow(Math.min(Math.max(2 * needed, LEAST), most));
  buffer?.copy(larger, 0, 0, kept);
  return larger;
}
