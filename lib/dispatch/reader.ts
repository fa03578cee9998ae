import type { MessageParser } from '../options/code-types.js';
import { type Message, parseMessage } from './parse.js';
import { UnsupportedDataError } from './unsupported-data.error.js';

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
