import { once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from '@jest/globals';
import type { ConnectOptions } from '../../../lib/client/call.js';
import type { ClientSocket } from '../../../lib/client/client-socket.js';
import { connect } from '../../../lib/client/index.js';
import { closeAll, DEFLATE, frame, pour, type RawServer, rawServer, upgrade } from '../../attack/client/support.js';
import { deflated } from '../../support/raw-client.js';
import { ManualClock } from '../../support/time.js';
import { openWith, until } from './support.js';

const KIB = 1024;
const MIB = KIB * KIB;

const opened: ClientSocket[] = [];
afterEach(async () => {
  for (const socket of opened.splice(0)) socket.terminate();
  await closeAll();
});

interface Pair {
  readonly clock: ManualClock;
  readonly socket: ClientSocket;
  readonly server: RawServer;
  /** The server's end. */
  readonly peer: Socket;
  /** What the client has sent: opcode and unmasked payload of each frame. */
  readonly frames: [opcode: number, payload: Buffer][];
}

/** A connection to a raw server; with `reads`, the frames of the client are read and recorded. */
async function pair(options: ConnectOptions = {}, reads = true, ...lines: string[]): Promise<Pair> {
  const clock = new ManualClock();
  let peer: Socket | undefined;
  const frames: [number, Buffer][] = [];
  const server = await rawServer((socket, _request, key) => {
    peer = socket;
    socket.write(upgrade(key, ...lines));
    if (reads) collect(socket, frames);
    else socket.pause();
  });
  const socket = await openWith(clock, server.url, { compression: { mode: 'off' }, ...options });
  opened.push(socket);
  return { clock, socket, server, peer: peer!, frames };
}

/** Parses the client's frames; of large frames only the size is kept. */
function collect(socket: Socket, frames: [number, Buffer][]): void {
  let chunks: Buffer[] = [];
  let [held, needed] = [0, 6];
  socket.on('data', (chunk: Buffer) => {
    chunks.push(chunk);
    held += chunk.length;
    while (held >= needed) {
      const bytes = Buffer.concat(chunks);
      chunks = [bytes];
      const short = bytes[1]! & 0x7f;
      const at = short < 126 ? 2 : short === 126 ? 4 : 10;
      if (held < (needed = at + 4)) return;
      const length = short < 126 ? short : short === 126 ? bytes.readUInt16BE(2) : bytes.readUIntBE(4, 6);
      if (held < (needed = at + 4 + length)) return;
      const mask = bytes.subarray(at, at + 4);
      const masked = bytes.subarray(at + 4, needed);
      frames.push([
        bytes[0]! & 0x0f,
        length > KIB ? Buffer.alloc(0) : Buffer.from(masked.map((byte, i) => byte ^ mask[i % 4]!)),
      ]);
      chunks = [bytes.subarray(needed)];
      held -= needed;
      needed = 6;
    }
  });
}

const closeFrame = ([opcode, payload]: [number, Buffer]): [number, string] | undefined =>
  opcode === 8 ? [payload.readUInt16BE(0), payload.subarray(2).toString()] : undefined;
const closes = (frames: [number, Buffer][]): unknown[] => frames.map(closeFrame).filter((close) => close !== undefined);

describe('keepalive', () => {
  it('pings, reports the latency, and ends a connection without pongs', async () => {
    const { clock, socket, peer, frames } = await pair();
    expect(socket.latency).toBeUndefined();
    clock.pass(10_100);
    await until(() => frames.length === 1, 'a ping');
    expect(frames[0]![0]).toBe(9);
    clock.pass(30);
    peer.write(frame(frames[0]![1], { opcode: 10 }));
    await until(() => socket.latency !== undefined, 'a latency');
    expect(socket.latency).toBeGreaterThanOrEqual(30);
    expect(socket.latency).toBeLessThan(200);
    clock.pass(20_000);
    await until(() => frames.length === 2, 'the next ping');
    peer.write(frame('some', { opcode: 10 }));
    clock.pass(19_000);
    expect(socket.readyState).toBe(socket.OPEN);
    clock.pass(2000);
    expect(await socket.closed).toEqual({ code: 1006, reason: '', cause: 'no pong' });
    expect(clock.running).toBe(0);
  });

  it.each([
    [{ pingInterval: null, idleTimeout: '1m' }, 61_000, 1000, 'idle'],
    [{ pingInterval: null, maxLifetime: '1m' }, 61_000, 1001, 'connection lifetime reached'],
  ])('ends a connection with %j', async (keepalive, time, code, reason) => {
    const { clock, socket, peer, frames, server } = await pair({ keepalive });
    clock.pass(time - 10_000);
    expect(socket.readyState).toBe(socket.OPEN);
    clock.pass(10_000);
    await until(() => frames.length > 0, 'a close frame');
    expect(closes(frames)).toEqual([[code, reason]]);
    peer.end(frame(Buffer.from([code >> 8, code & 255]), { opcode: 8 }));
    expect(await socket.closed).toEqual({ code, reason: '', cause: reason });
    await server.quiet();
    expect(clock.running).toBe(0);
  });

  it('messages in either direction reset the idle timeout', async () => {
    const { clock, socket, peer } = await pair({ keepalive: { pingInterval: null, idleTimeout: '1m' } });
    clock.pass(50_000);
    socket.sendEvent('here');
    clock.pass(50_000);
    peer.write(frame('there'));
    await once(socket, 'message');
    clock.pass(50_000);
    expect(socket.readyState).toBe(socket.OPEN);
  });

  it('an unanswered close ends at closeTimeout, as do bytes that a half-closed server does not read', async () => {
    const { clock, socket, server } = await pair({ keepalive: { closeTimeout: '5s' } });
    socket.close(1000, 'bye');
    clock.pass(4900);
    expect(server.sockets.size).toBe(1);
    clock.pass(300);
    expect(await socket.closed).toMatchObject({ code: 1006, cause: 'close timeout' });
    const half = await pair({ keepalive: { closeTimeout: '5s', pingInterval: null } }, false);
    half.socket.send(Buffer.alloc(16 * MIB));
    half.peer.end();
    await until(() => !half.socket.connection.isOpen, 'the end of the server');
    half.clock.pass(5200);
    expect(await half.socket.closed).toMatchObject({ cause: 'close timeout' });
    expect(half.clock.running).toBe(0);
  });
});

describe('incoming messages', () => {
  it.each([
    ['in fragments without an end', [frame('a', { fin: false }), frame('b', { opcode: 0, fin: false })]],
    ['in one frame without an end', [Buffer.from([0x82, 100]), Buffer.alloc(20)]],
    ['with an incomplete frame header', [Buffer.from([0x82])]],
  ])('a message %s ends at assemblyTimeout', async (_, parts) => {
    const { clock, socket, peer, frames } = await pair({ keepalive: { pingInterval: null } });
    for (const part of parts) {
      peer.write(part);
      await new Promise((resolve) => setTimeout(resolve, 20));
      clock.pass(10_000);
    }
    clock.pass(31_000);
    await until(() => frames.length > 0, 'a close frame');
    expect(closes(frames)).toEqual([[1008, 'message took too long']]);
    peer.end();
    expect((await socket.closed).cause).toBe('message took too long');
  });

  it('complete messages have no assembly time', async () => {
    const { clock, socket, peer } = await pair({ keepalive: { pingInterval: null } });
    peer.write(frame('a', { fin: false }));
    clock.pass(20_000);
    peer.write(frame('b', { opcode: 0 }));
    expect(String((await once(socket, 'message'))[0])).toBe('ab');
    clock.pass(60_000);
    expect(socket.readyState).toBe(socket.OPEN);
  });

  it('a complete compressed message has no assembly time', async () => {
    const { clock, socket, peer } = await pair(
      { keepalive: { pingInterval: '1s', pingTimeout: '1h' }, compression: {} },
      true,
      DEFLATE,
    );
    peer.write(frame(deflated('a'.repeat(100)), { rsv1: true }));
    expect(String((await once(socket, 'message'))[0])).toBe('a'.repeat(100));
    clock.pass(60_000);
    expect(socket.readyState).toBe(socket.OPEN);
  });

  it('a fragment does not keep the whole read in memory', async () => {
    const { socket, peer } = await pair();
    const pongs = Buffer.concat(Array.from({ length: 25_000 }, () => frame('', { opcode: 10 })));
    peer.write(frame('a', { fin: false }));
    let pings = 0;
    socket.on('pong', () => pings++);
    for (let i = 0; i < 10; i++) {
      peer.write(Buffer.concat([frame('b', { opcode: 0, fin: false }), pongs]));
      await until(() => pings === (i + 1) * 25_000, 'its pongs');
    }
    expect(socket.connection.held).toBeLessThan(100 * KIB);
  });

  it('a ping sent while reading is paused keeps its timeout, and its pong gives the latency', async () => {
    const { clock, socket, peer, frames } = await pair();
    socket.pause();
    clock.pass(30_100);
    await until(() => frames.length === 1, 'a ping');
    socket.resume();
    clock.pass(10);
    peer.write(frame(frames[0]![1], { opcode: 10 }));
    await until(() => socket.latency !== undefined, 'a latency');
    expect(socket.latency).toBeGreaterThanOrEqual(0);
  });

  it('a message received byte by byte is not stored as one object per byte', async () => {
    const { socket, peer } = await pair({ messages: { maxSize: '1mb' } });
    peer.setNoDelay();
    const head = Buffer.from([0x82, 127, 0, 0, 0, 0, 0, 8, 0, 0]);
    const read = socket.connection.transport.bytesRead + head.length;
    peer.write(head);
    for (let i = 1; i <= 300; i++) {
      peer.write('a');
      await until(() => socket.connection.transport.bytesRead >= read + i, 'a byte');
    }
    expect(socket.connection.held).toBeLessThan(2 * KIB);
  });

  it('a slow consumer pauses reading, queues a bounded number, and gets every message in order', async () => {
    const { clock, socket, peer } = await pair({
      messages: { maxQueue: 4 },
      keepalive: { idleTimeout: '1m', pingInterval: '20s', pingTimeout: '20s' },
    });
    const count = 2000;
    const message = 'x'.repeat(4 * KIB);
    let sent = 0;
    const more = (): void => {
      while (sent < count && peer.write(frame(`${sent++} ${message}`)));
      if (sent < count) peer.once('drain', more);
    };
    more();
    await until(() => socket.isPaused, 'a pause');
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(socket.connection.input.waiting).toBeLessThan(40);
    expect(sent).toBeLessThan(count);
    // While the client does not read, a missing pong is not the server's fault.
    clock.pass(600_000);
    expect(socket.readyState).toBe(socket.OPEN);
    let next = 0;
    for await (const received of socket) {
      expect(received).toBe(`${next} ${message}`);
      if (++next === count) break;
    }
    expect(socket.readyState).toBe(socket.OPEN);
  });

  it('queued messages are limited by bytes, and close() does not wait for them', async () => {
    const { socket, peer, frames } = await pair({ messages: { maxQueueBytes: 100_000 } });
    pour(peer, frame(Buffer.alloc(60_000), { opcode: 2 }), 3_000_000);
    await until(() => socket.isPaused, 'a pause');
    expect(socket.connection.input.waiting).toBeLessThan(5);
    socket.close(1000);
    await until(() => closes(frames).length === 1, 'a close frame');
    expect(closes(frames)).toEqual([[1000, 'bye']]);
    peer.write(frame(Buffer.from([3, 232]), { opcode: 8 }));
    expect(await socket.closed).toMatchObject({ code: 1000 });
  });

  it('an iterator continues after a break, may be shared, and ends with the connection', async () => {
    const { socket, peer } = await pair();
    peer.write(Buffer.concat([frame('1'), frame('2'), frame(Buffer.from('3'), { opcode: 2 })]));
    for await (const message of socket) {
      expect(message).toBe('1');
      break;
    }
    const [a, b] = [socket[Symbol.asyncIterator](), socket[Symbol.asyncIterator]()];
    expect((await a.next()).value).toBe('2');
    expect((await b.next()).value).toEqual(Buffer.from('3'));
    const waiting = [a.next(), b.next()];
    peer.resetAndDestroy();
    expect(await Promise.all(waiting)).toEqual([
      { done: true, value: undefined },
      { done: true, value: undefined },
    ]);
    for await (const message of socket) expect(message).toBe('nothing more');
  });

  it('listeners get the messages before them, and each message once', async () => {
    const { socket, peer } = await pair();
    peer.write(Buffer.concat(['1', '2', '3'].map((text) => frame(text))));
    await until(() => socket.connection.input.waiting === 3, 'three messages');
    expect(String((await once(socket, 'message'))[0])).toBe('1');
    const received: string[] = [];
    socket.on('message', (data, isBinary) => received.push(`${data} ${isBinary}`));
    peer.write(frame('4'));
    await until(() => received.length === 3, 'the rest');
    expect(received).toEqual(['2 false', '3 false', '4 false']);
    const iterator = socket[Symbol.asyncIterator]();
    peer.write(Buffer.concat([frame('5'), frame('6')]));
    expect((await iterator.next()).value).toBe('5');
    await iterator.return?.();
    expect(received.slice(3)).toEqual(['5 false', '6 false']);
    expect(socket.connection.input.waiting).toBe(0);
  });

  it('pause() and resume() are independent of the internal pauses', async () => {
    const { socket, peer } = await pair();
    const received: string[] = [];
    socket.on('message', (data) => received.push(String(data)));
    socket.pause();
    peer.write(frame('1'));
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(received).toEqual([]);
    socket.resume();
    await until(() => received.length === 1, 'the message');
  });

  it('a listener that pauses gets no more messages, not even queued ones', async () => {
    const { socket, peer } = await pair();
    peer.write(Buffer.concat(['1', '2', '3', '4'].map((text) => frame(text))));
    await until(() => socket.connection.input.waiting === 4, 'four messages');
    const received: string[] = [];
    socket.on('message', (data) => {
      received.push(String(data));
      if (received.length === 2) socket.pause();
    });
    peer.write(frame('5'));
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(received).toEqual(['1', '2']);
    socket.resume();
    await until(() => received.length === 5, 'the rest');
    expect(received).toEqual(['1', '2', '3', '4', '5']);
  });

  it('a queued message does not keep the whole read in memory', async () => {
    const { socket, peer } = await pair({ messages: { maxQueue: 100 } });
    const pongs = Buffer.concat(Array.from({ length: 25_000 }, () => frame('', { opcode: 10 })));
    for (let i = 1; i <= 10; i++) {
      peer.write(Buffer.concat([frame(Buffer.from([i]), { opcode: 2 }), pongs]));
      await until(() => socket.connection.input.waiting === i, 'a message');
    }
    socket.close();
    let bytes = 0;
    for await (const message of socket) {
      bytes += (message as Buffer).buffer.byteLength;
      if (socket.connection.input.waiting === 0) break;
    }
    expect(bytes).toBeLessThan(100 * KIB);
  });

  it.each([
    ['rate', { rate: '5/1m' }, Buffer.concat(Array.from({ length: 20 }, () => frame('a')))],
    ['controlRate', { controlRate: '5/1m' }, Buffer.concat(Array.from({ length: 20 }, () => frame('', { opcode: 9 })))],
  ])('%s applies where the call sets it, and only there', async (_, messages, flood) => {
    const limited = await pair({ messages });
    limited.peer.write(flood);
    await until(() => closes(limited.frames).length === 1, 'a close frame');
    expect(closes(limited.frames)[0]).toMatchObject([1008, /./]);
    const free = await pair();
    free.socket.on('message', () => {});
    free.peer.write(Buffer.concat(Array.from({ length: 100 }, () => flood)));
    free.peer.write(frame('last'));
    for await (const message of free.socket) if (message === 'last') break;
    expect(closes(free.frames)).toEqual([]);
  });

  it('byteRate pauses reading', async () => {
    const { clock, socket, peer } = await pair({ messages: { byteRate: '1kb/1s' } });
    const received: number[] = [];
    socket.on('message', (data) => received.push((data as Buffer).length));
    peer.write(frame(Buffer.alloc(3 * KIB), { opcode: 2 }));
    await until(() => received.length === 1, 'a message');
    expect(socket.isPaused).toBe(true);
    clock.pass(1000);
    expect(socket.isPaused).toBe(true);
    clock.pass(1200);
    expect(socket.isPaused).toBe(false);
  });
});

describe('outgoing messages', () => {
  it('beyond maxBuffered close with 1013, and later sends fail', async () => {
    const { clock, socket, frames, peer } = await pair({}, false);
    const errors: unknown[] = [];
    // An empty queue accepts a message of any size.
    socket.send(Buffer.alloc(20 * MIB));
    expect(socket.readyState).toBe(socket.OPEN);
    expect(socket.bufferedAmount).toBeGreaterThan(4 * MIB);
    socket.send('one more');
    expect(socket.readyState).toBe(socket.CLOSING);
    socket.send('and another', (error) => errors.push(error?.message));
    clock.pass(1200);
    expect((await socket.closed).cause).toBe('slow reader');
    expect(errors).toEqual([expect.stringContaining('not open')]);
    expect(frames).toEqual([]);
    expect(clock.running).toBe(0);
    peer.destroy();
  });

  it('that make no progress end the connection, even if the server sends', async () => {
    const { clock, socket, peer } = await pair({ keepalive: { pingInterval: null } }, false);
    socket.on('message', () => {});
    socket.send(Buffer.alloc(8 * MIB));
    const stall = 30_000 + (8 * MIB) / 4.096;
    clock.pass(stall - 10_000);
    peer.write(frame('still here'));
    await once(socket, 'message');
    expect(socket.readyState).toBe(socket.OPEN);
    clock.pass(11_000);
    expect((await socket.closed).cause).toBe('the server does not read');
  });

  it('that are written in time do not end the connection', async () => {
    const { clock, socket, frames } = await pair({ keepalive: { pingInterval: null } });
    for (let i = 0; i < 5; i++) {
      socket.send(Buffer.alloc(MIB));
      await until(() => socket.bufferedAmount === 0 && frames.length === i + 1, 'a drain');
      clock.pass(29_000);
    }
    clock.pass(1_000_000);
    expect(socket.readyState).toBe(socket.OPEN);
    expect(frames).toHaveLength(5);
  });

  it('waiting to be written do not stop reading; of the pings then only the last is answered', async () => {
    const { clock, socket, peer, frames } = await pair({ keepalive: { pingInterval: null } }, false);
    const received: string[] = [];
    socket.on('message', (data) => received.push(String(data)));
    socket.send(Buffer.alloc(16 * MIB));
    for (let i = 0; i < 20_000; i++) peer.write(frame(String(i), { opcode: 9 }));
    peer.write(frame('end'));
    await until(() => received.length === 1, 'a message');
    expect(socket.bufferedAmount).toBeLessThan(16.1 * MIB);
    collect(peer, frames);
    peer.resume();
    await until(() => socket.bufferedAmount === 0, 'a drain');
    clock.pass(200);
    await until(() => frames.length === 2, 'the pong');
    expect(frames[1]).toEqual([10, Buffer.from('19999')]);
  });

  it('are masked: an immediate pong, and events as JSON', async () => {
    const { socket, peer, frames } = await pair();
    peer.write(frame('hello', { opcode: 9 }));
    socket.sendEvent('say', { a: 1 });
    socket.send(5);
    await until(() => frames.length === 3, 'three frames');
    expect(frames.map(([opcode, payload]) => [opcode, payload.toString()]).sort()).toEqual(
      [
        [1, '5'],
        [1, '{"event":"say","data":{"a":1}}'],
        [10, 'hello'],
      ].sort(),
    );
  });
});

describe('an open socket', () => {
  it('reports its URL without credentials, and ignores the signal from then on', async () => {
    const abort = new AbortController();
    const server = await rawServer((socket, _request, key) => void socket.write(upgrade(key)));
    const socket = await connect(server.url.replace('//', '//a:b@'), { signal: abort.signal });
    opened.push(socket);
    abort.abort();
    expect(socket.readyState).toBe(socket.OPEN);
    expect(socket.url).toBe(`${server.url}/`);
    expect(socket.protocol).toBe('');
    socket.terminate();
    expect(await socket.closed).toEqual({ code: 1006, reason: '', cause: undefined });
  });

  it('connects to IPv6 addresses, to internationalised names, and through proxy agents', async () => {
    const answer = (socket: Socket, _request: string, key: string): void => void socket.write(upgrade(key));
    const six = await rawServer(answer, { host: '::1' });
    opened.push(await connect(`ws://[::1]:${six.port}/`));
    expect(six.requests[0]).toContain(`Host: [::1]:${six.port}\r\n`);

    const four = await rawServer(answer);
    const names: string[] = [];
    const lookup = ((name: string, _options: object, callback: (error: null, addresses: unknown) => void) => {
      names.push(name);
      callback(null, [{ address: '127.0.0.1', family: 4 }]);
    }) as never;
    opened.push(await connect(`ws://bücher.test:${four.port}/ü?ü`, { tls: { lookup } }));
    expect(names).toEqual(['xn--bcher-kva.test']);
    expect(four.requests[0]).toMatch(/^GET \/%C3%BC\?%C3%BC HTTP\/1.1\r\nHost: xn--bcher-kva.test:/);

    const asked: object[] = [];
    const agent = {
      createConnection: () => {
        throw new Error('agents of this kind are asked with connect()');
      },
      connect: async (_request: object, options: object) => {
        asked.push(options);
        return connectTcp(four.port, '127.0.0.1');
      },
    };
    opened.push(await connect('ws://far.test:81/', { agent }));
    expect(asked).toEqual([expect.objectContaining({ host: 'far.test', port: 81, secureEndpoint: false })]);
    expect(four.requests[1]).toContain('Host: far.test:81\r\n');
  });
});
