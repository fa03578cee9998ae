// @ts-nocheck
import { IncomingMessage } from 'node:http';
import { type ArgumentsHost, Catch, HttpException, IntrinsicException } from '@nestjs/common';
import { BaseWsExceptionFilter, WsException } from '@nestjs/websockets';
import { SecureSocket } from '../connection/secure-socket.js';

/** An error reply is never longer. */
const MAX_REPLY = 1024;
const UNKNOWN = 'Internal server error';

/** Tells the peer that something is wrong with what it sent, repeating nothing of it. */
export function sendException(socket: SecureSocket, message: unknown): void {
  if (socket.readyState !== 1) return;
  socket.send(exceptionText({ status: 'error', message }));
}

function exceptionText(data: unknown): string {
  const text = stringify({ event: 'exception', data });
  if (text !== undefined && Buffer.byteLength(text) <= MAX_REPLY) return text;
  const message = (data as { message?: unknown } | null)?.message;
  return JSON.stringify({ event: 'exception', data: { status: 'error', message: shorten(message) } });
}

function stringify(value: unknown): string | undefined {
  try {
    return JSON.stringify(value);
  } catch {
    return undefined;
  }
}

/** As much of a message, or of a list of messages, as a reply may hold. */
function shorten(message: unknown): unknown {
  if (Array.isArray(message)) {
    let room = MAX_REPLY - 100;
    return message.filter((item) => typeof item === 'string' && (room -= JSON.stringify(item).length * 3) > 0);
  }
  return typeof message === 'string' ? message.slice(0, 150) : UNKNOWN;
}

/**
 * Tried after every filter of the application: what an exception may tell a peer. A `WsException` its own error,
 * an `HttpException` its message, anything else nothing.
 */
@Catch()
export class LastResortFilter extends BaseWsExceptionFilter {
  override catch(exception: unknown, host: ArgumentsHost): void {
    const socket: unknown = host.getArgByIndex(0);
    // The class is used in another application too, with another adapter.
    if (!(socket instanceof SecureSocket)) return super.catch(exception, host);
    if (isOfConnection(host)) return socket.connection.hookFailed(exception);
    if (socket.readyState === 1) socket.send(exceptionText(publicPart(exception)));
    if (isUnknown(exception)) socket.connection.context.telemetry.fault('handler', exception, socket.path);
  }
}

/** Not of a message: `handleConnection` has the request as its second argument. */
export const isOfConnection = (host: ArgumentsHost): boolean => host.getArgByIndex(1) instanceof IncomingMessage;

function publicPart(exception: unknown): unknown {
  if (exception instanceof WsException) {
    const error = exception.getError();
    return typeof error === 'object' ? error : { status: 'error', message: error };
  }
  if (exception instanceof HttpException) return { status: 'error', message: messageOf(exception) };
  return { status: 'error', message: UNKNOWN };
}

function messageOf(exception: HttpException): unknown {
  const response = exception.getResponse();
  if (typeof response === 'string') return response;
  return (response as { message?: unknown }).message ?? exception.message;
}

const isUnknown = (exception: unknown): boolean =>
  !(exception instanceof WsException) &&
  !(exception instanceof HttpException) &&
  !(exception instanceof IntrinsicException);
