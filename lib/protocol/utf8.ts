import { isUtf8 } from 'node:buffer';

/** The state between two characters: the state at the start and at the end of every valid text. */
export const COMPLETE = 0;
/** The state after an invalid byte. */
export const INVALID = -1;

/** From this length on, the native check is quicker. */
const NATIVE_FROM = 64;

/**
 * The state within a character: the number of missing bytes, and the range of the next byte (RFC 3629, section 4). The
 * range excludes overlong forms, surrogates and code points above U+10FFFF.
 */
const within = (missing: number, low = 0x80, high = 0xbf): number => missing | (low << 8) | (high << 16);

const LEADS = Int32Array.from({ length: 256 }, (_, byte) => {
  if (byte < 0x80) return COMPLETE;
  if (byte < 0xc2 || byte > 0xf4) return INVALID;
  if (byte < 0xe0) return within(1);
  if (byte === 0xe0) return within(2, 0xa0);
  if (byte === 0xed) return within(2, 0x80, 0x9f);
  if (byte < 0xf0) return within(2);
  if (byte === 0xf0) return within(3, 0x90);
  if (byte === 0xf4) return within(3, 0x80, 0x8f);
  return within(3);
});

/**
 * Validates the next bytes of a text. `state` is the result for the bytes before them, {@link COMPLETE} at the start.
 * Returns {@link INVALID} as soon as a byte cannot continue a valid text. At the end of the text any state other than
 * {@link COMPLETE} means that its last character is incomplete.
 */
export function checkUtf8(state: number, bytes: Uint8Array, start: number, end: number): number {
  if (end - start < NATIVE_FROM) return step(state, bytes, start, end);
  let at = start;
  for (; state !== COMPLETE; at++) {
    state = step(state, bytes, at, at + 1);
    if (state === INVALID) return INVALID;
  }
  const last = lastLead(bytes, end);
  return isUtf8(bytes.subarray(at, last)) ? step(COMPLETE, bytes, last, end) : INVALID;
}

function step(state: number, bytes: Uint8Array, start: number, end: number): number {
  for (let at = start; at < end; at++) {
    const byte = bytes[at]!;
    if (state === COMPLETE) {
      state = LEADS[byte]!;
      if (state === INVALID) return INVALID;
    } else {
      if (byte < ((state >> 8) & 0xff) || byte > state >> 16) return INVALID;
      const missing = (state & 0xff) - 1;
      state = missing === 0 ? COMPLETE : within(missing);
    }
  }
  return state;
}

/** Index of the last lead byte that may begin an incomplete character, or `end`. */
function lastLead(bytes: Uint8Array, end: number): number {
  for (let at = end - 1; at >= end - 3; at--) if ((bytes[at]! & 0xc0) === 0xc0) return at;
  return end;
}
