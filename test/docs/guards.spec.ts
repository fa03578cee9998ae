import { createHmac, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals';
import type { INestApplication, Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { SignJWT } from 'jose';
import { SecureWsBans } from 'nest-secure-ws';
import type { Browser, Page } from 'playwright-core';
import { hasChromium, launch } from '../browser/chromium.js';
import { codeBlocks, compileErrors } from '../support/markdown-code.js';
import { RawClient, upgradeHead } from '../support/raw-client.js';
import { restoreTime, stopTime } from '../support/stopped-time.js';
import 'reflect-metadata';

const SECRET = 'a secret of forty-eight bytes that nobody knows.';
const FOLDER = join(import.meta.dirname, '.recipes/guards');
const blocks = codeBlocks('docs/guards.md', 'ts');
const nameOf = (block: string): string => /^\/\/ (\S+)\n/.exec(block)![1]!;

const variables = { SESSION_SECRET: SECRET, ISSUER: '', CLERK_ISSUER: '' };
const before = { ...process.env };
let issuer: Server;
const keys = generateKeyPairSync('rsa', { modulusLength: 2048 });
const newKeys = generateKeyPairSync('rsa', { modulusLength: 2048 });
/** The keys that the issuer publishes, by key id. */
let published: Record<string, KeyObject> = {};
let fetches = 0;

beforeAll(async () => {
  issuer = createServer((_, response) => {
    fetches++;
    const set = Object.entries(published).map(([kid, key]) => ({ ...key.export({ format: 'jwk' }), kid }));
    response.end(JSON.stringify({ keys: set }));
  });
  await new Promise<void>((resolve) => issuer.listen(0, '127.0.0.1', resolve));
  variables.CLERK_ISSUER = `http://127.0.0.1:${(issuer.address() as AddressInfo).port}`;
  variables.ISSUER = `${variables.CLERK_ISSUER}/`;
  Object.assign(process.env, variables);
  mkdirSync(FOLDER, { recursive: true });
  for (const block of blocks) writeFileSync(join(FOLDER, nameOf(block)), block);
});

afterAll(() => {
  issuer.closeAllConnections();
  issuer.close();
  rmSync(FOLDER, { recursive: true, force: true });
  for (const name of Object.keys(variables)) {
    if (before[name] === undefined) delete process.env[name];
    else process.env[name] = before[name];
  }
});

let app: INestApplication | undefined;
let port = 0;
const clients: RawClient[] = [];
beforeEach(() => {
  published = { one: keys.publicKey };
});
afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  await app?.close();
  // After the application has closed, whose clock must not run backwards.
  jest.restoreAllMocks();
  restoreTime();
  app = undefined;
});

/** Starts the module of a recipe, and returns the recipe's exports. */
async function start(name: string): Promise<Record<string, unknown>> {
  const recipe = (await import(join(FOLDER, `${name}.ts`))) as Record<string, unknown>;
  const module = Object.entries(recipe).find(([each]) => each.endsWith('Module'))![1];
  // A browser keeps idle connections open.
  app = await NestFactory.create(module as Type, { logger: false, forceCloseConnections: true });
  await app.listen(0, '127.0.0.1');
  port = (app.getHttpServer().address() as AddressInfo).port;
  return recipe;
}

const sign = (claims: Record<string, unknown> = {}): Promise<string> =>
  new SignJWT({ sub: 'ada', iat: seconds(0), exp: seconds(60), ...claims })
    .setProtectedHeader({ alg: 'HS256' })
    .sign(Buffer.from(SECRET));
const seconds = (more: number): number => Math.floor(Date.now() / 1000) + more;

async function connect(headers: Record<string, string> = {}, path = '/chat') {
  const client = await RawClient.connect({ port });
  clients.push(client);
  const response = await client.upgrade(upgradeHead(port, { path, headers }));
  return { client, response };
}

async function who(headers: Record<string, string>, path?: string): Promise<unknown> {
  const { client, response } = await connect(headers, path);
  if (response.status !== 101) return response.status;
  client.send('who');
  return ((await client.json()) as { data: unknown }).data;
}

const post = (path: string, headers: Record<string, string> = {}, body?: object): Promise<Response> =>
  fetch(`http://127.0.0.1:${port}${path}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', ...headers },
    ...(body && { body: JSON.stringify(body) }),
  });

describe('the recipes of docs/guards.md', () => {
  it('compile with the public types', () => {
    expect(blocks.map(nameOf)).toHaveLength(8);
    expect(compileErrors(blocks)).toEqual([]);
  }, 180_000);

  it('authenticate with a token in a cookie', async () => {
    await start('cookie');
    expect((await post('/login', {}, { name: 'ada', password: 'wrong' })).status).toBe(401);
    const response = await post('/login', {}, { name: 'ada', password: 'correct horse' });
    const [cookie] = response.headers.getSetCookie()[0]!.split(';');
    expect(await who({ Cookie: cookie! })).toBe('ada');
    const forged = cookie!.replace(/\.(.)([^.]*)$/, (_, first, rest) => `.${first === 'x' ? 'y' : 'x'}${rest}`);
    expect(await who({ Cookie: forged })).toBe(401);
    expect(await who({ Cookie: cookie!, Origin: 'https://evil.example' })).toBe(403);
    expect(await who({ Authorization: `Bearer ${cookie!.slice(8)}` })).toBe(401);
  });

  it('authenticate with a token in a subprotocol', async () => {
    await start('subprotocol');
    const token = await sign();
    const { response } = await connect({ 'Sec-WebSocket-Protocol': `bearer.${token}, chat.v1` });
    expect(response).toMatchObject({ status: 101, headers: { 'sec-websocket-protocol': 'chat.v1' } });
    expect(await who({ 'Sec-WebSocket-Protocol': 'chat.v1' })).toBe(401);
    expect(await who({ Authorization: `Bearer ${token}` })).toBe('ada');
  });

  it('authenticate with tickets from a route', async () => {
    await start('tickets');
    expect((await post('/ticket')).status).toBe(401);
    const issued = await post('/ticket', { 'X-Api-Key': 'secret of ada' });
    const { ticket } = (await issued.json()) as { ticket: string };
    expect(await who({}, `/chat?ticket=${ticket}`)).toBe('ada');
    expect(await who({}, `/chat?ticket=${ticket}`)).toBe(401);
  });

  it('verify keys of an identity provider', async () => {
    await start('jwks');
    const token = (audience: string, alg = 'RS256') =>
      new SignJWT({ sub: 'ada', iss: variables.ISSUER, aud: audience, exp: seconds(60) })
        .setProtectedHeader({ alg, kid: 'one' })
        .sign(keys.privateKey);
    expect(await who({ Authorization: `Bearer ${await token('https://chat.example')}` })).toBe('ada');
    expect(await who({ Authorization: `Bearer ${await token('https://mail.example')}` })).toBe(401);
    expect(await who({ Authorization: `Bearer ${await token('https://chat.example', 'PS256')}` })).toBe(401);
  });

  it('follow a rotation of the keys', async () => {
    await start('jwks');
    const attempt = async (kid: string, { privateKey }: typeof keys) =>
      who({
        Authorization: `Bearer ${await new SignJWT({ sub: 'ada', iss: variables.ISSUER, exp: seconds(3600) })
          .setAudience('https://chat.example')
          .setProtectedHeader({ alg: 'RS256', kid })
          .sign(privateKey)}`,
      });
    expect(await attempt('one', keys)).toBe('ada');
    published = { one: keys.publicKey, two: newKeys.publicKey };
    // Within the cooldown after the fetch at the start, unknown key ids cause no fetch.
    const before = fetches;
    for (let i = 0; i < 20; i++) expect(await attempt(`flood-${i}`, newKeys)).toBe(401);
    expect(fetches).toBe(before);
    const now = performance.now.bind(performance);
    let later = 31_000;
    jest.spyOn(performance, 'now').mockImplementation(() => now() + later);
    expect([await attempt('two', newKeys), await attempt('one', keys)]).toEqual(['ada', 'ada']);
    expect(fetches).toBe(before + 1);
    // The old key is withdrawn: it is refused once the keys have been fetched again.
    published = { two: newKeys.publicKey };
    later = 62_000;
    expect(await attempt('three', newKeys)).toBe(401);
    expect([await attempt('one', keys), await attempt('two', newKeys)]).toEqual([401, 'ada']);
    expect(fetches).toBe(before + 2);
  });

  it('verify session tokens of Clerk', async () => {
    await start('clerk');
    const token = (claims: Record<string, unknown>) =>
      new SignJWT({ sub: 'ada', iss: variables.CLERK_ISSUER, exp: seconds(60), azp: 'https://app.example', ...claims })
        .setProtectedHeader({ alg: 'RS256', kid: 'one' })
        .sign(keys.privateKey);
    const ask = async (claims: Record<string, unknown>, Origin = 'https://app.example') =>
      who({ Cookie: `__session=${await token(claims)}`, Origin });
    expect(await ask({})).toBe('ada');
    expect(await ask({ azp: 'https://other.example' })).toBe(403);
    expect(await ask({ azp: undefined })).toBe(403);
    expect(await ask({ azp: ['https://app.example'] })).toBe(403);
    expect(await ask({ iss: 'https://clerk.other.example' })).toBe(401);
    expect(await ask({}, 'https://other.example')).toBe(403);
  });

  it('expire and renew connections', async () => {
    const clock = stopTime();
    await start('renewal');
    const open = async () => (await connect({ Authorization: `Bearer ${await sign({ exp: seconds(15) })}` })).client;
    const [renewed, expired] = [await open(), await open()];
    renewed.send('renew', { token: await sign({ sub: 'eve' }) });
    expect(await renewed.json()).toMatchObject({ event: 'exception' });
    renewed.send('renew', { token: 'garbage' });
    expect(await renewed.json()).toMatchObject({ event: 'exception' });
    renewed.send('renew', { token: await sign() });
    expect(await renewed.json()).toMatchObject({ event: 'renewed' });
    // Less than pingTimeout: these clients answer no pings.
    clock.pass(17_000);
    expect(await expired.closeFrame()).toMatchObject({ code: 4401 });
    renewed.send('renew', { token: await sign() });
    expect(await renewed.json()).toMatchObject({ event: 'renewed' });
  });

  it('log out everywhere', async () => {
    await start('logout');
    const old = { Authorization: `Bearer ${await sign({ iat: seconds(-5) })}` };
    const { client } = await connect(old);
    const other = await connect({ Authorization: `Bearer ${await sign({ sub: 'eve' })}` });
    expect((await post('/logout/ada')).status).toBe(201);
    expect(await client.closeFrame()).toEqual({ code: 4401, reason: 'logged out' });
    expect((await connect(old)).response.status).toBe(403);
    expect((await connect({ Authorization: `Bearer ${await sign({ iat: seconds(5) })}` })).response.status).toBe(101);
    expect(other.client.closed).toBe(false);
    app!.get(SecureWsBans).ban({ userKey: 'eve' });
    expect(await other.client.closeFrame()).toMatchObject({ code: 1008 });
  });

  it('use sessions on the server', async () => {
    const clock = stopTime();
    const { store } = await start('session');
    const sessions = new Map<string, object>([
      ['id-1', { user: { id: 'ada' }, cookie: { expires: null } }],
      ['id-2', {}],
      ['id-5', { user: { id: 'ada' }, cookie: { expires: new Date(Date.now() + 15_000).toISOString() } }],
    ]);
    (store as { get: unknown }).get = (id: string, done: (error: unknown, session?: object) => void) =>
      setImmediate(() => (id === 'id-3' ? done(new Error('the store is gone')) : done(null, sessions.get(id))));
    const signed = (id: string, secret = SECRET) =>
      `connect.sid=${encodeURIComponent(`s:${id}.${createHmac('sha256', secret).update(id).digest('base64').replace(/=+$/, '')}`)}`;
    expect(await who({ Cookie: signed('id-1') })).toBe('ada');
    expect(await who({ Cookie: signed('id-1', 'another') })).toBe(403);
    expect(await who({ Cookie: signed('id-2') })).toBe(403);
    expect(await who({ Cookie: signed('id-4') })).toBe(403);
    expect(await who({ Cookie: signed('id-3') })).toBe(500);
    // A connection ends with its session.
    const { client } = await connect({ Cookie: signed('id-5') });
    // Less than pingTimeout: this client answers no pings.
    clock.pass(17_000);
    expect(await client.closeFrame()).toMatchObject({ code: 4401 });
    for (const cookie of ['', 's:', 's:id-1', 'id-1.x', 's:id-1.']) {
      expect(await who({ Cookie: `connect.sid=${encodeURIComponent(cookie)}` })).toBe(403);
    }
  });
});

(hasChromium() ? describe : describe.skip)('the recipes of docs/guards.md in Chromium', () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await launch();
  });
  afterAll(() => browser?.close());

  /** A page of the application; its content does not matter. */
  async function page(): Promise<Page> {
    const opened = await (await browser.newContext()).newPage();
    await opened.goto(`http://127.0.0.1:${port}/`);
    return opened;
  }
  /** The answer to `who` on a socket opened by the page, or its close code. */
  const ask = (opened: Page, open: string): Promise<unknown> =>
    opened.evaluate(`(async () => {
      const socket = await (async () => { ${open} })();
      return new Promise((resolve) => {
        socket.onopen = () => socket.send('{"event":"who"}');
        socket.onmessage = ({ data }) => resolve([JSON.parse(data).data, socket.protocol]);
        socket.onclose = ({ code }) => resolve(code);
      });
    })()`);

  it('a cookie is sent by the browser', async () => {
    await start('cookie');
    const opened = await page();
    expect(await ask(opened, "return new WebSocket('/chat');")).toBe(1006);
    const login = `await fetch('/login', { method: 'POST', headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ name: 'ada', password: 'correct horse' }) });`;
    expect(await ask(opened, `${login} return new WebSocket('/chat');`)).toEqual(['ada', '']);
  });

  it('a token is sent as a second subprotocol; as the only one the browser fails the connection', async () => {
    await start('subprotocol');
    const opened = await page();
    const token = await sign();
    expect(await ask(opened, `return new WebSocket('/chat', ['chat.v1', 'bearer.${token}']);`)).toEqual([
      'ada',
      'chat.v1',
    ]);
    expect(await ask(opened, `return new WebSocket('/chat', ['bearer.${token}', 'other']);`)).toEqual(['ada', 'other']);
    expect(await ask(opened, `return new WebSocket('/chat', ['bearer.${token}']);`)).toBe(1006);
  });

  it('a ticket is fetched and used', async () => {
    await start('tickets');
    const opened = await page();
    const open = `const response = await fetch('/ticket', { method: 'POST', headers: { 'X-Api-Key': 'secret of ada' } });
      const { ticket } = await response.json();
      return new WebSocket('/chat?ticket=' + ticket);`;
    expect(await ask(opened, open)).toEqual(['ada', '']);
    expect(await ask(opened, "return new WebSocket('/chat?ticket=' + 'x'.repeat(43));")).toBe(1006);
  });
});
