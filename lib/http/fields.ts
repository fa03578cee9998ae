import { LOWER_CASE, splitList, trimWhiteSpace } from './grammar.js';

/** The values of a header: none, one line, or several lines in order. Lines are not merged. */
export type Lines = string | readonly string[] | undefined;

type Kept = string | string[] | undefined;

const NONE: readonly string[] = Object.freeze([]);

/** All lines as a list. */
export const linesOf = (lines: Lines): readonly string[] =>
  typeof lines === 'string' ? [lines] : lines === undefined ? NONE : lines;

/** The value if there is exactly one line. */
export const only = (lines: Lines): string | undefined => (typeof lines === 'string' ? lines : undefined);

/** The headers that the checks of a request need, collected in one pass. */
export class Fields {
  host: Kept = undefined;
  upgrade: Kept = undefined;
  connection: Kept = undefined;
  key: Kept = undefined;
  version: Kept = undefined;
  transferEncoding: Kept = undefined;
  contentLength: Kept = undefined;
  origin: Kept = undefined;
  protocol: Kept = undefined;
  extensions: Kept = undefined;

  constructor(rawHeaders: readonly string[]) {
    for (let i = 0; i + 1 < rawHeaders.length; i += 2) this.sort(rawHeaders[i]!, rawHeaders[i + 1]!);
  }

  /** By length, so that most other headers are skipped without comparing letters. */
  private sort(name: string, value: string): void {
    switch (name.length) {
      case 4:
        if (is(name, 'Host', 'host')) this.host = more(this.host, value);
        break;
      case 6:
        if (is(name, 'Origin', 'origin')) this.origin = more(this.origin, value);
        break;
      case 7:
        if (is(name, 'Upgrade', 'upgrade')) this.upgrade = more(this.upgrade, value);
        break;
      case 10:
        if (is(name, 'Connection', 'connection')) this.connection = more(this.connection, value);
        break;
      case 14:
        if (is(name, 'Content-Length', 'content-length')) this.contentLength = more(this.contentLength, value);
        break;
      case 17:
        if (is(name, 'Sec-WebSocket-Key', 'sec-websocket-key')) this.key = more(this.key, value);
        else if (is(name, 'Transfer-Encoding', 'transfer-encoding'))
          this.transferEncoding = more(this.transferEncoding, value);
        break;
      case 21:
        if (is(name, 'Sec-WebSocket-Version', 'sec-websocket-version')) this.version = more(this.version, value);
        break;
      case 22:
        if (is(name, 'Sec-WebSocket-Protocol', 'sec-websocket-protocol')) this.protocol = more(this.protocol, value);
        break;
      case 24:
        if (is(name, 'Sec-WebSocket-Extensions', 'sec-websocket-extensions'))
          this.extensions = more(this.extensions, value);
    }
  }
}

/**
 * Header names are case-insensitive (RFC 9110, section 5.1). Most names of equal length begin differently, or are
 * written as in RFC 6455.
 */
const is = (name: string, usual: string, lower: string): boolean =>
  (name.charCodeAt(0) | LOWER_CASE) === lower.charCodeAt(0) && (name === usual || name.toLowerCase() === lower);

function more(lines: Kept, value: string): Kept {
  if (lines === undefined) return value;
  if (typeof lines === 'string') return [lines, value];
  lines.push(value);
  return lines;
}

/** Headers that may occur only once; of several lines the first counts, as in Node (`message.headers`). */
const FIRST_WINS: ReadonlySet<string> = new Set([
  'age',
  'authorization',
  'content-length',
  'content-type',
  'etag',
  'expires',
  'from',
  'host',
  'if-modified-since',
  'if-unmodified-since',
  'last-modified',
  'location',
  'max-forwards',
  'proxy-authorization',
  'referer',
  'retry-after',
  'server',
  'user-agent',
]);

/** Maximum number of cookies of a request that are read: browsers keep about 180 per site. */
const MAX_COOKIES = 1024;

/**
 * Headers by lower-case name, in an object without a prototype. Lines with the same name are joined with `, `, cookies
 * with `; `; of headers that may occur only once the first line counts.
 */
export function lowerCaseHeaders(rawHeaders: readonly string[]): Record<string, string> {
  const record: Record<string, string> = Object.create(null);
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]!.toLowerCase();
    const before = record[name];
    if (before === undefined) record[name] = rawHeaders[i + 1]!;
    else if (!FIRST_WINS.has(name)) record[name] = `${before}${name === 'cookie' ? '; ' : ', '}${rawHeaders[i + 1]}`;
  }
  return record;
}

/**
 * The cookies of a `Cookie` header (RFC 6265, section 4.2.1), in an object without a prototype: values without their
 * quotes and percent-decoded, or unchanged if the encoding is invalid. Of several cookies with one name the first
 * counts; pairs without `=`, and those after the first 1024, are ignored.
 */
export function parseCookies(header: string | undefined): Record<string, string> {
  const cookies: Record<string, string> = Object.create(null);
  eachCookie(header, (name, raw) => {
    if (cookies[name] === undefined) cookies[name] = cookieValue(raw);
  });
  return cookies;
}

/**
 * Every value of a cookie, in order. A page of a sibling domain can set another cookie with the same name, and browsers
 * send the one with the longer path first (RFC 6265, sections 5.4 and 8.6).
 */
export function cookieValues(header: string | undefined, wanted: string): string[] {
  const values: string[] = [];
  eachCookie(header, (name, raw) => {
    if (name === wanted) values.push(cookieValue(raw));
  });
  return values;
}

function eachCookie(header: string | undefined, call: (name: string, raw: string) => void): void {
  for (const pair of header?.split(';', MAX_COOKIES) ?? []) {
    const equals = pair.indexOf('=');
    if (equals < 0) continue;
    const name = trimWhiteSpace(pair.slice(0, equals));
    if (name !== '') call(name, pair.slice(equals + 1));
  }
}

function cookieValue(raw: string): string {
  const value = unquote(trimWhiteSpace(raw));
  if (!value.includes('%')) return value;
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}

const unquote = (value: string): string =>
  value.length > 1 && value.startsWith('"') && value.endsWith('"') ? value.slice(1, -1) : value;

/** The elements of a list header (RFC 9110, section 5.6.1) in all its lines, in lower case, without empty ones. */
export function listTokens(lines: readonly string[]): string[] {
  return lines.flatMap((line) => splitList(line.toLowerCase())).filter((element) => element !== '');
}

const UPGRADE_ELEMENT = /(?:^|,)[\t ]*upgrade[\t ]*(?:,|$)/i;

/** Whether a `Connection` field lists `upgrade`; without it `Upgrade` must be ignored (RFC 9110, section 7.8). */
export const namesUpgrade = (connection: string): boolean => UPGRADE_ELEMENT.test(connection);
