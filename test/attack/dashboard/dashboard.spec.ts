import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import { type IncomingHttpHeaders, request } from 'node:http';
import { text } from 'node:stream/consumers';
import { afterEach, describe, expect, it } from '@jest/globals';
import {
  type AuditEvent,
  SecureGateway,
  SecureWsDashboardModule,
  type SecureWsDashboardOptions,
  UseAdmissionGuards,
} from 'nest-secure-ws';
import { PLATFORMS, type Platform, startApp, type TestApp } from '../../support/app.js';
import { RawClient, upgradeHead } from '../../support/raw-client.js';

const TOKEN = 'correct-horse-battery-staple-and-more';
/** The page sends this with each POST; a page of another origin cannot without a preflight request. */
const FROM_PAGE = { 'X-Nest-Secure-Ws': 'dashboard' };
const LOGIN = { ...FROM_PAGE, Authorization: `Bearer ${TOKEN}` };

@SecureGateway({ path: '/chat' })
class ChatGateway {}

let app: TestApp;

afterEach(() => app?.close());

async function start(platform: Platform, options: SecureWsDashboardOptions = {}): Promise<void> {
  const imports = [SecureWsDashboardModule.forRoot({ token: TOKEN, readonly: false, ...options })];
  app = await startApp({ platform, gateways: [ChatGateway], metadata: { imports } });
}

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

async function ask(method: string, path: string, headers: Record<string, string> = {}): Promise<Answer> {
  const sent = request({
    ...{ host: '127.0.0.1', port: app.port, method, path: `/ws-admin${path}`, agent: false },
    headers: { 'Content-Length': '0', ...headers },
  }).end();
  const [response] = (await once(sent, 'response')) as [import('node:http').IncomingMessage];
  return { status: response.statusCode!, headers: response.headers, body: await text(response) };
}

const statusOf = async (...of: Parameters<typeof ask>): Promise<number> => (await ask(...of)).status;

async function logIn(headers: Record<string, string> = {}): Promise<string> {
  const answer = await ask('POST', '/login', { ...LOGIN, ...headers });
  expect(answer.status).toBe(200);
  return answer.headers['set-cookie']![0]!.split(';')[0]!;
}

describe.each(PLATFORMS)('the dashboard on %s', (platform) => {
  it('shows and does nothing without a login', async () => {
    await start(platform);
    for (const path of ['/overview', '/settings', '/connections']) {
      const { status, body } = await ask('GET', path, { Cookie: 'nest-secure-ws-dashboard=x.y.z' });
      expect([status, body]).toEqual([401, '{"message":"Log in first."}']);
    }
    for (const path of ['/drain', '/ban?address=192.0.2.1', '/disconnect?id=1'])
      expect(await statusOf('POST', path, FROM_PAGE)).toBe(401);
    const Cookie = await logIn();
    expect(await statusOf('GET', '/overview', { Cookie })).toBe(200);
  });

  it('accepts no other token, and no token in a link', async () => {
    await start(platform);
    for (const authorization of [`Bearer ${TOKEN}x`, 'Bearer ', TOKEN]) {
      const answer = await ask('POST', '/login', { ...FROM_PAGE, Authorization: authorization });
      expect([answer.status, answer.headers['set-cookie']]).toEqual([401, undefined]);
    }
    expect(await statusOf('GET', '/login', LOGIN)).toBe(405);
  });

  it('does not let a link on another site use up the login attempts or log the operator out', async () => {
    await start(platform);
    for (let i = 0; i < 10; i++) expect(await statusOf('GET', '/login')).toBe(405);
    const Cookie = await logIn();
    const { status, headers } = await ask('GET', '/logout', { Cookie });
    expect([status, headers['set-cookie']]).toEqual([405, undefined]);
  });

  it('accepts a query of any shape', async () => {
    await start(platform);
    const Cookie = await logIn();
    if (platform === 'express') app.app.getHttpAdapter().getInstance().set('query parser', 'extended');
    for (const query of ['since[toString]=1', 'since=1&since=2', 'since[]=', 'since=NaN', 'since=-1e999'])
      expect(await statusOf('GET', `/overview?${query}`, { Cookie })).toBe(200);
    for (const query of [
      'cursor[valueOf]=1&limit[toString]=x',
      'filter[length]=1',
      'cursor=-1&limit=-5',
      'limit=1e999',
    ])
      expect(await statusOf('GET', `/connections?${query}`, { Cookie })).toBe(200);
  });

  it('sets a cookie that neither scripts nor other sites can use', async () => {
    await start(platform);
    const { headers } = await ask('POST', '/login', LOGIN);
    expect(headers['set-cookie']).toEqual([
      expect.stringMatching(/; Path=\/; Max-Age=43200; HttpOnly; SameSite=Strict$/),
    ]);
  });

  it('allows an address five attempts, and then refuses even the correct token', async () => {
    await start(platform);
    for (let i = 0; i < 5; i++)
      expect(await statusOf('POST', '/login', { ...FROM_PAGE, Authorization: 'Bearer guess' })).toBe(401);
    const answer = await ask('POST', '/login', LOGIN);
    expect(answer.status).toBe(429);
    expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0);
  });

  it('refuses a request from a page of another origin that sends the cookie (CSRF)', async () => {
    await start(platform);
    const Cookie = await logIn();
    expect(await statusOf('POST', '/drain', { Cookie })).toBe(403);
    expect(await statusOf('POST', '/drain', { Cookie, ...FROM_PAGE, Origin: 'https://evil.example' })).toBe(403);
    expect(await statusOf('GET', '/overview', { Cookie, Origin: 'https://evil.example' })).toBe(403);
    expect((await ask('GET', '/overview', { Cookie })).body).not.toContain('"draining":true');
  });

  it('refuses a foreign host name that resolves to it (DNS rebinding)', async () => {
    await start(platform);
    const Cookie = await logIn();
    for (const Host of ['evil.example', `evil.example:${app.port}`])
      expect(await statusOf('GET', '/overview', { Cookie, Host })).toBe(403);
    expect(await statusOf('GET', '', { Host: 'evil.example' })).toBe(403);
  });

  it('refuses every change when it is read-only', async () => {
    await start(platform, { readonly: true });
    const Cookie = await logIn();
    for (const path of ['/drain', '/ban?address=192.0.2.1', '/unban?address=192.0.2.1', '/disconnect?id=1'])
      expect(await statusOf('POST', path, { Cookie, ...FROM_PAGE })).toBe(403);
  });

  it('redacts the values of a request in errors of guards and hooks', async () => {
    @SecureGateway({ path: '/failing' })
    @UseAdmissionGuards(({ query, headers }) => {
      if (query.has('guard')) throw new Error(`guard: no ${query.get('ticket')} of ${headers['x-api-key']}`);
      return true;
    })
    class FailingGateway {
      handleConnection(_: unknown, { url }: { url: string }): void {
        throw new Error(`hook: no ${url}`);
      }
    }
    const imports = [SecureWsDashboardModule.forRoot({ token: TOKEN })];
    app = await startApp({ platform, gateways: [FailingGateway], metadata: { imports } });
    for (const query of ['ticket=canary%2D42&guard=1', 'ticket=canary-42']) {
      const client = await RawClient.connect({ port: app.port });
      const head = { path: `/failing?${query}`, headers: { 'X-Api-Key': 'canary-key-77' } };
      const { status } = await client.upgrade(upgradeHead(app.port, head));
      if (status === 101) expect(await client.closeFrame()).toMatchObject({ code: 1011 });
      client.destroy();
    }
    const { body } = await ask('GET', '/overview', { Cookie: await logIn() });
    expect(body).toContain('guard: no … of …');
    expect(body).toContain('hook: no …');
    expect(body).not.toContain('canary');
  });

  it('forbids framing, foreign scripts and caching', async () => {
    await start(platform);
    for (const path of ['', '/overview', '/app.js'])
      expect((await ask('GET', path)).headers).toMatchObject({
        'content-security-policy': expect.stringContaining("default-src 'none'"),
        'x-frame-options': 'DENY',
        'x-content-type-options': 'nosniff',
      });
    expect((await ask('GET', '/overview')).headers['cache-control']).toBe('no-store');
  });

  it('publishes every action of an operator on nest-secure-ws:audit, and no refused one', async () => {
    await start(platform);
    const told: AuditEvent[] = [];
    const listener = (event: unknown): void => void told.push(event as AuditEvent);
    subscribe('nest-secure-ws:audit', listener);
    try {
      const ip = '127.0.0.1';
      expect(await statusOf('POST', '/login', { ...FROM_PAGE, Authorization: 'Bearer guess' })).toBe(401);
      expect(told.splice(0)).toEqual([{ action: 'login-failed', ip, target: undefined }]);
      const headers = { Cookie: await logIn(), ...FROM_PAGE };
      expect(told.splice(0)).toEqual([{ action: 'login', ip, target: undefined }]);

      const peer = await RawClient.open({ port: app.port, localAddress: '127.0.0.9' }, { path: '/chat' });
      const { rows } = JSON.parse((await ask('GET', '/connections', headers)).body) as { rows: { id: string }[] };
      const [{ id }] = rows as [{ id: string }];
      expect(JSON.parse((await ask('POST', `/disconnect?id=${id}`, headers)).body)).toEqual({ disconnected: 1 });
      expect(await peer.closeFrame()).toEqual({ code: 1008, reason: 'disconnected by an operator' });
      peer.destroy();
      expect(told.splice(0)).toEqual([{ action: 'disconnect', ip, target: id }]);

      expect(await statusOf('POST', '/ban?address=192.0.2.7&for=1m', headers)).toBe(200);
      expect(await statusOf('POST', '/ban?user=%3Cb%3Emallory', headers)).toBe(200);
      expect(await statusOf('POST', '/unban?address=192.0.2.7', headers)).toBe(200);
      expect(told.splice(0)).toEqual([
        { action: 'ban', ip, target: expect.stringContaining('192.0.2.7') },
        { action: 'ban', ip, target: expect.stringContaining('<b>mallory') },
        { action: 'unban', ip, target: '192.0.2.7' },
      ]);

      // Actions that failed are not published.
      expect(await statusOf('POST', '/ban?address=nobody', headers)).toBe(400);
      expect(await statusOf('POST', '/drain', FROM_PAGE)).toBe(401);
      expect(await statusOf('POST', '/drain', { ...headers, Origin: 'https://evil.example' })).toBe(403);
      expect(await statusOf('POST', '/explode', headers)).toBe(404);
      expect(told.splice(0)).toEqual([]);

      expect(await statusOf('POST', '/logout', headers)).toBe(200);
      expect(await statusOf('POST', '/drain', headers)).toBe(200);
      expect(told.splice(0)).toEqual([
        { action: 'logout', ip, target: undefined },
        { action: 'drain', ip, target: undefined },
      ]);
    } finally {
      unsubscribe('nest-secure-ws:audit', listener);
    }
  });

  it('answers 400 to an invalid target', async () => {
    await start(platform);
    const Cookie = await logIn();
    expect(await statusOf('POST', '/ban?address=nobody', { Cookie, ...FROM_PAGE })).toBe(400);
  });
});

it.each([
  ['no token', {}, /needs a token of at least 32 characters/],
  ['a short token', { token: 'x'.repeat(31) }, /has 31 characters/],
])('a dashboard with %s stops the start', async (_, options, message) => {
  await expect(
    startApp({ gateways: [ChatGateway], metadata: { imports: [SecureWsDashboardModule.forRoot(options)] } }),
  ).rejects.toThrow(message);
});
