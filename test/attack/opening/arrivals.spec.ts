import { once } from 'node:events';
import type { Server as HttpServer } from 'node:http';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from '@jest/globals';
import { Test } from '@nestjs/testing';
import { SecureWsModule, type SecureWsOptions } from 'nest-secure-ws';
import { eventually, startApp, type TestApp } from '../../support/app.js';
import { Child } from '../../support/child.js';
import { frame, RawClient, upgradeHead } from '../../support/raw-client.js';
import { passUntil, restoreTime, stopTime } from '../../support/stopped-time.js';
import { echoes, ROOMY } from './setups.js';

const ECHO = frame('{"event":"echo","data":"x"}');
const ECHOED = { event: 'echo', data: 'x' };
const PLAIN = 'GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n';
const HALF = 'GET / HTTP/1.1\r\nUpgrade: websocket\r\nHost: a\r\nX-A: ';

let closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.reverse()) await close();
  closing = [];
  restoreTime();
});

async function openApp(options: SecureWsOptions = {}): Promise<TestApp> {
  const test = await startApp({
    gateways: echoes(),
    options: { ...options, connections: { ...ROOMY, ...options.connections } },
  });
  closing.push(() => test.close());
  return test;
}

const serverOf = ({ app }: TestApp): HttpServer => app.getHttpServer() as HttpServer;

async function arrive(port: number, bytes: string | Buffer = ''): Promise<RawClient> {
  const client = await RawClient.connect({ port });
  closing.push(() => client.destroy());
  if (bytes.length > 0) client.write(bytes);
  return client;
}

const isEmpty = ({ stats }: TestApp): boolean => {
  const { connections, pending, slots, heldBytes, deadlines } = stats();
  return connections + pending + slots + heldBytes + deadlines === 0;
};

/** Another server that passes its connections to the application's, as port multiplexers do. */
async function front(test: TestApp): Promise<number> {
  const server = createServer({ allowHalfOpen: true }, (socket) => serverOf(test).emit('connection', socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closing.push(() => server.close());
  return (server.address() as AddressInfo).port;
}

const ways: [string, (test: TestApp) => number | Promise<number>][] = [
  ['accepted by the server itself', ({ port }) => port],
  ['passed on by another server', front],
];

describe.each(ways)('a connection %s', (_, come) => {
  it('is served, including the bytes after its head', async () => {
    const test = await openApp();
    const client = await arrive(await come(test));
    expect((await client.upgrade(Buffer.concat([Buffer.from(upgradeHead(test.port)), ECHO]))).status).toBe(101);
    expect(await client.json()).toEqual(ECHOED);
    client.write(ECHO);
    expect(await client.json()).toEqual(ECHOED);
    client.destroy();
    await eventually(() => isEmpty(test));
  });

  it('is subject to every limit, and leaves nothing behind', async () => {
    const clock = stopTime();
    const test = await openApp({ http: { openTimeout: 1000 } });
    const port = await come(test);
    const wrong = upgradeHead(port, { headers: { 'Sec-WebSocket-Version': '8' } });
    const long = await arrive(port, `${HALF}${'x'.repeat(9000)}`);
    const refused = await arrive(port, `${wrong}${PLAIN}`);
    const slow = await arrive(port, HALF);
    expect((await long.response()).status).toBe(431);
    expect((await refused.response()).status).toBe(426);
    await passUntil(clock, () => slow.ended || slow.closed);
    expect((await slow.response()).status).toBe(408);
    for (const client of [long, refused, slow]) {
      await client.untilClosed();
      expect(client.received.toString()).toBe('');
    }
    await passUntil(clock, () => isEmpty(test));
  });

  it('is reset when its address is denied, even for an ordinary request', async () => {
    const test = await openApp({ connections: { deniedIps: ['127.0.9.0/24'] } });
    const port = await come(test);
    for (const bytes of [PLAIN, upgradeHead(port)]) {
      // The reset may arrive before the socket has connected.
      const client = await RawClient.connect({ port, localAddress: '127.0.9.1' }).catch(() => undefined);
      client?.write(bytes);
      await client?.until(() => client.closed);
      expect(client?.total ?? 0).toBe(0);
    }
    expect(test.stats().refused).toEqual({ 'address-denied': 2 });
  });

  it('is answered although it half-closed together with its head', async () => {
    const test = await openApp({ guards: [() => false] });
    const client = await RawClient.connect({ port: await come(test) });
    client.socket.end(upgradeHead(test.port));
    expect((await client.response()).status).toBe(403);
    await client.untilClosed();
    await eventually(() => isEmpty(test));
  });

  it('is released when its peer leaves while a guard runs', async () => {
    const signals: AbortSignal[] = [];
    const test = await openApp({
      guards: [({ signal }) => new Promise<never>(() => signals.push(signal))],
    });
    const port = await come(test);
    for (const leave of ['end', 'destroy', 'resetAndDestroy'] as const) {
      const client = await arrive(port, upgradeHead(port));
      await eventually(() => signals.length === 1);
      const { heldBytes } = test.stats();
      client.write(ECHO);
      await eventually(() => test.stats().heldBytes > heldBytes);
      client.socket[leave]();
      await eventually(() => signals[0]!.aborted);
      await eventually(() => isEmpty(test));
      signals.length = 0;
    }
  });

  it('is given to the application when it is an ordinary request, including its first bytes', async () => {
    const test = await openApp();
    const client = await arrive(await come(test));
    for (const part of PLAIN.match(/.{1,7}/gs)!) {
      client.write(part);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    const { status, body } = await client.response();
    expect([status, body]).toEqual([404, expect.stringContaining('Cannot GET /nowhere')]);
    // A later request of it may be an upgrade.
    expect((await client.upgrade(upgradeHead(test.port))).status).toBe(101);
    client.write(ECHO);
    expect(await client.json()).toEqual(ECHOED);
  });
});

describe("'connection' listeners of the application", () => {
  it('are called for admitted and ordinary connections, with an error listener on each', async () => {
    const test = await openApp();
    const seen: Socket[] = [];
    serverOf(test).on('connection', (socket: Socket) => seen.push(socket));
    const refused = await arrive(test.port);
    expect((await refused.upgrade(upgradeHead(test.port, { path: '/no' }))).status).toBe(404);
    expect(seen).toEqual([]);
    const upgraded = await arrive(test.port);
    expect((await upgraded.upgrade(upgradeHead(test.port))).status).toBe(101);
    const ordinary = await arrive(test.port, PLAIN);
    expect((await ordinary.response()).status).toBe(404);
    expect(seen).toHaveLength(2);
    for (const socket of seen) {
      expect((socket as unknown as { server: Server }).server).toBe(serverOf(test));
      expect(socket.listenerCount('error')).toBeGreaterThan(0);
    }
    refused.destroy();
    await eventually(() => test.stats().pending === 0);
    expect(await new Promise((resolve) => serverOf(test).getConnections((_, count) => resolve(count)))).toBe(2);
  });
});

it('gives back the compression contexts of a peer that resets behind its head', async () => {
  const test = await openApp({ compression: { mode: 'dedicated' } });
  const head = upgradeHead(test.port, { headers: { 'Sec-WebSocket-Extensions': 'permessage-deflate' } });
  for (let i = 0; i < 20; i++) {
    const client = await arrive(test.port, head);
    client.reset();
  }
  const last = await arrive(test.port);
  expect((await last.upgrade(head)).status).toBe(101);
  await eventually(() => test.stats().connections === 1);
  expect(test.stats().contextBytes).toBeGreaterThan(0);
  last.reset();
  await eventually(() => isEmpty(test) && test.stats().contextBytes === 0);
});

describe("a 'connection' listener of the application that ends connections", () => {
  it.each(['destroy', 'end'] as const)('leaves nothing behind and prevents the 101: %s', async (end) => {
    const test = await openApp();
    serverOf(test).once('connection', (socket: Socket) => socket[end]());
    const client = await arrive(test.port, upgradeHead(test.port));
    await client.untilClosed();
    expect([client.total, test.stats().opened]).toEqual([0, 0]);
    await eventually(() => isEmpty(test));
    const next = await arrive(test.port);
    expect((await next.upgrade(upgradeHead(test.port))).status).toBe(101);
  });

  it('leaves nothing behind when it throws', async () => {
    const test = await openApp();
    serverOf(test).once('connection', () => {
      throw new Error('the listener failed');
    });
    const client = await arrive(test.port, upgradeHead(test.port));
    await client.untilClosed();
    expect([client.total, test.stats().opened, test.stats().faults]).toEqual([0, 0, { internal: 1 }]);
    await eventually(() => isEmpty(test));
  });
});

describe('a server closed during a handshake', () => {
  it("closes once the last connection has ended, emits 'close' once, and serves the existing ones", async () => {
    const test = await openApp();
    const server = serverOf(test);
    const ordinary = await arrive(test.port, PLAIN.slice(0, -2));
    const upgraded = await arrive(test.port, upgradeHead(test.port).slice(0, -2));
    const silent = await arrive(test.port);
    await eventually(() => test.stats().pending === 1);
    const said: string[] = [];
    server.on('close', () => said.push('close'));
    server.close();
    ordinary.write('\r\n');
    upgraded.write('\r\n');
    expect((await ordinary.response()).status).toBe(404);
    expect((await upgraded.response()).status).toBe(101);
    for (const client of [ordinary, upgraded]) client.destroy();
    await eventually(() => test.stats().connections === 0);
    said.push('only one is left');
    // Node owns this connection, which has sent nothing, and waits for it as without the module.
    await new Promise((resolve) => setTimeout(resolve, 20));
    silent.destroy();
    await eventually(() => said.length === 2);
    await new Promise((resolve) => setTimeout(resolve, 20));
    // Node 26 ends a silent connection when the server closes; earlier versions wait for it.
    expect(said.filter((each) => each === 'close')).toHaveLength(1);
  });
});

describe('a server that listens just before the application starts', () => {
  it('is protected exactly once', async () => {
    const builder = Test.createTestingModule({
      imports: [SecureWsModule.forRoot({ connections: ROOMY })],
      providers: echoes(),
    });
    const app = (await builder.compile()).createNestApplication({ logger: false });
    closing.push(() => app.close());
    const server = app.getHttpServer() as HttpServer;
    server.listen(0);
    await app.init();
    if (server.address() === null) await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const client = await arrive(port);
    expect((await client.upgrade(upgradeHead(port))).status).toBe(101);
  });
});

describe('a server with maxConnections', () => {
  it('drops connections above it at accept, as without the module, and runs no guard', async () => {
    let asked = 0;
    const test = await openApp({ guards: [() => ++asked > 0] });
    serverOf(test).maxConnections = 1;
    const dropped: unknown[] = [];
    serverOf(test).on('drop', (data) => dropped.push(data));
    const first = await arrive(test.port);
    expect((await first.upgrade(upgradeHead(test.port))).status).toBe(101);
    const second = await arrive(test.port, upgradeHead(test.port));
    await second.untilClosed();
    expect([dropped.length, asked]).toEqual([1, 1]);
    first.destroy();
    await eventually(() => isEmpty(test));
    const third = await arrive(test.port);
    expect((await third.upgrade(upgradeHead(test.port))).status).toBe(101);
  });
});

describe("a worker of Node's cluster module", () => {
  it('serves, refuses and answers connections passed on by its primary', async () => {
    const child = await Child.start('test/attack/opening/cluster-server.ts');
    closing.push(() => child.end());
    const port = child.ready as number;
    const client = await arrive(port);
    expect((await client.upgrade(Buffer.concat([Buffer.from(upgradeHead(port)), ECHO]))).status).toBe(101);
    expect(await client.json()).toEqual(ECHOED);
    const refused = await arrive(port);
    expect((await refused.upgrade(upgradeHead(port, { path: '/no' }))).status).toBe(404);
    await refused.untilClosed();
    const ordinary = await arrive(port, PLAIN);
    expect((await ordinary.response()).status).toBe(404);
    expect(child.isAlive).toBe(true);
  });
});
