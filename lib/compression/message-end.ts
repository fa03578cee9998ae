/** What a sender takes off the end of a compressed message and a receiver puts back (RFC 7692, 7.2.1 and 7.2.2). */
export const TRAILER = Buffer.from([0x00, 0x00, 0xff, 0xff]);

const EMPTY_STORED_BLOCK = Buffer.from([0x00, 0x00, 0x00, 0xff, 0xff]);

/**
 * The trailer, and behind it empty stored blocks: where a message was whole they are read in silence, and change no
 * window. In the midst of a cut block they turn into output or nonsense, so that no truncated message passes.
 */
export const PROBE = Buffer.concat([TRAILER, ...Array<Buffer>(64).fill(EMPTY_STORED_BLOCK)]);

/** Header bits of a stored block, the final bit left out (RFC 1951, 3.2.3); the other five bits are padding. */
const BLOCK_TYPE_BITS = 0b110;

/**
 * Whether what follows a final block, the trailer put back, is nothing but empty stored blocks, of which the last
 * one gave its length to the trailer (RFC 7692, 7.2.3.5).
 */
export function isEmptyAfterFinal(rest: Uint8Array): boolean {
  if (rest.length % EMPTY_STORED_BLOCK.length !== 0) return false;
  return rest.every((byte, index) => {
    const place = index % EMPTY_STORED_BLOCK.length;
    return place === 0 ? (byte & BLOCK_TYPE_BITS) === 0 : byte === EMPTY_STORED_BLOCK[place];
  });
}

const STORED_MAX = 0xffff;

/** `data` in stored blocks: a compressed form that needs no zlib, for when zlib has no memory (RFC 1951, 3.2.4). */
export function storedBlocks(data: Uint8Array): Buffer {
  const parts: Uint8Array[] = [];
  for (let start = 0; start < data.length; start += STORED_MAX) {
    const block = data.subarray(start, start + STORED_MAX);
    const header = Buffer.alloc(5);
    header.writeUInt16LE(block.length, 1);
    header.writeUInt16LE(STORED_MAX - block.length, 3);
    parts.push(header, block);
  }
  return Buffer.concat([...parts, EMPTY_STORED_BLOCK]);
}
