// @ts-nocheck
import { type IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { factsOf, type UpgradeAttempt } from '../admission/attempt.js';
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

/** The upgrade request as one of Nest's HTTP guards expects it; several guards of one attempt see the same one. */
export type GuardRequest = IncomingMessage & { user?: unknown; ip?: string; protocol?: string; secure?: boolean };

const requests = new WeakMap<UpgradeAttempt, GuardRequest>();

export function requestOf(attempt: UpgradeAttempt): GuardRequest {
  let request = requests.get(attempt);
  if (request === undefined) requests.set(attempt, (request = makeRequest(attempt)));
  return request;
}

function makeRequest(attempt: UpgradeAttempt): GuardRequest {
  const { path, rawQuery } = factsOf(attempt);
  // A socket of its own: what a guard does to it reaches nobody.
  const request: GuardRequest = new IncomingMessage(new Socket());
  request.method = 'GET';
  request.url = rawQuery === '' ? path : `${path}?${rawQuery}`;
  request.httpVersion = '1.1';
  request.httpVersionMajor = request.httpVersionMinor = 1;
  request.rawHeaders = [...attempt.rawHeaders];
  request.headers = { ...attempt.headers };
  request.complete = true;
  if (attempt.principal !== undefined) request.user = attempt.principal;
  return request;
}

/** A response that cannot be written: an admission guard answers by what it returns or throws. */
export function refusingResponse(): ServerResponse {
  const response = new ServerResponse(new IncomingMessage(new Socket()));
  for (const method of [
    'write',
    'end',
    'writeHead',
    'setHeader',
    'appendHeader',
    'flushHeaders',
    'writeContinue',
    'writeProcessing',
    'writeEarlyHints',
  ] as const) {
    Object.defineProperty(response, method, { value: refuseWrite });
  }
  return response;
}

function refuseWrite(): never {
  throw new Error('There is no response before the upgrade: return false, or throw an HttpException');
}
