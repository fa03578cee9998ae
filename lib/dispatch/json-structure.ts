/** The result for a message whose structure is not accepted: see {@link measureStructure}. */
export const REFUSED = -1;

/** Bytes that a value or a key counts, in addition to the text. */
export const NODE_BYTES = 64;

/**
 * The memory that a parsed message may take for each byte of its text, beyond {@link FREE_BYTES}. Text with a name or a
 * number in most places takes 2 to 15 bytes. Only text that consists of little else than brackets, or of sparse array
 * indices, takes more: it is an attack on the memory, with a few kilobytes sent for each hundred kilobytes held.
 */
const MOST_BYTES_PER_BYTE = 20;
/** About what a connection takes anyway. It lets small messages have any structure. */
const FREE_BYTES = 4096;
/** No structure takes more than 51 bytes for a byte of text, so a text of this length is within the limit. */
const NEVER_TOO_LARGE = FREE_BYTES / 32;

// Upper bounds of what V8 allocates for each part of a text, the same in Node.js 20 to 26: bench/pinned.mjs searches for
// structures that take more. A value includes its place in the array or object around it.

/** A number of one digit is a small integer. A longer one may be boxed. */
const DIGIT_BYTES = 8;
const NUMBER_BYTES = 24;
/** In addition, two for each byte of its text. */
const STRING_BYTES = 32;
const ARRAY_BYTES = 56;
/** An object without a named key has room for four. */
const OBJECT_BYTES = 64;
const ROOM_BYTES = 32;
/** A key that occurs for the first time: its name, and its place in the shape of the object. */
const NEW_KEY_BYTES = 120;
/** The shape of the first object with such a key. */
const NEW_SHAPE_BYTES = 48;
/** A key that has occurred before: an object with 128 keys is a hash table, with up to three places for each. */
const KEY_BYTES = 64;

/** Maximum depth. No honest message is deeper, and recursive code still has enough stack. */
const MAX_DEPTH = 256;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COLON = 0x3a;
const OPEN_BRACE = 0x7b;
const LETTER_U = 0x75;

/** The class of a byte outside of a string. Bytes that are not in the table belong to a number or a literal. */
const [SCALAR, SPACE, STRING, OPEN, CLOSE] = [0, 1, 2, 3, 4];
const KINDS = new Uint8Array(256);
for (const byte of Buffer.from(' \t\n\r,:')) KINDS[byte] = SPACE!;
for (const byte of Buffer.from('[{')) KINDS[byte] = OPEN!;
for (const byte of Buffer.from(']}')) KINDS[byte] = CLOSE!;
KINDS[QUOTE] = STRING!;

const PROTO = Buffer.from('__proto__');
const CONSTRUCTOR = Buffer.from('constructor');
const PROTOTYPE = Buffer.from('prototype');
/** Length of the longest of these keys in the text, with each character written as `\u0063`. */
const LONGEST_ESCAPED = CONSTRUCTOR.length * 6;

/**
 * Whether the container at each depth is the value of a key `constructor`. Shared by all calls, which do not overlap.
 */
const ofConstructor = new Uint8Array(MAX_DEPTH + 1);
/** Whether the object at each depth has a key that is not an array index. */
const hasName = new Uint8Array(MAX_DEPTH + 1);
/** The number of keys of the object at each depth that are array indices, and the largest of them. */
const indices = new Uint32Array(MAX_DEPTH + 1);
const largest = new Uint32Array(MAX_DEPTH + 1);

/** Of the last measured text: the bytes that V8 allocates for keys that are array indices. */
export let indexBytes = 0;

/**
 * The number of values and keys in a JSON text, counted in one pass over its bytes before it is parsed. Returns
 * `REFUSED` if there are more than `maxNodes`, if the nesting is deeper than 256, if a key would reach a prototype
 * (`__proto__`, or `prototype` inside of `constructor`), however the key is escaped, or if the result would take more
 * than 20 bytes for each byte of the text, beyond 4 KiB. For invalid JSON the number is meaningless: `JSON.parse` reports
 * the error.
 */
export function measureStructure(data: Buffer, maxNodes: number): number {
  const nodes = scan(data, maxNodes, undefined);
  // protection: memory of a message for each byte of its text
  if (data.length > NEVER_TOO_LARGE && isTooLarge(data, maxNodes)) return REFUSED;
  // end protection
  return nodes;
}

/** Of the last scanned text: bytes of its values, and the number of its objects and keys without array indices. */
let valueBytes = 0;
let namedObjects = 0;
let names = 0;

/** Whether the result of the text that was just scanned would take too much memory for its length. */
function isTooLarge(data: Buffer, maxNodes: number): boolean {
  const most = FREE_BYTES + MOST_BYTES_PER_BYTE * data.length;
  // Most texts are accepted even if each of their keys were new.
  if (valueBytes + names * NEW_KEY_BYTES + namedObjects * NEW_SHAPE_BYTES <= most) return false;
  return resultBytes(data, maxNodes) > most;
}

/** An upper bound of the memory that `JSON.parse` allocates for its result. Keys that occur more than once are found. */
export function resultBytes(data: Buffer, maxNodes: number): number {
  const distinct = new Set<string>();
  scan(data, maxNodes, distinct);
  const { size } = distinct;
  const shapes = Math.min(size, namedObjects);
  return valueBytes + size * NEW_KEY_BYTES + (names - size) * KEY_BYTES + shapes * NEW_SHAPE_BYTES;
}

function scan(data: Buffer, maxNodes: number, distinct: Set<string> | undefined): number {
  const { length } = data;
  let nodes = 0;
  let depth = 0;
  let inScalar = false;
  let keyStart = 0;
  let keyEnd = 0;
  let keyEscaped = false;
  let afterConstructor = false;
  let bytes = 0;
  indexBytes = namedObjects = names = valueBytes = 0;
  for (let at = 0; at < length; at++) {
    const byte = data[at]!;
    switch (KINDS[byte]) {
      case SCALAR:
        if (inScalar) continue;
        inScalar = true;
        afterConstructor = false;
        nodes++;
        bytes += KINDS[data[at + 1]!] === SCALAR ? NUMBER_BYTES : DIGIT_BYTES;
        break;
      case SPACE:
        inScalar = false;
        if (byte !== COLON) continue;
        afterConstructor = false;
        bytes -= STRING_BYTES + 2 * (keyEnd - keyStart);
        if (isDigit(data[keyStart]!) || keyEscaped) {
          const index = indexOf(data, keyStart, keyEnd);
          if (index >= 0) {
            indices[depth]!++;
            if (index > largest[depth]!) largest[depth] = index;
            continue;
          }
        }
        names++;
        bytes += 2 * (keyEnd - keyStart);
        if (hasName[depth] === 0) {
          hasName[depth] = 1;
          namedObjects++;
          bytes -= ROOM_BYTES;
        }
        if (distinct !== undefined) distinct.add(data.toString('latin1', keyStart, keyEnd));
        if (keyEscaped ? keyEnd - keyStart <= LONGEST_ESCAPED : isSuspectLength(keyEnd - keyStart)) {
          // protection: prototype pollution: __proto__
          if (isKey(data, keyStart, keyEnd, PROTO)) return REFUSED;
          // end protection
          // protection: prototype pollution: constructor
          if (ofConstructor[depth] === 1 && isKey(data, keyStart, keyEnd, PROTOTYPE)) return REFUSED;
          // end protection
          afterConstructor = isKey(data, keyStart, keyEnd, CONSTRUCTOR);
        }
        continue;
      case STRING:
        inScalar = false;
        afterConstructor = false;
        nodes++;
        keyStart = at + 1;
        at = endOfString(data, keyStart);
        if (at < 0) return nodes;
        keyEnd = at;
        keyEscaped = stringHasEscape;
        bytes += STRING_BYTES + 2 * (keyEnd - keyStart);
        break;
      case OPEN:
        inScalar = false;
        nodes++;
        depth++;
        // protection: depth of a message
        if (depth > MAX_DEPTH) return REFUSED;
        // end protection
        ofConstructor[depth] = afterConstructor && byte === OPEN_BRACE ? 1 : 0;
        hasName[depth] = indices[depth] = largest[depth] = 0;
        bytes += byte === OPEN_BRACE ? OBJECT_BYTES : ARRAY_BYTES;
        afterConstructor = false;
        break;
      default:
        inScalar = false;
        // The text is not valid JSON, so it can be refused here.
        if (depth === 0) return REFUSED;
        if (indices[depth]! > 0) indexBytes += bytesOfIndices(indices[depth]!, largest[depth]!);
        depth--;
        continue;
    }
    // protection: values and keys of a message
    if (nodes > maxNodes) return REFUSED;
    // end protection
  }
  valueBytes = bytes + indexBytes;
  return nodes;
}

const isDigit = (byte: number): boolean => byte >= 0x30 && byte <= 0x39;

/**
 * What V8 allocates for the array indices among the keys of an object: a list with a place for every index up to the
 * largest, or a hash table where that takes less than a third of the memory (`ShouldConvertToSlowElements`). The hash
 * table has three words for each place, and half as many places more than keys, rounded up to a power of two.
 */
function bytesOfIndices(count: number, greatest: number): number {
  const places = Math.max(4, 2 ** Math.ceil(Math.log2(count + (count >>> 1))));
  return greatest + 1 < 9 * places ? 16 + 8 * (greatest + 1) : 48 + 24 * places;
}

/** The greatest array index (ECMA-262, section 6.1.7). */
const MAX_INDEX = 2 ** 32 - 2;

/** The array index that a key represents, or -1. Its digits may be escaped. */
function indexOf(data: Buffer, start: number, end: number): number {
  let index = 0;
  let digits = 0;
  for (let at = start; at < end; at++) {
    let code = data[at]!;
    if (code === BACKSLASH) {
      code = escapedCode(data, at, end);
      at += 5;
    }
    if (!isDigit(code) || (digits > 0 && index === 0)) return -1;
    index = 10 * index + code - 0x30;
    if (index > MAX_INDEX) return -1;
    digits++;
  }
  return digits > 0 ? index : -1;
}

/** The code of the `\uXXXX` at this position, or NaN for another escape. */
function escapedCode(data: Uint8Array, at: number, end: number): number {
  if (data[at + 1] !== LETTER_U || at + 6 > end) return Number.NaN;
  return Number.parseInt(String.fromCharCode(...data.subarray(at + 2, at + 6)), 16);
}

/**
 * The number of values and keys in the result of an application's parser: those of arrays, plain objects and maps;
 * anything else counts as one value. Returns `REFUSED` if there are more than `maxNodes`, so cycles end too.
 */
export function countNodes(value: unknown, maxNodes: number): number {
  const rest: unknown[] = [value];
  let nodes = 0;
  while (rest.length > 0) {
    const next = rest.pop();
    if (++nodes + rest.length > maxNodes) return REFUSED;
    if (typeof next !== 'object' || next === null) continue;
    if (Array.isArray(next)) {
      if (nodes + rest.length + next.length > maxNodes) return REFUSED;
      for (const item of next) rest.push(item);
    } else if (next instanceof Map) {
      if (nodes + rest.length + 2 * next.size > maxNodes) return REFUSED;
      for (const [key, item] of next) rest.push(key, item);
    } else if (isPlain(next)) {
      for (const key in next) {
        rest.push((next as Record<string, unknown>)[key]);
        if (++nodes + rest.length > maxNodes) return REFUSED;
      }
    }
  }
  return nodes;
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype;
}

const isSuspectLength = (length: number): boolean => length === PROTO.length || length === CONSTRUCTOR.length;

/** Whether the last string that {@link endOfString} has read contains an escape. */
let stringHasEscape = false;

/** Strings are scanned byte by byte for this length; beyond it, the next quote is searched with `indexOf`. */
const STRIDE = 32;

/** The index of the quote that ends the string which begins at `from`, or -1. */
function endOfString(data: Buffer, from: number): number {
  const { length } = data;
  stringHasEscape = false;
  let at = from;
  while (at < length) {
    for (const stop = Math.min(at + STRIDE, length); at < stop; at++) {
      const byte = data[at];
      if (byte === QUOTE) return at;
      if (byte !== BACKSLASH) continue;
      stringHasEscape = true;
      at++;
    }
    if (at >= length) return -1;
    const quote = data.indexOf(QUOTE, at);
    if (quote < 0) return -1;
    // The byte at `at` is not escaped: only backslashes after it decide whether the quote is.
    let slashes = 0;
    while (quote - 1 - slashes >= at && data[quote - 1 - slashes] === BACKSLASH) slashes++;
    if (slashes % 2 === 0) return quote;
    stringHasEscape = true;
    at = quote + 1;
  }
  return -1;
}

/**
 * Whether the raw bytes of a key, with escapes decoded, are this name. Only `\uXXXX` can represent one of its
 * characters.
 */
function isKey(data: Uint8Array, start: number, end: number, name: Uint8Array): boolean {
  let at = start;
  for (let i = 0; i < name.length; i++) {
    if (at >= end) return false;
    let code = data[at]!;
    if (code === BACKSLASH) {
      code = escapedCode(data, at, end);
      at += 5;
    }
    at++;
    if (code !== name[i]) return false;
  }
  return at === end;
}
