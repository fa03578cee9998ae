import { afterEach, describe, expect, it } from '@jest/globals';
import type { SecureWsOptions } from 'nest-secure-ws';
import { eventually, type TestApp } from '../../support/app.js';
import { deflated, frame, RawClient } from '../../support/raw-client.js';
import { passUntil, restoreTime, stopTime } from '../../support/stopped-time.js';
import { sleep } from '../../support/time.js';
import { Frames, isQuiet, LiveGateway, message, nextMessage, openClient, reply, startLive, unmetered } from './live.js';

let app: TestApp;
let clients: RawClient[] = [];

async function start(options: SecureWsOptions = {}): Promise<void> {
  app = await startLive(options);
}

async function open(options = {}, head = {}): Promise<RawClient> {
  const client = await openClient(app, options, head);
  clients.push(client);
  return client;
}

afterEach(async () => {
  for (const client of clients) client.destroy();
  clients = [];
  LiveGateway.openGate();
  await eventually(() => isQuiet(app));
  await app.close();
  restoreTime();
});

const DEFLATE = { headers: { 'Sec-WebSocket-Extensions': 'permessage-deflate' } };
const MIB = 1024 * 1024;

describe('messages.maxSize', () => {
  it.each([
    ['one byte above the limit', MIB + 1],
    ['2^31', 2 ** 31],
    ['2^53', 2n ** 53n],
    ['2^63', 2n ** 63n],
    ['2^64 - 1', 2n ** 64n - 1n],
  ])('is applied to the declared length: %s', async (_, length) => {
    await start();
    const client = await open();
    client.write(frame('', { length }));
    expect(await client.closeFrame()).toEqual({ code: 1009, reason: 'message too big' });
    expect(app.stats().heldBytes).toBeLessThan(1000);
  });

  it('is applied to the sum of fragments, whose memory is released at once', async () => {
    await start();
    const client = await open();
    client.write(frame('x'.repeat(900_000), { fin: false }));
    await eventually(() => app.stats().heldBytes > 900_000);
    client.write(frame('', { opcode: 0, length: 200_000 }));
    expect(await client.closeFrame()).toEqual({ code: 1009, reason: 'message too big' });
    expect(app.stats().heldBytes).toBeLessThan(1000);
  });

  it('is applied to the inflated size', async () => {
    await start();
    const client = await open({}, DEFLATE);
    const bomb = deflated(Buffer.alloc(50 * MIB));
    client.write(frame(bomb.subarray(0, 40_000), { fin: false, rsv1: true }));
    client.write(frame(bomb.subarray(40_000), { opcode: 0 }));
    expect(await client.closeFrame()).toEqual({ code: 1009, reason: 'message too big' });
  });

  it('accepts a message of exactly the limit, plain and compressed', async () => {
    await start({ messages: unmetered() });
    const text = JSON.stringify({ event: 'size', data: 'x'.repeat(MIB - 26) }).padEnd(MIB);
    const client = await open({}, DEFLATE);
    client.write(Buffer.concat([frame(text), frame(deflated(text), { rsv1: true })]));
    for (let i = 0; i < 2; i++) expect(await nextMessage(client)).toEqual({ event: 'size', data: MIB - 24 });
  });
});

describe('an invalid frame', () => {
  it.each([
    ['invalid UTF-8', frame(Buffer.from([0xff])), 'Invalid WebSocket frame: invalid UTF-8 sequence'],
    [
      'an invalid close code',
      frame(Buffer.from([0, 1]), { opcode: 8 }),
      'Invalid WebSocket frame: invalid status code 1',
    ],
    ['an invalid opcode', frame('x', { opcode: 3 }), 'Invalid WebSocket frame: invalid opcode 3'],
  ])('is the last that is parsed, even if it waited until a message was inflated: %s', async (_, bad, why) => {
    await start();
    const client = await open({}, DEFLATE);
    await eventually(() => LiveGateway.sockets.length === 1);
    const socket = LiveGateway.sockets[0]!;
    const heard: unknown[] = [];
    socket.on('message', (data) => heard.push((data as Buffer).length));
    socket.on('error', (error) => heard.push(error.message));
    const first = JSON.stringify({ event: 'sink', data: 'x'.repeat(500_000) });
    // Each in its own read.
    const reads = [frame(deflated(first), { rsv1: true }), bad, message('sink'), message('sink')];
    for (const read of reads) socket.connection.transport.emit('data', read);
    expect([1002, 1007]).toContain((await client.closeFrame())?.code);
    expect(heard).toEqual([first.length, why]);
  });
});

describe('incomplete messages', () => {
  it('have a bounded number of fragments: 200 000 of one byte', async () => {
    await start({ messages: unmetered() });
    const client = await open();
    const fragments = Array.from({ length: 200_000 }, (_, at) => frame('x', { fin: false, opcode: at === 0 ? 1 : 0 }));
    client.write(Buffer.concat(fragments));
    expect(await client.closeFrame()).toEqual({ code: 1008, reason: 'policy violation' });
    expect(app.stats().heldBytes).toBeLessThan(1000);
  });

  it('count as one message of the rate per sixteen fragments, even empty ones', async () => {
    await start({ messages: { rate: '10/1m' } });
    const client = await open();
    for (let at = 0; at < 162; at++) client.write(frame('', { fin: false, opcode: at === 0 ? 1 : 0 }));
    expect(await client.closeFrame()).toEqual({ code: 1008, reason: 'message rate exceeded' });
  });

  it.each([
    ['a frame without its payload', frame('', { length: 1000 })],
    ['half a frame header', Buffer.from([0x81])],
    ['a fragment', frame('x', { fin: false })],
    ['a ping without its payload', frame('', { opcode: 9, length: 10 })],
  ])('must be complete within assemblyTimeout: %s', async (_, bytes) => {
    await start({ messages: { assemblyTimeout: 200 } });
    const client = await open();
    client.write(bytes);
    expect(await client.closeFrame()).toEqual({ code: 1008, reason: 'message took too long' });
  });

  it('may take longer in proportion to their size', async () => {
    const clock = stopTime();
    await start({ messages: { assemblyTimeout: 100 } });
    const client = await open();
    const whole = message('size', 'x'.repeat(40_000));
    await eventually(() => LiveGateway.sockets.length === 1);
    const { transport } = LiveGateway.sockets[0]!.connection;
    const { bytesRead } = transport;
    client.write(whole.subarray(0, -1));
    await eventually(() => transport.bytesRead - bytesRead === whole.length - 1);
    clock.pass(700);
    client.write(whole.subarray(-1));
    expect(await nextMessage(client)).toEqual({ event: 'size', data: 40_002 });
  });

  it('leave no deadline behind after a compressed message', async () => {
    const clock = stopTime();
    await start({ messages: { assemblyTimeout: 100 }, keepalive: { pingInterval: null } });
    const client = await open({}, DEFLATE);
    client.write(frame(deflated(JSON.stringify({ event: 'size', data: 'x'.repeat(300_000) })), { rsv1: true }));
    expect(await nextMessage(client)).toEqual({ event: 'size', data: 300_002 });
    clock.pass(500);
    client.send('echo', 1);
    expect(await nextMessage(client)).toEqual({ event: 'echo', data: 1 });
  });

  it('count in heldBytes: plain, compressed, and the reads that they keep', async () => {
    await start({ messages: unmetered({ maxFragments: 100_000 }) });
    const client = await open({}, DEFLATE);
    const noise = Buffer.from(Array.from({ length: 200_000 }, () => (Math.random() * 256) | 0));
    client.write(frame(deflated(noise), { fin: false, rsv1: true }));
    await eventually(() => app.stats().heldBytes > 200_000);
    const plain = await open();
    plain.write(Buffer.concat([message('sink', 'x'.repeat(60_000)), frame('x', { fin: false })]));
    await eventually(() => LiveGateway.started === 1);
    const { connection } = LiveGateway.sockets[1]!;
    await eventually(() => connection.held > 0);
    expect(connection.held).toBeLessThan(1000);
  });

  it('are assembled in linear time, however small the chunks', async () => {
    await start({ messages: unmetered(), keepalive: { pingInterval: null } });
    const client = await open();
    await eventually(() => LiveGateway.sockets.length === 1);
    const { connection } = LiveGateway.sockets[0]!;
    const { input } = connection;
    const bytes = message('size', 'x'.repeat(MIB / 4));
    let held = 0;
    for (const byte of bytes) {
      input.read(Buffer.from([byte]));
      held = Math.max(held, connection.held);
      // Copying the buffer for every byte would take minutes.
    }
    expect(await nextMessage(client)).toEqual({ event: 'size', data: MIB / 4 + 2 });
    expect(held).toBeLessThan(0.3 * MIB);
  });
});

describe('rate limits', () => {
  it.each([
    ['messages', { rate: '10/1m' }, message('sink'), 'message rate exceeded'],
    ['pings', { controlRate: '10/1m' }, frame('', { opcode: 9 }), 'control frame rate exceeded'],
    ['unsolicited pongs', { controlRate: '10/1m' }, frame('12', { opcode: 10 }), 'control frame rate exceeded'],
    ['malformed messages', { strikes: '10/1m' }, frame('{'), 'too many malformed messages'],
    ['unknown events', { strikes: '10/1m' }, message('?'), 'too many malformed messages'],
  ])('end the connection that exceeds them: %s', async (_, messages, bytes, reason) => {
    await start({ messages });
    const client = await open();
    for (let i = 0; i < 10; i++) client.write(bytes);
    client.send('echo', 'still here');
    if (!('rate' in messages)) await eventually(() => client.received.includes('still here'));
    client.write(bytes);
    expect(await client.closeFrame()).toEqual({ code: 1008, reason });
  });

  it('of one handler answer with an exception, and keep the connection open', async () => {
    await start();
    const client = await open();
    for (let i = 0; i < 3; i++) client.send('rare');
    client.send('echo', 1);
    const replies = [
      await nextMessage(client),
      await nextMessage(client),
      await nextMessage(client),
      await nextMessage(client),
    ];
    expect(replies).toEqual([
      { event: 'rare' },
      { event: 'rare' },
      { event: 'exception', data: { status: 'error', message: 'Too many messages for this event' } },
      { event: 'echo', data: 1 },
    ]);
  });

  it('in bytes pause and resume reading a connection', async () => {
    const clock = stopTime();
    await start({ messages: { byteRate: { limit: 100_000, window: 500 } }, keepalive: { pingInterval: null } });
    const client = await open();
    for (let i = 0; i < 4; i++) client.send('size', 'x'.repeat(60_000));
    await eventually(() => LiveGateway.sockets[0]?.connection.input.gate.paused === true);
    for (let i = 0; i < 4; i++) {
      await passUntil(clock, () => client.received.length > 0);
      expect(await nextMessage(client)).toEqual({ event: 'size', data: 60_002 });
    }
    expect(client.ended).toBe(false);
  });

  it('in bytes apply to all connections of an address together', async () => {
    const clock = stopTime();
    await start({ messages: { byteRatePerIp: { limit: 100_000, window: 400 } } });
    const [first, second, other] = [await open(), await open(), await open({ localAddress: '127.0.0.9' })];
    first.send('size', 'x'.repeat(99_000));
    expect(await nextMessage(first)).toEqual({ event: 'size', data: 99_002 });
    second.send('size', 'x'.repeat(50_000));
    other.send('size', 'x'.repeat(50_000));
    await eventually(() => LiveGateway.sockets.length === 3);
    const readings = () => LiveGateway.sockets.map(({ connection }) => connection.input.gate.paused);
    await eventually(() => readings()[1] === true);
    expect(readings()).toEqual([false, true, false]);
    await passUntil(clock, () => readings()[1] === false);
  });

  it('stop reading a flood that continues after the close frame', async () => {
    const clock = stopTime();
    await start({ messages: { rate: '10/1m' }, keepalive: { closeTimeout: 10_000 } });
    const client = await open();
    const flood = Buffer.concat(Array.from({ length: 20_000 }, () => message('sink')));
    for (let i = 0; i < 30; i++) client.write(flood);
    expect(await client.closeFrame()).toEqual({ code: 1008, reason: 'message rate exceeded' });
    await passUntil(clock, () => app.stats().connections === 0);
    expect(LiveGateway.sockets[0]!.connection.transport.bytesRead).toBeLessThan(MIB / 2);
  });
});

describe('running handlers', () => {
  it('run one at a time and in order; beyond the queue the socket is not read', async () => {
    await start({ messages: unmetered() });
    LiveGateway.closeGate();
    const client = await open();
    for (let at = 0; at < 5000; at++) client.send('wait', [at, 'x'.repeat(4_000)]);
    await eventually(() => LiveGateway.started === 1);
    await sleep(200);
    expect(LiveGateway.started).toBe(1);
    expect(app.stats().heldBytes).toBeLessThan(400_000);
    expect(client.socket.writableLength).toBeGreaterThan(5 * MIB);
    const order: number[] = [];
    new Frames(client, (opcode, payload) => {
      if (opcode === 1) order.push(Number(/\[(\d+)/.exec(payload.subarray(0, 40).toString())?.[1]));
    });
    LiveGateway.openGate();
    await eventually(() => order.length === 5000);
    // A head that arrived alone does not show its payload.
    expect(order.every((number, at) => number === at || Number.isNaN(number))).toBe(true);
    expect(LiveGateway.most).toBe(1);
  });

  it.each([
    ['maxQueue', { maxQueue: 3 }, 40_000, 3],
    ['maxQueueBytes', { maxQueueBytes: 100_000 }, 40_000, 3],
  ])('are queued up to %s', async (_, messages, size, count) => {
    await start({ messages: unmetered(messages) });
    LiveGateway.closeGate();
    const client = await open();
    for (let at = 0; at < 50; at++) client.send('wait', 'x'.repeat(size));
    await eventually(() => LiveGateway.started === 1 && app.stats().heldBytes > count * size);
    await sleep(150);
    // Messages of the read under way, and bytes that Node had read already, are queued too.
    expect(app.stats().heldBytes).toBeLessThan((count + 1) * size + 3 * 65_536);
    LiveGateway.openGate();
    for (let at = 0; at < 50; at++) await nextMessage(client);
  });

  it.each([
    ['arraybuffer', (told: unknown) => Buffer.from(told as ArrayBuffer)],
    ['fragments', (told: unknown) => Buffer.concat(told as Buffer[])],
    ['blob', async (told: unknown) => Buffer.from(await (told as Blob).arrayBuffer())],
  ] as const)('of queued messages count their bytes with binaryType %s', async (type, bytesOf) => {
    await start({ messages: unmetered({ byteRatePerIp: '8kb/1m' }) });
    LiveGateway.closeGate();
    const client = await open();
    await eventually(() => LiveGateway.sockets.length === 1);
    const socket = LiveGateway.sockets[0]!;
    socket.binaryType = type as 'nodebuffer';
    const told: unknown[] = [];
    socket.on('message', (data) => told.push(data));
    const sent = [1, 2].map((at) => JSON.stringify({ event: 'wait', data: [at, 'x'.repeat(5000)] }));
    client.write(Buffer.concat(sent.map((text) => frame(text, { opcode: 2 }))));
    await eventually(() => told.length === 2);
    for (const [at, text] of sent.entries()) {
      expect(Buffer.isBuffer(told[at])).toBe(false);
      expect((await bytesOf(told[at])).toString()).toBe(text);
    }
    expect(app.stats().heldBytes).toBeGreaterThan(10_000);
    // Above the rate nothing more is read.
    expect(socket.isPaused).toBe(true);
    LiveGateway.openGate();
    for (const text of sent) expect(await nextMessage(client)).toEqual(JSON.parse(text));
  });

  it('of queued messages count their bytes after a deferred first one', async () => {
    await start({ messages: unmetered() });
    LiveGateway.closeGate();
    const client = await open();
    await eventually(() => LiveGateway.sockets.length === 1);
    LiveGateway.sockets[0]!.on('message', () => {
      for (const until = performance.now() + 3; performance.now() < until; );
    });
    client.send('wait', 'x'.repeat(10_000));
    await eventually(() => LiveGateway.started === 1);
    expect(app.stats().heldBytes).toBeGreaterThan(10_000);
  });

  it('run concurrently with messages.concurrency', async () => {
    await start({ messages: unmetered({ concurrency: 4 }) });
    LiveGateway.closeGate();
    const client = await open();
    for (let at = 0; at < 50; at++) client.send('wait', at);
    await eventually(() => LiveGateway.started === 4);
    await sleep(50);
    expect(LiveGateway.started).toBe(4);
    LiveGateway.openGate();
    for (let at = 0; at < 50; at++) await nextMessage(client);
    expect(LiveGateway.most).toBe(4);
  });

  it('of queued messages keep them compressed: one read may hold a hundred that inflate a thousandfold', async () => {
    await start({ messages: unmetered() });
    LiveGateway.closeGate();
    const client = await open({}, DEFLATE);
    const bomb = frame(deflated(JSON.stringify({ event: 'wait', data: 'x'.repeat(MIB - 30) })), { rsv1: true });
    client.write(Buffer.concat(Array.from({ length: 40 }, () => bomb)));
    await eventually(() => LiveGateway.started === 1);
    let most = 0;
    for (let at = 0; at < 40; at++) {
      await sleep(25);
      most = Math.max(most, app.stats().heldBytes);
    }
    expect(most).toBeGreaterThan(MIB / 2);
    expect(most).toBeLessThan(3 * MIB);
    LiveGateway.openGate();
    // Every reply passes through the thread pool, and every reply lets the next message be handled.
    for (let at = 0; at < 40; at++) expect((await reply(client))?.rsv1).toBe(true);
  });

  it.each([
    ['ends', (client: RawClient) => client.reset()],
    ['is closed', () => LiveGateway.sockets[0]!.close(1000)],
    ['is ended for memory', () => LiveGateway.sockets[0]!.connection.endForMemory('test')],
  ])('of queued compressed messages are dropped when the connection %s', async (_, end) => {
    await start({ messages: unmetered(), keepalive: { closeTimeout: 1000 } });
    LiveGateway.closeGate();
    const client = await open({}, DEFLATE);
    const waiting = frame(deflated(JSON.stringify({ event: 'wait', data: 'x'.repeat(900_000) })), { rsv1: true });
    client.write(Buffer.concat([waiting, waiting, waiting, waiting]));
    await eventually(() => LiveGateway.started === 1 && LiveGateway.sockets[0]!.connection.input.gate.paused);
    await sleep(50);
    end(client);
    client.destroy();
    await eventually(() => isQuiet(app));
    expect(LiveGateway.started).toBe(1);
  });

  it('that never finish block only their own connection, and only until handlerTimeout', async () => {
    const clock = stopTime();
    await start({ messages: { handlerTimeout: 400 }, keepalive: { pingInterval: null } });
    const [stuck, other] = [await open(), await open()];
    stuck.send('never');
    stuck.send('echo', 'after');
    other.send('echo', 'meanwhile');
    expect(await nextMessage(other)).toEqual({ event: 'echo', data: 'meanwhile' });
    expect(stuck.received.length).toBe(0);
    await passUntil(clock, () => stuck.received.length > 0);
    expect(await nextMessage(stuck)).toEqual({
      event: 'exception',
      data: { status: 'error', message: 'The handler took too long' },
    });
    expect(await nextMessage(stuck)).toEqual({ event: 'echo', data: 'after' });
  });
});

describe('fairness', () => {
  it('at most 256 KiB of large messages are handled per turn of the event loop', async () => {
    await start({ messages: unmetered() });
    const peers: RawClient[] = [];
    for (let i = 0; i < 20; i++) peers.push(await open());
    const large = message('size', 'x'.repeat(60_000));
    LiveGateway.inTurn = 0;
    const next = () => {
      if (LiveGateway.inTurn === undefined) return;
      LiveGateway.inTurn = 0;
      setImmediate(next);
    };
    next();
    for (let i = 0; i < 5; i++) for (const peer of peers) peer.write(large);
    for (let i = 0; i < 5; i++) for (const peer of peers) await nextMessage(peer);
    LiveGateway.inTurn = undefined;
    // One turn's share when this setImmediate runs, and the one begun before it.
    expect(LiveGateway.most).toBeLessThanOrEqual(10);
  });

  it('large messages of many clients do not delay a small one', async () => {
    await start({ messages: unmetered(), buffers: { maxPerIp: '256mb' } });
    const keys = Object.fromEntries(Array.from({ length: 60_000 }, (_, at) => [`key${at}`, at]));
    const large = message('size', keys);
    const greedy: RawClient[] = [];
    for (let i = 0; i < 12; i++) greedy.push(await open());
    const honest = await open({ localAddress: '127.0.0.9' });
    for (const client of greedy) for (let i = 0; i < 2; i++) client.write(large);
    const handled: number[] = [];
    for (let at = 0; at < 6; at++) {
      honest.send('echo', at);
      await nextMessage(honest);
      handled.push(greedy.filter(({ received }) => received.length > 0).length);
    }
    for (const client of greedy) for (let i = 0; i < 2; i++) expect((await reply(client))?.opcode).toBe(1);
    // In a single queue, the small message would wait for one turn of every greedy client.
    expect(handled[0]).toBeLessThan(greedy.length);
  });
});
