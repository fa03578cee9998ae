import { randomFillSync } from 'node:crypto';

/** From this length on, masking through a view of 32-bit words is quicker. */
const WORDS_FROM = 256;
const HIGH_BITS = 0x80808080;

/** The masking key as it applies from `offset` bytes into the payload on. The first byte of a key is its highest. */
export const turnMask = (mask: number, offset: number): number => {
  const bits = (offset & 3) << 3;
  return bits === 0 ? mask : (mask << bits) | (mask >>> (32 - bits));
};

/**
 * Masks or unmasks `bytes[start, end)` in place (RFC 6455, 5.3). The first byte of the key is the highest byte of
 * `mask`. Returns whether all resulting bytes are ASCII.
 */
export function applyMask(bytes: Uint8Array, start: number, end: number, mask: number): boolean {
  if (end - start < WORDS_FROM) return (maskBytes(bytes, start, end, mask) & 0x80) === 0;
  // A Uint32Array must begin at a multiple of four bytes of its memory.
  const head = start + (-(bytes.byteOffset + start) & 3);
  const words = (end - head) >> 2;
  const tail = head + words * 4;
  const seen = maskBytes(bytes, start, head, mask) | maskBytes(bytes, tail, end, turnMask(mask, tail - start));
  const view = new Uint32Array(bytes.buffer, bytes.byteOffset + head, words);
  return ((seen & 0x80) | (maskWords(view, turnMask(mask, head - start)) & HIGH_BITS)) === 0;
}

/** Masks byte by byte. Returns the bitwise OR of all resulting bytes. */
function maskBytes(bytes: Uint8Array, start: number, end: number, mask: number): number {
  const first = mask >>> 24;
  const second = (mask >>> 16) & 0xff;
  const third = (mask >>> 8) & 0xff;
  const fourth = mask & 0xff;
  let seen = 0;
  let at = start;
  for (const whole = end - 3; at < whole; at += 4) {
    const a = (bytes[at]! ^ first) & 0xff;
    const b = (bytes[at + 1]! ^ second) & 0xff;
    const c = (bytes[at + 2]! ^ third) & 0xff;
    const d = (bytes[at + 3]! ^ fourth) & 0xff;
    bytes[at] = a;
    bytes[at + 1] = b;
    bytes[at + 2] = c;
    bytes[at + 3] = d;
    seen |= a | b | c | d;
  }
  if (at < end) seen |= bytes[at]! ^= first;
  if (at + 1 < end) seen |= bytes[at + 1]! ^= second;
  if (at + 2 < end) seen |= bytes[at + 2]! ^= third;
  return seen;
}

const IS_LITTLE_ENDIAN = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;

function maskWords(words: Uint32Array, mask: number): number {
  const key = IS_LITTLE_ENDIAN
    ? (mask >>> 24) | ((mask >>> 8) & 0xff00) | ((mask << 8) & 0xff0000) | (mask << 24)
    : mask;
  let seen = 0;
  for (let index = 0; index < words.length; index++) seen |= words[index]! ^= key;
  return seen;
}

const POOL = new Int32Array(1024);
let used = POOL.length;

/** A new random masking key (RFC 6455, 5.3 and 10.3: it must be unpredictable). */
export function newMask(): number {
  if (used === POOL.length) {
    randomFillSync(POOL);
    used = 0;
  }
  return POOL[used++]!;
}
