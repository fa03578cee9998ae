import { IncomingMessage } from 'node:http';

/** The values of a request that must not reach a log. */
export interface RequestValues {
  readonly rawHeaders: readonly string[];
  readonly rawQuery: string;
}

/** Extracts them from a hook's second argument, which may be anything. */
export const requestValuesOf = (request: unknown): RequestValues | undefined =>
  request instanceof IncomingMessage
    ? { rawHeaders: request.rawHeaders, rawQuery: (request.url ?? '').replace(/^[^?]*\??/, '') }
    : undefined;

/** Maximum length of a text that is searched; the rest is left out. */
const MAX_TEXT = 2048;
/** Maximum bytes of values that are searched for: more values, with all their encodings, would block the event loop. */
const MAX_VALUES = 8 * 1024;
const MAX_FORMS = 256 * 1024;
/** Maximum number of times that a value is decoded, because an encoded value may be encoded again. */
const MAX_DECODED = 3;
/** A sequence of this many characters that also occurs in a value is considered part of it. */
const GRAM = 6;
/** Values shorter than this occur in any text by chance. */
const SHORTEST = 3;

export const HIDDEN = '…';
export const NOT_SHOWN = '(message not shown: it may repeat values of the request, which are too many to remove)';

/** Headers whose value is the same in every handshake. */
const CONSTANT = /^(?:upgrade|connection|sec-websocket-version)$/i;
const SCHEME = /^(?:basic|bearer|digest|negotiate)(?:\s+|$)/i;
const SEPARATORS = /[\s;,&=:."'(){}[\]<>|]+/;

/**
 * Removes every value of the request from a text, in whatever form it occurs: verbatim, percent-encoded or decoded,
 * encoded or decoded as base64 (Basic credentials, parts of a JSON Web Token) or hexadecimal, escaped for JSON or HTML,
 * in another case, backwards, or truncated. A name of a query parameter counts as a value where it may be a token. A removed part is shown as `…`. Used for errors of code that has seen the request.
 */
export function withoutValues(text: string, request: RequestValues): string {
  const values = valuesOf(request);
  if (values.reduce((sum, { length }) => sum + length, 0) > MAX_VALUES) return NOT_SHOWN;
  const forms = formsOf(values);
  if (forms === undefined) return NOT_SHOWN;
  const short = shortValues(request);
  const rest = text
    .slice(0, MAX_TEXT)
    .replace(ENCODED, HIDDEN)
    .replace(TOKENS, (token) => (short.has(token) ? HIDDEN : token));
  return hideTokens(hideExact(rest, forms), forms);
}

/**
 * Sequences of characters that are written one by one, whatever they mean: `\\u0073…`, `%73…`, `&#115;…`, the bytes of
 * a Buffer as Node prints them, a list of character codes, single letters with separators.
 */
const ENCODED =
  /(?:\\+[ux]\{?[0-9a-f]{2,6}\}?){3,}|(?:%[0-9a-f]{2}){3,}|(?:&#x?[0-9a-f]{2,6};){3,}|\b(?:[0-9a-f]{2}[ ,:-]+){3,}[0-9a-f]{2}\b|\b(?:\d{2,3}[ ,]+){3,}\d{2,3}\b|(?<![\p{L}\p{N}])(?:[\p{L}\p{N}][ ,._-]+){4,}[\p{L}\p{N}](?![\p{L}\p{N}])/giu;

/** The name of a query parameter that may itself be a token: it contains a digit, or has at least 16 characters. */
const TOKEN_NAME = /\d|^.{16}/s;

function valuesOf({ rawHeaders, rawQuery }: RequestValues): string[] {
  const values = rawHeaders.filter((_, index) => index % 2 === 1 && !CONSTANT.test(rawHeaders[index - 1]!));
  for (const parameter of rawQuery.split('&')) {
    const equals = parameter.indexOf('=');
    const value = parameter.slice(equals + 1);
    values.push(value);
    if (equals > 0 && (value === '' || TOKEN_NAME.test(parameter.slice(0, equals))))
      values.push(parameter.slice(0, equals));
  }
  return values;
}

/**
 * Values of two characters: too short to search for their parts and encodings, but a word that equals one is hidden.
 */
function shortValues({ rawHeaders, rawQuery }: RequestValues): Set<string> {
  const cookies = rawHeaders.filter((_, index) => index % 2 === 1 && /^cookie$/i.test(rawHeaders[index - 1]!));
  const pairs = [...rawQuery.split('&'), ...cookies.join(';').split(/;\s*/)];
  const values = [
    ...rawHeaders.filter((_, index) => index % 2 === 1),
    ...pairs.map((pair) => pair.replace(/^.*?=/s, '')),
  ];
  return new Set(values.filter(({ length }) => length === SHORTEST - 1));
}

/** All values, their parts, their decodings and their encodings. `undefined`: too many. */
function formsOf(values: readonly string[]): Set<string> | undefined {
  const plain = new Set<string>();
  let size = 0;
  const add = (text: string, depth: number): void => {
    const value = text.replace(SCHEME, '');
    if (size > MAX_FORMS || value.length < SHORTEST || plain.has(value)) return;
    plain.add(value);
    size += value.length;
    for (const part of value.split(SEPARATORS)) add(part, depth);
    if (depth < MAX_DECODED) for (const decoded of decodings(value)) add(decoded, depth + 1);
  };
  for (const value of values) add(value, 0);
  const forms = new Set(plain);
  for (const value of plain) {
    if (size > MAX_FORMS) return undefined;
    for (const encoded of encodings(value)) {
      forms.add(encoded);
      size += encoded.length;
    }
  }
  return forms;
}

function* decodings(value: string): Generator<string> {
  if (/[%+]/.test(value)) {
    yield value.replace(/(?:%[0-9a-f]{2})+/gi, (bytes) => Buffer.from(bytes.replaceAll('%', ''), 'hex').toString());
    yield value.replaceAll('+', ' ');
  }
  if (/[\x80-\xff]/.test(value)) yield Buffer.from(value, 'latin1').toString();
  if (value.includes('\\'))
    yield value.replace(/\\u([0-9a-f]{4})/gi, (_, code) => String.fromCharCode(Number.parseInt(code, 16)));
  if (value.includes('\\')) yield value.replace(/\\(.)/g, '$1');
  if (/^[A-Za-z0-9+/_-]{4,}={0,2}$/.test(value)) yield* readable(Buffer.from(value, 'base64'));
  if (/^(?:[0-9a-f]{2}){3,}$/i.test(value)) yield* readable(Buffer.from(value, 'hex'));
}

/** Decoding a value that was never encoded gives meaningless text, which is left out. */
function* readable(bytes: Buffer): Generator<string> {
  const text = bytes.toString();
  if (text.length >= SHORTEST && !/[\x00-\x08\x0e-\x1f\ufffd]/.test(text)) yield text;
}

function* encodings(value: string): Generator<string> {
  const bytes = Buffer.from(value);
  yield encodeURIComponent(bytes.toString());
  yield JSON.stringify(value).slice(1, -1);
  yield bytes.toString('hex');
  yield [...value].reverse().join('');
  if (/[<>&"']/.test(value)) {
    const entities: Record<string, string> = { '<': '&lt;', '>': '&gt;', '&': '&amp;', '"': '&quot;', "'": '&#39;' };
    yield value.replace(/[<>&"']/g, (char) => entities[char]!);
  }
  // Within a longer encoded text, the value can begin at any of three positions of a base64 group.
  for (let shift = 0; shift < 3 && bytes.length > shift + SHORTEST; shift++) {
    const whole = bytes.subarray(shift, bytes.length - ((bytes.length - shift) % 3)).toString('base64');
    yield whole;
    yield whole.replaceAll('+', '-').replaceAll('/', '_');
  }
  yield bytes.toString('base64');
  yield bytes.toString('base64url');
}

/** The longest value is removed first: otherwise the rest of a value that contains another would not be found. */
function hideExact(text: string, forms: ReadonlySet<string>): string {
  const found = [...forms].filter((form) => text.includes(form)).sort((a, b) => b.length - a.length);
  return found.reduce((rest, form) => (isWord(form) ? hideWord(rest, form) : rest.replaceAll(form, HIDDEN)), text);
}

/** A short value can occur inside a word by chance. */
const isWord = (form: string): boolean => form.length < GRAM && /^[\p{L}\p{N}]+$/u.test(form);

const hideWord = (text: string, word: string): string =>
  text.replace(TOKENS, (token) => (token === word ? HIDDEN : token));

const TOKENS = /[\p{L}\p{N}]+/gu;
const skeleton = (text: string): string => text.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, '');

/** Hides each word that shares a part with a value, ignoring case and punctuation. */
function hideTokens(text: string, forms: ReadonlySet<string>): string {
  const tokens = new Map<string, boolean>();
  const grams = new Map<string, Set<string>>();
  for (const [token] of text.matchAll(TOKENS)) {
    const word = token.toLowerCase();
    if (tokens.has(word)) continue;
    tokens.set(word, false);
    for (let at = 0; at + GRAM <= word.length; at++) {
      const gram = word.slice(at, at + GRAM);
      const words = grams.get(gram);
      // A word can contain one sequence a thousand times.
      if (words === undefined) grams.set(gram, new Set([word]));
      else words.add(word);
    }
  }
  /** Words are hidden once, however often a value contains the sequence. */
  const hideWords = (gram: string): void => {
    const words = grams.get(gram);
    if (words === undefined) return;
    grams.delete(gram);
    for (const word of words) tokens.set(word, true);
  };
  for (const form of forms) {
    const bare = skeleton(form);
    if (tokens.has(bare)) tokens.set(bare, true);
    for (let at = 0; at + GRAM <= bare.length; at++) hideWords(bare.slice(at, at + GRAM));
  }
  const isHidden = (token: string): boolean => tokens.get(token.toLowerCase()) === true;
  // The rest of a partly hidden word may be the rest of a value.
  return text
    .replace(/\S+/g, (word) => {
      if (!word.includes(HIDDEN) && !word.match(TOKENS)?.some(isHidden)) return word;
      const [, before, after] = /^(["'`(]*).*?(["'`),.:;!?]*)$/s.exec(word)!;
      return `${before}${HIDDEN}${after}`;
    })
    .replace(/\u2026(?:\s+\u2026)+/g, HIDDEN);
}
