import { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { RequestHead } from '../request/head.js';
import { lowerCaseHeaders } from '../request/headers.js';

/** The upgrade request in the form in which Nest's hooks and guards know it. Its body is empty. */
export function toIncomingMessage(head: RequestHead, socket: Socket): IncomingMessage {
  const request = new IncomingMessage(socket);
  request.method = head.method;
  request.url = head.target;
  request.httpVersion = head.version;
  request.httpVersionMajor = 1;
  request.httpVersionMinor = 1;
  request.rawHeaders = [...head.rawHeaders];
  request.headers = { ...lowerCaseHeaders(head.rawHeaders) };
  request.complete = true;
  return request;
}
