// @ts-nocheck
import secureJson from 'secure-json-parse';
import type { MessageParser } from '../config/code-types.js';

/** Thrown by a `messageParser`: this peer sends what cannot be understood here. The connection is closed with 1003. */
export class UnsupportedDataError extends Error {
  override readonly name = 'UnsupportedDataError';
}

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

/** A frame that is no message: in silence, as a strike, or as data that is not spoken here. */
export type NoMessage = 'dropped' | 'malformed' | 'unsupported';

/** Reads `{ event, data }`, with the application's own parser where it has one. `failed` is told what that one throws. */
export function readMessage(
  data: Buffer,
  isBinary: boolean,
  parser: MessageParser | undefined,
  failed: (error: unknown) => void,
): Message | NoMessage {
  if (parser === undefined) return parseMessage(data) ?? 'malformed';
  try {
    const message: unknown = parser(isBinary ? data : data.toString());
    if (typeof message !== 'object' || message === null) return 'dropped';
    if ('then' in message) disown(message as Promise<unknown>);
    return message as Message;
  } catch (error) {
    if (error instanceof UnsupportedDataError) return 'unsupported';
    failed(error);
    return 'malformed';
  }
}

/** An asynchronous parser is a mistake of the application's; its rejection must not end the process. */
function disown(promise: Promise<unknown>): never {
  promise.then(undefined, () => undefined);
  throw new TypeError('messageParser returned a promise: it must be synchronous');
}
