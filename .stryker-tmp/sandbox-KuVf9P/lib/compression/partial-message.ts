/**
 * The compressed fragments of a message whose end has not come, in one buffer that doubles: a fragment of one byte
 * must not hold the 64 KiB it was read with, and thousands of them must not be put together again and again.
 */
// @ts-nocheck

export class PartialMessage {
  #bytes = Buffer.alloc(0);
  #length = 0;

  /** Received bytes held. */
  get length(): number {
    return this.#length;
  }

  add(fragment: Buffer): void {
    const length = this.#length + fragment.length;
    if (length > this.#bytes.length) this.#grow(Math.max(length, 2 * this.#bytes.length));
    fragment.copy(this.#bytes, this.#length);
    this.#length = length;
  }

  /** Everything received, as long as nothing is added. */
  get bytes(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }

  #grow(capacity: number): void {
    const larger = Buffer.allocUnsafeSlow(capacity);
    this.#bytes.copy(larger, 0, 0, this.#length);
    this.#bytes = larger;
  }
}
