import { deflateRawSync } from 'node:zlib';
import { afterEach, describe, expect, it } from '@jest/globals';
import type { SecureWsOptions, StatsSnapshot } from 'nest-secure-ws';
import { eventually, type TestApp } from '../../support/app.js';
import { Child } from '../../support/child.js';
import { frame, RawClient, upgradeHead } from '../../support/raw-client.js';
import { sleep } from '../../support/time.js';
import { Frames, isQuiet, LiveGateway, message, nextMessage, openClient, startLive, unmetered } from './live.js';

const KIB = 1024;
const MIB = 1024 * KIB;
const DEFLATE = { headers: { 'Sec-WebSocket-Extensions': 'permessage-deflate' } };

let app: TestApp | undefined;
let child: Child | undefined;
let clients: RawClient[] = [];

afterEach(async () => {
  for (const client of clients) client.destroy();
  clients = [];
  LiveGateway.openGate();
  if (app !== undefined) {
    await eventually(() => isQuiet(app!));
    await app.close();
  }
  await child?.end();
  app = child = undefined;
});

async function open(localAddress = '127.0.0.1', head = {}): Promise<RawClient> {
  const client =
    child === undefined
      ? await openClient(app!, { localAddress }, head)
      : await RawClient.open({ port: child.ready as number, localAddress }, head);
  clients.push(client);
  return client;
}

async function start(buffers: SecureWsOptions['buffers']): Promise<void> {
  // Without pings, the first frame that a client receives is its end.
  app = await startLive({ messages: unmetered(), buffers, keepalive: { pingInterval: null } });
}

/** Part of a message that is never completed. */
const endless = (bytes: number) => frame('x'.repeat(bytes), { opcode: 2, length: MIB });
const held = () => app!.stats().heldBytes;

describe('buffers', () => {
  it('maxPerIp: ends the largest connection of the address above it, and no other', async () => {
    await start({ maxPerIp: MIB });
    const [small, large, third] = [await open(), await open(), await open()];
    const honest = await open('127.0.0.9');
    honest.write(endless(900 * KIB));
    small.write(endless(100 * KIB));
    large.write(endless(700 * KIB));
    await eventually(() => held() > 1700 * KIB);
    third.write(endless(300 * KIB));
    expect(await large.closeFrame()).toEqual({ code: 1013, reason: 'address over its share of the buffers' });
    await eventually(() => held() > 1300 * KIB && held() < 1400 * KIB);
    await large.untilClosed();
    expect([small.ended, third.ended, honest.ended]).toEqual([false, false, false]);
  });

  it('budget: ends the connections of the heaviest addresses until nine tenths are left; small and other ones stay', async () => {
    await start({ budget: 4 * MIB, maxPerIp: 64 * MIB });
    const honest = await open('127.0.0.9');
    honest.write(endless(600 * KIB));
    const small: RawClient[] = [];
    for (let i = 0; i < 5; i++) small.push(await open());
    for (const client of small) client.write(endless(50 * KIB));
    await eventually(() => held() > 800 * KIB);
    const before = [honest, ...small].map(({ total }) => total);
    const greedy: RawClient[] = [];
    for (let i = 0; i < 8; i++) {
      greedy.push(await open());
      greedy[i]!.write(endless((700 + i) * KIB));
      await eventually(() => LiveGateway.sockets.length === 7 + i);
      await sleep(30);
      expect(held()).toBeLessThan(4.1 * MIB);
    }
    expect([honest, ...small].map(({ total }) => total)).toEqual(before);
    expect(greedy.some(({ ended, received }) => ended || received.length > 0)).toBe(true);
    const ended = greedy.find(({ received }) => received.length > 0)!;
    expect(await ended.closeFrame()).toEqual({ code: 1013, reason: 'buffer budget' });
    honest.write(Buffer.alloc(424 * KIB));
  });

  it('budget: refuses new connections while full, counting heads whose guards still run', async () => {
    let decide = (_: boolean): void => undefined;
    const decided = new Promise<boolean>((resolve) => {
      decide = resolve;
    });
    const guards = [({ query }: { query: URLSearchParams }) => (query.has('slow') ? decided : true)];
    app = await startLive({ buffers: { budget: MIB, maxPerIp: MIB }, connections: { max: 16 }, guards });
    const ask = async (path: string, lines: number): Promise<RawClient> => {
      const headers = Object.fromEntries(Array.from({ length: lines }, (_, i) => [`X-${i}`, 'x'.repeat(8000)]));
      const client = await RawClient.connect({ port: app!.port });
      clients.push(client);
      client.write(upgradeHead(app!.port, { path, headers }));
      return client;
    };
    const slow = [await ask('/?slow', 63)];
    await eventually(() => held() > 500_000);
    slow.push(await ask('/?slow', 63));
    await eventually(() => held() > 1_000_000);
    expect((await (await ask('/', 20)).response()).status).toBe(503);
    expect(app.stats().refused).toEqual({ 'buffer-budget': 1 });
    decide(true);
    for (const client of slow) expect((await client.response()).status).toBe(101);
    await open();
  });

  it('returns queued memory at once, and destroys the socket after a second', async () => {
    await start({ maxPerIp: MIB, maxBuffered: '64mb' });
    const client = await open();
    client.socket.pause();
    await eventually(() => LiveGateway.sockets.length === 1);
    const [socket] = LiveGateway.sockets;
    for (let sent = 0; socket!.readyState === 1 && sent < 10_000; sent++) socket!.sendEvent('n', 'x'.repeat(20 * KIB));
    expect(socket!.readyState).toBe(2);
    expect(held()).toBeLessThan(150 * KIB);
    await sleep(300);
    expect(app!.stats().connections).toBe(1);
    await eventually(() => app!.stats().connections === 0);
  });

  it('does not count connections that are already being ended', async () => {
    await start({ budget: 3 * MIB, maxPerIp: 64 * MIB });
    // The replies are single frames, which are written whole.
    const greedy: RawClient[] = [];
    for (let i = 0; i < 3; i++) {
      greedy.push(await open());
      greedy[i]!.socket.pause();
    }
    const honest = await open('127.0.0.9');
    honest.write(endless(800 * KIB));
    await eventually(() => held() > 800 * KIB);
    for (const client of greedy) client.send('big', 20 * MIB);
    await eventually(() => LiveGateway.sockets.slice(0, 3).every(({ connection }) => connection.isGivenUp));
    expect(honest.received.length).toBe(0);
    await eventually(() => app!.stats().connections === 1);
    honest.write(Buffer.alloc(224 * KIB, 'x'));
    expect((await honest.frame())?.opcode).toBe(1);
  });
});

describe('memory of the process', () => {
  // Far below what these clients would occupy without the budget.
  const budget = 128 * MIB;
  const bomb = (): Buffer => {
    const text = JSON.stringify({ event: 'echo', data: 'x'.repeat(MIB - 30) });
    return frame(deflateRawSync(text, { finishFlush: 2 }).subarray(0, -4), { rsv1: true });
  };

  it('stays within the budget when 50 clients send messages that inflate a thousandfold and never read', async () => {
    const options = { messages: unmetered(), buffers: { budget, maxPerIp: budget, maxBuffered: '64mb' } };
    child = await Child.start('test/attack/live/server.ts', [JSON.stringify(options)]);
    const bytes = bomb();
    expect(bytes.length).toBeLessThan(1500);
    // A first run with few clients loads code and fills pools.
    const warm = await open('127.0.0.1', DEFLATE);
    for (let i = 0; i < 10; i++) warm.write(bytes);
    await new Promise<void>((resolve) => {
      let replies = 0;
      new Frames(warm, (opcode) => opcode === 1 && ++replies === 10 && resolve());
    });
    const before = await child.ask<number>('rest');
    const flood = Buffer.concat(Array.from({ length: 200 }, () => bytes));
    for (let i = 0; i < 50; i++) {
      const client = await open(`127.0.1.${1 + (i % 10)}`, DEFLATE);
      client.socket.pause();
      client.write(flood);
    }
    await sleep(3000);
    const { peak, most } = await child.ask<StatsSnapshot & { peak: number; most: number }>('stats');
    expect(most).toBeLessThan(1.1 * budget);
    expect(peak - before).toBeLessThan(1.25 * budget + 32 * MIB);
    clients.push(await open('127.0.0.9'));
    clients.at(-1)!.send('echo', 'still here');
    expect(await nextMessage(clients.at(-1)!)).toEqual({ event: 'echo', data: 'still here' });
  });

  it('does not grow with replies to clients that do not read', async () => {
    const options = { messages: unmetered() };
    child = await Child.start('test/attack/live/server.ts', [JSON.stringify(options)]);
    const before = await child.ask<number>('rest');
    const echo = message('echo', 'x'.repeat(60 * KIB));
    for (let i = 0; i < 3; i++) {
      const client = await open();
      client.socket.pause();
      for (let sent = 0; sent < 100 * MIB && client.socket.writableLength < 8 * MIB; sent += echo.length) {
        client.write(echo);
        if (client.socket.writableLength > MIB) await sleep(5);
      }
    }
    await sleep(500);
    const { peak } = await child.ask<StatsSnapshot & { peak: number }>('stats');
    expect(peak - before).toBeLessThan(48 * MIB);
  });
});
