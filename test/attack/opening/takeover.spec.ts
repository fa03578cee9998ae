import { once } from 'node:events';
import { createServer, type Server as HttpServer, type RequestListener, type ServerOptions } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { afterEach, describe, expect, it } from '@jest/globals';
import { type INestApplication, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { SecureGateway, SecureWsModule, type SecureWsOptions, SecureWsStats } from 'nest-secure-ws';
import { eventually } from '../../support/app.js';
import { selfSigned } from '../../support/certificates.js';
import { RawClient, upgradeHead } from '../../support/raw-client.js';
import { calm, sleep, withLag } from '../../support/time.js';
import { echoes, ROOMY } from './setups.js';

/** How the module's use of an HTTP server appears to code that closes it, sets its timeouts or inspects it. */
const PLAIN = 'GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n';

let closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.reverse()) await close();
  closing = [];
});

type Kind = 'without' | 'with';

interface Place {
  readonly kind: Kind;
  readonly server: HttpServer;
  readonly app: INestApplication;
  readonly tls: boolean;
  readonly port: number;
  connect(bytes?: string): Promise<RawClient>;
}

/** An application whose HTTP server the test creates and may keep. */
async function start(
  kind: Kind,
  {
    tls = false,
    options = {},
    server: given,
    settings = {},
    prepare = () => undefined,
  }: {
    tls?: boolean;
    options?: ServerOptions;
    server?: HttpServer;
    settings?: SecureWsOptions;
    /** Called when the server exists and the application does not. */
    prepare?: (server: HttpServer) => void;
  } = {},
): Promise<Place> {
  class App {}
  const imports = [SecureWsModule.forRoot({ ...settings, connections: { ...ROOMY, ...settings.connections } })];
  Module(kind === 'with' ? { imports, providers: echoes() } : {})(App);
  let server: HttpServer | undefined;
  const serverFactory = (handler: RequestListener): HttpServer => {
    server =
      given ??
      ((tls ? createHttpsServer({ ...selfSigned(), ...options } as object) : createServer(options)) as HttpServer);
    server.removeAllListeners('request');
    server.on('request', handler);
    prepare(server);
    return server;
  };
  const app = await NestFactory.create(App, new FastifyAdapter({ serverFactory } as object), { logger: false });
  await app.listen(0, '127.0.0.1');
  const { port } = server!.address() as AddressInfo;
  let isClosed = false;
  closing.push(() => {
    server!.closeAllConnections();
    return isClosed ? undefined : app.close();
  });
  const close = app.close.bind(app);
  app.close = () => {
    isClosed = true;
    return close();
  };
  const connect = async (bytes = ''): Promise<RawClient> => {
    const client = await RawClient.connect({ port, ...(tls ? { tls: {} } : {}) });
    closing.push(() => client.destroy());
    if (bytes !== '') client.write(bytes);
    return client;
  };
  return { kind, server: server!, app, tls, port, connect };
}

/** A server without the module, and one with it. */
const startBoth = (how: Parameters<typeof start>[1]): Promise<Place[]> =>
  Promise.all((['without', 'with'] as const).map((kind) => start(kind, how)));

/** Expects the same result with and without the module. */
async function both<T>(how: Parameters<typeof start>[1], what: (place: Place) => Promise<T>): Promise<void> {
  const [without, withModule] = await Promise.all((await startBoth(how)).map(what));
  expect(withModule).toEqual(without);
}

/**
 * The same for results that depend on Node's own timeouts, which take no clock of a test: repeated while the machine was too
 * busy for the moments at which the clients act.
 */
async function bothOnTime<T>(how: Parameters<typeof start>[1], what: (place: Place) => Promise<T>): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const places = await startBoth(how);
    const { result, lag } = await withLag(() => Promise.all(places.map(what)));
    if (lag > 200 && attempt < 12) continue;
    expect(result[1]).toEqual(result[0]);
    return;
  }
}

const outcome = async (client: RawClient, within = 2_000): Promise<string> => {
  await calm(within, () => client.ended || client.closed);
  const answer = client.received.toString().split('\r\n', 1)[0];
  return `${client.closed || client.ended ? 'ended' : 'open'} ${answer}`;
};

describe.each([
  ['plaintext', false],
  ['TLS', true],
] as const)('an HTTP server with %s', (_, tls) => {
  it('applies headersTimeout and requestTimeout from the same moment as Node', async () => {
    const options = { headersTimeout: 1000, requestTimeout: 1200, connectionsCheckingInterval: 50 };
    await bothOnTime({ tls, options }, async ({ connect }) => {
      const silent = await connect();
      const half = await connect('GET / HTTP/1.1\r\nHost:');
      const late = await connect();
      const body = await connect('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx');
      // This head begins halfway through the silent connection's timeout.
      await sleep(700);
      late.write('GET /nowhere HTTP/1.1\r\nHo');
      await sleep(700);
      late.write('st: a\r\nConnection: close\r\n\r\n');
      return Promise.all([silent, half, late, body].map((client) => outcome(client)));
    });
  });

  it('applies server.timeout to silent connections and half heads', async () => {
    await both({ tls, prepare: (server) => void server.setTimeout(150) }, async ({ connect }) => {
      const clients = [await connect(), await connect('GET / HTTP/1.1\r\nHost:')];
      return Promise.all(clients.map((client) => outcome(client)));
    });
  });

  it.each(['closeAllConnections', 'closeIdleConnections', 'close'] as const)(
    'server.%s() ends the same connections as without the module',
    async (method) => {
      await both({ tls }, async ({ connect, server }) => {
        const idle = await connect(PLAIN);
        await idle.response();
        const silent = await connect();
        const half = await connect('GET / HTTP/1.1\r\nHost:');
        const asking = await connect('GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n');
        await sleep(20);
        const newest = [await connect(), await connect()];
        server[method]();
        const fates = await Promise.all([idle, silent, half, asking, ...newest].map((client) => outcome(client, 300)));
        server.closeAllConnections();
        return [...fates, await Promise.all([silent, half].map((client) => outcome(client, 300)))];
      });
    },
  );

  it('lets shutdown helpers end the same connections as without the module', async () => {
    await both({ tls, prepare: (server) => helpers.set(server, helper(server, tls)) }, async ({ connect, server }) => {
      const idle = await connect(PLAIN);
      await idle.response();
      const clients = [idle, await connect(), await connect('GET / HTTP/1.1\r\nHost:')];
      await sleep(20);
      // Ends when the last connection has: none of them may be hidden from the helper.
      await helpers.get(server)!();
      return Promise.all(clients.map((client) => outcome(client)));
    });
  });

  it('is restored when an application closes, and works with a second application', async () => {
    const server = (tls ? createHttpsServer(selfSigned()) : createServer()) as HttpServer;
    const look = () => ({
      listeners: ['connection', 'secureConnection', 'upgrade', 'listening', 'tlsClientError'].map((event) =>
        server.rawListeners(event),
      ),
      own: Object.getOwnPropertyNames(server).filter(
        (name) => typeof (server as never)[name] === 'function' || name === 'emit',
      ),
    });
    const before = look();
    for (const round of [1, 2]) {
      const place = await start('with', { tls, server });
      const accept = acceptOf(server);
      expect(look()).not.toEqual(before);
      const client = await place.connect();
      expect((await client.upgrade(upgradeHead(place.port))).status).toBe(101);
      client.send('echo', round);
      expect(await client.json()).toEqual({ event: 'echo', data: round });
      client.destroy();
      const silent = await place.connect();
      // The server stays open; Fastify would close it.
      server.close = ((then?: () => void) => {
        then?.();
        return server;
      }) as typeof server.close;
      await place.app.close();
      delete (server as Partial<HttpServer>).close;
      expect(look()).toEqual(before);
      expect(acceptOf(server)).not.toBe(accept);
      silent.write(PLAIN);
      const other = await place.connect(PLAIN);
      server.removeAllListeners('request');
      server.on('request', (_request, response) => response.end('still here'));
      const third = await place.connect(PLAIN);
      expect((await third.response()).body).toBe('still here');
      for (const each of [silent, other, third]) each.destroy();
      await new Promise((resolve) => server.close(resolve));
    }
  });

  it.each([
    [0, 1],
    [1, 0],
  ])('serves two applications that do not own it: number %i closes first', async (first, second) => {
    const server = (tls ? createHttpsServer(selfSigned()) : createServer()) as HttpServer;
    server.on('request', (_, response) => void response.end('own'));
    const own = () =>
      ['emit', 'close', 'closeAllConnections', 'closeIdleConnections'].map((name) => Object.hasOwn(server, name));
    const before = { own: own(), listeners: server.rawListeners(tls ? 'secureConnection' : 'connection') };
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const connect = () => RawClient.connect({ port, ...(tls ? { tls: {} } : {}) });
    const status = async (bytes: string): Promise<number> => {
      const client = await connect();
      const answer = await client.upgrade(bytes);
      client.destroy();
      return answer.status;
    };
    const statuses = async (): Promise<number[]> => [
      await status(upgradeHead(port, { path: '/one' })),
      await status(upgradeHead(port, { path: '/two' })),
      await status('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'),
    ];
    const apps: INestApplication[] = [];
    for (const path of ['/one', '/two']) {
      @SecureGateway({ path })
      class Gateway {}
      @Module({ imports: [SecureWsModule.forRoot({ connections: ROOMY })], providers: [Gateway] })
      class App {}
      const serverFactory = (): HttpServer => server;
      const app = await NestFactory.create(App, new FastifyAdapter({ serverFactory } as object), { logger: false });
      apps.push(await app.init());
    }
    expect(await statuses()).toEqual([101, 101, 200]);
    await apps[first]!.close();
    if (!server.listening) await once(server.listen(port, '127.0.0.1'), 'listening');
    expect(await statuses()).toEqual(first === 0 ? [404, 101, 200] : [101, 404, 200]);
    await apps[second]!.close();
    if (!server.listening) await once(server.listen(port, '127.0.0.1'), 'listening');
    expect(await statuses()).toEqual([200, 200, 200]);
    expect({ own: own(), listeners: server.rawListeners(tls ? 'secureConnection' : 'connection') }).toEqual(before);
    server.closeAllConnections();
    server.close();
  });

  it("serves two applications, neither of which ends the other's connections", async () => {
    const server = (tls ? createHttpsServer(selfSigned()) : createServer()) as HttpServer;
    server.on('request', (_, response) => void response.end('own'));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const apps: INestApplication[] = [];
    for (const path of ['/one', '/two']) {
      @SecureGateway({ path })
      class Gateway {}
      @Module({
        imports: [SecureWsModule.forRoot({ connections: ROOMY, http: { openTimeout: '1500ms' } })],
        providers: [Gateway],
      })
      class App {}
      const serverFactory = (): HttpServer => server;
      const app = await NestFactory.create(App, new FastifyAdapter({ serverFactory } as object), { logger: false });
      apps.push(await app.init());
    }
    const clients: RawClient[] = [];
    for (const path of ['/one', '/two'])
      for (const isLater of [false, true]) {
        const client = await RawClient.connect({ port, ...(tls ? { tls: {} } : {}) });
        clients.push(client);
        if (isLater) {
          client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
          await client.response();
        }
        expect((await client.upgrade(upgradeHead(port, { path }))).status).toBe(101);
      }
    await new Promise((resolve) => setTimeout(resolve, 2500));
    expect(clients.map((client) => client.closed)).toEqual([false, false, false, false]);
    for (const client of clients) client.destroy();
    for (const app of apps) await app.close();
    server.closeAllConnections();
    server.close();
  });

  it("keeps a listener that was added before Node's own", async () => {
    const seen: Socket[] = [];
    const event = tls ? 'secureConnection' : 'connection';
    const place = await start('with', {
      tls,
      prepare: (server) => void server.prependListener(event, (socket) => seen.push(socket)),
    });
    const client = await place.connect(PLAIN);
    expect((await client.response()).status).toBe(404);
    const upgraded = await place.connect();
    expect((await upgraded.upgrade(upgradeHead(place.port))).status).toBe(101);
    expect(seen).toHaveLength(2);
    expect(place.server.listeners(event)[0]).not.toBe(undefined);
    upgraded.destroy();
    await eventually(() => place.app.get(SecureWsStats).snapshot().connections === 0);
  });
});

const helpers = new WeakMap<HttpServer, () => Promise<void>>();

/** As shutdown packages: they track sockets since 'connection', end idle ones, and close the server. */
function helper(server: HttpServer, tls: boolean): () => Promise<void> {
  const busy = new Map<Socket, number>();
  let isStopping = false;
  server.on(tls ? 'secureConnection' : 'connection', (socket: Socket) => {
    if (isStopping) return socket.destroy();
    busy.set(socket, 0);
    socket.once('close', () => busy.delete(socket));
  });
  server.on('request', (request, response) => {
    busy.set(request.socket, busy.get(request.socket)! + 1);
    response.once('finish', () => busy.set(request.socket, busy.get(request.socket)! - 1));
  });
  return async () => {
    isStopping = true;
    const closed = once(server, 'close');
    server.close();
    for (const [socket, requests] of busy) if (requests === 0) socket.destroy();
    await closed;
  };
}

const acceptOf = (server: HttpServer): unknown =>
  (server as unknown as { _handle?: { onconnection?: unknown } | null })._handle?.onconnection;
