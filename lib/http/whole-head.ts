import {
  COLON,
  CR,
  HTAB,
  isWhiteSpace,
  LF,
  LOWER_CASE,
  PRINTABLE_BYTES,
  SP,
  skip,
  skipField,
  TOKEN_BYTES,
} from './grammar.js';
import type { HeadLimits } from './head.js';

/** The head is incomplete, invalid, or not clear: `PartialHead` must read it. */
export const UNUSUAL = 0;
/** The head is complete and does not ask for another protocol. */
export const NOT_AN_UPGRADE = -1;

const UPGRADE = Buffer.from('upgrade');
const CONNECTION = Buffer.from('connection');
const WEBSOCKET = Buffer.from('websocket');
/** A tunnel (RFC 9110, section 9.3.6), whatever its fields are: Node emits 'connect'. */
export const CONNECT = Buffer.from('CONNECT');
const MAX_EMPTY_BYTES = '\r\n\r\n'.length;

/**
 * Handles the usual case in one pass without allocating: a chunk that contains a complete request head within the
 * limits and the grammar (RFC 9112, sections 2 to 5). Returns the index of its end. On a shared port (`ordinaryLimit`)
 * the head is an upgrade if an `Upgrade` line within that many bytes is exactly `websocket`, and a `Connection` line is
 * exactly `upgrade`; it is `NOT_AN_UPGRADE` without any `Upgrade` line, and if the method is CONNECT. All other heads
 * are `UNUSUAL`: `PartialHead` decides about them, and would decide about the usual ones in the same way.
 */
export function endOfWholeHead(chunk: Buffer, limits: HeadLimits, ordinaryLimit: number | undefined): number {
  const start = skipEmptyLines(chunk);
  let at = endOfStartLine(chunk, start, limits.maxLineLength);
  let isOurs = ordinaryLimit === undefined;
  let asks = false;
  let connects = ordinaryLimit === undefined;
  for (let lines = 0; at !== UNUSUAL && chunk[at] !== CR; lines++) {
    const colon = skip(chunk, TOKEN_BYTES, at);
    const end = endOfHeaderLine(chunk, at, colon, limits.maxLineLength);
    if (end === UNUSUAL || lines === limits.maxNumHeaders) return UNUSUAL;
    if (ordinaryLimit !== undefined && says(chunk, at, colon, UPGRADE)) {
      asks = true;
      isOurs ||= end < ordinaryLimit + 2 && saysOnly(chunk, colon + 1, end - 2, WEBSOCKET);
    }
    // `namesUpgrade` decides about a tab after the word.
    if (!connects && says(chunk, at, colon, CONNECTION))
      connects = chunk[end - 3] !== HTAB && saysOnly(chunk, colon + 1, end - 2, UPGRADE);
    at = end;
  }
  if (at === UNUSUAL || chunk[at + 1] !== LF) return UNUSUAL;
  if (ordinaryLimit !== undefined && isConnect(chunk, start)) return NOT_AN_UPGRADE;
  if (isOurs && connects) return at + 2;
  return asks ? UNUSUAL : NOT_AN_UPGRADE;
}

function isConnect(chunk: Buffer, start: number): boolean {
  let matched = 0;
  while (matched < CONNECT.length && chunk[start + matched] === CONNECT[matched]) matched++;
  return matched === CONNECT.length && chunk[start + matched] === SP;
}

/** At most two empty lines before the start line are skipped (RFC 9112, section 2.2). */
export function skipEmptyLines(chunk: Buffer): number {
  let at = 0;
  while (at < MAX_EMPTY_BYTES && chunk[at] === CR && chunk[at + 1] === LF) at += 2;
  return at;
}

function endOfStartLine(chunk: Buffer, start: number, maxLength: number): number {
  const method = skip(chunk, TOKEN_BYTES, start);
  if (method === start || chunk[method] !== SP) return UNUSUAL;
  return endOfLine(chunk, start, skip(chunk, PRINTABLE_BYTES, method), maxLength);
}

function endOfHeaderLine(chunk: Buffer, start: number, colon: number, maxLength: number): number {
  if (colon === start || chunk[colon] !== COLON) return UNUSUAL;
  return endOfLine(chunk, start, skipField(chunk, colon + 1), maxLength);
}

function endOfLine(chunk: Buffer, start: number, cr: number, maxLength: number): number {
  return chunk[cr] === CR && chunk[cr + 1] === LF && cr + 2 - start <= maxLength ? cr + 2 : UNUSUAL;
}

/** Whether a field value is exactly a word, in any case. */
function saysOnly(chunk: Buffer, from: number, to: number, word: Buffer): boolean {
  let start = from;
  let end = to;
  while (start < end && isWhiteSpace(chunk[start]!)) start++;
  while (end > start && isWhiteSpace(chunk[end - 1]!)) end--;
  return says(chunk, start, end, word);
}

/** Whether these bytes are a word, in any case. */
function says(chunk: Buffer, from: number, to: number, word: Buffer): boolean {
  if (to - from !== word.length) return false;
  let matched = 0;
  while (matched < word.length && (chunk[from + matched]! | LOWER_CASE) === word[matched]) matched++;
  return matched === word.length;
}
