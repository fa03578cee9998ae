import { REFUSALS, type Refusal } from '../errors/refusals.js';
import { FIELD, TCHAR, trimWhiteSpace } from './grammar.js';
import type { RequestHead } from './head.js';
import { detach } from './text.js';

/** `method SP request-target SP HTTP-version CRLF` (RFC 9112, section 3); the target is printable ASCII without `#`. */
const REQUEST_LINE = new RegExp(`^([${TCHAR}]+) ([!-"$-~]+) HTTP/(\\d\\.\\d)\\r\\n`);

/** `HTTP-version SP status-code [ SP reason-phrase ] CRLF` (RFC 9112, section 4). */
const STATUS_LINE = new RegExp(`^HTTP/(1\\.[01]) ([1-9]\\d\\d)(?: ([${FIELD}]*))?\\r\\n`);

/** `field-name ":" OWS field-value OWS CRLF` (RFC 9112, section 5). White space is taken off later, in linear time. */
const HEADER_LINE = new RegExp(`[${TCHAR}]+:[${FIELD}]*\\r\\n`, 'y');

/** Above it, all texts are copies: one that an application keeps does not hold the whole head. */
const SMALL_HEAD = 2048;

/** A parsed response head (RFC 9112, section 4). */
export interface ResponseHead {
  /** `1.1` or `1.0`. */
  readonly version: string;
  readonly status: number;
  /** May be empty. */
  readonly reason: string;
  /** Names and values in turn, as in `RequestHead`. */
  readonly rawHeaders: readonly string[];
}

/**
 * Parses one complete request head, from its start line to its empty line, strictly after RFC 9112: what it accepts,
 * Node's parser reads with the same method, target and headers. Anything else is `REFUSALS.malformedHead` (400).
 */
export function parseRequestHead(bytes: Buffer): RequestHead | Refusal {
  const text = bytes.toString('latin1');
  const line = REQUEST_LINE.exec(text);
  if (line === null) return REFUSALS.malformedHead;
  const rawHeaders = parseHeaderLines(text, line[0].length);
  if (rawHeaders === undefined) return REFUSALS.malformedHead;
  return { method: line[1]!, target: keepable(line[2]!, text), version: line[3]!, rawHeaders };
}

/** Parses one complete response head in the same way; the reason phrase and the space before it may be missing. */
export function parseResponseHead(bytes: Buffer): ResponseHead | 'malformed' {
  const text = bytes.toString('latin1');
  const line = STATUS_LINE.exec(text);
  if (line === null) return 'malformed';
  const rawHeaders = parseHeaderLines(text, line[0].length);
  if (rawHeaders === undefined) return 'malformed';
  return { version: line[1]!, status: Number(line[2]), reason: line[3] ?? '', rawHeaders };
}

/** The header lines from `start` on, which must end in an empty line and nothing behind it. */
function parseHeaderLines(text: string, start: number): string[] | undefined {
  const rawHeaders: string[] = [];
  let end = start;
  HEADER_LINE.lastIndex = start;
  while (HEADER_LINE.test(text)) {
    const colon = text.indexOf(':', end);
    const value = trimWhiteSpace(text.slice(colon + 1, HEADER_LINE.lastIndex - 2));
    rawHeaders.push(keepable(text.slice(end, colon), text), keepable(value, text));
    end = HEADER_LINE.lastIndex;
  }
  return text.length === end + 2 && text.endsWith('\r\n') ? rawHeaders : undefined;
}

const keepable = (part: string, whole: string): string => (whole.length > SMALL_HEAD ? detach(part) : part);
