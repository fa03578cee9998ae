import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { WebSocketServer } from 'ws';
import { connect } from '../../../lib/client/index.js';

const KIB = 1024;

const MESSAGES: readonly (string | Buffer)[] = [
  '',
  'short',
  'ünïcödé ☃ '.repeat(100),
  Buffer.alloc(0),
  Buffer.from([0, 255, 128]),
  'a long text that repeats itself, '.repeat(4000),
  Buffer.from(Array.from({ length: 200 * KIB }, (_, i) => (i * i) & 255)),
  JSON.stringify(Array.from({ length: 2000 }, (_, i) => ({ id: i, name: `name ${i}` }))),
];

/** Comparing buffers byte by byte takes Jest a second. */
const shown = (message: unknown): unknown =>
  Buffer.isBuffer(message)
    ? `Hexadecimal, because Jest takes a second to compare these buffers byte by byte.`
    : message;

/** Sends every message to an echo server, and expects them back in order. */
async function echoes(url: string, options: Parameters<typeof connect>[1]): Promise<string> {
  const socket = await connect(url, options);
  for (const message of MESSAGES) socket.send(message);
  const received: unknown[] = [];
  for await (const message of socket) if (received.push(message) === MESSAGES.length) break;
  expect(received.map(shown)).toEqual(MESSAGES.map(shown));
  socket.close(1000, 'done');
  expect(await socket.closed).toMatchObject({ code: 1000 });
  return socket.extensions;
}

const MODES = ['shared', 'dedicated', 'off'] as const;

describe.each([
  ['without compression', false],
  ['with compression', true],
  [
    'with compression, without contexts',
    { serverNoContextTakeover: true, clientNoContextTakeover: true, threshold: 0 },
  ],
  ['with small windows', { serverMaxWindowBits: 9, clientMaxWindowBits: 9, threshold: 0 }],
])('a ws server %s', (_, perMessageDeflate) => {
  let server: WebSocketServer;
  let url: string;
  beforeAll(async () => {
    server = new WebSocketServer({
      host: '127.0.0.1',
      port: 0,
      perMessageDeflate,
      handleProtocols: (protocols) => [...protocols].at(-1) ?? false,
    });
    server.on('connection', (socket) => socket.on('message', (data, binary) => socket.send(data, { binary })));
    await once(server, 'listening');
    url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => {
    for (const client of server.clients) client.terminate();
    server.close();
  });

  it.each(MODES)('echoes every message in mode %s', async (mode) => {
    const extensions = await echoes(url, { compression: { mode, threshold: 0 } });
    expect(extensions).toBe(perMessageDeflate !== false && mode !== 'off' ? 'permessage-deflate' : '');
  });

  it('agrees on a subprotocol and answers pings', async () => {
    const socket = await connect(url, { subprotocols: ['a', 'b'], keepalive: { pingInterval: 20 } });
    expect(socket.protocol).toBe('b');
    await once(socket, 'pong');
    expect(socket.latency).toBeGreaterThanOrEqual(0);
    socket.terminate();
  });
});

const SCRIPT = `
import asyncio, sys, websockets
async def echo(ws, path=None):
    async for message in ws:
        await ws.send(message)
async def main():
    compression = None if sys.argv[1] == 'off' else 'deflate'
    async with websockets.serve(echo, '127.0.0.1', 0, compression=compression, subprotocols=['chat']) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
asyncio.run(main())
`;

import { hasPythonWebSockets, PYTHON } from '../../support/programs.js';

(hasPythonWebSockets() ? describe : describe.skip).each(['deflate', 'off'])(
  "Python's websockets, compression %s",
  (compression) => {
    let python: ChildProcess;
    let url: string;
    beforeAll(async () => {
      python = spawn(PYTHON, ['-c', SCRIPT, compression], { stdio: ['pipe', 'pipe', 'inherit'] });
      const [port] = (await once(python.stdout!, 'data')) as [Buffer];
      url = `ws://127.0.0.1:${Number(String(port))}`;
    });
    afterAll(async () => {
      python.stdin!.end();
      await once(python, 'exit');
    });

    it.each(MODES)('echoes every message in mode %s', async (mode) => {
      const extensions = await echoes(url, { compression: { mode, threshold: 0 }, subprotocols: ['other', 'chat'] });
      expect(extensions).toBe(compression !== 'off' && mode !== 'off' ? 'permessage-deflate' : '');
    });
  },
);
