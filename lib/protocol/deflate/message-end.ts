/**
 * The bytes that a sender removes from the end of a compressed message, and that a receiver appends (RFC 7692, 7.2.1
 * and 7.2.2).
 */
export const TRAILER = Buffer.from([0x00, 0x00, 0xff, 0xff]);

const EMPTY_STORED_BLOCK = Buffer.from([0x00, 0x00, 0x00, 0xff, 0xff]);

/**
 * Bytes that are appended to a message to check that it is complete: they must produce no output, and leave `unread`
 * bytes.
 */
export interface Ending {
  readonly bytes: Buffer;
  readonly unread: number;
}

/**
 * The trailer, an empty final block, and a byte that must stay unread: if the message is truncated, one of these three
 * conditions fails. Ends the stream.
 */
export const LAST_ENDING: Ending = {
  bytes: Buffer.concat([TRAILER, Buffer.from([0x01, 0x00, 0x00, 0xff, 0xff]), Buffer.from([0x00])]),
  unread: 1,
};

/**
 * The trailer, followed by empty stored blocks, which change no window and end no stream. Within a truncated block they
 * produce output or an error.
 */
export const QUIET_ENDING: Ending = {
  bytes: Buffer.concat([TRAILER, ...Array<Buffer>(16).fill(EMPTY_STORED_BLOCK)]),
  unread: 0,
};

/** Header bits of a stored block, the final bit left out (RFC 1951, 3.2.3); the other five bits are padding. */
const BLOCK_TYPE_BITS = 0b110;

/**
 * Whether the data after a final block, with the trailer appended, consists only of empty stored blocks, the last of
 * which has its length in the trailer (RFC 7692, 7.2.3.5).
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
