import { deflateRawSync } from 'node:zlib';
import { afterEach, describe, expect, it, jest } from '@jest/globals';
import { eventually, type TestApp } from '../../support/app.js';
import { frame, type RawClient } from '../../support/raw-client.js';
import { slowDeflate } from '../../support/slow-deflate.js';
import { sleep } from '../../support/time.js';
import { isQuiet, LiveGateway, nextMessage, openClient, startLive, unmetered } from './live.js';

const DEFLATE = { headers: { 'Sec-WebSocket-Extensions': 'permessage-deflate' } };
const KIB = 1024;

let app: TestApp;
let clients: RawClient[] = [];

afterEach(async () => {
  for (const client of clients) client.destroy();
  // Some of these are not read for minutes, so that their end would not be noticed.
  for (const socket of LiveGateway.sockets) socket.terminate();
  clients = [];
  await eventually(() => isQuiet(app));
  await app.close();
  jest.restoreAllMocks();
});

async function open(localAddress: string): Promise<RawClient> {
  const client = await openClient(app, { localAddress }, DEFLATE);
  clients.push(client);
  return client;
}

const SLOW = frame(slowDeflate(256 * KIB, JSON.stringify({ event: 'echo', data: 'slow' })), { rsv1: true });
const noise = Buffer.from(Array.from({ length: 90_000 }, (_, i) => (((i * 48271) % 2147483647) >> 8) & 0xff)).toString(
  'base64',
);
const HONEST = frame(
  deflateRawSync(JSON.stringify({ event: 'size', data: noise }), { finishFlush: 2 }).subarray(0, -4),
  {
    rsv1: true,
  },
);

/** Connections of one address that send slow messages without a pause; returns a counter of the replies. */
async function attack(connections: number, messages: number): Promise<() => number> {
  const attackers = await Promise.all(Array.from({ length: connections }, () => open('127.0.0.2')));
  let answered = 0;
  for (const attacker of attackers) {
    void (async () => {
      while ((await nextMessage(attacker, 60_000)) !== undefined) answered++;
    })().catch(() => undefined);
    attacker.write(Buffer.concat(Array<Buffer>(messages).fill(SLOW)));
  }
  return () => answered;
}

describe('compressed input designed to inflate slowly', () => {
  it('of one address delays no other address: neither small messages nor large compressed ones', async () => {
    app = await startLive({ messages: unmetered() });
    const honest = await open('127.0.0.3');
    const answered = await attack(30, 4);
    await eventually(() => answered() > 0);
    const before = answered();
    const small = [1, 2, 3].map((i) => frame(JSON.stringify({ event: 'echo', data: i })));
    honest.write(Buffer.concat(small.flatMap((message) => [HONEST, message])));
    for (const i of [1, 2, 3]) {
      expect(await nextMessage(honest)).toEqual({ event: 'size', data: noise.length + 2 });
      expect(await nextMessage(honest)).toEqual({ event: 'echo', data: i });
    }
    // In order of arrival, each of the thirty would have been answered before the first of these.
    expect(answered() - before).toBeLessThan(30);
  });

  it('is charged for its time: it exhausts a byte rate that its bytes alone would not', async () => {
    const byteRate = `${12 * 256 + 100}kb/10m`;
    // By this clock, every machine inflates slowly.
    const now = performance.now.bind(performance);
    jest.spyOn(performance, 'now').mockImplementation(() => 50 * now());
    app = await startLive({
      messages: { ...unmetered(), byteRate, byteRatePerIp: byteRate },
    });
    const answered = await attack(1, 12);
    await eventually(() => answered() > 0);
    // Long enough for all of them if they were read.
    for (let i = 0; i < 150 && answered() < 12; i++) await sleep(10);
    expect(answered()).toBeLessThan(12);
  });
});
