import { IncomingMessage, ServerResponse } from 'node:http';
import { createRequire } from 'node:module';
import { Socket } from 'node:net';
import { describe, expect, it } from '@jest/globals';
import fastify from 'fastify';
import { requestOf, responseOf } from '../../../lib/handshake/guard-request.js';
import { attempt } from '../../../lib/testing/attempt.js';

const made = (options: Parameters<typeof attempt>[0] = {}) =>
  requestOf(attempt(options)) as unknown as Record<string, unknown> & IncomingMessage;

/** All property names of an object and its prototypes, without Object.prototype. */
function namesOf(object: object): string[] {
  const names = new Set<string>();
  for (let holder = object; holder !== Object.prototype && holder !== null; holder = Object.getPrototypeOf(holder))
    for (const name of Object.getOwnPropertyNames(holder)) names.add(name);
  names.delete('constructor');
  return [...names];
}

/** Fastify creates its request class per server, so an instance is needed. */
async function fastifyRequest(): Promise<object> {
  const app = fastify();
  let seen: object | undefined;
  app.get('/', (request) => {
    seen = request;
    return '';
  });
  await (await fetch(await app.listen({ port: 0, host: '127.0.0.1' }))).text();
  await app.close();
  return seen!;
}

/** Properties that are correctly undefined or null before the upgrade. */
const ABSENT = new Set([
  'body', // it has none
  'user', // nobody has said who it is
  'errored',
  'readableFlowing',
  'readableEncoding',
  'closed',
  // Parts of Node's streams and events that an empty stream has in this state.
  '_events',
  '_maxListeners',
  '_consumed',
  '_dumped',
  'statusCode',
  'statusMessage',
  'port', // Fastify's: null where `Host` names none
  'joinDuplicateHeaders',
]);

describe('the request passed to Nest guards', () => {
  const expressRequest = (createRequire(import.meta.url)('express') as { request: object }).request;

  it.each([
    ['Express', async () => expressRequest],
    ['Fastify', fastifyRequest],
    ['Node', async () => new IncomingMessage(new Socket())],
  ])('has every property of %s’s request, or throws', async (_, like) => {
    const request = made();
    const silent: string[] = [];
    for (const name of namesOf(await like())) {
      let value: unknown;
      try {
        value = request[name];
      } catch (error) {
        expect((error as Error).message).toBe(
          `request.${name} is not known before the upgrade: use the UpgradeAttempt in an AdmissionGuard, or move the check to a guard of the message handlers`,
        );
        continue;
      }
      if (value === undefined || value === null) silent.push(name);
    }
    expect(silent.filter((name) => !ABSENT.has(name))).toEqual([]);
  });

  it('throws for any property that a middleware would have added', () => {
    const request = made();
    for (const name of ['session', 'signedCookies', 'csrfToken', 'tenant', 'files', 'cls', 'id', 'log', 'server'])
      expect(() => request[name]).toThrow(`request.${name} is not known before the upgrade`);
    expect(() => (request.socket as unknown as { session: unknown }).session).toThrow('request.socket.session');
    expect('session' in request).toBe(false);
  });

  it('can be awaited, inspected and serialised, and is an IncomingMessage', async () => {
    const request = made({ path: '/a?b=1' });
    expect(await request).toBe(request);
    expect(request).toBeInstanceOf(IncomingMessage);
    expect(request.constructor.name).toBe('UpgradeRequest');
    expect(String(request)).toBe('[object Object]');
    const chunks: unknown[] = [];
    for await (const chunk of request) chunks.push(chunk);
    expect(chunks).toEqual([]);
    const destroyed = made();
    expect(() => destroyed.destroy(new Error('mine'))).not.toThrow();
    await new Promise(setImmediate);
  });

  it('reports what the admission decided', () => {
    const request = made({
      path: '/rooms?a=1&a=2&b=%20',
      ip: '203.0.113.7',
      remoteAddress: '10.0.0.1',
      secure: true,
      host: 'app.example:8443',
      headers: { Referer: 'http://r.example/', 'X-Requested-With': 'XMLHttpRequest', 'X-A': ['1', '2'] },
      cookies: { sid: 'x y' },
    });
    expect(request).toMatchObject({
      method: 'GET',
      url: '/rooms?a=1&a=2&b=%20',
      originalUrl: '/rooms?a=1&a=2&b=%20',
      path: '/rooms',
      ip: '203.0.113.7',
      ips: ['203.0.113.7'],
      protocol: 'https',
      secure: true,
      host: 'app.example:8443',
      hostname: 'app.example',
      port: 8443,
      xhr: true,
      httpVersion: '1.1',
      upgrade: true,
    });
    expect({ ...(request['query'] as object) }).toEqual({ a: ['1', '2'], b: ' ' });
    expect(request['cookies']).toMatchObject({ sid: 'x y' });
    const { get, header, is } = request as unknown as Record<string, (name: string) => unknown>;
    expect([get!('X-A'), header!('x-a'), get!('referrer'), get!('none'), is!('json')]).toEqual([
      '1, 2',
      '1, 2',
      'http://r.example/',
      undefined,
      null,
    ]);
    for (const name of ['__proto__', 'constructor', 'toString']) expect(get!(name)).toBeUndefined();
    for (const socket of [request.socket, request.connection, request['client'] as Socket])
      expect(socket).toMatchObject({ remoteAddress: '10.0.0.1', remoteFamily: 'IPv4', encrypted: false });
    expect(request['raw']).toBe(request);
  });

  it('keeps what a guard writes for the next guard', () => {
    const one = attempt();
    const request = requestOf(one) as unknown as Record<string, unknown>;
    request['user'] = { id: 7 };
    request['mine'] = 1;
    expect(requestOf(one)).toMatchObject({ user: { id: 7 }, mine: 1 });
    request['logIn'] = request['logIn'] ?? 'passport does this';
    expect(request['logIn']).toBe('passport does this');
  });
});

describe('the response passed to Nest guards', () => {
  it('can be read but not written', () => {
    const response = responseOf(attempt()) as unknown as Record<string, unknown>;
    expect(response).toBeInstanceOf(ServerResponse);
    expect([response['headersSent'], response['statusCode']]).toEqual([false, 200]);
    for (const name of ['write', 'end', 'setHeader', 'writeHead', 'flushHeaders', 'writeEarlyHints', 'removeHeader'])
      expect(() => (response[name] as () => void)()).toThrow('There is no response before the upgrade');
    expect(() => {
      response['statusCode'] = 200;
    }).toThrow('There is no response before the upgrade');
    for (const name of ['status', 'json', 'send', 'cookie', 'redirect', 'locals', 'code', 'log'])
      expect(() => response[name]).toThrow(`response.${name} is not known`);
    expect(response['raw']).toMatchObject({ statusCode: 200 });
    expect((response['socket'] as Socket).remoteAddress).toBe('127.0.0.1');
  });
});
