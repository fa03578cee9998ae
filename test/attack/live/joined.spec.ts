import { AsyncLocalStorage } from 'node:async_hooks';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { type SecureSocket, SecureWsBroadcaster } from 'nest-secure-ws';
import { eventually, type TestApp } from '../../support/app.js';
import { frame, type RawClient } from '../../support/raw-client.js';
import { isQuiet, LiveGateway, message, nextMessage, openClient, reply, startLive, unmetered } from './live.js';

/** Frames to a client within one turn of the event loop are joined into one write, in order and bounded. */

let app: TestApp;
let clients: RawClient[] = [];
const writes = new Map<SecureSocket, number>();

beforeEach(async () => {
  // A turn of the event loop ends after two milliseconds, on a slow machine after little work: here time stands still.
  jest.spyOn(performance, 'now').mockReturnValue(performance.now());
  app = await startLive({ messages: unmetered(), keepalive: { pingInterval: null } });
});
afterEach(async () => {
  for (const client of clients) client.destroy();
  clients = [];
  writes.clear();
  await eventually(() => isQuiet(app));
  await app.close();
  jest.restoreAllMocks();
});

/** Opens this many connections, and counts the writes to each from then on. */
async function open(count: number, head = {}): Promise<SecureSocket[]> {
  for (let at = 0; at < count; at++) clients.push(await openClient(app, {}, head));
  await eventually(() => LiveGateway.sockets.length === count);
  for (const socket of LiveGateway.sockets) {
    const { transport } = socket.connection;
    const write = transport._write.bind(transport);
    const writev = transport._writev?.bind(transport);
    const count = () => writes.set(socket, (writes.get(socket) ?? 0) + 1);
    transport._write = (...args) => {
      count();
      write(...args);
    };
    if (writev === undefined) continue;
    transport._writev = (...args) => {
      count();
      writev(...args);
    };
  }
  return LiveGateway.sockets;
}

const numbers = async (client: RawClient, count: number): Promise<unknown[]> => {
  const got: unknown[] = [];
  while (got.length < count) got.push(((await nextMessage(client)) as { data: unknown }).data);
  return got;
};
const upTo = (count: number) => Array.from({ length: count }, (_, at) => at);

describe('frames sent within one turn', () => {
  it('of broadcasts are one write per client', async () => {
    const sockets = await open(20);
    const broadcaster = app.app.get(SecureWsBroadcaster);
    for (let at = 0; at < 100; at++) broadcaster.emit('n', at);
    for (const client of clients) expect(await numbers(client, 100)).toEqual(upTo(100));
    expect(sockets.map((socket) => writes.get(socket))).toEqual(sockets.map(() => 1));
  });

  it('of sends in a loop are two writes: the first at once, the others together', async () => {
    const [socket] = await open(1);
    for (let at = 0; at < 100; at++) socket!.sendEvent('n', at);
    expect(await numbers(clients[0]!, 100)).toEqual(upTo(100));
    expect(writes.get(socket!)).toBeLessThanOrEqual(2);
  });

  it('of replies to one read are few writes', async () => {
    const [socket] = await open(1);
    clients[0]!.write(Buffer.concat(upTo(16).map((at) => message('echo', at))));
    expect(await numbers(clients[0]!, 16)).toEqual(upTo(16));
    // One write per turn; the bytes of one write of the client can arrive in two reads.
    expect(writes.get(socket!)).toBeLessThanOrEqual(4);
  });

  it('keep their order, of any kind and to any receivers', async () => {
    const sockets = await open(3);
    const broadcaster = app.app.get(SecureWsBroadcaster);
    sockets[1]!.join('some');
    const expected: string[][] = [[], [], []];
    const both = (text: string, who: readonly number[]) => {
      for (const at of who) expected[at]!.push(text);
    };
    for (let at = 0; at < 30; at++) {
      broadcaster.emit('all', at);
      both(`all ${at}`, [0, 1, 2]);
      if (at % 3 === 0) {
        sockets[0]!.sendEvent('own', at);
        both(`own ${at}`, [0]);
      }
      if (at % 4 === 0) {
        broadcaster.to('some').emit('some', `ä${at}`);
        both(`some ä${at}`, [1]);
      }
      if (at % 5 === 0) {
        sockets[2]!.send(Buffer.from(JSON.stringify({ event: 'bytes', data: at })));
        sockets[2]!.ping();
        both(`bytes ${at}`, [2]);
      }
    }
    for (const [at, client] of clients.entries())
      for (const text of expected[at]!) {
        const { event, data } = JSON.parse((await reply(client))!.payload.toString());
        expect(`${event} ${data}`).toBe(text);
      }
    for (const socket of sockets) expect(writes.get(socket)).toBeLessThanOrEqual(2);
  });

  it('are written early when there are too many', async () => {
    const [socket] = await open(1);
    clients[0]!.socket.pause();
    const text = 'x'.repeat(1000);
    let most = 0;
    for (let at = 0; at < 1000 && socket!.readyState === 1; at++) {
      socket!.sendEvent('n', text);
      most = Math.max(most, socket!.bufferedAmount - socket!.connection.transport.writableLength);
    }
    // Whatever the kernel accepts does not wait for the end of the turn.
    expect(most).toBeLessThan(200_000);
    clients[0]!.socket.resume();
    for (let at = 0; at < 1000; at++) expect((await reply(clients[0]!))?.payload.length).toBe(1023);
  });

  it('of a fragmented message are not interleaved with another message', async () => {
    const [socket] = await open(1);
    socket!.send('one ', { fin: false });
    socket!.sendEvent('n', 1);
    app.app.get(SecureWsBroadcaster).emit('n', 2);
    socket!.ping('between');
    socket!.send('message', { fin: true });
    socket!.sendEvent('n', 3);
    const frames = [];
    for (let at = 0; at < 6; at++) frames.push((await clients[0]!.frame())!);
    expect(frames.map(({ opcode, fin, payload }) => [opcode, fin, payload.toString()])).toEqual([
      [1, false, 'one '],
      [9, true, 'between'],
      [0, true, 'message'],
      [1, true, '{"event":"n","data":1}'],
      [1, true, '{"event":"n","data":2}'],
      [1, true, '{"event":"n","data":3}'],
    ]);
    expect(socket!.connection.output.messages).toBe(5);
    clients[0]!.write(frame('', { opcode: 10 }));
  });

  it('have each callback called in the async context of its own send', async () => {
    const [socket] = await open(1);
    const store = new AsyncLocalStorage<number>();
    const seen: (number | undefined)[] = [];
    for (const at of upTo(50)) store.run(at, () => socket!.send(`${at}`, () => seen.push(store.getStore())));
    socket!.send('outside', () => seen.push(store.getStore()));
    await eventually(() => seen.length === 51);
    expect(seen).toEqual([...upTo(50), undefined]);
  });
});
