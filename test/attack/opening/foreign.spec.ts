import type { IncomingMessage, Server } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { afterEach, describe, expect, it } from '@jest/globals';
import { Injectable } from '@nestjs/common';
import { SubscribeMessage } from '@nestjs/websockets';
import {
  type AdmissionGuard,
  allow,
  type ForeignUpgrades,
  foreignAdmission,
  refuse,
  SecureGateway,
  SecureWsBroadcaster,
  type SecureWsOptions,
  type UpgradeAttempt,
} from 'nest-secure-ws';
import { Server as SocketIo } from 'socket.io';
import { type Socket as IoClient, io } from 'socket.io-client';
import { type WebSocket, WebSocketServer } from 'ws';
import { eventually, PLATFORMS, type Platform, startApp, type TestApp } from '../../support/app.js';
import { selfSigned } from '../../support/certificates.js';
import { frame, RawClient, type Response, upgradeHead } from '../../support/raw-client.js';
import { passUntil, restoreTime, stopTime } from '../../support/stopped-time.js';

@SecureGateway({ path: '/own' })
class OwnGateway {
  @SubscribeMessage('echo')
  echo(_socket: unknown, data: unknown) {
    return { event: 'echo', data };
  }
}

let app: TestApp;
const others: { close(): unknown }[] = [];
const clients: RawClient[] = [];
/** URLs of the upgrades that reached the other library. */
let told: (string | undefined)[] = [];
afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  for (const other of others.splice(0)) other.close();
  await app?.close();
  told = [];
  restoreTime();
});

interface Options {
  readonly foreign: readonly ForeignUpgrades[];
  readonly options?: SecureWsOptions;
  readonly platform?: Platform;
  readonly tls?: boolean;
  readonly onConnection?: (socket: WebSocket, request: IncomingMessage) => void;
  /** Whether a plain `ws` server listens to upgrades. Default true. */
  readonly listens?: boolean;
}

/** An application with a gateway, and a plain `ws` server for the upgrades that reach it. */
async function start({ foreign, options, platform = 'express', tls = false, onConnection, listens = true }: Options) {
  app = await startApp({
    platform,
    gateways: [OwnGateway],
    options: { ...options, foreign },
    ...(tls ? { https: selfSigned() } : {}),
  });
  const server = app.app.getHttpServer() as Server;
  if (listens) {
    const other = new WebSocketServer({ noServer: true });
    server.on('upgrade', (request, socket, head) => {
      told.push(request.url);
      other.handleUpgrade(request, socket, head, (webSocket) => {
        webSocket.on('message', (data) => webSocket.send(`echo ${data}`));
        onConnection?.(webSocket, request);
      });
    });
    others.push({ close: () => other.clients.forEach((each) => void each.terminate()) });
  }
  return server;
}

async function connect(tls = false): Promise<RawClient> {
  const client = await RawClient.connect({ port: app.port, ...(tls ? { tls: {} } : {}) });
  clients.push(client);
  return client;
}

async function ask(
  path: string,
  headers: Record<string, string> = {},
): Promise<{ client: RawClient; response: Response }> {
  const client = await connect();
  return { client, response: await client.upgrade(upgradeHead(app.port, { path, headers })) };
}

const status = async (path: string, headers?: Record<string, string>): Promise<number> =>
  (await ask(path, headers)).response.status;

const slots = (count: number) => eventually(() => app.stats().slots === count && app.stats().pending === 0);
const OPEN: ForeignUpgrades = { path: '/foreign' };

describe.each(PLATFORMS.flatMap((platform) => [false, true].map((tls) => ({ platform, tls }))))(
  'another library on $platform, TLS: $tls',
  ({ platform, tls }) => {
    it('gets an upgrade that passes the guards; its slot is held until its socket closes', async () => {
      let server: WebSocket | undefined;
      await start({ foreign: [OPEN], platform, tls, onConnection: (socket) => (server = socket) });
      for (const end of ['client', 'reset', 'server', 'destroyed'] as const) {
        const client = await connect(tls);
        expect((await client.upgrade(upgradeHead(app.port, { path: '/foreign?x=1' }))).status).toBe(101);
        client.write(frame('hello'));
        expect((await client.frame())?.payload.toString()).toBe('echo hello');
        await slots(1);
        if (end === 'client') client.destroy();
        else if (end === 'reset') client.reset();
        else if (end === 'server') server!.terminate();
        else (server as unknown as { _socket: { destroy(): void } })._socket.destroy();
        await slots(0);
      }
      expect(told).toHaveLength(4);
      const own = await connect(tls);
      expect((await own.upgrade(upgradeHead(app.port, { path: '/own' }))).status).toBe(101);
      expect(told).toHaveLength(4);
    });

    it('gets a later upgrade of a connection only if it passes the guards too', async () => {
      await start({ foreign: [{ ...OPEN, guards: [({ query }) => query.has('good')] }], platform, tls });
      for (const [query, expected] of [
        ['good', 101],
        ['bad', 403],
      ] as const) {
        const client = await connect(tls);
        client.write('GET /nowhere HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n');
        expect((await client.response()).status).toBe(404);
        const { status } = await client.upgrade(upgradeHead(app.port, { path: `/foreign?${query}` }));
        expect(status).toBe(expected);
        if (expected !== 101) continue;
        client.write(frame('later'));
        expect((await client.frame())?.payload.toString()).toBe('echo later');
      }
      expect(told).toEqual(['/foreign?good']);
      await slots(1);
    });

    it('gets the bytes after a head whole and in order, even while a guard decides', async () => {
      const guards = [() => new Promise<boolean>((resolve) => setTimeout(() => resolve(true), 30))];
      await start({ foreign: [{ ...OPEN, guards }], platform, tls });
      const first = await connect(tls);
      const later = await connect(tls);
      later.write('GET /nowhere HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n');
      await later.response();
      const big = 'x'.repeat(70_000);
      for (const client of [first, later]) {
        client.write(Buffer.concat([Buffer.from(upgradeHead(app.port, { path: '/foreign' })), frame('early')]));
        await new Promise((resolve) => setTimeout(resolve, 5));
        client.write(frame(big));
        expect((await client.response()).status).toBe(101);
        expect((await client.frame())?.payload.toString()).toBe('echo early');
        expect((await client.frame())?.payload.length).toBe(5 + big.length);
      }
    });
  },
);

describe('an upgrade for another library', () => {
  it("is hidden from it until the stages pass, and refused like a gateway's", async () => {
    const guards = [({ headers }: UpgradeAttempt) => (headers['x-token'] === 'good' ? true : refuse(401, 'Who?'))];
    await start({
      foreign: [{ ...OPEN, guards, connections: { max: 1 } }],
      options: { guards: [({ query }) => !query.has('closed')] },
    });
    const good = { 'X-Token': 'good' };
    expect(await ask('/foreign')).toMatchObject({ response: { status: 401, body: 'Who?\n' } });
    expect(await status('/foreign?closed', good)).toBe(403);
    expect(await status('/foreign', { ...good, Origin: 'https://evil.example' })).toBe(403);
    expect(await status('/foreign', { ...good, 'Sec-WebSocket-Version': '8' })).toBe(426);
    expect(await status('/foreign', { ...good, 'Content-Length': '1' })).toBe(400);
    expect(told).toEqual([]);
    expect(await status('/foreign', good)).toBe(101);
    expect(await status('/foreign', good)).toBe(503);
    expect(told).toEqual(['/foreign']);
    await slots(1);
    for (const client of clients.splice(0)) client.destroy();
    await slots(0);
  });

  it('is counted with gateways for the attempts and connections of its address', async () => {
    await start({ foreign: [OPEN], options: { connections: { maxPerIp: 2, rate: '5/1m' } } });
    expect(await status('/own')).toBe(101);
    expect(await status('/foreign')).toBe(101);
    expect(await status('/foreign')).toBe(429);
    expect(await status('/own')).toBe(429);
    expect(app.stats().refused).toEqual({ 'connections-per-ip': 2 });
    for (const client of clients.splice(0)) client.destroy();
    await slots(0);
    expect(await status('/foreign')).toBe(101);
    expect(await status('/foreign')).toBe(429);
    expect(app.stats().refused).toMatchObject({ 'connection-rate': 1 });
  });

  it('leaves nothing behind when the peer leaves, the guard never decides, or the library refuses', async () => {
    const server = await start({
      foreign: [
        { ...OPEN, guards: [() => new Promise<boolean>(() => undefined)], connections: { guardTimeout: 50 } },
        { path: '/closing' },
      ],
    });
    expect(await status('/foreign')).toBe(503);
    for (let i = 0; i < 20; i++) {
      const client = await connect();
      client.write(upgradeHead(app.port, { path: '/foreign' }));
      if (i % 2 === 0) client.reset();
      else client.destroy();
    }
    await slots(0);
    server.removeAllListeners('upgrade');
    // Without a listener Node emits nothing: there are two again.
    server.on('upgrade', () => undefined);
    server.on('upgrade', (_request, socket) => socket.end('HTTP/1.1 418 No\r\n\r\n'));
    for (const end of ['first', 'later'] as const) {
      const client = await connect();
      if (end === 'later') {
        client.write('GET /nowhere HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n');
        await client.response();
      }
      expect((await client.upgrade(upgradeHead(app.port, { path: '/closing' }))).status).toBe(418);
      client.destroy();
    }
    await slots(0);
  });

  it.each([false, true])('that no library answers is ended in time, and releases its slot (TLS: %s)', async (tls) => {
    const clock = stopTime();
    const server = await start({
      foreign: [
        OPEN,
        { path: '/slow', guards: [() => new Promise<boolean>((done) => setTimeout(() => done(true), 10))] },
      ],
      options: { http: { openTimeout: '10s' } },
      listens: false,
      tls,
    });
    // The library serves another path or subprotocol; a second one answers late, but in time.
    server.on('upgrade', (request, socket) => {
      if (request.url === '/foreign?late')
        setTimeout(() => {
          socket.on('end', () => socket.end()).resume();
          socket.write('HTTP/1.1 101 Switching Protocols\r\n\r\n');
        }, 50);
    });
    for (const path of ['/foreign', '/slow', '/elsewhere']) {
      for (const isLater of [false, true]) {
        const client = await connect(tls);
        if (isLater) {
          client.write('GET /nowhere HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n');
          await client.response();
        }
        client.write(upgradeHead(app.port, { path }));
        await passUntil(clock, () => client.ended || client.closed);
      }
    }
    await slots(0);
    expect(app.stats().refused).toEqual({ 'open-timeout': 6 });
    const late = await connect(tls);
    expect((await late.upgrade(upgradeHead(app.port, { path: '/foreign?late' }))).status).toBe(101);
    clock.pass(20_000);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(late.closed).toBe(false);
    await slots(1);
  });

  it.each([
    ['destroys the socket in its listener', (socket: Duplex) => void socket.destroy()],
    ['destroys the socket with an error', (socket: Duplex) => void socket.destroy(new Error('of the library'))],
    ['resets the socket', (socket: Duplex) => void (socket as Socket).resetAndDestroy()],
    ['destroys the socket a turn later', (socket: Duplex) => void setImmediate(() => socket.destroy())],
    [
      'destroys the socket after its response',
      (socket: Duplex) => socket.end('HTTP/1.1 400 No\r\n\r\n', () => socket.destroy()),
    ],
    ['destroys the socket twice and ends it', (socket: Duplex) => void socket.destroy().end().destroy()],
  ])('whose library %s releases its slot', async (_, end) => {
    const slow = () => new Promise<boolean>((resolve) => setTimeout(() => resolve(true), 5));
    const server = await start({
      foreign: [
        { ...OPEN, guards: [() => allow({ userKey: 'eve' })] },
        { path: '/slow', guards: [slow, () => allow({ userKey: 'ada' })] },
      ],
      options: { connections: { maxPerUser: 1 } },
      listens: false,
    });
    server.on('upgrade', (_request, socket) => end(socket));
    for (const path of ['/foreign', '/slow', '/slow']) {
      for (const isLater of [false, true]) {
        const client = await connect();
        if (isLater) {
          client.write('GET /nowhere HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n');
          await client.response();
        }
        client.write(upgradeHead(app.port, { path }));
        await client.untilClosed();
        await slots(0);
      }
    }
    expect(app.stats().refused).toEqual({});
    expect(app.stats().faults).toEqual({});
  });

  it('whose library removes all listeners of the socket releases its slot', async () => {
    const server = await start({
      foreign: [OPEN, { path: '/user', guards: [() => allow({ userKey: 'ada', expiresAt: Date.now() + 60_000 })] }],
      listens: false,
    });
    server.on('upgrade', (_request, socket) => {
      socket.removeAllListeners();
      setTimeout(() => socket.destroy(), 20);
    });
    for (const path of ['/foreign', '/user']) {
      const client = await connect();
      client.write(upgradeHead(app.port, { path }));
      await client.untilClosed();
    }
    expect(app.stats().slots).toBe(2);
    await slots(0);
    expect(app.stats().faults).toEqual({});
  });

  it('whose library throws ends with its socket, and affects nothing else', async () => {
    const slow = () => new Promise<boolean>((resolve) => setTimeout(() => resolve(true), 5));
    const server = await start({ foreign: [OPEN, { path: '/slow', guards: [slow] }], listens: false });
    server.on('upgrade', () => {
      throw new Error('the library failed');
    });
    for (const path of ['/foreign', '/slow']) {
      const first = await connect();
      first.write(upgradeHead(app.port, { path }));
      await first.untilClosed();
      const later = await connect();
      later.write('GET /nowhere HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n');
      await later.response();
      later.write(upgradeHead(app.port, { path }));
      await later.untilClosed();
    }
    await slots(0);
    expect(app.stats().faults).toMatchObject({ internal: 4 });
    expect(await status('/own')).toBe(101);
  });

  it('gives the library its principal and parameters through foreignAdmission()', async () => {
    const seen: unknown[] = [];
    await start({
      foreign: [{ path: '/rooms/:id', guards: [() => allow({ principal: { name: 'Ada' }, userKey: 'ada' })] }, OPEN],
      onConnection: (_, request) => seen.push(foreignAdmission(request)),
    });
    await ask('/rooms/5');
    await ask('/foreign');
    expect(seen).toEqual([
      { ip: '127.0.0.1', principal: { name: 'Ada' }, userKey: 'ada', params: { id: '5' } },
      { ip: '127.0.0.1', principal: undefined, userKey: undefined, params: {} },
    ]);
  });

  it('ends with disconnectUser() and at expiresAt', async () => {
    const userOf = ({ query }: UpgradeAttempt) =>
      allow({
        userKey: query.get('user') ?? 'nobody',
        ...(query.has('short') ? { expiresAt: Date.now() + 60_000 } : {}),
      });
    const clock = stopTime();
    await start({
      foreign: [{ ...OPEN, guards: [userOf] }],
      options: { connections: { maxPerUser: 2, onUserLimit: 'closeOldest' } },
    });
    const oldest = await ask('/foreign?user=ada');
    await ask('/foreign?user=ada');
    const other = await ask('/foreign?user=eve');
    await ask('/foreign?user=ada');
    await oldest.client.untilClosed();
    await slots(3);
    expect(await app.app.get(SecureWsBroadcaster).disconnectUser('ada')).toBe(2);
    await slots(1);
    expect(other.client.closed).toBe(false);
    const short = await ask('/foreign?user=zoe&short');
    expect(short.response.status).toBe(101);
    clock.pass(61_000);
    await short.client.untilClosed();
    await slots(1);
  });

  it('ends with disconnectUser() in the turn in which its library half-closes', async () => {
    const server = await start({ foreign: [{ ...OPEN, guards: [() => allow({ userKey: 'ada' })] }], listens: false });
    const ends: string[] = [];
    server.on('upgrade', (_request, socket) => {
      socket.on('error', ({ message }) => ends.push(message)).on('close', () => ends.push('close'));
      socket.end('HTTP/1.1 101 Switching Protocols\r\n\r\n');
      void app.app.get(SecureWsBroadcaster).disconnectUser('ada');
    });
    expect(await status('/foreign')).toBe(101);
    await eventually(() => ends.length > 0);
    expect(ends).toEqual(['close']);
    expect(app.stats().slots).toBe(0);
  });

  it('has guards that are classes with dependencies of the importing module', async () => {
    @Injectable()
    class Users {
      readonly known = 'ada';
    }
    @Injectable()
    class UserGuard implements AdmissionGuard {
      constructor(private readonly users: Users) {}
      admit({ query }: UpgradeAttempt): boolean {
        return query.get('user') === this.users.known;
      }
    }
    app = await startApp({
      gateways: [OwnGateway],
      options: { foreign: [{ ...OPEN, guards: [UserGuard] }] },
      metadata: { providers: [Users] },
    });
    (app.app.getHttpServer() as Server).on('upgrade', (_, socket) => socket.end('HTTP/1.1 418 No\r\n\r\n'));
    expect(await status('/foreign?user=ada')).toBe(418);
    expect(await status('/foreign?user=eve')).toBe(403);
  });

  it('is matched by its exact path; a prefix matches everything below', async () => {
    await start({
      foreign: [{ path: '/one' }, { path: '/all/', prefix: true }, { path: '/both', prefix: true }],
      options: { foreignUpgrades: 'refuse' },
    });
    for (const [path, expected] of [
      ['/one', 101],
      ['/one/', 404],
      ['/one/x', 404],
      ['/all/', 101],
      ['/all/x/y?z', 101],
      ['/all', 404],
      ['/allx/', 404],
      ['/both', 101],
      ['/both/x', 101],
      ['/bothx', 404],
      ['/elsewhere', 404],
      ['/own', 101],
    ] as const)
      expect([path, await status(path)]).toEqual([path, expected]);
  });

  it.each(PLATFORMS)(
    'is refused in every other spelling that a library may read as its path (%s)',
    async (platform) => {
      await start({
        foreign: [
          { path: '/graphql', guards: [() => false] },
          { path: '/socket.io/', prefix: true, guards: [() => false] },
          { path: '/rooms/:id', guards: [() => false] },
        ],
        platform,
      });
      const spellings = [
        ...['/%67raphql', '/GraphQL', '/graphql/', '//graphql', '/./graphql', '/x/../graphql', '/x/%2e%2E/graphql'],
        ...[
          '/graphql;x=1',
          '/%2567raphql',
          '/a%2fb/../graphql',
          '/%ff/../graphql',
          '/a//../../graphql',
          '/;/../graphql',
        ],
        ...['/socket.io', '/%73ocket.io/?EIO=4', '/x/../socket.io/', '//socket.io/y', '/SOCKET.IO/'],
        ...['/rooms/5/', '/%72ooms/5', '/rooms//5', '/x/../rooms/5', '/rooms/%2e/5'],
      ];
      for (const path of spellings) {
        expect([path, await status(path)]).toEqual([path, 404]);
        const later = await connect();
        later.write('GET /nowhere HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n');
        await later.response();
        expect([path, (await later.upgrade(upgradeHead(app.port, { path }))).status]).toEqual([path, 404]);
        for (const client of clients.splice(0)) client.destroy();
      }
      expect(told).toEqual([]);
      // Paths of no library are still passed on.
      for (const path of ['/graphqlx', '/graph', '/x/graphql', '/rooms', '/rooms/5/6', '/%'])
        expect([path, await status(path)]).toEqual([path, 101]);
      await slots(0);
    },
  );

  it('is found among ten thousand, and other spellings of any of them are refused', async () => {
    const id = ({ params }: UpgradeAttempt) => params['id'] !== 'closed';
    await start({
      foreign: Array.from({ length: 10_000 }, (_, i) =>
        i % 2 === 0 ? { path: `/tenants/t${i}/socket` } : { path: `/t${i}/:id`, guards: [id] },
      ),
      options: { connections: { rate: '10000/1s', maxPerIp: 1000, allowedOrigins: ['*'] }, bans: { failures: null } },
    });
    for (const i of [0, 4998, 9998]) {
      expect(await status(`/tenants/t${i}/socket`)).toBe(101);
      expect(await status(`/t${i + 1}/5`)).toBe(101);
      expect(await status(`/t${i + 1}/closed`)).toBe(403);
      expect(await status(`/tenants/%74${i}/socket`)).toBe(404);
      expect(await status(`/x/../t${i + 1}/closed`)).toBe(404);
    }
    // A path of no library is passed on.
    expect(await status('/tenants/t10000/socket')).toBe(101);
    const before = app.stats().slots;
    for (let n = 0; n < 200; n++) expect(await status(`/t${2 * n + 1}/a%2F..%2Fb`)).toBe(101);
    expect(app.stats().slots).toBe(before + 200);
    for (const client of clients.splice(0)) client.destroy();
    await slots(0);
  });

  it('is 404 when no library listens', async () => {
    await start({ foreign: [OPEN], listens: false });
    expect(await status('/foreign')).toBe(404);
    await slots(0);
  });

  it('needs no gateway', async () => {
    app = await startApp({ options: { foreign: [{ ...OPEN, guards: [({ query }) => query.has('good')] }] } });
    (app.app.getHttpServer() as Server).on('upgrade', (_, socket) => socket.end('HTTP/1.1 418 No\r\n\r\n'));
    expect(await status('/foreign?good')).toBe(418);
    expect(await status('/foreign')).toBe(403);
  });

  it.each([
    [[{ path: '/own' }], "'/own' matches the same paths as '/own'"],
    [[{ path: '/a' }, { path: '/a' }], "'/a' matches the same paths"],
    [[{ path: 'a' }], 'begins with a slash'],
    [[{ path: '/a', prefixed: true }], "unknown option 'prefixed'"],
    [[{ path: '/a', prefix: 'yes' }], 'prefix "yes"'],
    [[{ path: '/a', connections: { maximum: 3 } }], "unknown option 'connections.maximum' of foreign[0]"],
    [[{ path: '/a', connections: { max: -1 } }], 'connections.max'],
    [[{ path: '/a', guards: 7 }], 'guards'],
    [[7], '7 is not an object'],
    [{ path: '/a' }, 'foreign'],
  ])('%j stops the start', async (foreign, words) => {
    await expect(startApp({ gateways: [OwnGateway], options: { foreign: foreign as never } })).rejects.toThrow(words);
  });
});

describe('socket.io', () => {
  const io_: IoClient[] = [];
  afterEach(() => {
    for (const client of io_.splice(0)) client.disconnect();
  });

  async function startIo(options: Partial<ForeignUpgrades> = {}) {
    app = await startApp({
      gateways: [OwnGateway],
      options: { foreign: [{ path: '/socket.io/', prefix: true, ...options }] },
    });
    const server = new SocketIo(app.app.getHttpServer() as Server, { serveClient: false });
    server.on('connection', (socket) => {
      socket.on('who', (answer) => answer(foreignAdmission(socket.request)?.principal, socket.conn.transport.name));
    });
    others.push({ close: () => server.disconnectSockets(true) });
  }
  const client = (options: object = {}): IoClient => {
    const made = io(`http://127.0.0.1:${app.port}`, { reconnection: false, ...options });
    io_.push(made);
    return made;
  };
  const who = (made: IoClient) =>
    new Promise((resolve, reject) => {
      made.on('connect', () => made.emit('who', (...answer: unknown[]) => resolve(answer)));
      made.on('connect_error', (error) => reject(error));
    });
  const byToken = ({ query, cookies }: UpgradeAttempt) =>
    (query.get('token') ?? cookies['token']) === 'good' && allow({ principal: 'ada' });

  it('has its upgrades guarded and counted, and works unchanged', async () => {
    await startIo({ guards: [byToken], connections: { max: 1 } });
    const websocket = { transports: ['websocket'] };
    await expect(who(client(websocket))).rejects.toThrow();
    const good = client({ ...websocket, query: { token: 'good' } });
    expect(await who(good)).toEqual(['ada', 'websocket']);
    await slots(1);
    await expect(who(client({ ...websocket, query: { token: 'good' } }))).rejects.toThrow();
    good.disconnect();
    await slots(0);
    // Its polling is not guarded; the upgrade that follows is.
    const polling = client({ query: { token: 'good' } });
    await who(polling);
    await eventually(() => polling.io.engine.transport.name === 'websocket');
    await slots(1);
  });

  it('receives an upgrade although a guard takes longer than its own timeout', async () => {
    // engine.io waits for one second.
    const decide: ((yes: boolean) => void)[] = [];
    await startIo({ guards: [() => new Promise<boolean>((resolve) => decide.push(resolve))] });
    const made = client({ transports: ['websocket'] });
    const polling = client();
    // The second client's upgrade arrives on a connection with earlier requests, or on a new one.
    expect(await who(polling)).toEqual([null, 'polling']);
    await eventually(() => decide.length === 2);
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    for (const each of decide) each(true);
    expect(await who(made)).toEqual([null, 'websocket']);
    await eventually(() => polling.io.engine.transport.name === 'websocket');
    await slots(2);
    await new Promise((resolve) => setTimeout(resolve, 1_200));
    expect([made.connected, polling.connected, polling.io.engine.transport.name]).toEqual([true, true, 'websocket']);
  });

  it('does not end connections of gateways', async () => {
    await startIo();
    const own = await RawClient.open({ port: app.port }, { path: '/own' });
    clients.push(own);
    await new Promise((resolve) => setTimeout(resolve, 1_200));
    expect(own.closed).toBe(false);
  });
});
