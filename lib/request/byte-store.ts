const FIRST_CAPACITY = 512;
const NOTHING = Buffer.alloc(0);

/**
 * The bytes of a head that is not complete yet, copied into one buffer that doubles: a peer that sends them one by one
 * costs no object each, and the slab of the socket's read (64 KiB) is not kept alive for a few of them.
 */
export class ByteStore {
  private buffer: Buffer = NOTHING;
  private used = 0;

  /** Bytes of memory held. */
  get capacity(): number {
    return this.buffer.length;
  }

  /** Bytes stored. */
  get length(): number {
    return this.used;
  }

  append(chunk: Buffer): void {
    if (chunk.length === 0) return;
    this.reserve(this.used + chunk.length);
    chunk.copy(this.buffer, this.used);
    this.used += chunk.length;
  }

  /** Hands over what was stored, followed by `tail`, and keeps nothing. No copy where nothing was stored. */
  take(tail: Buffer): Buffer {
    if (this.used === 0) return tail;
    this.append(tail);
    const all = this.buffer.subarray(0, this.used);
    this.drop();
    return all;
  }

  drop(): void {
    this.buffer = NOTHING;
    this.used = 0;
  }

  private reserve(size: number): void {
    if (size <= this.buffer.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(FIRST_CAPACITY, this.buffer.length * 2, size));
    this.buffer.copy(larger, 0, 0, this.used);
    this.buffer = larger;
  }
}
