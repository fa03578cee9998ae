import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { resolve } from 'node:path';
import { afterEach, describe, expect, it } from '@jest/globals';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { MessageBody, SubscribeMessage } from '@nestjs/websockets';
import { SecureGateway, SecureWsModule, SecureWsStats, type StatsSnapshot } from 'nest-secure-ws';
import { acceptingServer, markUnread } from '../../lib/compat/node-sockets.js';
import { checkWs } from '../../lib/compat/ws-version.js';
import { Child } from '../support/child.js';
import { freePort } from '../support/ports.js';
import { RawClient, upgradeHead } from '../support/raw-client.js';

/** Each internal of Node that is hidden in turn, and the way reported then. */
const INTERNALS: readonly (readonly [name: string, expected: Record<string, RegExp>])[] = [
  [
    'nothing',
    {
      accept: /^handles$/,
      http: /^first bytes$/,
      tls: /^sockets under TLS$/,
      listeners: /^rejections are caught$/,
      compression: /^synchronous$/,
    },
  ],
  ['_tickCallback', { accept: /^handles$/, http: /^first bytes$/ }],
  ['kCapture', { accept: /^handles$/, listeners: /^rejections of listeners are not caught$/ }],
  ['the server of a socket', { accept: /^handles$/, http: /^first bytes$/ }],
  ['_connections', { accept: /^sockets: .*_connections/, http: /^first bytes$/ }],
  ['_emitCloseIfDrained', { accept: /^sockets: .*_emitCloseIfDrained/, http: /^first bytes$/ }],
  ['getpeername', { accept: /^sockets: .*getpeername/, http: /^first bytes$/ }],
  ['reset', { accept: /^sockets: .*reset/, http: /^first bytes$/ }],
  ['readStart', { accept: /^sockets: .*readStart/, http: /^first bytes$/ }],
  ['WriteWrap', { accept: /^sockets: /, http: /^first bytes$/ }],
  ['the listener of HTTP servers', { accept: /^handles$/ }],
  ['_parent', { accept: /^handles$/, http: /^first bytes$/, tls: /^addresses of TCP: .*_parent/ }],
  ['parser', { accept: /^handles$/, http: /^upgrade events: / }],
  ['a server other than that of Deno', { http: /^upgrade events: Deno/ }],
];

@SecureGateway()
class EchoGateway {
  @SubscribeMessage('echo')
  echo(@MessageBody() data: unknown) {
    return { event: 'echo', data };
  }
}

@Module({ imports: [SecureWsModule.forRoot()], providers: [EchoGateway] })
class AppModule {}

let child: Child | undefined;
afterEach(async () => {
  await child?.end();
  child = undefined;
});

const PLAIN = 'GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n';
type Answer = StatsSnapshot & { readonly compatibility: Record<string, string> };

/** Expects refusals, replies, an orderly close, and no exception. */
async function expectService(started: Child, ownPort: number): Promise<void> {
  const shared = started.ready as number;
  for (const port of [shared, ownPort]) {
    const client = await RawClient.open({ port });
    client.send('echo', port);
    expect(await client.json()).toEqual({ event: 'echo', data: port });
    const refused = await RawClient.connect({ port });
    expect((await refused.upgrade(upgradeHead(port, { headers: { 'Sec-WebSocket-Version': '8' } }))).status).toBe(426);
    for (const end of ['end', 'destroy', 'resetAndDestroy'] as const)
      for (const bytes of ['', 'GET / HT', upgradeHead(port).slice(0, -2)]) {
        const leaving = await RawClient.connect({ port });
        leaving.write(bytes);
        await new Promise((done) => setTimeout(done, 10));
        leaving.socket[end]();
      }
    const denied = await RawClient.connect({ port, localAddress: '127.0.9.9' }).catch(() => undefined);
    await denied?.untilClosed();
    client.destroy();
    refused.destroy();
  }
  const ordinary = await RawClient.connect({ port: shared });
  expect((await ordinary.upgrade(PLAIN)).status).toBe(404);
  expect((await ordinary.upgrade(upgradeHead(shared))).status).toBe(101);
  ordinary.destroy();
  const later = await RawClient.connect({ port: shared });
  await new Promise((done) => setTimeout(done, 20));
  expect((await later.upgrade(PLAIN)).status).toBe(404);
  later.destroy();
  for (let asked = 0; asked < 100; asked++) {
    const { connections, pending, slots, heldBytes } = await started.ask<Answer>('stats');
    if (connections + pending + slots + heldBytes === 0) break;
    await new Promise((done) => setTimeout(done, 20));
  }
  const left = await started.ask<Answer>('stats');
  expect(left).toMatchObject({ connections: 0, pending: 0, slots: 0, heldBytes: 0, faults: {} });
  expect(started.isAlive).toBe(true);
  expect(await started.ask('close')).toBe('closed');
}

describe.each(INTERNALS)('without %s', (name, expected) => {
  it('an application works unchanged and reports the way in use', async () => {
    const ownPort = freePort();
    child = await Child.start('test/contract/compat.app.ts', [String(ownPort)], {
      NODE_OPTIONS: `--import=file://${resolve('test/contract/without.mjs')}`,
      WITHOUT: name,
    });
    const { compatibility } = await child.ask<Answer>('stats');
    for (const [part, way] of Object.entries(expected)) expect(compatibility[part]).toMatch(way);
    await expectService(child, ownPort);
    expect(child.printed).toMatch(/compatibility: /);
    expect(child.printed).not.toMatch(/Error|Uncaught/);
  });
});

/** Fastify without the list of its secondary servers. */
class FastifyWithoutList extends FastifyAdapter {
  override getInstance<T = unknown>(): T {
    const isList = (key: string | symbol) => typeof key === 'symbol' && key.description === 'fastify.serverBindings';
    return new Proxy(super.getInstance() as object, {
      ownKeys: (target) => Reflect.ownKeys(target).filter((key) => !isList(key)),
    }) as T;
  }
}

describe("without the list of Fastify's servers", () => {
  it('an application serves on the first of them, and reports it', async () => {
    const said: string[] = [];
    const logger = { log: () => undefined, error: () => undefined, warn: (text: string) => said.push(text) };
    const app = await NestFactory.create(AppModule, new FastifyWithoutList() as never, { logger });
    try {
      await app.listen(0, '127.0.0.1');
      const { port } = app.getHttpServer().address() as { port: number };
      const client = await RawClient.open({ port });
      client.send('echo', 1);
      expect(await client.json()).toEqual({ event: 'echo', data: 1 });
      client.destroy();
      expect(said.join()).toContain('first address of Fastify');
      expect(app.get(SecureWsStats).settings().compatibility?.['fastify']).toMatch(/^first server only/);
    } finally {
      await app.close();
    }
  });
});

describe('nativeAccept: off', () => {
  it('uses sockets, with the same service', async () => {
    const ownPort = freePort();
    child = await Child.start('test/contract/compat.app.ts', [String(ownPort)], { WEBSOCKETS_NATIVE_ACCEPT: 'off' });
    const { compatibility } = await child.ask<Answer>('stats');
    expect(compatibility['accept']).toBe('sockets: nativeAccept is off');
    await expectService(child, ownPort);
  });
});

describe('the version of ws', () => {
  const copy = (version: string, file = '/a') => ({ version, file });

  it.each([
    ['8.20.1', 'too old', 0],
    ['7.5.9', 'too old', 0],
    ['8.21.0', undefined, 0],
    ['8.23.4', undefined, 0],
    ['8.24.0', undefined, 1],
    ['9.0.0', undefined, 1],
  ])('checks version %s', (version, problem, warnings) => {
    const found = checkWs(copy(version), copy(version));
    if (problem === undefined) expect(found.problem).toBeUndefined();
    else expect(found.problem).toContain(problem);
    expect(found.warnings).toHaveLength(warnings);
  });

  it('warns once about two copies of ws, and accepts a bundle', () => {
    expect(checkWs(copy('8.23.0'), copy('8.18.0', '/b')).warnings).toEqual([
      expect.stringContaining('another copy of ws (8.18.0)'),
    ]);
    expect(checkWs(undefined, copy('8.18.0'))).toEqual({ version: undefined, problem: undefined, warnings: [] });
  });
});

it('reports that Bun is not supported', () => {
  const asBun = 'data:text/javascript,Object.defineProperty(process.versions,"bun",{value:"1.4.0"})';
  const { status, stderr } = spawnSync(
    process.execPath,
    [
      '--import',
      './test/support/typescript.mjs',
      '--import',
      asBun,
      '--input-type=module',
      '-e',
      "import './lib/index.ts'",
    ],
    { encoding: 'utf8' },
  );
  expect(status).toBe(1);
  expect(stderr).toContain('nest-secure-ws needs Node.js 20.19 or newer: Bun');
});

describe('the internals of a socket', () => {
  it('tell which server accepted it', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    const accepted = once(server, 'connection') as Promise<[Socket]>;
    await once(server, 'listening');
    const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
    try {
      const [socket] = await accepted;
      expect(acceptingServer(socket)).toBe(server);
      markUnread(socket.pause());
      expect(socket.readableFlowing).toBeNull();
      const read = once(socket, 'data');
      client.write('x');
      expect(String(await read)).toBe('x');
      socket.destroy();
    } finally {
      client.destroy();
      server.close();
    }
    expect(acceptingServer(client)).toBeUndefined();
  });

  it('are replaced by pause() when its state cannot be written', () => {
    const calls: string[] = [];
    const socket = Object.freeze({ readableFlowing: false, pause: () => calls.push('pause') });
    markUnread(socket as unknown as Socket);
    expect(calls).toEqual(['pause']);
  });
});
