import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { afterEach, describe, expect, it } from '@jest/globals';
import type { SecureWsOptions } from 'nest-secure-ws';
import { eventually, type TestApp } from '../../support/app.js';
import { frame, type RawClient } from '../../support/raw-client.js';
import { passUntil, restoreTime, stopTime } from '../../support/stopped-time.js';
import { sleep } from '../../support/time.js';
import { Frames, isQuiet, LiveGateway, message, openClient, reply, startLive, unmetered } from './live.js';

let app: TestApp;
let clients: RawClient[] = [];

async function open(options: SecureWsOptions = {}, head = {}): Promise<RawClient> {
  app ??= await startLive(options);
  const client = await openClient(app, {}, head);
  clients.push(client);
  return client;
}

afterEach(async () => {
  for (const client of clients) client.destroy();
  clients = [];
  LiveGateway.openGate();
  await eventually(() => isQuiet(app));
  await app.close();
  app = undefined as unknown as TestApp;
  restoreTime();
});

const KIB = 1024;
const MIB = 1024 * KIB;
const connectionOf = (at = 0) => LiveGateway.sockets[at]!.connection;

/** Sends until neither kernel accepts more. */
async function fill(at = 0, size = 8 * KIB): Promise<void> {
  const socket = LiveGateway.sockets[at]!;
  for (let quiet = 0; quiet < 5; ) {
    if (socket.bufferedAmount < 16 * KIB) socket.sendEvent('fill', 'x'.repeat(size));
    if (socket.bufferedAmount === 0) quiet = 0;
    else {
      quiet++;
      await sleep(5);
    }
  }
}

describe('a client that does not read', () => {
  it('is not read, and gets only the last of its pings answered', async () => {
    const client = await open({ messages: unmetered() });
    client.socket.pause();
    await eventually(() => LiveGateway.sockets.length === 1);
    const ping = (at: number) => frame(`${at}`.padEnd(120), { opcode: 9 });
    const COUNT = 100_000;
    for (let at = 0; at < COUNT; at++) client.write(ping(at));
    await eventually(() => connectionOf().input.gate.paused);
    await sleep(300);
    expect(app.stats().heldBytes).toBeLessThan(300 * KIB);
    expect(client.socket.writableLength).toBeGreaterThan(100 * KIB);
    let [pongs, last] = [0, ''];
    new Frames(client, (opcode, payload) => {
      if (opcode !== 10) return;
      pongs++;
      last = payload.toString().trim();
    });
    await eventually(() => last === `${COUNT - 1}`);
    expect(pongs).toBeLessThan(COUNT);
  });

  it('holds almost no memory: 300 MiB of echoes', async () => {
    const client = await open({ messages: unmetered() });
    client.socket.pause();
    const echo = message('echo', 'x'.repeat(60 * KIB));
    let most = 0;
    for (let sent = 0; sent < 300 * MIB && client.socket.writableLength < 16 * MIB; sent += echo.length) {
      client.write(echo);
      if (sent % (100 * echo.length) === 0) await sleep(1);
      most = Math.max(most, app.stats().heldBytes);
    }
    await eventually(() => connectionOf().input.gate.paused);
    await sleep(300);
    expect(client.socket.writableLength).toBeGreaterThan(10 * MIB);
    expect(Math.max(most, app.stats().heldBytes)).toBeLessThan(1.5 * MIB);
    expect(client.ended).toBe(false);
  });

  it('is closed with 1013 above maxBuffered without a gap in its messages, and later sends fail', async () => {
    const client = await open({ buffers: { maxBuffered: '256kb' } });
    client.socket.pause();
    await eventually(() => LiveGateway.sockets.length === 1);
    const socket = LiveGateway.sockets[0]!;
    const failed: Error[] = [];
    let sent = 0;
    for (; socket.readyState === 1 && sent < 10_000; sent++) {
      const text = JSON.stringify({ event: 'n', data: [sent, 'x'.repeat(10 * KIB)] });
      socket.send(text, (error?: Error) => error && failed.push(error));
      if (sent % 50 === 0) await sleep(1);
    }
    expect(sent).toBeLessThan(10_000);
    const amount = socket.bufferedAmount;
    let refusal: Error | undefined;
    socket.send('late', (error?: Error) => (refusal = error));
    expect(socket.bufferedAmount).toBe(amount + 4);
    expect(connectionOf().held).toBeLessThan(150 * KIB);
    client.socket.resume();
    let received = 0;
    for (let next = await reply(client); next?.opcode === 1; next = await reply(client)) {
      expect(JSON.parse(next.payload.toString()).data[0]).toBe(received++);
      if (client.received.length < 40) break;
    }
    await eventually(() => refusal !== undefined);
    expect(received + failed.length).toBeLessThanOrEqual(sent);
    expect(failed.length).toBeGreaterThan(10);
    await eventually(() => app.stats().connections === 0);
    expect(app.stats().closed).toEqual({ 1006: 1 });
  });

  it('has pings and pongs of the application limited like messages', async () => {
    const client = await open({ buffers: { maxBuffered: '256kb' } });
    client.socket.pause();
    await eventually(() => LiveGateway.sockets.length === 1);
    const socket = LiveGateway.sockets[0]!;
    await fill();
    const payload = Buffer.alloc(125);
    let sent = 0;
    for (; socket.readyState === 1 && sent < 100_000; sent++) {
      if (sent % 2 === 0) socket.ping(payload);
      else socket.pong(payload);
    }
    expect(sent).toBeLessThan(10_000);
    const [amount, { pending }] = [socket.bufferedAmount, connectionOf().output];
    const errors: Error[] = [];
    const failed = (error: Error) => errors.push(error);
    socket.ping(payload, true, failed);
    socket.pong('late', failed);
    socket.ping(failed);
    await eventually(() => errors.length === 3);
    expect(socket.bufferedAmount).toBe(amount + 129);
    expect(connectionOf().output.pending).toBe(pending);
    client.socket.resume();
    for (let next = await client.frame(); next !== undefined; next = await client.frame())
      if (next.opcode !== 9 && next.opcode !== 10) break;
    await eventually(() => app.stats().connections === 0);
  });

  it('receives the close reason when it reads later', async () => {
    const client = await open({ buffers: { maxBuffered: '100kb' } });
    client.socket.pause();
    await eventually(() => LiveGateway.sockets.length === 1);
    await fill();
    for (let i = 0; i < 20; i++) LiveGateway.sockets[0]!.sendEvent('more', 'x'.repeat(10 * KIB));
    client.socket.resume();
    expect(await client.closeFrame()).toEqual({ code: 1013, reason: 'slow reader' });
  });

  it.each([
    ['accepts nothing', 0],
    ['accepts one byte at a time and answers pings', 1],
  ])('is terminated at stallTimeout when it %s', async (_, bytes) => {
    const clock = stopTime();
    const client = await open({
      buffers: { stallTimeout: 1000 },
      // Longer than passUntil() passes: nothing but stallTimeout ends the connection.
      keepalive: { pingInterval: 100, pingTimeout: '10h' },
    });
    client.socket.pause();
    await eventually(() => LiveGateway.sockets.length === 1);
    await fill(0, 2 * KIB);
    await passUntil(clock, () => {
      if (bytes > 0) client.socket.read(bytes);
      client.write(frame('', { opcode: 10 }));
      return app.stats().connections === 0;
    });
    expect(LiveGateway.left).toEqual([1006]);
    // The kernel drops its unsent bytes too.
    if (existsSync('/proc/net/tcp')) expect(unfinished(app.port)).toEqual([]);
  });

  /** States of the server's sockets with unsent bytes, as the kernel lists them. */
  const unfinished = (port: number): string[] =>
    readFileSync('/proc/net/tcp', 'utf8')
      .split('\n')
      .map((line) => line.trim().split(/\s+/))
      .filter(([, local, , , queues]) => local?.endsWith(`:${hex(port)}`) && !queues?.startsWith('00000000'))
      .map(([, , , state]) => state!);
  const hex = (port: number): string => port.toString(16).toUpperCase().padStart(4, '0');

  it('does not have its queued messages handled', async () => {
    const client = await open({ messages: unmetered() });
    client.socket.pause();
    for (let i = 0; i < 100; i++) client.send('big', MIB);
    await eventually(() => connectionOf().input.gate.paused);
    await sleep(200);
    expect(app.stats().heldBytes).toBeLessThan(1.3 * MIB);
    const { sizes } = new Frames(client);
    await eventually(() => sizes.length === 100);
    expect(client.ended).toBe(false);
  });
});

describe('a client that reads', () => {
  it('is never closed, whatever the size of one reply', async () => {
    const client = await open({ buffers: { maxBuffered: '1mb' } });
    client.socket.pause();
    for (const size of [10, 20 * MIB, 10, 10 * MIB]) client.send('big', size);
    await sleep(200);
    LiveGateway.sockets[0]!.sendEvent('broadcast', 1);
    const { sizes } = new Frames(client);
    await eventually(() => sizes.length === 5);
    expect(sizes.filter((size) => size > 10 * MIB)).toHaveLength(2);
    client.send('echo', 1);
    await eventually(() => sizes.length === 6);
  });

  it('gets every message in order, including compressed and shared frames', async () => {
    const client = await open({}, { headers: { 'Sec-WebSocket-Extensions': 'permessage-deflate' } });
    await eventually(() => LiveGateway.sockets.length === 1);
    const socket = LiveGateway.sockets[0]!;
    const { SecureWsBroadcaster } = await import('nest-secure-ws');
    const broadcaster = app.app.get(SecureWsBroadcaster);
    const send = (at: number) => {
      socket.sendEvent('n', [at, 'x'.repeat(40 * KIB)]);
      broadcaster.emit('n', [at + 1, 'y'.repeat(at % 4 === 0 ? 10 : 1000)]);
    };
    for (let at = 0; at < 40; at += 2) send(at);
    await eventually(() => socket.bufferedAmount === 0);
    // Again while the socket accepts nothing: frames are queued, and must not overtake compressed ones.
    client.socket.pause();
    for (let quiet = 0; quiet < 5; quiet = socket.bufferedAmount > 64 * KIB ? quiet + 1 : 0) {
      if (quiet === 0) socket.send(randomBytes(64 * KIB), { compress: false });
      await sleep(1);
    }
    for (let at = 40; at < 80; at += 2) send(at);
    const order: number[] = [];
    const { inflateRawSync } = await import('node:zlib');
    client.socket.resume();
    while (order.length < 80) {
      const next = (await reply(client))!;
      if (next.opcode === 2) continue;
      const tail = Buffer.from([0, 0, 255, 255]);
      const bytes = next.rsv1 ? inflateRawSync(Buffer.concat([next.payload, tail]), { finishFlush: 2 }) : next.payload;
      order.push(JSON.parse(bytes.toString()).data[0]);
    }
    expect(order).toEqual(Array.from({ length: 80 }, (_, at) => at));
  });

  it('gets large compressed messages without waiting for a clock tick between them', async () => {
    const client = await open({}, { headers: { 'Sec-WebSocket-Extensions': 'permessage-deflate' } });
    await eventually(() => LiveGateway.sockets.length === 1);
    const { wheel } = connectionOf().context;
    const [advance, seen] = [wheel.advance, { ticks: 0 }];
    wheel.advance = () => void seen.ticks++;
    for (let at = 0; at < 30; at++) LiveGateway.sockets[0]!.sendEvent('n', 'x'.repeat(100 * KIB));
    for (let at = 0; at < 30; at++) expect((await reply(client))?.rsv1).toBe(true);
    wheel.advance = advance;
  });

  it('gets the messages sent before it half-closed', async () => {
    const client = await open();
    client.socket.pause();
    await eventually(() => LiveGateway.sockets.length === 1);
    const socket = LiveGateway.sockets[0]!;
    let sent = 0;
    for (; socket.bufferedAmount < MIB; sent++) socket.sendEvent('n', 'x'.repeat(50 * KIB));
    client.socket.end();
    await eventually(() => socket.readyState === 2);
    const { sizes } = new Frames(client);
    await client.untilClosed();
    expect(sizes).toHaveLength(sent);
    await eventually(() => LiveGateway.left.length === 1);
  });

  it('has each send callback called once, when the message was written', async () => {
    const client = await open();
    await eventually(() => LiveGateway.sockets.length === 1);
    const socket = LiveGateway.sockets[0]!;
    const called: number[] = [];
    for (let at = 0; at < 300; at++) socket.send('x'.repeat(KIB), () => called.push(at));
    await eventually(() => called.length === 300);
    expect(called).toEqual(Array.from({ length: 300 }, (_, at) => at));
    expect(socket.bufferedAmount).toBe(0);
    for (let at = 0; at < 300; at++) await reply(client);
  });

  it('that sends as much as another does not starve it', async () => {
    const [first, second] = [await open({ messages: unmetered() }), await open()];
    const echo = message('echo', 'x'.repeat(100 * KIB));
    for (let i = 0; i < 200; i++) for (const client of [first, second]) client.write(echo);
    const both = [new Frames(first), new Frames(second)];
    await eventually(() => both.every(({ sizes }) => sizes.length === 200));
  });
});
