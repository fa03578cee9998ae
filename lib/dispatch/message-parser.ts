import { isThenable } from '../admission/awaitable.js';
import type { MessageParser } from '../config/code-types.js';
import { countNodes, INDEX_BYTES, indexedObjects, measureStructure, NODE_BYTES, REFUSED } from './json-structure.js';

/** Thrown by a `messageParser`: this peer sends what cannot be understood here. The connection is closed with 1003. */
export class UnsupportedDataError extends Error {
  override readonly name = 'UnsupportedDataError';
}

/** What a message says: which event, with what data. */
export interface Message {
  /** Any JSON value; what a `@SubscribeMessage()` names is found by it, as `Map.get` finds a key. */
  readonly event: unknown;
  readonly data: unknown;
  /** Bytes that its structure is counted as. */
  readonly charge: number;
}

/** A frame that is no message: in silence, as an invalid message, or as data that is not spoken here. */
export type NoMessage = 'dropped' | 'malformed' | 'unsupported';

/**
 * `{ "event": …, "data": … }`, or `undefined` where it is anything else: no JSON, another shape, more than `maxNodes`
 * values and keys, nested more than 256 deep, or with a key that would reach a prototype.
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

/** Of the text that was measured last. */
const chargeOf = (nodes: number): number => nodes * NODE_BYTES + indexedObjects * INDEX_BYTES;

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Reads a message, with the application's own parser where it has one. `failed` is told what that one throws. */
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
    // What a parser makes of binary data, or of text in another language, cannot be known before it has run.
    const nodes = countNodes(content, maxNodes);
    return nodes === REFUSED ? 'malformed' : { event, data: content, charge: nodes * NODE_BYTES };
  } catch (error) {
    if (error instanceof UnsupportedDataError) return 'unsupported';
    failed(error);
    return 'malformed';
  }
}

/** It begins as a JSON object or array does. */
function looksLikeJson(data: Buffer): boolean {
  let at = 0;
  while (at < data.length && data[at]! <= 0x20) at++;
  return data[at] === 0x7b || data[at] === 0x5b;
}

/** An asynchronous parser is a mistake of the application's; its rejection must not end the process. */
function disown(promise: PromiseLike<unknown>): never {
  Promise.resolve(promise).then(undefined, () => undefined);
  throw new TypeError('messageParser returned a promise: it must be synchronous');
}
