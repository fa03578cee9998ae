import { afterEach, describe, expect, it, jest } from '@jest/globals';
import type { SecureWsOptions } from 'nest-secure-ws';
import { WebSocket } from 'ws';
import { eventually, type TestApp } from '../../support/app.js';
import { Child } from '../../support/child.js';
import { Random } from '../../support/random.js';
import { frame, RawClient, upgradeHead } from '../../support/raw-client.js';
import { passUntil, restoreTime, stopTime } from '../../support/stopped-time.js';
import { sleep } from '../../support/time.js';
import { LiveGateway, nextMessage, openClient, reply, startLive } from './live.js';

let app: TestApp;
let child: Child | undefined;
let clients: RawClient[] = [];

async function open(options: SecureWsOptions = {}): Promise<RawClient> {
  app ??= await startLive(options);
  const client = await openClient(app);
  clients.push(client);
  return client;
}

afterEach(async () => {
  for (const client of clients) client.destroy();
  clients = [];
  LiveGateway.openGate();
  await app?.close();
  await child?.end();
  app = undefined as unknown as TestApp;
  child = undefined;
  restoreTime();
});

const GOODBYE = { code: 1001, reason: 'server shutdown' };

describe('shutdown', () => {
  it('tells idle peers and ends at once', async () => {
    // No deadline passes: it ends because the peers answer.
    stopTime();
    app = await startLive();
    const codes: [number, string][] = [];
    for (let i = 0; i < 5; i++) {
      const client = new WebSocket(`ws://127.0.0.1:${app.port}/`);
      client.on('close', (code, reason) => codes.push([code, reason.toString()]));
      await new Promise((resolve) => client.once('open', resolve));
    }
    await app.close();
    await eventually(() => codes.length === 5);
    expect(codes).toEqual(Array(5).fill([1001, 'server shutdown']));
    expect(LiveGateway.left).toEqual(Array(5).fill(1001));
  });

  it('awaits running handlers and delivers their replies', async () => {
    stopTime();
    const client = await open({ shutdown: { drainTimeout: '10s' } });
    LiveGateway.closeGate();
    client.send('wait', 'the last');
    client.send('wait', 'too late');
    await eventually(() => LiveGateway.started === 1);
    let closed = false;
    const closing = app.close().then(() => (closed = true));
    await sleep(200);
    expect(closed).toBe(false);
    const late = await RawClient.connect({ port: app.port });
    expect((await late.upgrade(upgradeHead(app.port))).status).toBe(503);
    late.destroy();
    LiveGateway.openGate();
    expect(await nextMessage(client)).toEqual({ event: 'wait', data: 'the last' });
    expect(await client.closeFrame()).toEqual(GOODBYE);
    client.write(frame(Buffer.from([3, 233]), { opcode: 8 }));
    await client.untilClosed();
    client.destroy();
    await closing;
    expect(LiveGateway.started).toBe(1);
  });

  it('awaits handlers of peers that have left, except those past handlerTimeout', async () => {
    const clock = stopTime();
    const options = { shutdown: { drainTimeout: '10s' }, messages: { handlerTimeout: 100 } } as const;
    const client = await open({ ...options, keepalive: { pingInterval: null } });
    client.send('never');
    await passUntil(clock, () => client.received.length > 0);
    expect(await nextMessage(client)).toMatchObject({ event: 'exception' });
    client.destroy();
    await app.close();
    app = await startLive({ shutdown: { drainTimeout: '10s' } });
    const other = await open();
    LiveGateway.closeGate();
    other.send('wait');
    await eventually(() => LiveGateway.started === 1);
    other.reset();
    await eventually(() => app.stats().connections === 0);
    let closed = false;
    const closing = app.close().then(() => (closed = true));
    await sleep(200);
    expect(closed).toBe(false);
    LiveGateway.openGate();
    await closing;
  });

  it('terminates the remaining connections at drainTimeout, after handleDisconnect', async () => {
    const clock = stopTime();
    const stuck = await open({ shutdown: { drainTimeout: 400 } });
    const silent = await open();
    stuck.send('never');
    await eventually(() => LiveGateway.sockets[0]!.connection.input.running === 1);
    let closed = false;
    const closing = app.close().then(() => (closed = true));
    await eventually(() => silent.received.length > 0);
    clock.pass(300);
    expect(LiveGateway.sockets.map(({ readyState }) => readyState)).toEqual([1, 2]);
    expect(closed).toBe(false);
    clock.pass(200);
    await closing;
    expect(LiveGateway.left).toEqual([1006, 1006]);
    expect(await silent.closeFrame()).toEqual(GOODBYE);
    expect(await reply(stuck)).toBeUndefined();
  });

  it('terminates at once with drainTimeout 0', async () => {
    stopTime();
    const client = await open({ shutdown: { drainTimeout: 0 } });
    client.send('never');
    await eventually(() => LiveGateway.sockets[0]?.connection.input.running === 1);
    await app.close();
    expect(LiveGateway.left).toEqual([1006]);
    expect(await client.closeFrame()).toBeUndefined();
  });

  it('closes a hundred connections at once and the others over half of drainTimeout', async () => {
    const clock = stopTime();
    app = await startLive({ shutdown: { drainTimeout: '60s' }, keepalive: { pingInterval: null, closeTimeout: '2m' } });
    for (let i = 0; i < 160; i++) await open();
    const told = () => LiveGateway.sockets.filter(({ readyState }) => readyState !== 1).length;
    const random = new Random(1);
    const chance = jest.spyOn(Math, 'random').mockImplementation(() => random.below(1000) / 1000);
    const closing = app.close();
    await eventually(() => told() > 0);
    chance.mockRestore();
    expect(told()).toBe(100);
    clock.pass(10_000);
    // Each of the sixty has a time of its own within 30 s.
    expect(told()).toBeGreaterThan(100);
    expect(told()).toBeLessThan(160);
    clock.pass(20_200);
    expect(told()).toBe(160);
    for (const client of clients) client.closeFrame().then(() => client.socket.destroy());
    await closing;
  });
});

describe('a process that receives SIGTERM', () => {
  it('exits with code 0: a thousand peers, some stuck, some in their handshake', async () => {
    child = await Child.start('test/attack/live/server.ts', [
      JSON.stringify({ shutdown: { drainTimeout: '1500ms' }, messages: { handlerTimeout: '60s' } }),
    ]);
    const port = child.ready as number;
    await child.ask('gate');
    for (let at = 0; at < 1000; at++) {
      const client = await RawClient.open({ port, localAddress: `127.0.1.${1 + (at % 10)}` });
      clients.push(client);
      if (at % 10 === 0) client.send('never');
      if (at % 10 === 1) client.send('wait', at);
      // The others answer the close frame.
      else if (at % 10 > 2)
        client.closeFrame().then(
          () => client.destroy(),
          () => undefined,
        );
    }
    for (let at = 0; at < 20; at++) {
      const client = await RawClient.connect({ port });
      clients.push(client);
      // Node ends requests that have not named an upgrade.
      client.write('GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n');
    }
    expect(await child.end('SIGTERM')).toBe(0);
    expect(child.printed).toMatch(/database closed with \d+ handlers running/);
  });

  it('finishes the handlers before the application closes their resources', async () => {
    child = await Child.start('test/attack/live/server.ts', [JSON.stringify({ shutdown: { drainTimeout: '10s' } })]);
    const client = await RawClient.open({ port: child.ready as number });
    clients.push(client);
    await child.ask('gate');
    client.send('wait', 1);
    await sleep(100);
    const ended = child.end('SIGTERM');
    expect(await nextMessage(client)).toEqual({ event: 'wait', data: 1 });
    expect(await client.closeFrame()).toEqual(GOODBYE);
    client.destroy();
    expect(await ended).toBe(0);
    expect(child.printed).toContain('database closed with 0 handlers running');
  });
});
