import { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { parse as parseQuery } from 'node:querystring';
import { factsOf, type UpgradeAttempt } from '../admission/attempt.js';

/**
 * The upgrade request in the form that Nest's HTTP guards expect: an `IncomingMessage` with the properties that Express
 * and Fastify add, with values as the admission determined them. Properties that are unknown here, or that a middleware
 * would have added, throw when they are read, so that a guard does not mistake an unknown value for an absent one.
 * Guards may set `user`.
 */
export type GuardRequest = IncomingMessage & { user?: unknown };

/** The request and response objects of one attempt, which all its guards share. */
interface StandIns {
  readonly request: GuardRequest;
  readonly response: ServerResponse;
}

const standIns = new WeakMap<UpgradeAttempt, StandIns>();

function standInsOf(attempt: UpgradeAttempt): StandIns {
  let made = standIns.get(attempt);
  if (made === undefined) {
    const request = makeRequest(attempt);
    standIns.set(attempt, (made = { request, response: makeResponse(request) }));
    (request as { res?: unknown }).res = made.response;
  }
  return made;
}

export const requestOf = (attempt: UpgradeAttempt): GuardRequest => standInsOf(attempt).request;

/** The response object, which cannot be written: an admission guard answers by its result or by throwing. */
export const responseOf = (attempt: UpgradeAttempt): ServerResponse => standInsOf(attempt).response;

/** Properties that promises, `JSON.stringify`, inspection and test runners read on every object: they are absent. */
const PROBED = new Set(['then', 'toJSON', 'inspect', 'asymmetricMatch', '$$typeof', 'nodeType', 'tagName']);
/** Passport reads these properties before it sets them itself. */
const WRITTEN_BY_PASSPORT = new Set(['login', 'logIn', 'logout', 'logOut', 'isAuthenticated', 'isUnauthenticated']);

/**
 * Returns a proxy on which reading unknown properties throws; writing is allowed. Methods of its class are called on
 * the object itself.
 */
function strict<T extends object>(target: T, what: string): T {
  return new Proxy(target, {
    get(_, name) {
      if (!(name in target)) return absent(what, name);
      const value: unknown = Reflect.get(target, name, target);
      const isOwn = Object.hasOwn(target, name);
      return typeof value === 'function' && !isOwn && name !== 'constructor' ? value.bind(target) : value;
    },
    set: (_, name, value) => Reflect.set(target, name, value, target),
  });
}

function absent(what: string, name: string | symbol): undefined {
  if (typeof name === 'symbol' || PROBED.has(name) || WRITTEN_BY_PASSPORT.has(name)) return undefined;
  throw new Error(
    `${what}.${name} is not known before the upgrade: use the UpgradeAttempt in an AdmissionGuard, or move the check to a guard of the message handlers`,
  );
}

/** A request whose body is empty. */
class UpgradeRequest extends IncomingMessage {
  override _read(): void {
    this.push(null);
  }

  /** An error that a guard's listener throws is ignored: no caller could catch it, and it would end the process. */
  override emit(event: string | symbol, ...args: unknown[]): boolean {
    try {
      return super.emit(event, ...args);
    } catch {
      return true;
    }
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    done(error);
  }
}

function makeRequest(attempt: UpgradeAttempt): GuardRequest {
  const { path, rawQuery, protocols, viaProxy } = factsOf(attempt);
  const target = rawQuery === '' ? path : `${path}?${rawQuery}`;
  const request = new UpgradeRequest(undefined as unknown as Socket);
  // An error with which a guard destroys it is not reported.
  request.on('error', () => undefined);
  const headers = { ...attempt.headers };
  const proxy = strict(request, 'request') as GuardRequest;
  const socket = socketOf(attempt);
  const facts = {
    socket,
    client: socket,
    method: 'GET',
    url: target,
    originalUrl: target,
    baseUrl: '',
    httpVersion: '1.1',
    httpVersionMajor: 1,
    httpVersionMinor: 1,
    rawHeaders: [...attempt.rawHeaders],
    headers,
    complete: true,
    upgrade: true,
    body: undefined,
    params: { ...attempt.params },
    path,
    query: parseQuery(rawQuery),
    cookies: { ...attempt.cookies },
    ip: attempt.ip,
    ips: viaProxy ? [attempt.ip] : [],
    protocol: attempt.secure ? 'https' : 'http',
    secure: attempt.secure,
    host: attempt.host,
    hostname: hostnameOf(attempt),
    port: factsOf(attempt).host.port ?? null,
    xhr: headers['x-requested-with']?.toLowerCase() === 'xmlhttprequest',
    user: attempt.principal,
    raw: proxy,
    get: (name: string) => header(headers, name),
    header: (name: string) => header(headers, name),
    // Without a body, there is no content type.
    is: () => null,
    protocols: [...protocols],
  };
  for (const [name, value] of Object.entries(facts))
    Object.defineProperty(request, name, { value, configurable: true, enumerable: true, writable: true });
  // A property of IncomingMessage from Node 24 on: it aborts when the peer leaves.
  Object.defineProperty(request, 'signal', { get: () => attempt.signal, configurable: true, enumerable: true });
  return proxy;
}

/** Reads a header as in Express, with both spellings of `Referer`. */
function header(headers: Readonly<Record<string, string>>, name: string): string | undefined {
  if (typeof name !== 'string' || name === '') throw new TypeError('the name of a header must be a string');
  const lower = name.toLowerCase();
  if (lower === 'referer' || lower === 'referrer') return headers['referrer'] || headers['referer'];
  return Object.hasOwn(headers, lower) ? headers[lower] : undefined;
}

const hostnameOf = (attempt: UpgradeAttempt): string => factsOf(attempt).host.name;

/** The addresses and ports of both ends of TCP, as far as they are known, and TLS. Nothing can be written. */
function socketOf(attempt: UpgradeAttempt): object {
  const { tls, socketAddresses: ends } = factsOf(attempt);
  const { remoteAddress } = attempt;
  const { certificate } = attempt;
  const known = {
    remoteAddress,
    remoteFamily: remoteAddress.includes(':') ? 'IPv6' : 'IPv4',
    ...ends?.(),
    encrypted: tls,
    ...(tls && {
      authorized: certificate !== undefined,
      getPeerCertificate: () => certificate ?? {},
    }),
    destroyed: false,
  };
  return strict(known, 'request.socket');
}

const WRITING = [
  'write',
  'end',
  'writeHead',
  'setHeader',
  'setHeaders',
  'appendHeader',
  'removeHeader',
  'flushHeaders',
  'addTrailers',
  'writeContinue',
  'writeProcessing',
  'writeInformation',
  'writeEarlyHints',
  'assignSocket',
  'pipe',
] as const;

function makeResponse(request: GuardRequest): ServerResponse {
  const { socket } = request;
  const response = new ServerResponse({ method: 'GET', httpVersionMajor: 1, httpVersionMinor: 1 } as IncomingMessage);
  for (const name of WRITING) Object.defineProperty(response, name, { value: refuseWrite });
  for (const [name, value] of Object.entries({ req: request, socket }))
    Object.defineProperty(response, name, { value, configurable: true, enumerable: true, writable: true });
  const proxy: ServerResponse = strict(response, 'response');
  Object.defineProperty(response, 'raw', { value: proxy });
  return new Proxy(proxy, { set: refuseWrite });
}

function refuseWrite(): never {
  throw new Error('There is no response before the upgrade: return false, or throw an HttpException');
}
