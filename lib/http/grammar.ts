/** The character classes of HTTP (RFC 9110, section 5.6; RFC 9112), said once: as regex classes and as byte tables. */

/** `tchar`, to be put inside `[]` (RFC 9110, section 5.6.2). */
export const TCHAR = "!#$%&'*+\\-.^_`|~0-9A-Za-z";

/** `field-vchar`, SP and HTAB: what a field value may hold (RFC 9110, section 5.5). */
export const FIELD = '\\t -~\\x80-\\xff';

/** One entry per byte, 1 where the byte is in the class. */
function byteTable(charClass: string): Uint8Array {
  const pattern = new RegExp(`[${charClass}]`);
  return Uint8Array.from({ length: 256 }, (_, byte) => (pattern.test(String.fromCharCode(byte)) ? 1 : 0));
}

export const TOKEN_BYTES = byteTable(TCHAR);
export const PRINTABLE_BYTES = byteTable(' -~');
/** What a request target may hold (RFC 9112, section 3.2): no space, no fragment. */
export const TARGET_BYTES = byteTable('!-"$-~');
export const BLANK_BYTES = byteTable('\\t ');
export const DIGIT_BYTES = byteTable('0-9');
export const FIELD_BYTES = byteTable(FIELD);
export const NO_BYTES = new Uint8Array(256);

export const HTAB = 0x09;
export const LF = 0x0a;
export const CR = 0x0d;
export const SP = 0x20;
export const COMMA = 0x2c;
export const DOT = 0x2e;
export const COLON = 0x3a;
/** The bit that makes a small letter of a capital one. */
export const LOWER_CASE = 0x20;

/** The place of the first byte from `from` on that is not in a class. */
export function skip(bytes: Uint8Array, table: Uint8Array, from: number): number {
  let at = from;
  while (at < bytes.length && table[bytes[at]!] === 1) at++;
  return at;
}

/** Fewer bytes are read one by one. */
const SHORT = 64;

/**
 * The place of the first byte from `from` on, before `end`, that a field value may not hold: `skip` with `FIELD_BYTES`, four bytes
 * at a time where there are many.
 */
export function skipField(bytes: Uint8Array, from: number, end: number = bytes.length): number {
  let at = from;
  while (at < end && (bytes.byteOffset + at) % 4 !== 0 && FIELD_BYTES[bytes[at]!] === 1) at++;
  if (end - at > SHORT && (bytes.byteOffset + at) % 4 === 0) {
    const words = new Int32Array(bytes.buffer, bytes.byteOffset + at, (end - at) >> 2);
    let word = 0;
    for (;;) {
      while (word < words.length && isPlain(words[word]!)) word++;
      const next = at + 4 * word;
      let bad = next;
      while (bad < next + 4 && bad < end && FIELD_BYTES[bytes[bad]!] === 1) bad++;
      // A tab is no reason to stop.
      if (bad < next + 4 || word >= words.length) break;
      word++;
    }
    at += 4 * word;
  }
  while (at < end && FIELD_BYTES[bytes[at]!] === 1) at++;
  return at;
}

/** Whether none of four bytes is a control character or DEL. */
function isPlain(word: number): boolean {
  const del = word ^ 0x7f7f7f7f;
  return ((((word - 0x20202020) & ~word) | ((del - 0x01010101) & ~del)) & 0x80808080) === 0;
}

/** The first elements of a comma-separated list, without the white space around them; empty elements stay. */
export function splitList(value: string, limit?: number): string[] {
  if (!value.includes(',')) return [trimWhiteSpace(value)];
  const elements = value.split(',', limit);
  for (let i = 0; i < elements.length; i++) elements[i] = trimWhiteSpace(elements[i]!);
  return elements;
}

/** Takes `OWS` (SP, HTAB) off both ends. `String.prototype.trim` would take U+00A0, which is data here. */
export function trimWhiteSpace(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && isWhiteSpace(text.charCodeAt(start))) start++;
  while (end > start && isWhiteSpace(text.charCodeAt(end - 1))) end--;
  return start === 0 && end === text.length ? text : text.slice(start, end);
}

export const isWhiteSpace = (code: number): boolean => code === SP || code === HTAB;

/** Shorter parts of a string are copies anyway: V8 makes slices, which keep the whole string alive, from 13 on. */
const SHORTEST_SLICE = 13;

/**
 * A copy of latin1 text that does not keep the string it was cut from in memory: what outlives the handshake (a path, an
 * origin) must not hold a head of a megabyte.
 */
export const detach = (text: string): string =>
  text.length < SHORTEST_SLICE ? text : Buffer.from(text, 'latin1').toString('latin1');
