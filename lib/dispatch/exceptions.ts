import { IncomingMessage } from 'node:http';
import { type ArgumentsHost, Catch, HttpException, IntrinsicException } from '@nestjs/common';
import { BaseWsExceptionFilter, WsException } from '@nestjs/websockets';
import { SecureSocket } from '../connection/secure-socket.js';
import { requestValuesOf } from '../telemetry/redact.js';

/** Maximum size of an error reply in bytes. */
const MAX_REPLY = 1024;
export const UNKNOWN_ERROR = 'Internal server error';

/** Sends an `exception` event of this library. It contains no data that the peer has sent. */
export function sendException(socket: SecureSocket, message: string): void {
  if (socket.readyState === 1) socket.send(exceptionText({ status: 'error', message }));
}

/** The part of an exception that a peer may see. */
interface PublicError {
  readonly data: unknown;
  /** The exception is an error in the application, and must be logged. */
  readonly isFault: boolean;
}

const UNKNOWN = { status: 'error', message: UNKNOWN_ERROR };
const FAULT: PublicError = { data: UNKNOWN, isFault: true };

/**
 * The filter that runs after all filters of the application. A `WsException` is answered with its own error, as in
 * Nest, an `HttpException` with a 4xx status with its message, and everything else with "Internal server error", and is
 * logged.
 */
@Catch()
export class LastResortFilter extends BaseWsExceptionFilter {
  override catch(exception: unknown, host: ArgumentsHost): void {
    const socket: unknown = host.getArgByIndex(0);
    // The class is also used in another application, with another adapter.
    if (!(socket instanceof SecureSocket)) return super.catch(exception, host);
    if (isOfConnection(host)) return socket.connection.hookFailed(exception, requestValuesOf(host.getArgByIndex(1)));
    const { data, isFault } = publicError(exception);
    if (socket.readyState === 1) socket.send(exceptionText(data));
    if (isFault) socket.connection.fault('handler', exception);
  }
}

/** Whether the exception is not that of a message: the second argument of `handleConnection` is the request. */
export const isOfConnection = (host: ArgumentsHost): boolean => host.getArgByIndex(1) instanceof IncomingMessage;

/** Reads an exception. The application threw it, so every access to it can throw again. */
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

/** Whether to log an exception that Nest's own filter has answered without details. */
export function isFault(exception: unknown): boolean {
  try {
    return !isQuiet(exception) && clientErrorOf(exception) === undefined;
  } catch {
    return true;
  }
}

/**
 * Nest does not log an `IntrinsicException`. Its `HttpException` is one, but with a status of 500 or more it is an
 * error in the application.
 */
const isQuiet = (exception: unknown): boolean =>
  exception instanceof IntrinsicException && !(exception instanceof HttpException);

const dataOf = (error: unknown): unknown =>
  typeof error === 'object' && error !== null ? error : { status: 'error', message: error };

/**
 * The message of an `HttpException` with a 4xx status, from any copy of Nest. The message of a `ValidationPipe` is a
 * list.
 */
function clientErrorOf(exception: unknown): unknown {
  const { getStatus, getResponse, message } = (exception ?? {}) as Record<string, unknown>;
  if (typeof getStatus !== 'function' || typeof getResponse !== 'function') return undefined;
  const status: unknown = getStatus.call(exception);
  if (!Number.isInteger(status) || (status as number) < 400 || (status as number) > 499) return undefined;
  const response: unknown = getResponse.call(exception);
  if (typeof response === 'string') return response;
  return (response as { message?: unknown } | null)?.message ?? message;
}

/** The text of an `exception` event, truncated if it is too long. */
function exceptionText(data: unknown): string {
  const text = stringify(data);
  if (text !== undefined && Buffer.byteLength(text) <= MAX_REPLY) return text;
  // The result of JSON.parse is plain data: it can be read and truncated without running code of the application.
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

/** The text for an error that cannot be converted to JSON. */
function messageOnly(data: unknown): unknown {
  try {
    const { message } = data as { message?: unknown };
    return { status: 'error', message: typeof message === 'string' ? message : UNKNOWN_ERROR };
  } catch {
    return UNKNOWN;
  }
}

/** Bytes available for the content of a truncated reply; the rest is for its frame. */
const ROOM = 940;
/** Maximum bytes of one string in it, so that later values still fit. */
const LONGEST_TEXT = 700;
const ELLIPSIS = '…';

/** Copies as much of a JSON value as fits, from its beginning. */
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

/** The beginning of a string that takes at most the given number of bytes as JSON, without the quotes. */
function cut(text: string, max: number): string {
  if (text.length <= max && bytesOf(text) - 2 <= max) return text;
  const room = max - Buffer.byteLength(ELLIPSIS);
  let head = text.slice(0, Math.max(0, room));
  for (let bytes = bytesOf(head) - 2; bytes > room; bytes = bytesOf(head) - 2)
    head = head.slice(0, Math.min(head.length - 1, Math.floor((head.length * room) / bytes)));
  // A surrogate pair is kept or dropped as a whole.
  return head.replace(/[\ud800-\udbff]$/, '') + ELLIPSIS;
}
