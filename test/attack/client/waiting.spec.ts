import type { Socket } from 'node:net';
import { afterEach, describe, expect, it } from '@jest/globals';
import type { ConnectOptions } from '../../../lib/client/call.js';
import { type ClientSocket, type Closed, connect } from '../../../lib/client/index.js';
import { sharedRuntime } from '../../../lib/client/runtime.js';
import { deflated } from '../../support/raw-client.js';
import { ManualClock, sleep } from '../../support/time.js';
import { openWith, until } from '../../unit/client/support.js';
import { closeAll, closeFrame, DEFLATE, frame, onFrame, type RawServer, rawServer, upgrade } from './support.js';

const MIB = 1024 * 1024;

const opened: ClientSocket[] = [];
afterEach(async () => {
  for (const socket of opened.splice(0)) socket.terminate();
  await closeAll();
});

/** A compressed message of this number and size, a thousandth of it on the wire. */
const bomb = (at: number, size = MIB - 10): Buffer => frame(deflated(String(at).padEnd(size)), { rsv1: true });
const bombs = (count: number, size?: number): Buffer =>
  Buffer.concat(Array.from({ length: count }, (_, at) => bomb(at, size)));

interface OpenPair {
  readonly socket: ClientSocket;
  readonly peer: Socket;
  readonly server: RawServer;
}

async function openPair(options: ConnectOptions = {}, extensions = DEFLATE, clock?: ManualClock): Promise<OpenPair> {
  let peer!: Socket;
  const server = await rawServer((socket, _request, key) => {
    peer = socket.resume();
    socket.write(extensions === '' ? upgrade(key) : upgrade(key, extensions));
  });
  const socket = await (clock === undefined ? connect(server.url, options) : openWith(clock, server.url, options));
  opened.push(socket);
  return { socket, peer, server };
}

/** A time in which nothing may happen. */
const aWhile = (milliseconds = 150): Promise<void> => sleep(milliseconds);

/** Expects the client to hold at most the queue limits and one message above. */
function expectBounded({ connection }: ClientSocket, messages = 16, bytes = MIB): void {
  expect(connection.input.waiting).toBeLessThanOrEqual(messages);
  expect(connection.input.waitingBytes).toBeLessThanOrEqual(bytes + MIB);
  expect(connection.input.held).toBeLessThanOrEqual(bytes + 2 * MIB);
}

async function readAll(socket: ClientSocket, each: (at: number) => Promise<void> | void = () => {}): Promise<number[]> {
  const numbers: number[] = [];
  for await (const message of socket) {
    numbers.push(Number.parseInt(String(message), 10));
    await each(numbers.length);
  }
  return numbers;
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, at) => at);

async function nothingLeft(server: RawServer): Promise<void> {
  await server.quiet();
  expect(sharedRuntime.deadlines).toBe(0);
}

describe('one read of messages that inflate a thousandfold', () => {
  it('an application that never reads holds at most the queue limits', async () => {
    const { socket, peer } = await openPair();
    const before = process.memoryUsage().arrayBuffers;
    peer.write(bombs(60));
    await until(() => socket.isPaused, 'a pause');
    await aWhile();
    expectBounded(socket);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(40 * MIB);
  });

  it('an application that reads slowly gets every message in order, within the queue limits', async () => {
    const { socket, peer } = await openPair();
    peer.write(Buffer.concat([bombs(60), closeFrame(1000, 'done')]));
    const numbers = await readAll(socket, async () => {
      await aWhile(3);
      expectBounded(socket);
    });
    expect(numbers).toEqual(upTo(60));
    expect(await socket.closed).toEqual({ code: 1000, reason: 'done', cause: undefined });
  });

  it('further reads stop while the queue is full', async () => {
    const { socket, peer } = await openPair();
    const many = bombs(60);
    for (let i = 0; i < 200; i++) peer.write(many);
    await until(() => socket.isPaused, 'a pause');
    await aWhile();
    expectBounded(socket);
    const { readableLength, bytesRead } = socket.connection.transport;
    expect(readableLength).toBeLessThan(MIB / 2);
    expect(bytesRead).toBeLessThan(MIB);
  });

  it('fragmented messages are bounded too', async () => {
    const { socket, peer } = await openPair();
    const whole = deflated('7'.padEnd(MIB - 10));
    const third = Math.floor(whole.length / 3);
    const one = Buffer.concat([
      frame(whole.subarray(0, third), { rsv1: true, fin: false }),
      frame(whole.subarray(third, 2 * third), { opcode: 0, fin: false }),
      frame('', { opcode: 9 }),
      frame(whole.subarray(2 * third), { opcode: 0 }),
    ]);
    peer.write(Buffer.concat(Array.from({ length: 50 }, () => one)));
    await until(() => socket.isPaused, 'a pause');
    await aWhile();
    expectBounded(socket);
    peer.end();
    expect(await readAll(socket)).toEqual(Array(50).fill(7));
  });

  it.each([
    ['compressed', frame(deflated('1'), { rsv1: true }), DEFLATE],
    ['uncompressed', frame('1'), ''],
    ['of zero bytes', frame(''), ''],
  ])('twenty thousand tiny messages are bounded: %s', async (_, tiny, extensions) => {
    const { socket, peer } = await openPair(extensions === '' ? { compression: { mode: 'off' } } : {}, extensions);
    peer.write(Buffer.concat(Array.from({ length: 20_000 }, () => tiny)));
    await until(() => socket.isPaused, 'a pause');
    await aWhile();
    expectBounded(socket);
    peer.end();
    expect(await readAll(socket)).toHaveLength(20_000);
  });

  it('a dedicated context is bounded too', async () => {
    const { socket, peer } = await openPair(
      { compression: { mode: 'dedicated' } },
      'Sec-WebSocket-Extensions: permessage-deflate',
    );
    peer.write(Buffer.concat([bombs(40), closeFrame(1000)]));
    await until(() => socket.isPaused, 'a pause');
    await aWhile();
    expectBounded(socket);
    expect(await readAll(socket)).toEqual(upTo(40));
  });

  it('a late listener gets all messages in order, and pause() takes effect between two of one read', async () => {
    const { socket, peer } = await openPair({ messages: { maxQueue: 1 } });
    peer.write(bombs(30));
    await until(() => socket.isPaused, 'a pause');
    const numbers: number[] = [];
    socket.on('message', (data) => {
      numbers.push(Number.parseInt(String(data), 10));
      if (numbers.length === 10) socket.pause();
    });
    await until(() => numbers.length >= 10, 'ten');
    await aWhile(50);
    expect(numbers).toEqual(upTo(10));
    socket.resume();
    await until(() => numbers.length === 30, 'the rest');
    expect(numbers).toEqual(upTo(30));
  });
});

describe('leaving an iteration', () => {
  const numbered = (from: number, to: number): Buffer =>
    Buffer.concat(Array.from({ length: to - from }, (_, at) => frame(String(from + at))));
  const next = (socket: ClientSocket): Promise<string> =>
    new Promise((resolve) => socket.once('message', (data) => resolve(String(data))));

  it('passes the next message to once() and the rest to another iteration, each exactly once', async () => {
    const { socket, peer } = await openPair();
    peer.write(numbered(0, 6));
    for await (const message of socket) if (message === '1') break;
    expect(await next(socket)).toBe('2');
    expect(await next(socket)).toBe('3');
    for await (const message of socket) {
      expect(message).toBe('4');
      break;
    }
    expect(await next(socket)).toBe('5');
    const later = next(socket);
    peer.write(numbered(6, 8));
    expect(await later).toBe('6');
    expect(await next(socket)).toBe('7');
  });

  it('passes the queued messages to a listener added during it, each exactly once', async () => {
    const { socket, peer } = await openPair();
    const got: string[] = [];
    peer.write(numbered(0, 4));
    for await (const message of socket) {
      expect(message).toBe('0');
      await until(() => socket.connection.input.waiting === 3, 'three that wait');
      socket.on('message', (data) => got.push(String(data)));
      peer.write(numbered(4, 6));
      await until(() => got.length === 2, 'two that are told at once');
      break;
    }
    await until(() => got.length === 5, 'those that waited');
    expect(got).toEqual(['4', '5', '1', '2', '3']);
    peer.write(numbered(6, 7));
    await until(() => got.length === 6, 'the next one');
    expect(got[5]).toBe('6');
  });

  it('resumes reading for a remaining listener', async () => {
    const { socket, peer } = await openPair({ messages: { maxQueue: 4 } });
    const got: string[] = [];
    socket.on('message', (data) => got.push(String(data)));
    peer.write(numbered(0, 10));
    for await (const _ of socket) {
      await until(() => socket.isPaused, 'a pause');
      break;
    }
    peer.write(numbered(10, 12));
    await until(() => got.includes('11'), 'what came later');
    expect(new Set(got).size).toBe(got.length);
  });
});

describe('the end of a connection behind queued messages', () => {
  const ends: [string, (peer: Socket) => void, Partial<Closed>][] = [
    ['a close frame', (peer) => peer.end(closeFrame(4000, 'over')), { code: 4000, reason: 'over', cause: undefined }],
    ['FIN', (peer) => peer.end(), { code: 1006, cause: undefined }],
  ];

  it.each(ends)('%s: a reader gets every message, then the end', async (_, end, closed) => {
    const { socket, peer, server } = await openPair();
    peer.write(bombs(40));
    end(peer);
    await until(() => socket.isPaused, 'a pause');
    await aWhile(50);
    let ended = false;
    void socket.closed.then(() => (ended = true));
    expect(
      await readAll(socket, async (count) => {
        if (count === 5) await aWhile(50);
        if (count < 20) expect(ended).toBe(false);
        expectBounded(socket);
      }),
    ).toEqual(upTo(40));
    expect(await socket.closed).toMatchObject(closed);
    await nothingLeft(server);
  });

  it('a reset: messages already read are delivered', async () => {
    const { socket, peer, server } = await openPair();
    peer.write(bombs(40));
    await until(() => socket.isPaused, 'a pause');
    await aWhile(50);
    peer.resetAndDestroy();
    socket.ping();
    await aWhile(50);
    socket.ping();
    const numbers = await readAll(socket);
    expect(numbers).toEqual(upTo(40));
    expect(await socket.closed).toMatchObject({ code: 1006 });
    await nothingLeft(server);
  });

  it('a compressed message directly before FIN is delivered', async () => {
    const { socket, peer } = await openPair();
    const reading = readAll(socket);
    peer.end(Buffer.concat([bomb(0, 900_000), bomb(1, 10)]));
    expect(await reading).toEqual([0, 1]);
  });

  it.each(ends)('%s: without a reader the connection ends after closeTimeout', async (_, end, closed) => {
    const { socket, peer, server } = await openPair({ keepalive: { closeTimeout: 300 }, messages: { maxQueue: 4 } });
    peer.write(bombs(8, 1000));
    end(peer);
    await until(() => socket.isPaused, 'a pause');
    // Unread bytes stay in the kernel, so everything must have been read for the end to be known.
    expect(await socket.closed).toMatchObject({ ...closed, cause: 'messages were not read' });
    await nothingLeft(server);
    expect(await readAll(socket)).toEqual(upTo(4));
  });

  it('each message taken restarts closeTimeout', async () => {
    const clock = new ManualClock();
    const { socket, peer } = await openPair(
      { keepalive: { closeTimeout: '5s' }, messages: { maxQueue: 2 } },
      DEFLATE,
      clock,
    );
    peer.end(Buffer.concat([bombs(20, 1000), closeFrame(1000)]));
    await until(() => socket.connection.transport.destroyed, 'the end of TCP');
    await aWhile(20);
    expect(await readAll(socket, () => clock.pass(4000))).toEqual(upTo(20));
    expect(await socket.closed).toEqual({ code: 1000, reason: '', cause: undefined });
    expect(clock.running).toBe(0);
  });

  it.each([
    ['close()', (socket: ClientSocket) => socket.close()],
    ['terminate()', (socket: ClientSocket) => socket.terminate()],
  ])('after the end of TCP %s does not wait for the queue', async (_, end) => {
    const clock = new ManualClock();
    const { socket, peer } = await openPair({}, DEFLATE, clock);
    peer.end(bombs(40, 1000));
    await until(() => socket.connection.transport.destroyed, 'the end of TCP');
    await aWhile(20);
    end(socket);
    expect(await socket.closed).toMatchObject({ code: 1006, cause: undefined });
    expect(clock.running).toBe(0);
    expect(await readAll(socket)).toEqual(upTo(16));
  });

  it('close() of the client ends it at once, and drops compressed messages', async () => {
    const { socket, peer, server } = await openPair();
    peer.write(Buffer.concat([bombs(50), closeFrame(1000)]));
    await until(() => socket.isPaused, 'a pause');
    const waiting = socket.connection.input.waiting;
    const before = process.memoryUsage().arrayBuffers;
    socket.close(1000);
    expect(await socket.closed).toMatchObject({ code: 1000 });
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(32 * MIB);
    peer.end();
    await nothingLeft(server);
    expect(await readAll(socket)).toEqual(upTo(waiting));
  });

  it('terminate() ends it at once', async () => {
    const { socket, peer, server } = await openPair();
    peer.write(bombs(50));
    await until(() => socket.isPaused, 'a pause');
    socket.terminate();
    expect(await socket.closed).toEqual({ code: 1006, reason: '', cause: undefined });
    await nothingLeft(server);
  });

  it('close() during an iteration ends it', async () => {
    const { socket, peer } = await openPair();
    peer.write(Buffer.concat([bombs(50), closeFrame(1000)]));
    const numbers = await readAll(socket, (count) => {
      if (count === 5) socket.close();
    });
    expect(numbers.slice(0, 5)).toEqual(upTo(5));
    expect(numbers.length).toBeLessThan(10);
    expect(await socket.closed).toMatchObject({ code: 1000 });
  });

  it.each([
    ['that cannot be inflated', frame(Buffer.from([0xff, 0xff, 0xff]), { rsv1: true }), true],
    ['that cannot be inflated, and the end of TCP', frame(Buffer.from([0xff, 0xff, 0xff]), { rsv1: true }), false],
    ['that is not UTF-8', frame(deflated(Buffer.from([0xff])), { rsv1: true }), true],
  ])('a message %s in the middle: the messages before it are delivered', async (_, broken, stays) => {
    const { socket, peer, server } = await openPair();
    onFrame(peer, () => peer.end());
    peer.write(Buffer.concat([bombs(20), broken, bombs(20)]));
    if (!stays) peer.end();
    await until(() => socket.isPaused, 'a pause');
    await aWhile(50);
    expect(await readAll(socket)).toEqual(upTo(20));
    expect((await socket.closed).cause).toMatch(/inflat|compress|invalid|UTF-8/i);
    await nothingLeft(server);
  });
});
