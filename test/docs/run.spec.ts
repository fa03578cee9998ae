import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { type INestApplication, type LoggerService, Module, type ModuleMetadata, type Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { TerminusModule } from '@nestjs/terminus';
import { type SecureSocket, SecureWsHealthIndicator, SecureWsModule, SecureWsStats } from 'nest-secure-ws';
import { connectTo, expectRefusal, type TestClient } from 'nest-secure-ws/testing';
import { WebSocket, WebSocketServer } from 'ws';
import { eventually } from '../support/app.js';
import { issue } from '../support/certificates.js';
import { codeBlocks, fileOf } from '../support/markdown-code.js';
import { freePort } from '../support/ports.js';
import 'reflect-metadata';
import { has } from '../support/programs.js';

/** Runs the TypeScript of the pages without a spec of their own; test/docs/pages.spec.ts compiles it. */
const FOLDER = join(import.meta.dirname, '.recipes/run');

/** The number of TypeScript blocks per page, and the spec that runs them, so that no block goes unrun. */
const BLOCKS: Readonly<Record<string, readonly [count: number, spec: string]>> = {
  'browser.md': [3, 'test/browser/live.spec.ts'],
  'client.md': [1, 'here'],
  'cluster.md': [1, 'here'],
  'dashboard.md': [1, 'here'],
  'deployment.md': [1, 'here'],
  'getting-started.md': [3, 'here'],
  'guards.md': [8, 'test/docs/guards.spec.ts'],
  'migrating.md': [3, 'test/docs/migrating.spec.ts'],
  'observability.md': [3, 'here'],
  'options.md': [2, 'here'],
  'paths-and-other-libraries.md': [2, 'here'],
  'rooms.md': [1, 'here'],
  'testing.md': [2, 'test/docs/testing.spec.ts'],
};

type Exports = Record<string, Type>;

/** Imports a block of a page, with some of its text replaced. */
async function block(page: string, index: number, replaced: Readonly<Record<string, string>> = {}): Promise<Exports> {
  const text = codeBlocks(`docs/${page}`, 'ts')[index]!;
  const file = join(FOLDER, page, fileOf(text) ?? `block-${index}.ts`);
  mkdirSync(dirname(file), { recursive: true });
  let written = text;
  for (const [from, to] of Object.entries(replaced)) {
    expect(written).toContain(from);
    written = written.replaceAll(from, to);
  }
  writeFileSync(file, written);
  return (await import(file)) as Exports;
}

let app: INestApplication;
let lines: string[];
const clients: TestClient[] = [];
const variables: string[] = [];

beforeEach(() => {
  lines = [];
});
afterEach(async () => {
  for (const client of clients.splice(0)) await client.close();
  for (const name of variables.splice(0)) delete process.env[name];
  jest.restoreAllMocks();
  await app?.close();
});
afterAll(() => rmSync(FOLDER, { recursive: true, force: true }));

const note = (message: unknown, context: unknown): void => void lines.push(`[${context}] ${message}`);
const logger: LoggerService = { log: note, warn: note, error: note };

async function start(module: Type | ModuleMetadata): Promise<void> {
  @Module(typeof module === 'function' ? { imports: [module] } : module)
  class AppModule {}
  app = await NestFactory.create(AppModule, { logger });
  await app.listen(0, '127.0.0.1');
}

const gateways = (...providers: Type[]): ModuleMetadata => ({ imports: [SecureWsModule.forRoot()], providers });

async function connect(path: string, options: Parameters<typeof connectTo>[2] = {}): Promise<TestClient> {
  const client = await connectTo(app, path, options);
  clients.push(client);
  return client;
}

const url = (path: string): string => `http://127.0.0.1:${(app.getHttpServer().address() as AddressInfo).port}${path}`;

// The contract tests of docs/cluster.md register themselves with the test runner, as in an application.
await block('cluster.md', 0);

it('every block of TypeScript is run by a spec', () => {
  const found = readdirSync('docs')
    .filter((name) => name.endsWith('.md'))
    .map((name) => [name, codeBlocks(`docs/${name}`, 'ts').length] as const)
    .filter(([, count]) => count > 0);
  expect(Object.fromEntries(found)).toEqual(
    Object.fromEntries(Object.entries(BLOCKS).map(([name, [count]]) => [name, count])),
  );
});

describe('docs/getting-started.md', () => {
  it('the gateway, the page, the settings and the log work', async () => {
    for (const line of codeBlocks('docs/getting-started.md', 'ini')[0]!.trim().split('\n')) {
      const [name = '', value] = line.split('=');
      variables.push(name);
      process.env[name] = value;
    }
    await block('getting-started.md', 0);
    await start((await block('getting-started.md', 1))['AppModule']!);
    const client = await connect('/echo');
    client.send('echo', { text: '' });
    expect(await client.nextEvent('exception')).toMatchObject({ status: 'error' });

    const [page = ''] = codeBlocks('docs/getting-started.md', 'js');
    const location = { origin: url('') };
    const said = new Promise((resolve) => {
      new Function('WebSocket', 'location', 'console', page)(WebSocket, location, { log: resolve });
    });
    expect(await said).toEqual({ event: 'echo', data: { text: 'hello', to: '127.0.0.1' } });

    const [, shown = ''] = /^```\n(\[SecureWs\][^`]+)```$/m.exec(readFileSync('docs/getting-started.md', 'utf8'))!;
    const sizes = (text: string): string => text.replace(/\d+(?:mb|gb)(?= (?:of|that))/g, 'SIZE');
    for (const line of shown.trim().split('\n')) expect(lines.map(sizes)).toContain(sizes(line));
  });

  it('the guard works', async () => {
    await start(gateways((await block('getting-started.md', 2))['MembersGateway']!));
    await expectRefusal(app, { path: '/members' }, { status: 401, reason: 'guard' });
    await connect('/members', { cookies: { session: 'secret' } });
  });
});

it('the code of docs/rooms.md works', async () => {
  const { ScoresGateway, News } = await block('rooms.md', 0);
  await start(gateways(ScoresGateway!, News!));
  const news = app.get<{
    publish(): void;
    tellOthers(socket: SecureSocket, text: string): void;
    whoIsThere(): Promise<{ online: boolean; followers: number; ids: string[] }>;
    logOut(user: string): Promise<string>;
  }>(News!);
  const [follower, other] = [await connect('/scores'), await connect('/scores')];
  follower.send('follow', 'blue');
  expect(await follower.nextEvent('following')).toEqual(['blue']);
  other.send('follow', 'BLUE');
  await other.nextEvent('refused');
  news.publish();
  expect(await follower.nextEvent('score')).toEqual({ home: 1, away: 0 });
  for (const client of [follower, other])
    expect([await client.nextEvent('news'), await client.nextEvent('news')]).toEqual([
      'to everybody, on every gateway',
      'to everybody on one gateway',
    ]);
  expect(other.waiting).toEqual([]);
  expect(await news.whoIsThere()).toEqual({ online: false, followers: 1, ids: [expect.any(String)] });
  expect(await news.logOut('42')).toBe('0 connections');
});

it('the code of docs/client.md works', async () => {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  await once(server, 'listening');
  const closed: number[] = [];
  server.on('connection', (socket, { headers }) => {
    socket.on('close', (code) => closed.push(code));
    socket.send(`for ${headers['x-api-key'] ?? 'nobody'}`);
    if (headers['x-api-key'] !== undefined) socket.close();
  });
  try {
    const feed = `ws://127.0.0.1:${(server.address() as AddressInfo).port}/stream`;
    const { once: readOnce, forever, Feed } = await block('client.md', 0, { 'wss://feed.example/stream': feed });
    const logged = jest.spyOn(console, 'log').mockImplementation(() => undefined);
    await (readOnce as unknown as () => Promise<void>)();
    expect(logged.mock.calls).toEqual([['for k']]);
    const aborter = new AbortController();
    const ended = (forever as unknown as (signal: AbortSignal) => Promise<void>)(aborter.signal);
    await eventually(() => logged.mock.calls.length === 2);
    aborter.abort();
    await ended;
    await start(gateways(Feed!));
    const socket = await app.get<{ open(): Promise<WebSocket> }>(Feed!).open();
    expect(socket.readyState).toBe(WebSocket.OPEN);
    await app.close();
    await eventually(() => closed.length === 3);
    expect(closed.slice(1)).toEqual([1001, 1001]);
  } finally {
    server.close();
  }
});

describe('docs/observability.md', () => {
  it('the metrics are served', async () => {
    await start((await block('observability.md', 0))['AppModule']!);
    expect(await (await fetch(url('/metrics'))).text()).toContain('nest_secure_ws_connections');
  });

  it('the health check works', async () => {
    const { HealthController } = await block('observability.md', 1);
    await start({
      imports: [SecureWsModule.forRoot(), TerminusModule],
      controllers: [HealthController!],
      providers: [SecureWsHealthIndicator],
    });
    const response = await fetch(url('/health'));
    expect([response.status, await response.json()]).toMatchObject([200, { info: { websockets: { status: 'up' } } }]);
  });
});

it('the code of docs/dashboard.md works', async () => {
  variables.push('WEBSOCKETS_DASHBOARD_TOKEN');
  process.env['WEBSOCKETS_DASHBOARD_TOKEN'] = 'x'.repeat(48);
  await start((await block('dashboard.md', 0))['AppModule']!);
  const page = await fetch(url('/ws-admin'));
  expect([page.status, await page.text()]).toEqual([200, expect.stringContaining('<html')]);
});

describe('docs/paths-and-other-libraries.md', () => {
  it('the path parameters work', async () => {
    await start(gateways((await block('paths-and-other-libraries.md', 0))['RoomGateway']!));
    await expectRefusal(app, { path: '/rooms/closed' }, { status: 403, reason: 'guard' });
    const client = await connect('/rooms/5');
    client.send('where');
    expect(await client.nextEvent('where')).toEqual({ id: '5', path: '/rooms/5', route: '/rooms/:id' });
  });

  it('the upgrades of other libraries are guarded', async () => {
    await start((await block('paths-and-other-libraries.md', 1))['AppModule']!);
    // Another library must listen, otherwise the path is 404.
    app.getHttpServer().on('upgrade', () => undefined);
    const evil = { path: '/socket.io/?EIO=4', origin: 'https://evil.example' };
    await expectRefusal(app, evil, { status: 403, reason: 'origin' });
    await expectRefusal(app, { path: '/graphql' }, { status: 401, reason: 'guard' });
  });
});

(has('openssl') ? it : it.skip)('the TLS code of docs/deployment.md works without a proxy', async () => {
  const ca = issue('devices', { isCa: true });
  const [server, device, stranger] = [issue('localhost', { ca }), issue('device-1', { ca }), issue('device-2', { ca })];
  const files = { 'server.pem': server.cert, 'server.key': server.key, 'devices-ca.pem': ca.cert };
  mkdirSync(FOLDER, { recursive: true });
  for (const [name, text] of Object.entries(files)) writeFileSync(join(FOLDER, name), text);
  const port = freePort();
  const paths = Object.keys(files).map((name) => [`'${name}'`, `'${join(FOLDER, name)}'`] as const);
  const { DeviceGateway } = await block('deployment.md', 0, { '8443': String(port), ...Object.fromEntries(paths) });
  await start(gateways(DeviceGateway!));
  const tls = ({ cert, key }: typeof device) => ({ ca: ca.cert, cert, key });
  const { connect: dial } = await import('nest-secure-ws');
  const socket = await dial(`wss://localhost:${port}/devices`, { tls: tls(device) });
  socket.close();
  await socket.closed;
  await expect(dial(`wss://localhost:${port}/devices`, { tls: tls(stranger) })).rejects.toMatchObject({
    status: 403,
  });
  await expect(dial(`wss://localhost:${port}/devices`, { tls: { ca: ca.cert } })).rejects.toThrow();
});

describe('docs/options.md', () => {
  const settingOf = (path: string): unknown =>
    app
      .get(SecureWsStats)
      .settings()
      .settings.find((each) => each.path === path)?.value;

  it('options in code work', async () => {
    await start((await block('options.md', 0))['AppModule']!);
    expect(settingOf('connections.maxPerIp')).toBe(20);
    const client = await connect('/chat');
    client.socket.send('x'.repeat(16 * 1024 + 1));
    expect(await client.closed()).toMatchObject({ code: 1009 });
  });

  it('options in a JSON file work', async () => {
    const file = join(FOLDER, 'websockets.json');
    mkdirSync(FOLDER, { recursive: true });
    writeFileSync(file, codeBlocks('docs/options.md', 'json')[0]!);
    await start((await block('options.md', 1, { 'websockets.json': file }))['FromFileModule']!);
    expect([settingOf('connections.maxPerIp'), settingOf('messages.maxSize')]).toEqual([20, 16 * 1024]);
  });
});

it('the guard test of docs/testing.md works without a socket', async () => {
  const { inside, outside } = await block('testing.md', 0);
  expect([inside, outside]).toEqual([expect.objectContaining({ decision: 'allow', principal: 'ada' }), false]);
});

it('the events of docs/observability.md are published', async () => {
  const logged = jest.spyOn(console, 'log').mockImplementation(() => undefined);
  // Other specs share the process's channels, so the subscriptions of the block are removed.
  const channels = join(FOLDER, 'channels.ts');
  mkdirSync(FOLDER, { recursive: true });
  writeFileSync(
    channels,
    `import { subscribe as begin, unsubscribe } from 'node:diagnostics_channel';
const taken: Parameters<typeof begin>[] = [];
export const subscribe: typeof begin = (...args) => { taken.push(args); begin(...args); };
export const end = () => taken.splice(0).forEach((args) => unsubscribe(...args));`,
  );
  await block('observability.md', 2, { 'node:diagnostics_channel': channels });
  const { end } = (await import(channels)) as { end(): void };
  try {
    const { ScoresGateway } = await block('rooms.md', 0);
    await start(gateways(ScoresGateway!));
    await expectRefusal(app, { path: '/scores', origin: 'https://evil.example' }, { reason: 'origin' });
    expect(logged.mock.calls).toEqual([['origin', '127.0.0.1']]);
  } finally {
    end();
  }
});
