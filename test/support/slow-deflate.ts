import { deflateRawSync } from 'node:zlib';

const TRAILER = Buffer.from([0x00, 0x00, 0xff, 0xff]);
const Z_SYNC_FLUSH = 2;

/**
 * Compressed data that takes zlib the longest time per byte without output: empty blocks, each with Huffman codes of
 * its own, whose tables must be built (RFC 1951, 3.2.7). It is the payload of a message with RSV1; `text` is its content
 * at the end.
 */
export function slowDeflate(bytes: number, text?: string): Buffer {
  const slow = emptyBlocks(bytes);
  if (text === undefined) return slow;
  return Buffer.concat([
    slow,
    TRAILER,
    deflateRawSync(text, { finishFlush: Z_SYNC_FLUSH }).subarray(0, -TRAILER.length),
  ]);
}

function emptyBlocks(bytes: number): Buffer {
  const bits = new BitWriter(bytes + 64);
  while (bits.length < bytes - 1) emptyDynamicBlock(bits);
  // A stored block, whose length the receiver appends (RFC 7692, 7.2.2).
  bits.write(0b000, 3);
  return bits.take();
}

/** The order in which code length codes are sent. */
const ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1];
/** Codes for code lengths: five of three bits, six of four. */
const SHORT = [0, 1, 2, 9, 18];
const LONG = [3, 4, 5, 6, 7, 8];

const lengthOf = (symbol: number): number => (SHORT.includes(symbol) ? 3 : LONG.includes(symbol) ? 4 : 0);

function emptyDynamicBlock(bits: BitWriter): void {
  bits.write(0b100, 3);
  // 257 literals and lengths, one distance, 18 code lengths.
  bits.write(0, 5);
  bits.write(0, 5);
  bits.write(ORDER.length - 4, 4);
  for (const symbol of ORDER) bits.write(lengthOf(symbol), 3);
  // 247 literals without a code; then codes of 9, 9, 8, … 2 bits, and one bit for the end of the block.
  code(bits, 18);
  bits.write(138 - 11, 7);
  code(bits, 18);
  bits.write(109 - 11, 7);
  for (const length of [9, 9, 8, 7, 6, 5, 4, 3, 2, 1]) code(bits, length);
  // No distance.
  code(bits, 0);
  // The end of the block.
  bits.write(0, 1);
}

/** The code of a code length, highest bit first. */
function code(bits: BitWriter, symbol: number): void {
  const short = SHORT.indexOf(symbol);
  const value = short >= 0 ? short : 2 * SHORT.length + LONG.indexOf(symbol);
  for (let bit = lengthOf(symbol) - 1; bit >= 0; bit--) bits.write((value >> bit) & 1, 1);
}

class BitWriter {
  private readonly bytes: Buffer;
  private at = 0;

  constructor(capacity: number) {
    this.bytes = Buffer.alloc(capacity);
  }

  /** Whole bytes written. */
  get length(): number {
    return this.at >> 3;
  }

  /** Lowest bit first, as the header fields and extra bits of DEFLATE. */
  write(value: number, count: number): void {
    for (let i = 0; i < count; i++, this.at++) this.bytes[this.at >> 3]! |= ((value >> i) & 1) << (this.at & 7);
  }

  take(): Buffer {
    return this.bytes.subarray(0, (this.at + 7) >> 3);
  }
}
