import { afterEach, describe, expect, it } from '@jest/globals';
import type { SecureWsOptions } from 'nest-secure-ws';
import { WebSocket } from 'ws';
import { eventually, type TestApp } from '../../support/app.js';
import { Child } from '../../support/child.js';
import { frame, RawClient, upgradeHead } from '../../support/raw-client.js';
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
});

const GOODBYE = { code: 1001, reason: 'server shutdown' };
const took = async (action: () => Promise<unknown>): Promise<number> => {
  const begin = performance.now();
  await action();
  return performance.now() - begin;
};

describe('shutdown', () => {
  it('tells idle peers and ends at once', async () => {
    app = await startLive();
    const codes: [number, string][] = [];
    for (let i = 0; i < 5; i++) {
      const client = new WebSocket(`ws://127.0.0.1:${app.port}/`);
      client.on('close', (code, reason) => codes.push([code, reason.toString()]));
      await new Promise((resolve) => client.once('open', resolve));
    }
    expect(await took(() => app.close())).toBeLessThan(1500);
    await eventually(() => codes.length === 5);
    expect(codes).toEqual(Array(5).fill([1001, 'server shutdown']));
    expect(LiveGateway.left).toEqual(Array(5).fill(1001));
  });

  it('awaits running handlers and delivers their replies', async () => {
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
    expect(await took(() => closing)).toBeLessThan(3000);
    expect(LiveGateway.started).toBe(1);
  });

  it('awaits handlers of peers that have left, except those past handlerTimeout', async () => {
    const client = await open({ shutdown: { drainTimeout: '10s' }, messages: { handlerTimeout: 100 } });
    client.send('never');
    expect(await nextMessage(client)).toMatchObject({ event: 'exception' });
    client.destroy();
    expect(await took(() => app.close())).toBeLessThan(3000);
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
    expect(await took(() => closing)).toBeLessThan(3000);
  });

  it('terminates the remaining connections at drainTimeout, after handleDisconnect', async () => {
    const stuck = await open({ shutdown: { drainTimeout: 400 } });
    const silent = await open();
    stuck.send('never');
    await eventually(() => LiveGateway.sockets[0]!.connection.input.running === 1);
    const time = await took(() => app.close());
    expect(time).toBeGreaterThan(300);
    expect(time).toBeLessThan(3000);
    expect(LiveGateway.left).toEqual([1006, 1006]);
    expect(await silent.closeFrame()).toEqual(GOODBYE);
    expect(await reply(stuck)).toBeUndefined();
  });

  it('terminates at once with drainTimeout 0', async () => {
    const client = await open({ shutdown: { drainTimeout: 0 } });
    client.send('never');
    await eventually(() => LiveGateway.sockets[0]?.connection.input.running === 1);
    expect(await took(() => app.close())).toBeLessThan(1500);
    expect(LiveGateway.left).toEqual([1006]);
    expect(await client.closeFrame()).toBeUndefined();
  });

  it('closes a hundred connections at once and the others over half of drainTimeout', async () => {
    app = await startLive({ shutdown: { drainTimeout: '3s' } });
    for (let i = 0; i < 160; i++) await open();
    const told = clients.map((client) => client.closeFrame().then(() => performance.now()));
    const begin = performance.now();
    const closing = app.close();
    await sleep(80);
    const early = clients.filter(({ received }) => received.length > 0).length;
    for (const client of clients) client.closeFrame().then(() => client.socket.destroy());
    const times = (await Promise.all(told)).map((time) => time - begin).sort((a, b) => a - b);
    await closing;
    expect(early).toBeLessThan(160);
    expect(times[159]! - times[100]!).toBeGreaterThan(500);
    expect(times[159]).toBeLessThan(2500);
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
        client.closeFrame(30_000).then(
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
