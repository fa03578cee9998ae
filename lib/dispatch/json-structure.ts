/** The result for a message whose structure is not accepted: see {@link measureStructure}. */
export const REFUSED = -1;

/** Bytes that a value or a key counts, in addition to the text. */
export const NODE_BYTES = 64;
/**
 * Additional bytes for an object with a key that is an array index: V8 allocates up to 67 elements for the first such
 * key. Measured by bench/pinned.mjs, which searches for structures that take more memory than is counted.
 */
export const INDEX_BYTES = 320;

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
/** Whether the object at each depth has had a key that is an array index. */
const hasIndex = new Uint8Array(MAX_DEPTH + 1);

/** Number of objects with a key that is an array index, in the last measured text. */
export let indexedObjects = 0;

/**
 * The number of values and keys in a JSON text, counted in one pass over its bytes before it is parsed. Returns
 * `REFUSED` if there are more than `maxNodes`, if the nesting is deeper than 256, or if a key would reach a prototype
 * (`__proto__`, or `prototype` inside of `constructor`), however the key is escaped. For invalid JSON the number is
 * meaningless: `JSON.parse` reports the error.
 */
export function measureStructure(data: Buffer, maxNodes: number): number {
  const { length } = data;
  let nodes = 0;
  let depth = 0;
  let inScalar = false;
  let keyStart = 0;
  let keyEnd = 0;
  let keyEscaped = false;
  let afterConstructor = false;
  indexedObjects = 0;
  for (let at = 0; at < length; at++) {
    const byte = data[at]!;
    switch (KINDS[byte]) {
      case SCALAR:
        if (inScalar) continue;
        inScalar = true;
        afterConstructor = false;
        nodes++;
        break;
      case SPACE:
        inScalar = false;
        if (byte !== COLON) continue;
        afterConstructor = false;
        // An escape can represent a digit.
        if (hasIndex[depth] === 0 && (isDigit(data[keyStart]!) || data[keyStart] === BACKSLASH)) {
          hasIndex[depth] = 1;
          indexedObjects++;
        }
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
        break;
      case OPEN:
        inScalar = false;
        nodes++;
        depth++;
        // protection: depth of a message
        if (depth > MAX_DEPTH) return REFUSED;
        // end protection
        ofConstructor[depth] = afterConstructor && byte === OPEN_BRACE ? 1 : 0;
        hasIndex[depth] = 0;
        afterConstructor = false;
        break;
      default:
        inScalar = false;
        // The text is not valid JSON, so it can be refused here.
        if (--depth < 0) return REFUSED;
        continue;
    }
    // protection: values and keys of a message
    if (nodes > maxNodes) return REFUSED;
    // end protection
  }
  return nodes;
}

const isDigit = (byte: number): boolean => byte >= 0x30 && byte <= 0x39;

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
    let code = data[at++]!;
    if (code === BACKSLASH) {
      if (data[at] !== LETTER_U || at + 5 > end) return false;
      code = Number.parseInt(String.fromCharCode(...data.subarray(at + 1, at + 5)), 16);
      at += 5;
    }
    if (code !== name[i]) return false;
  }
  return at === end;
}
