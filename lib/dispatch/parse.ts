import secureJson from 'secure-json-parse';

/** What a message says: which event, with what data. */
export interface Message {
  readonly event: unknown;
  readonly data?: unknown;
}

/** Deeper than any honest message; code that walks a value recursively still has room. */
const MAX_DEPTH = 256;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/**
 * `{ "event": "…", "data": … }`, or `undefined` where it is anything else: no JSON, another shape, nested more than
 * 256 deep, or with a key that would reach a prototype.
 */
export function parseMessage(data: Buffer): Message | undefined {
  if (data.length > MAX_DEPTH && isTooDeep(data)) return undefined;
  const value: unknown = parseJson(data.toString());
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  return typeof (value as Message).event === 'string' ? (value as Message) : undefined;
}

function parseJson(text: string): unknown {
  try {
    return secureJson.parse(text, PARSE_OPTIONS);
  } catch {
    return undefined;
  }
}

const PARSE_OPTIONS = { protoAction: 'error', constructorAction: 'error' } as const;

/** Counts open brackets outside of strings, on the bytes: no character of UTF-8 hides one. */
export function isTooDeep(data: Buffer): boolean {
  let depth = 0;
  for (let i = 0; i < data.length; i++) {
    const byte = data[i]!;
    if (byte === QUOTE) {
      i = endOfString(data, i + 1);
      if (i < 0) return false;
    } else if (byte === 0x5b || byte === 0x7b) {
      if (++depth > MAX_DEPTH) return true;
    } else if (byte === 0x5d || byte === 0x7d) depth--;
  }
  return false;
}

/** The place of the quote that ends a string, or -1. */
function endOfString(data: Buffer, from: number): number {
  for (let at = data.indexOf(QUOTE, from); at >= 0; at = data.indexOf(QUOTE, at + 1)) {
    let slashes = 0;
    while (at - 1 - slashes >= from && data[at - 1 - slashes] === BACKSLASH) slashes++;
    if (slashes % 2 === 0) return at;
  }
  return -1;
}
