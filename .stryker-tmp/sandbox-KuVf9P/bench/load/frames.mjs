// @ts-nocheck
import { constants, deflateRawSync } from 'node:zlib';

// Any fixed key costs a server as much as a random one (RFC 6455, 5.3).
const MASK = Buffer.from([0x37, 0xfa, 0x21, 0x3d]);
const VARIANTS = 64;
const TAIL = 4;

export const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 };

/** One masked client frame (RFC 6455, 5.2). */
export function frame(payload, { opcode = OPCODE.text, fin = true, compressed = false } = {}) {
  const body = Buffer.from(payload);
  const first = (fin ? 0x80 : 0) | (compressed ? 0x40 : 0) | opcode;
  for (let at = 0; at < body.length; at++) body[at] ^= MASK[at & 3];
  return Buffer.concat([Buffer.from([first]), lengthOf(body.length), MASK, body]);
}

function lengthOf(length) {
  if (length < 126) return Buffer.from([0x80 | length]);
  const bytes = length < 65_536 ? Buffer.alloc(3) : Buffer.alloc(9);
  if (length < 65_536) bytes.writeUInt16BE(length, 1);
  else bytes.writeBigUInt64BE(BigInt(length), 1);
  bytes[0] = 0x80 | (length < 65_536 ? 126 : 127);
  return bytes;
}

/** A compressed message that refers to nothing before it, so it is valid whatever was negotiated (RFC 7692, 7.2.1). */
function deflatedFrame(payload) {
  const raw = deflateRawSync(payload, { windowBits: 12, finishFlush: constants.Z_SYNC_FLUSH });
  return frame(raw.subarray(0, raw.length - TAIL), { compressed: true });
}

/**
 * Prebuilt frames, one after the other, in a ring of different texts: `cut(cursor, count)` is the bytes of `count`
 * messages (at most `burst`) without a copy.
 */
export class Tape {
  #offsets = [0];

  constructor({ event, bytes, protocol = 'ws', deflate = false, burst = 1 }) {
    const ring = Array.from({ length: VARIANTS }, (_, seed) => {
      const text = message(event, bytes, seed, protocol);
      return deflate ? deflatedFrame(text) : frame(text);
    });
    const frames = Array.from({ length: VARIANTS + burst }, (_, at) => ring[at % VARIANTS]);
    for (const { length } of frames) this.#offsets.push(this.#offsets.at(-1) + length);
    this.bytes = Buffer.concat(frames);
  }

  cut(cursor, count) {
    const first = cursor % VARIANTS;
    return this.bytes.subarray(this.#offsets[first], this.#offsets[first + count]);
  }
}

/** The JSON of one message: exactly `bytes` long for `ws`; socket.io gets the same data in its own envelope. */
function message(event, bytes, seed, protocol) {
  const empty = JSON.stringify({ event, data: '' });
  const data = prose(bytes - empty.length, seed);
  return protocol === 'io' ? `42${JSON.stringify([event, data])}` : JSON.stringify({ event, data });
}

const WORDS = 'order price volume buyer seller market limit time the of a in open closed filled partial'.split(' ');

/** Repeatable text that compresses about as well as chat or JSON does. */
function prose(length, seed) {
  let state = (seed + 1) * 2_654_435_761;
  let text = '';
  while (text.length < length) {
    state = (state * 1_103_515_245 + 12_345) >>> 0;
    text += `${WORDS[(state >>> 16) % WORDS.length]} ${(state >>> 8) % 1000} `;
  }
  return text.slice(0, length);
}
