import { AsyncLocalStorage } from 'node:async_hooks';
import type { Socket } from 'node:net';
import { afterEach, describe, expect, it } from '@jest/globals';
import type { ConnectOptions } from '../../../lib/client/call.js';
import { type ClientSocket, connect } from '../../../lib/client/index.js';
import { closeAll, DEFLATE, frame, onFrame, rawServer, upgrade } from '../../attack/client/support.js';
import { deflated } from '../../support/raw-client.js';
import { ManualClock } from '../../support/time.js';
import { openWith, until } from './support.js';

/** Everything that runs for a connection later must run in the async context of the code that opened it. */
const als = new AsyncLocalStorage<string>();
const opened: ClientSocket[] = [];
afterEach(async () => {
  for (const socket of opened.splice(0)) socket.terminate();
  await closeAll();
});

interface Seen {
  readonly event: string;
  readonly whose: string;
  readonly store: string | undefined;
}

const foreign = (seen: readonly Seen[]): Seen[] => seen.filter(({ whose, store }) => whose !== store);

/** Opens a connection in the context of `whose`; its listeners record their context and then enter one of their own. */
async function openFor(
  whose: string,
  seen: Seen[],
  options: ConnectOptions = {},
): Promise<{ socket: ClientSocket; peer: Socket }> {
  let peer!: Socket;
  const compressed = options.compression === undefined;
  const server = await rawServer((socket, _request, key) => {
    peer = socket;
    socket.write(compressed ? upgrade(key, DEFLATE) : upgrade(key));
  });
  const socket = await als.run(whose, () => connect(server.url, options));
  opened.push(socket);
  for (const event of ['message', 'ping', 'pong', 'close', 'error'])
    als.run('whoever listens', () =>
      socket.on(event, () => {
        seen.push({ event, whose, store: als.getStore() });
        als.enterWith(`entered by ${event}`);
      }),
    );
  return { socket, peer };
}

const close = frame(Buffer.from([3, 232]), { opcode: 8 });
const flood = (compressed: boolean): Buffer =>
  Buffer.concat(
    Array.from({ length: 40 }, (_, at) =>
      Buffer.concat([
        compressed ? frame(deflated('x'.repeat(at % 4 === 0 ? 200_000 : 10)), { rsv1: true }) : frame('x'),
        frame('', { opcode: at % 2 === 0 ? 9 : 10 }),
      ]),
    ),
  );

describe('event listeners', () => {
  it.each([true, false])(
    'run in the context of their own connection, under load (compressed: %s)',
    async (compressed) => {
      const seen: Seen[] = [];
      const options: ConnectOptions = compressed ? {} : { compression: { mode: 'off' } };
      const pairs = await Promise.all(['ada', 'bob', 'eve'].map((whose) => openFor(whose, seen, options)));
      for (let round = 0; round < 3; round++) for (const { peer } of pairs) peer.write(flood(compressed));
      for (const { socket } of pairs) {
        als.run('somebody else', () => {
          socket.pause();
          socket.resume();
        });
      }
      await until(() => seen.filter(({ event }) => event === 'message').length === 360, 'all messages');
      for (const { peer } of pairs) peer.end(close);
      await until(() => seen.filter(({ event }) => event === 'close').length === 3, 'the ends');
      expect(foreign(seen)).toEqual([]);
      expect(new Set(seen.map(({ event }) => event))).toEqual(new Set(['message', 'ping', 'pong', 'close']));
    },
  );

  it('run in that context when a deadline or protocol error triggers them', async () => {
    const seen: Seen[] = [];
    const clock = new ManualClock();
    const server = await rawServer((socket, _request, key) => void socket.write(upgrade(key)));
    const options: ConnectOptions = {
      compression: { mode: 'off' },
      keepalive: { pingInterval: '1s', pingTimeout: '1s' },
    };
    const socket = await als.run('ada', () => openWith(clock, server.url, options));
    opened.push(socket);
    socket.on('close', () => seen.push({ event: 'close', whose: 'ada', store: als.getStore() }));
    als.run('the clock’s', () => clock.pass(5000));
    const { peer } = await openFor('bob', seen, { compression: { mode: 'off' } });
    peer.write(frame('x', { rsv1: true }));
    await until(() => seen.some(({ event }) => event === 'error'), 'an error');
    peer.destroy();
    await until(() => seen.filter(({ event }) => event === 'close').length === 2, 'both ends');
    expect(foreign(seen)).toEqual([]);
  });
});

it('an iterator continues in the context of its loop', async () => {
  const seen: Seen[] = [];
  const pairs = await Promise.all(['ada', 'bob'].map((whose) => openFor(whose, [])));
  const loops = pairs.map(({ socket }, at) =>
    als.run(`reader ${at}`, async () => {
      socket.removeAllListeners('message');
      for await (const _ of socket) seen.push({ event: 'next', whose: `reader ${at}`, store: als.getStore() });
    }),
  );
  for (const { peer } of pairs) peer.end(Buffer.concat([flood(true), close]));
  await Promise.all(loops);
  expect(seen).toHaveLength(80);
  expect(foreign(seen)).toEqual([]);
});

it('send callbacks run in the context of their send(), however long the message waited', async () => {
  const { socket, peer } = await openFor('ada', [], { compression: { mode: 'off' } });
  peer.pause();
  const seen: Seen[] = [];
  for (let at = 0; at < 300; at++) {
    const whose = `sender ${at % 3}`;
    als.run(whose, () =>
      socket.send('x'.repeat(10_000), () => seen.push({ event: 'sent', whose, store: als.getStore() })),
    );
  }
  peer.resume();
  await until(() => seen.length === 300, 'all callbacks');
  expect(foreign(seen)).toEqual([]);
});

describe('a valid message directly before a protocol error', () => {
  const both = Buffer.concat([frame('last'), frame('x', { rsv1: true })]);

  it('is returned by an iterator', async () => {
    const { socket, peer } = await openFor('ada', [], { compression: { mode: 'off' } });
    socket.removeAllListeners('message');
    onFrame(peer, () => peer.end());
    peer.write(both);
    const received: unknown[] = [];
    for await (const message of socket) received.push(message);
    expect(received).toEqual(['last']);
    expect((await socket.closed).cause).toContain('RSV1');
  });

  it('is emitted to a listener', async () => {
    const seen: Seen[] = [];
    const { socket, peer } = await openFor('ada', seen, { compression: { mode: 'off' } });
    onFrame(peer, () => peer.end());
    peer.write(both);
    await socket.closed;
    expect(seen.map(({ event }) => event)).toEqual(['message', 'error', 'close']);
  });
});

it('an error thrown by a listener is an uncaught exception, and the connection continues', async () => {
  const { socket, peer } = await openFor('ada', [], { compression: { mode: 'off' } });
  socket.removeAllListeners('message');
  const received: string[] = [];
  socket.on('message', (data) => {
    received.push(String(data));
    if (received.length === 1) throw new Error('listener failed');
  });
  const caught = new Promise((resolve) => {
    const { report } = socket.connection;
    socket.connection.report = (error) => {
      socket.connection.report = report;
      resolve(error);
    };
  });
  peer.write(Buffer.concat([frame('1'), frame('2')]));
  expect(await caught).toEqual(new Error('listener failed'));
  await until(() => received.length === 2, 'the next message');
});
