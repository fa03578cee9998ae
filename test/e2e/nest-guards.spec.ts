import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { type CanActivate, type ExecutionContext, Injectable, Logger } from '@nestjs/common';
import { SecureGateway, UseAdmissionGuards } from 'nest-secure-ws';
import { NEVER, Observable, of } from 'rxjs';
import { eventually, PLATFORMS, startApp, type TestApp } from '../support/app.js';
import { type HeadOptions, RawClient, upgradeHead } from '../support/raw-client.js';

/** Nest guards before the upgrade, in whole applications: what they read, return and throw. */
interface Seen extends Record<string, unknown> {
  socket: Record<string, unknown>;
  get(name: string): string | undefined;
}

const guard: { decide: (request: Seen, context: ExecutionContext) => unknown } = { decide: () => true };

@Injectable()
class AnyGuard implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    return guard.decide(context.switchToHttp().getRequest<Seen>(), context) as boolean;
  }
}

@SecureGateway({ path: '/guarded', connections: { guardTimeout: '1s' } })
@UseAdmissionGuards(AnyGuard)
class GuardedGateway {}

describe.each(PLATFORMS)('Nest guards on %s', (platform) => {
  let app: TestApp;
  let warn: jest.SpiedFunction<Logger['warn']>;
  beforeAll(async () => {
    warn = jest.spyOn(Logger.prototype, 'warn').mockImplementation(() => {});
    app = await startApp({
      platform,
      gateways: [GuardedGateway],
      options: {
        connections: { rate: '10000/1s', allowedOrigins: ['*'] },
        proxy: { trusted: ['127.0.0.2'] },
        bans: { failures: null },
      },
    });
  });
  afterAll(async () => {
    await app.close();
    warn.mockRestore();
  });
  afterEach(() => eventually(() => app.stats().pending === 0 && app.stats().connections === 0));

  async function ask(head: HeadOptions = {}, localAddress?: string): Promise<number> {
    const client = await RawClient.connect({ port: app.port, ...(localAddress && { localAddress }) });
    const { status } = await client.upgrade(upgradeHead(app.port, { path: '/guarded', ...head }));
    client.destroy();
    return status;
  }

  it('read the address, the scheme, the host, the query and the cookies', async () => {
    const names = [
      'ip',
      'ips',
      'protocol',
      'secure',
      'hostname',
      'host',
      'path',
      'url',
      'originalUrl',
      'cookies',
      'params',
    ];
    let seen: Record<string, unknown> = {};
    guard.decide = (request) => {
      const { remoteAddress, remotePort, localAddress, localPort, encrypted } = request.socket;
      seen = {
        ...Object.fromEntries(names.map((name) => [name, request[name as keyof typeof request]])),
        agent: request.get('User-Agent'),
        query: { ...(request.query as object) },
        socket: { remoteAddress, remotePort: typeof remotePort, localAddress, localPort, encrypted },
      };
      return true;
    };
    const headers = { Host: `app.example:${app.port}`, Cookie: 'a=1; b=%20', 'User-Agent': 'test' };
    expect(await ask({ path: '/guarded?x=1&x=2', headers })).toBe(101);
    const common = {
      hostname: 'app.example',
      host: `app.example:${app.port}`,
      path: '/guarded',
      url: '/guarded?x=1&x=2',
      originalUrl: '/guarded?x=1&x=2',
      query: { x: ['1', '2'] },
      params: {},
      agent: 'test',
    };
    const socket = {
      remotePort: 'number',
      localPort: app.port,
      localAddress: expect.stringContaining('127.0.0.'),
      encrypted: false,
    };
    expect(seen).toMatchObject({
      ...common,
      ip: '127.0.0.1',
      ips: [],
      protocol: 'http',
      secure: false,
      socket: { ...socket, remoteAddress: '127.0.0.1' },
    });
    expect(seen['cookies']).toMatchObject({ a: '1' });
    const proxied = { ...headers, 'X-Forwarded-For': '203.0.113.9', 'X-Forwarded-Proto': 'https' };
    expect(await ask({ path: '/guarded?x=1&x=2', headers: proxied }, '127.0.0.2')).toBe(101);
    expect(seen).toMatchObject({
      ...common,
      ip: '203.0.113.9',
      ips: ['203.0.113.9'],
      protocol: 'https',
      secure: true,
      socket: { ...socket, remoteAddress: '127.0.0.2' },
    });
  });

  it.each<[string, (request: Seen) => unknown, number]>([
    ['a denied address', ({ ip }) => ip !== '127.0.0.1', 403],
    ['a denied address of the socket', ({ socket }) => socket['remoteAddress'] !== '127.0.0.1', 403],
    ['plaintext', ({ secure }) => secure, 403],
    ['a denied scheme', ({ protocol }) => protocol === 'https', 403],
    ['an unencrypted socket', ({ socket }) => socket['encrypted'], 403],
    ['a missing session', ({ session }) => (session as { banned: boolean } | undefined)?.banned !== true, 500],
    ['a missing property of a middleware', (request) => !request['isBot'], 500],
    [
      "the missing server of Fastify's request",
      (request) => (request['server'] as object | undefined) === undefined,
      500,
    ],
    ["the missing app of Express's request", (request) => (request['app'] as object | undefined) === undefined, 500],
    ['a missing field of the socket', ({ socket }) => socket['tenant'] === undefined, 500],
  ])('refuse %s', async (_, decide, status) => {
    guard.decide = decide;
    expect(await ask()).toBe(status);
  });

  const later = <T>(value: T): Promise<T> => new Promise((resolve) => setTimeout(resolve, 5, value));
  it.each<[string, () => unknown, number]>([
    ['false', () => false, 403],
    ['0', () => 0, 403],
    ['nothing', () => undefined, 403],
    ['a promise of false', () => later(false), 403],
    // biome-ignore lint/suspicious/noThenProperty: this is the subject
    ['a thenable of false', () => ({ then: (done: (value: boolean) => void) => done(false) }), 403],
    ['an observable of true, then false', () => of(false), 403],
    ['an observable whose last value is false', () => of(true, false), 403],
    ['an empty observable', () => of(), 403],
    ['a promise of an observable of false', () => later(of(false)), 403],
    ['an observable that never ends', () => NEVER, 503],
    [
      'a thenable whose then throws',
      () =>
        Object.defineProperty({}, 'then', {
          get: () => {
            throw new Error('no');
          },
        }),
      500,
    ],
    ['true', () => true, 101],
    ['a promise of true', () => later(true), 101],
    ['an observable of true', () => of(false, true), 101],
    ['a promise of an observable of true', () => later(of(true)), 101],
  ])('that return %s decide as in Nest', async (_, decide, status) => {
    guard.decide = decide;
    expect(await ask()).toBe(status);
  });

  it('have their observables unsubscribed at guardTimeout and when the peer leaves', async () => {
    let unsubscribed = 0;
    guard.decide = () =>
      new Observable(() => () => {
        unsubscribed++;
        throw new Error('a teardown throws');
      });
    expect(await ask()).toBe(503);
    expect(unsubscribed).toBe(1);
    const client = await RawClient.connect({ port: app.port });
    client.write(upgradeHead(app.port, { path: '/guarded' }));
    await eventually(() => app.stats().slots === 1);
    client.reset();
    await eventually(() => unsubscribed === 2);
  });

  it('cannot write the response', async () => {
    guard.decide = (_, context) => {
      const response = context.switchToHttp().getResponse<{ end(text: string): void }>();
      response.end('let me in');
      return true;
    };
    expect(await ask()).toBe(500);
    guard.decide = (_, context) => {
      (context.switchToHttp().getNext() as () => void)();
      return true;
    };
    expect(await ask()).toBe(500);
  });

  it.each<[string, HeadOptions, (request: Seen) => string]>([
    [
      'Basic credentials',
      { headers: { Authorization: `Basic ${Buffer.from('ada:canary-horse').toString('base64')}` } },
      ({ get }) => Buffer.from(get('authorization')!.slice(6), 'base64').toString(),
    ],
    ['an own header', { headers: { 'X-Api-Key': 'canary-horse' } }, ({ headers }) => JSON.stringify(headers)],
    [
      'a cookie',
      { headers: { Cookie: 'sid=canary%2Dhorse' } },
      ({ cookies }) => decodeURIComponent((cookies as { sid: string }).sid),
    ],
    ['a ticket', { path: '/guarded?ticket=canary%2Dhorse' }, ({ query }) => (query as { ticket: string }).ticket],
    ['the whole address', { path: '/guarded?ticket=canary%2Dhorse' }, ({ url }) => String(url)],
  ])('that throw %s do not leak it into the log', async (_, head, read) => {
    warn.mockClear();
    guard.decide = (request) => {
      throw new TypeError(`cannot find the session of ${read(request)}`);
    };
    expect(await ask(head)).toBe(500);
    const lines = warn.mock.calls.map(([line]) => String(line)).join('\n');
    expect(lines.toLowerCase()).not.toMatch(/canary|horse/);
    expect(lines).not.toContain(Buffer.from('canary-horse').toString('base64').slice(0, 8));
  });
});
