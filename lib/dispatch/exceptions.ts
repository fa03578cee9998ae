import { IncomingMessage } from 'node:http';
import { type ArgumentsHost, Catch, HttpException, IntrinsicException } from '@nestjs/common';
import { BaseWsExceptionFilter, WsException } from '@nestjs/websockets';
import { SecureSocket } from '../connection/secure-socket.js';
import { requestValuesOf } from '../telemetry/redact.js';

/** Bytes of an error reply, at most. */
const MAX_REPLY = 1024;
export const UNKNOWN_ERROR = 'Internal server error';

/** Sends an `exception` event of the library's own; it repeats nothing of what the peer has sent. */
export function sendException(socket: SecureSocket, message: string): void {
  if (socket.readyState === 1) socket.send(exceptionText({ status: 'error', message }));
}

/** What an exception may tell a peer. */
interface PublicError {
  readonly data: unknown;
  /** A mistake of the application's, for its log. */
  readonly isFault: boolean;
}

const UNKNOWN = { status: 'error', message: UNKNOWN_ERROR };
const FAULT: PublicError = { data: UNKNOWN, isFault: true };

/**
 * Tried after every filter of the application: a `WsException` answers with its own error, as in Nest, an
 * `HttpException` of 4xx with its message, and everything else with "Internal server error", and is logged.
 */
@Catch()
export class LastResortFilter extends BaseWsExceptionFilter {
  override catch(exception: unknown, host: ArgumentsHost): void {
    const socket: unknown = host.getArgByIndex(0);
    // The class is used in another application too, with another adapter.
    if (!(socket instanceof SecureSocket)) return super.catch(exception, host);
    if (isOfConnection(host)) return socket.connection.hookFailed(exception, requestValuesOf(host.getArgByIndex(1)));
    const { data, isFault } = publicError(exception);
    if (socket.readyState === 1) socket.send(exceptionText(data));
    if (isFault) socket.connection.context.telemetry.fault('handler', exception, socket.route);
  }
}

/** Not of a message: `handleConnection` has the request as its second argument. */
export const isOfConnection = (host: ArgumentsHost): boolean => host.getArgByIndex(1) instanceof IncomingMessage;

/** An exception is what the application has thrown: each look at it may throw again. */
function publicError(exception: unknown): PublicError {
  try {
    if (exception instanceof WsException) return { data: dataOf(exception.getError()), isFault: false };
    const message = clientErrorOf(exception);
    if (message !== undefined) return { data: { status: 'error', message }, isFault: false };
    return isQuiet(exception) ? { data: UNKNOWN, isFault: false } : FAULT;
  } catch {
    return FAULT;
  }
}

/** Whether an exception is to be logged where Nest's own filter has answered it, which tells the peer nothing of it. */
export function isFault(exception: unknown): boolean {
  try {
    return !isQuiet(exception) && clientErrorOf(exception) === undefined;
  } catch {
    return true;
  }
}

/** Nest logs no `IntrinsicException`; its `HttpException` is one, and a mistake of the application's from 500 on. */
const isQuiet = (exception: unknown): boolean =>
  exception instanceof IntrinsicException && !(exception instanceof HttpException);

const dataOf = (error: unknown): unknown =>
  typeof error === 'object' && error !== null ? error : { status: 'error', message: error };

/** The message of an `HttpException` of 4xx, from whichever copy of Nest; a `ValidationPipe` gives a list of them. */
function clientErrorOf(exception: unknown): unknown {
  const { getStatus, getResponse, message } = (exception ?? {}) as Record<string, unknown>;
  if (typeof getStatus !== 'function' || typeof getResponse !== 'function') return undefined;
  const status: unknown = getStatus.call(exception);
  if (!Number.isInteger(status) || (status as number) < 400 || (status as number) > 499) return undefined;
  const response: unknown = getResponse.call(exception);
  if (typeof response === 'string') return response;
  return (response as { message?: unknown } | null)?.message ?? message;
}

/** The text of an `exception` event, cut where it is too long. */
function exceptionText(data: unknown): string {
  const text = stringify(data);
  if (text !== undefined && Buffer.byteLength(text) <= MAX_REPLY) return text;
  // What JSON has said is plain data: it can be read, and cut, without running code of the application's.
  const plain = text === undefined ? messageOnly(data) : (JSON.parse(text) as { data: unknown }).data;
  return stringify(clip(plain, { left: ROOM }))!;
}

function stringify(data: unknown): string | undefined {
  try {
    return JSON.stringify({ event: 'exception', data });
  } catch {
    return undefined;
  }
}

/** For an error that JSON cannot say. */
function messageOnly(data: unknown): unknown {
  try {
    const { message } = data as { message?: unknown };
    return { status: 'error', message: typeof message === 'string' ? message : UNKNOWN_ERROR };
  } catch {
    return UNKNOWN;
  }
}

/** Bytes for the content of a reply that is cut; the rest is for its frame. */
const ROOM = 940;
/** … of which one text takes no more than this, so that what stands behind it is not lost. */
const LONGEST_TEXT = 700;
const ELLIPSIS = '…';

/** As much of a JSON value as there is room for, from its beginning. */
function clip(value: unknown, room: { left: number }): unknown {
  if (typeof value === 'string') {
    const text = cut(value, Math.min(LONGEST_TEXT, room.left - 3));
    room.left -= bytesOf(text) + 3;
    return text;
  }
  if (typeof value !== 'object' || value === null) {
    room.left -= bytesOf(value) + 1;
    return value;
  }
  room.left -= 2;
  if (Array.isArray(value)) {
    const items: unknown[] = [];
    for (const item of value) {
      if (room.left <= 0) break;
      items.push(clip(item, room));
    }
    return items;
  }
  const entries: [string, unknown][] = [];
  for (const [key, content] of Object.entries(value)) {
    room.left -= bytesOf(key) + 2;
    if (room.left <= 0) break;
    entries.push([key, clip(content, room)]);
  }
  return Object.fromEntries(entries);
}

const bytesOf = (value: unknown): number => Buffer.byteLength(JSON.stringify(value));

/** The beginning of a text that takes at most so many bytes as JSON, quotes apart. */
function cut(text: string, max: number): string {
  if (text.length <= max && bytesOf(text) - 2 <= max) return text;
  const room = max - Buffer.byteLength(ELLIPSIS);
  let head = text.slice(0, Math.max(0, room));
  for (let bytes = bytesOf(head) - 2; bytes > room; bytes = bytesOf(head) - 2)
    head = head.slice(0, Math.min(head.length - 1, Math.floor((head.length * room) / bytes)));
  // A surrogate pair is kept or left out as a whole.
  return head.replace(/[\ud800-\udbff]$/, '') + ELLIPSIS;
}
