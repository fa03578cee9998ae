import { afterEach, describe, expect, it } from '@jest/globals';
import { eventually } from '../../support/app.js';
import { type RawClient, upgradeHead } from '../../support/raw-client.js';
import { LISTENERS, type OpenOptions, open, type RunningSetup } from './setups.js';

/** Heads without an end: how much one turn of the event loop reads of them, and when their address is checked. */
const START = 'GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n';
const NEVER = () => new Promise<never>(() => undefined);

let places: RunningSetup[] = [];
async function openHere(setup: Parameters<typeof open>[0], options: OpenOptions): Promise<RunningSetup> {
  const place = await open(setup, options);
  places.push(place);
  return place;
}
afterEach(async () => {
  for (const place of places) await place.close();
  places = [];
});

async function half(place: RunningSetup, address: string): Promise<RawClient> {
  const client = await place.connect(address);
  client.write(START);
  return client;
}

describe.each(LISTENERS)('an incomplete head: $name', (setup) => {
  it('is refused as soon as its address exceeds its rate or its slots', async () => {
    const place = await openHere(setup, { options: { connections: { rate: '3/1h', maxPerIp: 1 } } });
    const open = await place.connect('127.0.4.1');
    expect((await open.upgrade(upgradeHead(place.port))).status).toBe(101);
    // A dedicated port resets it at accept.
    if (!setup.own) {
      const noSlot = await half(place, '127.0.4.1');
      expect((await noSlot.response()).status).toBe(429);
      noSlot.destroy();
    }
    const waiting = await Promise.all([1, 2, 3].map(() => half(place, '127.0.4.2')));
    await eventually(() => place.test.stats().pending >= 3);
    const tooMany = await half(place, '127.0.4.2');
    expect((await tooMany.response()).headers['retry-after']).toBeDefined();
    // The attempt was charged once, so two of three remain.
    for (const client of waiting) {
      client.write(
        upgradeHead(place.port)
          .slice(upgradeHead(place.port).indexOf('\r\n') + 2)
          .replace(/Upgrade: websocket\r\nConnection: Upgrade\r\n|Host: .*\r\n/g, ''),
      );
      expect([101, 429]).toContain((await client.response()).status);
    }
    expect(place.test.stats().refused).toMatchObject({ 'connection-rate': 1 });
    for (const client of [open, tooMany, ...waiting]) client.destroy();
    await eventually(() => place.isEmpty);
  });

  it('is read to its end when its address is within its limits, wherever Upgrade stands', async () => {
    const place = await openHere(setup, {});
    const filler = (lines: number) => `X-Filler: ${'x'.repeat(980)}\r\n`.repeat(lines);
    const [request = '', ...fields] = upgradeHead(place.port).trimEnd().split('\r\n');
    const head = fields.map((field) => `${field}\r\n`).join('');
    const line = `${request}\r\n`;
    for (const [first, last] of [
      [line + head + filler(8), '\r\n'],
      [line + filler(8) + head, '\r\n'],
      [line + filler(4) + head + filler(4), `${filler(4)}\r\n`],
      [line + head.slice(0, 20), `${head.slice(20)}${filler(8)}\r\n`],
    ] as const) {
      const client = await place.connect();
      client.write(first);
      // On a shared port the last one is still an ordinary request to Node, and not pending.
      await eventually(() => place.test.stats().pending === (!setup.own && !first.includes('Upgrade: ') ? 0 : 1));
      await new Promise((resolve) => setTimeout(resolve, 10));
      expect((await client.upgrade(last)).status).toBe(101);
      client.destroy();
      await eventually(() => place.isEmpty);
    }
  });

  it('in large numbers is refused or dropped, and leaves nothing behind', async () => {
    const place = await openHere(setup, { options: { connections: { rate: '2/1h', maxPendingPerIp: 4 } } });
    const long = `${START}${`X-A: ${'x'.repeat(7000)}\r\n`.repeat(5)}`;
    const clients = await Promise.all(Array.from({ length: 40 }, () => place.connect('127.0.4.3')));
    for (const client of clients) client.write(long);
    const honest = await place.connect('127.0.4.4');
    expect((await honest.upgrade(upgradeHead(place.port))).status).toBe(101);
    // All except those that the rate and the pending limit allow.
    await eventually(() => Object.values(place.test.stats().refused).reduce((sum, count) => sum + count, 0) >= 36);
    for (const client of [honest, ...clients]) client.destroy();
    await eventually(() => place.isEmpty);
  });

  it('of a client behind a trusted proxy is checked once the client is known', async () => {
    const place = await openHere(setup, {
      options: { proxy: { trusted: ['127.0.5.0/24'] }, connections: { rate: '1/1h' } },
    });
    const clients = await Promise.all([1, 2, 3].map(() => half(place, '127.0.5.1')));
    await eventually(() => place.test.stats().pending === 3);
    for (const [i, client] of clients.entries()) {
      client.write(
        `X-Forwarded-For: 192.0.2.${i}\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n`,
      );
      expect((await client.response()).status).toBe(101);
    }
    for (const client of clients) client.destroy();
    await eventually(() => place.isEmpty);
  });

  it('is counted by its bytes, in one chunk or many, as are the bytes after a head', async () => {
    const place = await openHere(setup, { options: { guards: [NEVER] } });
    const client = await place.connect();
    client.write(upgradeHead(place.port));
    await eventually(() => place.test.stats().heldBytes > 0);
    const { heldBytes } = place.test.stats();
    for (let i = 0; i < 600; i++) {
      client.write('x');
      if (i % 10 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await eventually(() => place.test.stats().heldBytes >= heldBytes + 600);
    expect(place.test.stats().heldBytes).toBeLessThanOrEqual(heldBytes + 2048);
    client.destroy();
    await eventually(() => place.isEmpty);
  });
});

describe('one turn of the event loop', () => {
  it('reads a bounded part of the incomplete heads of one address', async () => {
    const place = await openHere(LISTENERS[0]!, { options: { connections: { rate: '100000/1s' } } });
    const handles = handlesOf(place.test.app.getHttpServer());
    const clients = await Promise.all(Array.from({ length: 15 }, () => half(place, '127.0.6.1')));
    await eventually(() => place.test.stats().pending === 15);
    const line = 'a: '.padEnd(7898, 'v').concat('\r\n');
    for (const client of clients) client.write(line.repeat(115));
    const turns: number[] = [];
    let before = sum(handles);
    await eventuallyIn(() => {
      const now = sum(handles);
      if (now > before) turns.push(now - before);
      before = now;
      return now > 15 * 115 * 7900;
    });
    // Without the limit a connection reads all available bytes in one turn.
    expect(turns.length).toBeGreaterThan(120);
    expect(Math.max(...turns)).toBeLessThanOrEqual(16 * 64 * 1024);
    expect(turns.filter((bytes) => bytes > 128 * 1024).length).toBeLessThan(16);
    const honest = await place.connect('127.0.6.2');
    expect((await honest.upgrade(upgradeHead(place.port))).status).toBe(101);
    for (const client of [honest, ...clients]) client.destroy();
    await eventually(() => place.isEmpty);
  });
});

interface TcpHandle {
  readonly bytesRead: number;
}

function handlesOf(server: object): TcpHandle[] {
  const handles: TcpHandle[] = [];
  const handle = (server as { _handle: { onconnection(error: number, client: TcpHandle): void } })._handle;
  const accept = handle.onconnection;
  handle.onconnection = function (error, client) {
    handles.push(client);
    accept.call(this, error, client);
  };
  return handles;
}

const sum = (handles: readonly TcpHandle[]): number => handles.reduce((total, { bytesRead }) => total + bytesRead, 0);

/** Checks the condition once per turn. */
async function eventuallyIn(condition: () => boolean): Promise<void> {
  const until = Date.now() + 20_000;
  while (!condition()) {
    if (Date.now() > until) throw new Error('too late');
    await new Promise((resolve) => setImmediate(resolve));
  }
}
