// @ts-nocheck
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { deflateRawSync } from 'node:zlib';
import { afterEach, describe, expect, it } from '@jest/globals';
import { WebSocket, WebSocketServer } from 'ws';
import { Compression } from '../../../lib/compression/compression.js';
import type { PeerDeflate } from '../../../lib/compression/peer-deflate.js';
import type { CompressionSettings } from '../../../lib/compression/settings.js';
import { compressionError } from '../../../lib/compression/ws-error.js';
import { BROWSER_OFFER, budgetOf, DEFAULTS } from './support.js';

/** What is used of `ws` beyond its public types. */
interface Upgrader {
  completeUpgrade(
    extensions: Record<string, PeerDeflate>,
    key: string,
    protocols: Set<string>,
    request: IncomingMessage,
    socket: Duplex,
    head: Buffer,
    done: (ws: WebSocket) => void,
  ): void;
}
interface Insides {
  _extensions: Record<string, unknown>;
  _sender: { _extensions: object; _state: number };
  _receiver: { _extensions: object };
  _socket: Socket;
}
const insides = (ws: WebSocket): Insides => ws as unknown as Insides;

const open: { server: Server; sockets: Set<Duplex>; clients: WebSocket[] }[] = [];
afterEach(async () => {
  for (const { server, sockets, clients } of open.splice(0)) {
    for (const client of clients) client.terminate();
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  }
});

/** A `ws` server that echoes, with our compression in its sockets. */
async function echoServer(settings: Partial<CompressionSettings> = {}) {
  const compression = new Compression({ ...DEFAULTS, ...settings }, budgetOf(64));
  const wss = new WebSocketServer({ noServer: true, maxPayload: compression.settings.maxSize });
  const peers: PeerDeflate[] = [];
  const server = createServer();
  const entry = { server, sockets: new Set<Duplex>(), clients: [] as WebSocket[] };
  open.push(entry);
  server.on('upgrade', (request, socket, head) => {
    entry.sockets.add(socket);
    socket.on('error', () => {});
    const peer = compression.accept(BROWSER_OFFER)!;
    peers.push(peer);
    const key = request.headers['sec-websocket-key']!;
    (wss as unknown as Upgrader).completeUpgrade(
      { 'permessage-deflate': peer },
      key,
      new Set(),
      request,
      socket,
      head,
      (ws) => wss.emit('connection', ws, request),
    );
  });
  wss.on('connection', (ws) => {
    ws.on('error', () => {});
    ws.on('message', (data, binary) => ws.send(data, { binary, compress: true }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const dial = async (): Promise<WebSocket> => {
    const client = new WebSocket(url, { perMessageDeflate: { threshold: 0 } });
    entry.clients.push(client);
    await new Promise((resolve, reject) => client.once('open', resolve).once('error', reject));
    client.on('error', () => {});
    return client;
  };
  return { compression, wss, peers, url, dial };
}

const closed = (ws: WebSocket): Promise<number> => new Promise((resolve) => ws.once('close', resolve));

function collect(ws: WebSocket, count: number): Promise<Buffer[]> {
  const messages: Buffer[] = [];
  return new Promise((resolve, reject) => {
    ws.once('close', (code) => reject(new Error(`closed with ${code}`)));
    ws.on('message', (data: Buffer) => messages.push(data) === count && resolve(messages));
  });
}

const MESSAGES = [
  'a',
  '',
  'grüße 🙂'.repeat(100),
  'x'.repeat(300_000),
  'small again',
  Array.from({ length: 9000 }, (_, i) => i * i).join(),
  'y'.repeat(5000),
].map((text) => Buffer.from(text));

/** A masked frame: header bits, payload. */
function frame(first: number, payload: Buffer): Buffer {
  const header = Buffer.from([first, 0x80 | 127, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
  header.writeUInt32BE(payload.length, 6);
  return Buffer.concat([header, payload]);
}
const COMPRESSED_TEXT = 0xc1;

describe.each(['shared', 'dedicated'] as const)('inside ws, %s', (mode) => {
  it('echoes to a ws client, in order, fragmented or not, and frees what it took', async () => {
    const { dial, wss, peers, compression } = await echoServer({ mode });
    const client = await dial();
    const echoes = collect(client, 2 * MESSAGES.length);
    for (const message of MESSAGES) client.send(message, { binary: true });
    for (const message of MESSAGES) {
      const half = message.length >> 1;
      client.send(message.subarray(0, half), { binary: true, fin: false });
      client.send(message.subarray(half), { binary: true, fin: true });
    }
    const received = await echoes;
    expect(received.map((data) => data.length)).toEqual([...MESSAGES, ...MESSAGES].map((data) => data.length));
    expect(received.every((data, i) => data.equals(MESSAGES[i % MESSAGES.length]!))).toBe(true);
    expect(compression.budget.used > 0).toBe(mode === 'dedicated');
    const gone = closed([...wss.clients][0]!);
    client.close(1000);
    expect(await gone).toBe(1000);
    expect(peers[0]?.heldBytes).toBe(0);
    expect(compression.budget.used).toBe(0);
  });

  it('stands in a ws client too', async () => {
    const { dial } = await echoServer({ mode });
    const client = await dial();
    const theirs = insides(client)._extensions['permessage-deflate'] as { params: Record<string, true | number> };
    const ours = new Compression({ ...DEFAULTS, mode, threshold: 1 }, budgetOf(64), false).offer().accept([
      {
        name: 'permessage-deflate',
        params: Object.entries(theirs.params).map(([k, v]) => [k, v === true ? v : `${v}`]),
      },
    ]);
    insides(client)._extensions['permessage-deflate'] = ours;
    const echoes = collect(client, MESSAGES.length);
    for (const message of MESSAGES) client.send(message, { binary: true });
    expect((await echoes).every((data, i) => data.equals(MESSAGES[i]!))).toBe(true);
  });

  it.each([
    ['a bomb', 1009, deflateRawSync(Buffer.alloc(3_000_000)).subarray(0, -1)],
    ['a small bomb', 1009, deflateRawSync(Buffer.alloc(60_000)).subarray(0, -1)],
    ['rubbish', 1007, Buffer.alloc(100, 0xff)],
    ['a truncated message', 1007, deflateRawSync(Buffer.from('Hello'), { finishFlush: 2 }).subarray(0, -8)],
    ['an empty frame', 1007, Buffer.alloc(0)],
  ])('closes for %s with %i', async (_, code, payload) => {
    const { dial } = await echoServer({ mode, maxSize: 50_000 });
    const client = await dial();
    const gone = closed(client);
    insides(client)._socket.write(frame(COMPRESSED_TEXT, payload));
    expect(await gone).toBe(code);
  });

  it('outlives peers that go while their messages are worked on', async () => {
    const { dial, wss, compression } = await echoServer({ mode });
    const ended = new Promise<void>((resolve) => {
      let left = 6;
      wss.on('connection', (ws) => ws.on('close', () => --left === 0 && resolve()));
    });
    const big = Buffer.from(Array.from({ length: 60_000 }, (_, i) => (i * 7919) % 10_007).join());
    const clients = await Promise.all(Array.from({ length: 6 }, dial));
    for (const client of clients) {
      client.send(big);
      client.send(big);
      await new Promise((resolve) => setImmediate(resolve));
    }
    for (const ws of wss.clients) {
      ws.send(big, { compress: true }, () => {});
      ws.send('behind it', { compress: true }, () => {});
    }
    for (const client of clients) insides(client)._socket.resetAndDestroy();
    await ended;
    expect(compression.budget.used).toBe(0);
    const honest = await dial();
    const echoes = collect(honest, 1);
    honest.send('still here'.repeat(50));
    expect((await echoes)[0]?.toString()).toBe('still here'.repeat(50));
  });
});

describe('what we rely on in ws', () => {
  it('looks at its extensions for params, _isServer, _threshold, compress, decompress and cleanup', async () => {
    const { dial, wss, peers } = await echoServer();
    const seen = new Set<PropertyKey>();
    const calls: string[] = [];
    wss.on('connection', (ws) => {
      const { _extensions, _sender, _receiver } = insides(ws);
      expect(_extensions['permessage-deflate']).toBe(peers[0]);
      expect([_sender._extensions, _receiver._extensions]).toEqual([_extensions, _extensions]);
      _extensions['permessage-deflate'] = new Proxy(peers[0]!, {
        get(target, property) {
          seen.add(property);
          const value: unknown = Reflect.get(target, property, target);
          if (typeof value !== 'function') return value;
          return (...args: unknown[]) => {
            calls.push(
              `${String(property)}(${args.map((arg) => (arg instanceof Buffer ? 'Buffer' : typeof arg)).join()})`,
            );
            return Reflect.apply(value, target, args) as unknown;
          };
        },
      });
    });
    const client = await dial();
    const echoes = collect(client, 1);
    client.send('x'.repeat(300));
    await echoes;
    const gone = new Promise((resolve) => [...wss.clients][0]?.once('close', resolve));
    client.close();
    await gone;
    expect([...seen].sort()).toEqual(['_isServer', '_threshold', 'cleanup', 'compress', 'decompress', 'params']);
    expect(calls).toEqual(['decompress(Buffer,boolean,function)', 'compress(Buffer,boolean,function)', 'cleanup()']);
  });

  it('keeps messages under the threshold plain', async () => {
    const { url } = await echoServer({ threshold: 100 });
    const { port } = new URL(url);
    const socket = connect(Number(port), '127.0.0.1');
    const chunks: Buffer[] = [];
    socket.on('data', (chunk) => chunks.push(chunk));
    socket.write(
      `GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n` +
        'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
    );
    for (const length of [99, 100]) socket.write(frame(0x81, Buffer.alloc(length, 'a')));
    const plain = Buffer.concat([Buffer.from([0x81, 99]), Buffer.alloc(99, 'a')]);
    while (
      Buffer.concat(chunks).indexOf(plain) < 0 ||
      !Buffer.concat(chunks).subarray(Buffer.concat(chunks).indexOf(plain) + plain.length).length
    ) {
      await new Promise((resolve) => socket.once('data', resolve));
    }
    const bytes = Buffer.concat(chunks);
    const next = bytes.subarray(bytes.indexOf(plain) + plain.length);
    expect(next[0]).toBe(COMPRESSED_TEXT);
    expect(next[1]).toBeLessThan(20);
    socket.destroy();
  });

  it('finds the close code in the errors we make, under a symbol', () => {
    for (const [failure, code] of [
      ['too-large', 1009],
      ['corrupt', 1007],
    ] as const) {
      const error = compressionError(failure);
      const symbols = Object.getOwnPropertySymbols(error);
      expect(symbols.map((symbol) => symbol.description)).toEqual(['status-code']);
      expect((error as unknown as Record<symbol, number>)[symbols[0]!]).toBe(code);
      expect(error.closeCode).toBe(code);
    }
  });
});
