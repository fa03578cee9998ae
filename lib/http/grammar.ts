/**
 * The character classes of HTTP (RFC 9110, section 5.6; RFC 9112), as regular expression classes and as byte tables.
 */

/** `tchar`, for use inside of `[]` (RFC 9110, section 5.6.2). */
export const TCHAR = "!#$%&'*+\\-.^_`|~0-9A-Za-z";

/** `field-vchar`, SP and HTAB: the characters of a field value (RFC 9110, section 5.5). */
export const FIELD = '\\t -~\\x80-\\xff';

/** One entry per byte, 1 if the byte is in the class. */
function byteTable(charClass: string): Uint8Array {
  const pattern = new RegExp(`[${charClass}]`);
  return Uint8Array.from({ length: 256 }, (_, byte) => (pattern.test(String.fromCharCode(byte)) ? 1 : 0));
}

export const TOKEN_BYTES = byteTable(TCHAR);
export const PRINTABLE_BYTES = byteTable(' -~');
/** The characters of a request target (RFC 9112, section 3.2): no space, no fragment. */
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
/** The bit that converts a capital letter to a small one. */
export const LOWER_CASE = 0x20;

/** The index of the first byte from `from` on that is not in a class. */
export function skip(bytes: Uint8Array, table: Uint8Array, from: number): number {
  let at = from;
  while (at < bytes.length && table[bytes[at]!] === 1) at++;
  return at;
}

/** Shorter values are read byte by byte, without a view of words, which is an object. */
const SHORT = 64;

/**
 * The index of the first byte from `from` on, before `end`, that is not valid in a field value: `skip` with
 * `FIELD_BYTES`, but four bytes at a time for long values.
 */
export function skipField(bytes: Uint8Array, from: number, end: number = bytes.length): number {
  let at = from;
  const short = Math.min(end, from + SHORT);
  while (at < short && FIELD_BYTES[bytes[at]!] === 1) at++;
  if (at < short || at === end) return at;
  while (at < end && (bytes.byteOffset + at) % 4 !== 0 && FIELD_BYTES[bytes[at]!] === 1) at++;
  if (end - at > SHORT && (bytes.byteOffset + at) % 4 === 0) {
    const words = new Int32Array(bytes.buffer, bytes.byteOffset + at, (end - at) >> 2);
    let word = 0;
    for (;;) {
      while (word < words.length && isPlain(words[word]!)) word++;
      const next = at + 4 * word;
      let bad = next;
      while (bad < next + 4 && bad < end && FIELD_BYTES[bytes[bad]!] === 1) bad++;
      // A tab is valid.
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

/** The first elements of a comma-separated list, without surrounding white space; empty elements are kept. */
export function splitList(value: string, limit?: number): string[] {
  if (!value.includes(',')) return [trimWhiteSpace(value)];
  const elements = value.split(',', limit);
  for (let i = 0; i < elements.length; i++) elements[i] = trimWhiteSpace(elements[i]!);
  return elements;
}

/** Removes `OWS` (SP, HTAB) from both ends. `String.prototype.trim` would also remove U+00A0, which is data here. */
export function trimWhiteSpace(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && isWhiteSpace(text.charCodeAt(start))) start++;
  while (end > start && isWhiteSpace(text.charCodeAt(end - 1))) end--;
  return start === 0 && end === text.length ? text : text.slice(start, end);
}

export const isWhiteSpace = (code: number): boolean => code === SP || code === HTAB;

/**
 * Shorter substrings are always copies: from 13 characters on, V8 creates slices, which keep the whole string alive.
 */
const SHORTEST_SLICE = 13;

/**
 * A copy of latin1 text that does not keep the string from which it was cut in memory: values that outlive the
 * handshake (a path, an origin) must not hold a head of up to a megabyte.
 */
export const detach = (text: string): string =>
  text.length < SHORTEST_SLICE ? text : Buffer.from(text, 'latin1').toString('latin1');
