import { type IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { lowerCaseHeaders } from '../http/fields.js';
import type { RequestHead } from '../http/head.js';

/** An upgrade request as hooks know it: its headers are sorted when they are first read. Its body is empty. */
class UpgradeMessage extends IncomingMessage {
  sorted: IncomingHttpHeaders | undefined = undefined;

  constructor({ method, target, version, rawHeaders }: RequestHead, socket: Socket) {
    super(socket);
    this.method = method;
    this.url = target;
    this.httpVersion = version;
    this.httpVersionMajor = this.httpVersionMinor = 1;
    this.rawHeaders = rawHeaders as string[];
    this.complete = true;
  }
}

Object.defineProperty(UpgradeMessage.prototype, 'headers', {
  configurable: true,
  get(this: { sorted: IncomingHttpHeaders | undefined; rawHeaders: string[] }): IncomingHttpHeaders {
    return (this.sorted ??= { ...lowerCaseHeaders(this.rawHeaders) });
  },
  set(this: { sorted: IncomingHttpHeaders | undefined }, headers: IncomingHttpHeaders) {
    this.sorted = headers;
  },
});

export const toIncomingMessage = (head: RequestHead, socket: Socket): IncomingMessage =>
  new UpgradeMessage(head, socket);
