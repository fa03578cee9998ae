import {
  BLANK_BYTES,
  COLON,
  CR,
  DIGIT_BYTES,
  DOT,
  FIELD,
  LF,
  SP,
  skip,
  skipField,
  TARGET_BYTES,
  TOKEN_BYTES,
} from './grammar.js';
import type { RequestHead } from './head.js';
import { REFUSALS, type Refusal } from './refusal.js';

/** `HTTP-version SP status-code [ SP reason-phrase ] CRLF` (RFC 9112, section 4). */
const STATUS_LINE = new RegExp(`^HTTP/(1\\.[01]) ([1-9]\\d\\d)(?: ([${FIELD}]*))?\\r\\n`);

/** The part after the request target: `SP HTTP-version CRLF`. */
const VERSION = Buffer.from(' HTTP/');
const REST_LENGTH = ' HTTP/1.1\r\n'.length;

/** In larger heads all strings are copies, so that a string that an application keeps does not hold the whole head. */
const SMALL_HEAD = 2048;

/** A parsed response head (RFC 9112, section 4). */
export interface ResponseHead {
  /** `1.1` or `1.0`. */
  readonly version: string;
  readonly status: number;
  /** May be empty. */
  readonly reason: string;
  /** Alternating names and values, as in `RequestHead`. */
  readonly rawHeaders: readonly string[];
}

/**
 * Parses one complete request head, from its start line to its empty line, strictly by RFC 9112: for a head that it
 * accepts, Node's parser reads the same method, target and headers. Anything else is `REFUSALS.malformedHead` (400).
 */
export function parseRequestHead(bytes: Buffer): RequestHead | Refusal {
  const method = skip(bytes, TOKEN_BYTES, 0);
  const target = skip(bytes, TARGET_BYTES, method + 1);
  if (method === 0 || bytes[method] !== SP || target === method + 1) return REFUSALS.malformedHead;
  if (!isRestOfRequestLine(bytes, target)) return REFUSALS.malformedHead;
  const text = shareable(bytes);
  const rawHeaders = parseHeaderLines(bytes, text, target + REST_LENGTH);
  if (rawHeaders === undefined) return REFUSALS.malformedHead;
  return {
    method: cut(bytes, text, 0, method),
    target: cut(bytes, text, method + 1, target),
    version: cut(bytes, text, target + VERSION.length, target + REST_LENGTH - 2),
    rawHeaders,
  };
}

/** Parses one complete response head in the same way; the reason phrase and the space before it may be missing. */
export function parseResponseHead(bytes: Buffer): ResponseHead | 'malformed' {
  const line = STATUS_LINE.exec(bytes.toString('latin1'));
  if (line === null) return 'malformed';
  const rawHeaders = parseHeaderLines(bytes, shareable(bytes), line[0].length);
  if (rawHeaders === undefined) return 'malformed';
  return { version: line[1]!, status: Number(line[2]), reason: line[3] ?? '', rawHeaders };
}

/** `SP HTTP-version CRLF`, one digit on each side of its dot (RFC 9112, sections 2.3 and 3). */
function isRestOfRequestLine(bytes: Buffer, at: number): boolean {
  if (at + REST_LENGTH > bytes.length) return false;
  for (let i = 0; i < VERSION.length; i++) if (bytes[at + i] !== VERSION[i]) return false;
  const major = at + VERSION.length;
  const isVersion =
    DIGIT_BYTES[bytes[major]!] === 1 && bytes[major + 1] === DOT && DIGIT_BYTES[bytes[major + 2]!] === 1;
  return isVersion && bytes[major + 3] === CR && bytes[major + 4] === LF;
}

/**
 * Parses the header lines from `start` on, each `field-name ":" OWS field-value OWS CRLF` (RFC 9112, section 5), up to
 * an empty line, after which nothing may follow.
 */
function parseHeaderLines(bytes: Buffer, text: string | undefined, start: number): string[] | undefined {
  const rawHeaders: string[] = [];
  let at = start;
  while (at < bytes.length && bytes[at] !== CR) {
    const colon = skip(bytes, TOKEN_BYTES, at);
    if (colon === at || bytes[colon] !== COLON) return undefined;
    const end = skipField(bytes, colon + 1);
    if (bytes[end] !== CR || bytes[end + 1] !== LF) return undefined;
    rawHeaders.push(nameAt(bytes, text, at, colon), cutTrimmed(bytes, text, colon + 1, end));
    at = end + 2;
  }
  return at + 2 === bytes.length && bytes[at + 1] === LF ? rawHeaders : undefined;
}

interface UsualName {
  readonly name: string;
  readonly bytes: Buffer;
}

function byLength(names: readonly string[]): readonly (readonly UsualName[])[] {
  const longest = Math.max(...names.map(({ length }) => length));
  return Array.from({ length: longest + 1 }, (_, length) =>
    names.filter((name) => name.length === length).map((name) => ({ name, bytes: Buffer.from(name) })),
  );
}

/** Names that browsers and `ws` send, as they write them, by length: heads share these strings. */
const USUAL_NAMES = byLength([
  'Host',
  'Origin',
  'Cookie',
  'Pragma',
  'Upgrade',
  'Connection',
  'User-Agent',
  'Cache-Control',
  'Accept-Encoding',
  'Accept-Language',
  'Sec-WebSocket-Key',
  'Sec-WebSocket-Version',
  'Sec-WebSocket-Protocol',
  'Sec-WebSocket-Extensions',
]);

/** A field name: a shared string if it is a usual one. */
function nameAt(bytes: Buffer, text: string | undefined, from: number, to: number): string {
  const usual = USUAL_NAMES[to - from];
  if (usual !== undefined)
    for (let i = 0; i < usual.length; i++) if (isAt(bytes, from, usual[i]!.bytes)) return usual[i]!.name;
  return cut(bytes, text, from, to);
}

function isAt(bytes: Buffer, from: number, name: Buffer): boolean {
  let matched = 0;
  while (matched < name.length && bytes[from + matched] === name[matched]) matched++;
  return matched === name.length;
}

/** Removes surrounding white space in linear time. */
function cutTrimmed(bytes: Buffer, text: string | undefined, start: number, end: number): string {
  const from = skip(bytes, BLANK_BYTES, start);
  let to = end;
  while (to > from && BLANK_BYTES[bytes[to - 1]!] === 1) to--;
  return cut(bytes, text, from, to);
}

/** The text of a small head; its strings may be parts of it. */
const shareable = (bytes: Buffer): string | undefined =>
  bytes.length > SMALL_HEAD ? undefined : bytes.toString('latin1');

const cut = (bytes: Buffer, text: string | undefined, from: number, to: number): string =>
  text === undefined ? bytes.toString('latin1', from, to) : text.slice(from, to);
