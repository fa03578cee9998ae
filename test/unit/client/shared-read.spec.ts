import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, describe, expect, it } from '@jest/globals';
import { connectWithSharedRead } from '../../../lib/net/shared-read.js';
import { closeAll, frame, rawServer, upgrade } from '../../attack/client/support.js';
import { ManualClock } from '../../support/time.js';
import { openWith, until } from './support.js';

const servers: Server[] = [];
const sockets: Socket[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const server of servers.splice(0)) await new Promise((closed) => server.close(closed));
  await closeAll();
});

/** A paused socket that reads into the shared memory, and the server's end of it. */
async function pair(): Promise<{ socket: Socket; peer: Socket }> {
  const server = createServer().listen(0, '127.0.0.1');
  servers.push(server);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const socket = connectWithSharedRead({ port, host: '127.0.0.1' }).pause();
  const [[peer]] = await Promise.all([once(server, 'connection') as Promise<[Socket]>, once(socket, 'connect')]);
  sockets.push(socket, peer);
  return { socket, peer };
}

describe('a socket that reads into shared memory', () => {
  it('keeps what has arrived before there is a listener, and gives each listener bytes of its own', async () => {
    const [first, second] = [await pair(), await pair()];
    first.peer.write('early');
    second.peer.write('other');
    for (let i = 0; i < 20; i++) await turn();
    const chunks: Buffer[] = [];
    for (const { socket } of [first, second]) socket.on('data', (chunk: Buffer) => chunks.push(chunk)).resume();
    await until(() => chunks.length === 2);
    first.peer.write('xxxxx');
    await until(() => chunks.length === 3);
    expect(chunks.map(String).sort()).toEqual(['early', 'other', 'xxxxx']);
  });

  it('buffers no more than an ordinary stream while it is paused, and reads the rest and the end when it is resumed', async () => {
    const { socket, peer } = await pair();
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      socket.pause();
    });
    socket.resume();
    const sent = Buffer.alloc(1024 * 1024, 'abcdefg');
    peer.end(sent);
    await until(() => chunks.length === 1 && socket.readableLength >= socket.readableHighWaterMark);
    for (let i = 0; i < 20; i++) await turn();
    expect(chunks).toHaveLength(1);
    // Node stops after the read with which the stream's mark is reached.
    expect(socket.readableLength).toBeLessThan(socket.readableHighWaterMark + 64 * 1024);
    socket.removeAllListeners('data').on('data', (chunk: Buffer) => chunks.push(chunk));
    const ended = once(socket, 'end');
    socket.resume();
    await ended;
    expect(Buffer.concat(chunks).equals(sent)).toBe(true);
  });

  it('ends while it is paused, if everything was read before', async () => {
    const { socket, peer } = await pair();
    socket.on('data', () => socket.pause()).resume();
    peer.write('last');
    await until(() => socket.isPaused());
    const ended = once(socket, 'end');
    peer.end();
    await ended;
  });

  it.each([true, false])('emits the error of a reset; while it is paused: %s', async (isPaused) => {
    const { socket, peer } = await pair();
    socket.resume();
    if (isPaused) {
      // Reading has begun.
      for (let i = 0; i < 20; i++) await turn();
      socket.pause();
    }
    const failed = once(socket, 'error');
    peer.resetAndDestroy();
    const [error] = await failed;
    expect((error as NodeJS.ErrnoException).code).toBe('ECONNRESET');
  });
});

describe('a client over a TCP socket', () => {
  it('gives messages that stay as they are, whatever is read after them', async () => {
    let peer: Socket | undefined;
    const server = await rawServer((socket, _request, key) => {
      peer = socket.resume();
      socket.write(upgrade(key));
    });
    const client = await openWith(new ManualClock(), server.url, { compression: { mode: 'off' } });
    const got: Buffer[] = [];
    client.on('message', (data: Buffer) => got.push(data));
    for (const letter of ['a', 'b', 'c']) {
      const before = got.length;
      peer!.write(frame(letter.repeat(5000), { opcode: 2 }));
      await until(() => got.length > before);
    }
    expect(got.map((data) => data.equals(Buffer.alloc(5000, data[0]!)))).toEqual([true, true, true]);
    expect(got.map((data) => String.fromCharCode(data[0]!)).join('')).toBe('abc');
    client.terminate();
    await client.closed;
  });
});
