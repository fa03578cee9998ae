import { isThenable } from '../admission/awaitable.js';
import type { MessageParser } from '../config/code-types.js';
import { countNodes, indexBytes, measureStructure, NODE_BYTES, REFUSED } from './json-structure.js';

/**
 * Thrown by a `messageParser` to close the connection with 1003, because the peer sends data that this endpoint cannot
 * handle.
 */
export class UnsupportedDataError extends Error {
  override readonly name = 'UnsupportedDataError';
}

/** A parsed message: an event and its data. */
export interface Message {
  /** Any JSON value; handlers are found by it as `Map.get` finds a key. */
  readonly event: unknown;
  readonly data: unknown;
  /** Bytes that the structure of the message counts. */
  readonly charge: number;
}

/** Results for a frame that is not a message: ignored silently, an invalid message, or unsupported data. */
export type NoMessage = 'dropped' | 'malformed' | 'unsupported';

/**
 * Parses `{ "event": …, "data": … }`. Returns `undefined` for anything else: invalid JSON, another shape, more than
 * `maxNodes` values and keys, nesting deeper than 256, a key that would reach a prototype, or a structure that takes too
 * much memory for its text.
 */
export function parseMessage(data: Buffer, maxNodes: number): Message | undefined {
  const nodes = measureStructure(data, maxNodes);
  // protection: the structure of a message is measured
  if (nodes === REFUSED) return undefined;
  // end protection
  const charge = chargeOf(nodes);
  const value = parseJson(data.toString());
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, 'event')) return undefined;
  const { event, data: content } = value as Message;
  return { event, data: content, charge };
}

/** The structure bytes of the last measured text. */
const chargeOf = (nodes: number): number => nodes * NODE_BYTES + indexBytes;

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/**
 * Parses a message, with the application's own parser if it has one. `failed` is called with an error that this parser
 * throws.
 */
export function readMessage(
  data: Buffer,
  isBinary: boolean,
  parser: MessageParser | undefined,
  maxNodes: number,
  failed: (error: unknown) => void,
): Message | NoMessage {
  if (parser === undefined) return parseMessage(data, maxNodes) ?? 'malformed';
  const isJson = !isBinary && looksLikeJson(data);
  const measured = isJson ? measureStructure(data, maxNodes) : 0;
  if (measured === REFUSED) return 'malformed';
  const charge = isJson ? chargeOf(measured) : 0;
  try {
    const message: unknown = parser(isBinary ? data : data.toString());
    if (typeof message !== 'object' || message === null) return 'dropped';
    // protection: an asynchronous parser ends no process
    if (isThenable(message)) return disown(message);
    // end protection
    const { event, data: content } = message as Message;
    if (isJson) return { event, data: content, charge };
    // The structure of binary data, or of text in another format, is only known after the parser has run.
    const nodes = countNodes(content, maxNodes);
    return nodes === REFUSED ? 'malformed' : { event, data: content, charge: nodes * NODE_BYTES };
  } catch (error) {
    if (error instanceof UnsupportedDataError) return 'unsupported';
    failed(error);
    return 'malformed';
  }
}

/** Whether the data begins like a JSON object or array. */
function looksLikeJson(data: Buffer): boolean {
  let at = 0;
  while (at < data.length && data[at]! <= 0x20) at++;
  return data[at] === 0x7b || data[at] === 0x5b;
}

/** An asynchronous parser is an error in the application; its rejection must not end the process. */
function disown(promise: PromiseLike<unknown>): never {
  Promise.resolve(promise).then(undefined, () => undefined);
  throw new TypeError('messageParser returned a promise: it must be synchronous');
}
