// @ts-nocheck
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from '@jest/globals';
import { WebSocket } from 'ws';
import { clientInternalsOf } from '../../lib/client/ws-internals.js';
import { GET_INFO, INFLATING, Receiver } from '../../lib/connection/ws-internals.js';

/** What the outbound client uses of `ws` beyond its types: a version that changes one of these must be noticed. */
describe('ws in client mode, made from a socket', () => {
  const ends: (() => void)[] = [];
  afterEach(() => {
    for (const end of ends.splice(0)) end();
  });

  async function made(): Promise<{ ws: WebSocket; raw: Socket; received: Buffer[]; peer: Promise<Socket> }> {
    const received: Buffer[] = [];
    let arrived!: (socket: Socket) => void;
    const peer = new Promise<Socket>((resolve) => {
      arrived = resolve;
    });
    const server = createServer((socket) => {
      arrived(socket.on('error', () => {}).on('data', (chunk: Buffer) => received.push(chunk)));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const raw = connect((server.address() as AddressInfo).port, '127.0.0.1');
    await new Promise((resolve) => raw.once('connect', resolve));
    raw.pause();
    const options = { autoPong: false, closeTimeout: 1000 };
    const ws = new WebSocket(null as unknown as string, undefined, options as object);
    ends.push(() => {
      ws.terminate();
      server.close();
    });
    const internals = clientInternalsOf(ws);
    expect(internals._isServer).toBe(true);
    internals._isServer = false;
    internals._url = 'ws://here/';
    internals._protocol = 'chat';
    const head = Buffer.from([0x81, 1, 0x61]);
    internals.setSocket(raw, head, {
      ...options,
      allowSynchronousEvents: true,
      maxPayload: 100,
      maxFragments: 3,
      maxBufferedChunks: 0,
    });
    return { ws, raw, received, peer };
  }

  it('is open, masks, reads unmasked frames, the bytes behind the head first, and does not read before resume', async () => {
    const { ws, raw, received, peer } = await made();
    expect([ws.readyState, ws.url, ws.protocol, ws.extensions]).toEqual([WebSocket.OPEN, 'ws://here/', 'chat', '']);
    const messages: string[] = [];
    ws.on('message', (data) => messages.push(String(data)));
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(messages).toEqual([]);
    raw.resume();
    (await peer).write(Buffer.from([0x81, 1, 0x62]));
    while (messages.length < 2) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(messages).toEqual(['a', 'b']);
    ws.send('x');
    while (received.length < 1) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(received[0]!.subarray(0, 2)).toEqual(Buffer.from([0x81, 0x81]));
  });

  it('tells everything through emit, answers no ping, and passes its own closing through close()', async () => {
    class Watched extends WebSocket {
      readonly told: unknown[] = [];
      override emit(event: string | symbol, ...args: unknown[]): boolean {
        this.told?.push(event);
        return event === 'error' || super.emit(event, ...args);
      }
    }
    const { ws, raw, received, peer } = await made();
    Object.setPrototypeOf(ws, Watched.prototype);
    const told: unknown[] = Object.assign(ws, { told: [] }).told;
    raw.resume();
    (await peer).write(Buffer.from([0x89, 0, 0x8a, 0, 0x82, 127, 0, 0, 0, 1, 0, 0, 0, 0]));
    while (received.length < 1) await new Promise((resolve) => setTimeout(resolve, 5));
    (await peer).end();
    while (!told.includes('close')) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(told).toEqual(['message', 'ping', 'pong', 'error', 'close']);
    expect(received[0]![0]).toBe(0x88);
  });

  it('its receiver shows what is unfinished', async () => {
    const { ws, raw, peer } = await made();
    const receiver = clientInternalsOf(ws)._receiver;
    ws.on('message', () => {});
    raw.resume();
    expect(receiver).toMatchObject({ _state: 0, _fragmented: 0, _bufferedBytes: 0, _messageLength: 0, _buffers: [] });
    (await peer).write(Buffer.from([0x01, 2, 0x61, 0x62, 0x80, 5, 0x63]));
    while (receiver._bufferedBytes !== 1) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(receiver).toMatchObject({ _fragmented: 1, _messageLength: 2 });
    expect(receiver._state).not.toBe(0);
    expect(receiver._buffers).toHaveLength(1);
  });

  it('waits, with the end behind it, while its receiver is held at a complete message', async () => {
    const { ws, raw, peer } = await made();
    const receiver = clientInternalsOf(ws)._receiver;
    const told: unknown[] = [];
    ws.on('message', (data) => told.push(String(data)));
    ws.on('close', (code) => told.push(code));
    const held: ((error?: Error) => void)[] = [];
    receiver.dataMessage = (callback) => {
      receiver._state = INFLATING;
      held.push(callback);
    };
    raw.resume();
    (await peer).end(Buffer.from([0x81, 1, 0x62, 0x88, 2, 0x0f, 0xa0]));
    while (!raw.destroyed) await new Promise((resolve) => setTimeout(resolve, 5));
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect([told, held.length]).toEqual([[], 1]);
    for (let at = 0; at < 2; at++) {
      Receiver.prototype.dataMessage.call(receiver, held[at]!);
      expect(receiver._state).toBe(GET_INFO);
      receiver.startLoop(held[at]!);
    }
    while (told.length < 3) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(told).toEqual(['a', 'b', 4000]);
  });
});
