import { splitList, trimWhiteSpace } from './grammar.js';

/** Headers of which a second line would contradict the first; the first counts, as in Node (`message.headers`). */
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

/** Cookies of one request that are read: browsers keep at most some hundred and eighty of a site. */
const MAX_COOKIES = 1024;

/**
 * Headers by their names in lower case, in an object without a prototype. Lines of one name are joined with `, `, cookies
 * with `; `; of headers that occur once by their meaning the first line counts.
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
 * quotes and percent-decoded, as they came where the encoding is broken. The first of several of one name counts; pairs
 * without `=` and those after the first 1024 are passed over.
 */
export function parseCookies(header: string | undefined): Record<string, string> {
  const cookies: Record<string, string> = Object.create(null);
  if (header === undefined) return cookies;
  for (const pair of header.split(';', MAX_COOKIES)) {
    const equals = pair.indexOf('=');
    if (equals < 0) continue;
    const name = trimWhiteSpace(pair.slice(0, equals));
    if (name !== '' && cookies[name] === undefined) cookies[name] = cookieValue(pair.slice(equals + 1));
  }
  return cookies;
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

/** The elements of a list header (RFC 9110, section 5.6.1) over all its lines, in lower case, empty ones left out. */
export function listTokens(lines: readonly string[]): string[] {
  return lines.flatMap((line) => splitList(line.toLowerCase())).filter((element) => element !== '');
}
