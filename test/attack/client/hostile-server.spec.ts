import type { Socket } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { deflateRawSync } from 'node:zlib';
import { afterEach, describe, expect, it } from '@jest/globals';
import {
  BodyTooLargeError,
  connect,
  HandshakeError,
  InvalidHandshakeError,
  LineTooLongError,
  OpenTimeoutError,
  TooManyHeadersError,
  UnexpectedStatusError,
} from '../../../lib/client/index.js';
import { sharedRuntime } from '../../../lib/client/runtime.js';
import { deflated, type Frame } from '../../support/raw-client.js';
import {
  accept,
  closeAll,
  DEFLATE,
  frame,
  onFrame,
  pour,
  type RawServer,
  rawServer,
  rejection,
  upgrade,
} from './support.js';

afterEach(closeAll);

const KIB = 1024;

/** Expects no socket at the server, no deadline, and no timer or socket of the client to remain. */
async function nothingLeft(server: RawServer): Promise<void> {
  await server.quiet();
  expect(server.sockets.size).toBe(0);
  expect(sharedRuntime.deadlines).toBe(0);
}

describe('a response head without an end', () => {
  const cases: [string, string, string, new (...args: never[]) => HandshakeError][] = [
    ['a status line', 'HTTP/1.1 200 ', 'a'.repeat(4 * KIB), LineTooLongError],
    ['a header line', 'HTTP/1.1 200 OK\r\nX: ', 'a'.repeat(4 * KIB), LineTooLongError],
    ['number of headers', 'HTTP/1.1 200 OK\r\n', 'X: y\r\n'.repeat(500), TooManyHeadersError],
    ['1xx responses', '', 'HTTP/1.1 100 Continue\r\n\r\n'.repeat(100), TooManyHeadersError],
    [
      '1xx responses with headers',
      '',
      'HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n'.repeat(100),
      TooManyHeadersError,
    ],
  ];

  it.each(cases)('%s is refused at the limit', async (_, start, endless, type) => {
    const server = await rawServer((socket) => {
      socket.write(start);
      pour(socket, endless);
    });
    const before = process.memoryUsage().arrayBuffers;
    await expect(connect(server.url)).rejects.toBeInstanceOf(type);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(4 * KIB * KIB);
    await nothingLeft(server);
  });

  it.each([8192, 100])('accepts a line of %i bytes exactly, and refuses a longer one', async (maxLineLength) => {
    const line = (length: number): string => `X: ${'a'.repeat(length - 5)}\r\n`;
    const server = await rawServer((socket, _request, _key, count) =>
      socket.end(`HTTP/1.1 404 No\r\nContent-Length: 0\r\n${line(maxLineLength + (count === 1 ? 0 : 1))}\r\n`),
    );
    expect(await rejection(connect(server.url, { http: { maxLineLength } }))).toMatchObject({
      name: 'UnexpectedStatusError',
      status: 404,
    });
    expect(await rejection(connect(server.url, { http: { maxLineLength } }))).toMatchObject({
      name: 'LineTooLongError',
      limit: maxLineLength,
    });
  });

  it('accepts 128 header lines in all 1xx responses together, and no line more', async () => {
    const lines = (count: number): string => 'X: y\r\n'.repeat(count);
    const server = await rawServer((socket, _request, key, count) =>
      socket.end(`HTTP/1.1 103 Early Hints\r\n${lines(125 + count - 1)}\r\n${upgrade(key)}`),
    );
    (await connect(server.url)).terminate();
    await expect(connect(server.url)).rejects.toBeInstanceOf(TooManyHeadersError);
  });
});

describe('a response body without an end', () => {
  it.each([
    ['that ends with the connection', ''],
    ['sent in chunks', 'Transfer-Encoding: chunked\r\n'],
    ['with Content-Length above the limit', 'Content-Length: 1073741824\r\n'],
  ])('%s is refused at the limit', async (_, header) => {
    const server = await rawServer((socket) => {
      socket.write(`HTTP/1.1 403 Forbidden\r\n${header}\r\n`);
      pour(socket, header.startsWith('T') ? `1000\r\n${'a'.repeat(4096)}\r\n` : 'a'.repeat(4096));
    });
    const error = await rejection(connect(server.url));
    expect(error).toBeInstanceOf(BodyTooLargeError);
    expect(error).toMatchObject({ status: 403, limit: KIB * KIB });
    await nothingLeft(server);
  });

  it('in a chunk size line is no longer read', async () => {
    const server = await rawServer((socket) => {
      socket.write('HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n1;');
      pour(socket, 'a'.repeat(4096));
    });
    await expect(connect(server.url)).rejects.toBeInstanceOf(UnexpectedStatusError);
    await nothingLeft(server);
  });

  it('is kept up to exactly maxBodySize in the error', async () => {
    const server = await rawServer((socket) =>
      socket.end(`HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer\r\n\r\n${'b'.repeat(1000)}`),
    );
    const error = await rejection(connect(server.url, { http: { maxBodySize: 1000 } }));
    expect(error).toMatchObject({ status: 401, headers: { 'www-authenticate': 'Bearer' } });
    expect((error as UnexpectedStatusError).body.toString()).toBe('b'.repeat(1000));
    await expect(connect(server.url, { http: { maxBodySize: 999 } })).rejects.toBeInstanceOf(BodyTooLargeError);
  });
});

describe('a slow server', () => {
  const slow = { http: { openTimeout: 250 } };
  const drip = (start: string, part: string) => (socket: import('node:net').Socket, _request: string, key: string) => {
    socket.write(start.replace('KEY', key));
    const timer = setInterval(() => socket.write(part), 20);
    socket.on('close', () => clearInterval(timer));
  };

  it.each([
    ['that sends nothing', () => {}],
    ['that sends one byte at a time', drip('HTTP/1.1 101 ', 'a')],
    ['that sends 1xx responses without an end', drip('', 'HTTP/1.1 100 \r\n\r\n')],
    ['that sends a body byte by byte', drip('HTTP/1.1 500 No\r\n\r\n', 'a')],
  ])('%s runs into openTimeout', async (_, answer) => {
    const server = await rawServer(answer);
    await expect(connect(server.url, slow)).rejects.toBeInstanceOf(OpenTimeoutError);
    await nothingLeft(server);
  });

  it('that never begins TLS, or redirects slowly, runs into openTimeout', async () => {
    const { createServer } = await import('node:net');
    const silent = createServer((socket) => socket.on('error', () => {}).resume());
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    const { port } = silent.address() as import('node:net').AddressInfo;
    await expect(connect(`wss://127.0.0.1:${port}`, slow)).rejects.toBeInstanceOf(OpenTimeoutError);
    await new Promise((resolve) => silent.close(resolve));

    const server = await rawServer(
      (socket) => void setTimeout(() => socket.end('HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n'), 60),
    );
    await expect(connect(server.url, { ...slow, maxRedirects: 100 })).rejects.toBeInstanceOf(OpenTimeoutError);
    await nothingLeft(server);
  });
});

describe('an invalid 101', () => {
  const lines = {
    upgrade: 'Upgrade: websocket',
    connection: 'Connection: Upgrade',
    accept: 'Sec-WebSocket-Accept: KEY',
  };
  const head = (changed: Partial<typeof lines> & { more?: string; start?: string }): string => {
    const { more, start = 'HTTP/1.1 101 Yes', ...rest } = changed;
    return `${[start, ...Object.values({ ...lines, ...rest }).filter(Boolean), ...(more ? [more] : [])].join('\r\n')}\r\n\r\n`;
  };

  it.each([
    ['not HTTP', 'SSH-2.0-OpenSSH_9.2\r\n\r\n'],
    ['bare line feeds', 'HTTP/1.1 101 Yes\nUpgrade: websocket\n\n'],
    ['a NUL in a header', head({ more: 'X: \0' })],
    ['a folded header', head({ more: 'X: a\r\n b' })],
    ['HTTP/1.0', head({ start: 'HTTP/1.0 101 Yes' })],
    ['no Upgrade', head({ upgrade: '' })],
    ['another Upgrade', head({ upgrade: 'Upgrade: h2c' })],
    ['no Connection', head({ connection: '' })],
    ['a Connection without upgrade', head({ connection: 'Connection: keep-alive' })],
    ['no accept value', head({ accept: '' })],
    ['a wrong accept value', head({ accept: 'Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=' })],
    ['two accept values', head({ more: 'Sec-WebSocket-Accept: KEY' })],
    ['a subprotocol that was not offered', head({ more: 'Sec-WebSocket-Protocol: evil' })],
    ['two subprotocols', head({ more: 'Sec-WebSocket-Protocol: a, b' })],
    ['one subprotocol twice', head({ more: 'Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: a' })],
    ['an empty subprotocol', head({ more: 'Sec-WebSocket-Protocol:' })],
    ['an extension that was not offered', head({ more: 'Sec-WebSocket-Extensions: x-evil' })],
    ['an extension named like a member of Object.prototype', head({ more: 'Sec-WebSocket-Extensions: constructor' })],
    ['unparsable extensions', head({ more: 'Sec-WebSocket-Extensions: ;;' })],
    [
      'a window below the minimum',
      head({
        more: 'Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; server_max_window_bits=7',
      }),
    ],
    [
      'a window without a value',
      head({
        more: 'Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_max_window_bits',
      }),
    ],
    [
      'an unknown parameter',
      head({ more: 'Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; x=1' }),
    ],
    ['a context that the client asked not to keep', head({ more: 'Sec-WebSocket-Extensions: permessage-deflate' })],
    [
      'a repeated extension',
      head({
        more: 'Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover, permessage-deflate; server_no_context_takeover',
      }),
    ],
  ])('is refused: %s', async (_, answer) => {
    const server = await rawServer((socket, _request, key) =>
      socket.write(answer.replaceAll('KEY', accept(key)), 'latin1'),
    );
    await expect(connect(server.url, { subprotocols: ['a', 'b'] })).rejects.toBeInstanceOf(InvalidHandshakeError);
    await nothingLeft(server);
  });

  it('is not a larger window than offered, which is a hint to ignore (RFC 7692, 7.1.2.2)', async () => {
    const extensions = 'permessage-deflate; server_no_context_takeover; client_max_window_bits=15';
    const received: Frame[] = [];
    const server = await rawServer((socket, _request, key) => {
      socket.write(upgrade(key, `Sec-WebSocket-Extensions: ${extensions}`));
      onFrame(socket, (each) => received.push(each));
    });
    const socket = await connect(server.url, { compression: { windowBits: 9 } });
    expect(socket.extensions).toBe('permessage-deflate');
    socket.send('compressed '.repeat(100));
    while (received.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(received[0]!.rsv1).toBe(true);
    socket.terminate();
    await socket.closed;
    await nothingLeft(server);
  });

  it('is none of these when they are correct', async () => {
    const server = await rawServer((socket, _request, key) =>
      socket.write(
        upgrade(
          key,
          'Connection: keep-alive',
          'Sec-WebSocket-Protocol: b',
          'Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_max_window_bits=9',
        ),
      ),
    );
    const socket = await connect(server.url, { subprotocols: ['a', 'b'] });
    expect(socket.protocol).toBe('b');
    expect(socket.extensions).toBe('permessage-deflate');
    socket.terminate();
    await socket.closed;
    await nothingLeft(server);
  });

  it('is an extension with compression off', async () => {
    const server = await rawServer((socket, _request, key) =>
      socket.write(upgrade(key, 'Sec-WebSocket-Extensions: permessage-deflate')),
    );
    await expect(connect(server.url, { compression: { mode: 'off' } })).rejects.toBeInstanceOf(InvalidHandshakeError);
    expect(server.requests[0]).not.toContain('Extensions');
  });
});

describe('an early end', () => {
  it('of the server before its response is a network failure', async () => {
    const server = await rawServer((socket) => socket.end('HTTP/1.1 10'));
    expect(await rejection(connect(server.url))).toMatchObject({ code: 'ECONNRESET' });
    const rude = await rawServer((socket) => void socket.resetAndDestroy());
    expect(await rejection(connect(rude.url))).toMatchObject({ code: 'ECONNRESET' });
    await nothingLeft(server);
  });

  it('of the server within a body keeps the body so far', async () => {
    const server = await rawServer((socket) => socket.end('HTTP/1.1 502 Bad\r\nContent-Length: 100\r\n\r\nhalf'));
    const error = (await rejection(connect(server.url))) as UnexpectedStatusError;
    expect([error.status, error.body.toString()]).toEqual([502, 'half']);
  });

  it("by the caller's signal leaves nothing behind in any stage", async () => {
    const reason = new Error('enough');
    expect(await rejection(connect('ws://127.0.0.1:9', { signal: AbortSignal.abort(reason) }))).toBe(reason);
    for (const start of ['', 'HTTP/1.1 10', 'HTTP/1.1 404 No\r\n\r\nbody']) {
      const abort = new AbortController();
      const server = await rawServer((socket) => {
        socket.write(start);
        setTimeout(() => abort.abort(reason), 20);
      });
      expect(await rejection(connect(server.url, { signal: abort.signal }))).toBe(reason);
      await nothingLeft(server);
    }
  });

  it("by the caller's signal during the name lookup leaves nothing behind", async () => {
    const abort = new AbortController();
    const reason = new Error('enough');
    let answer: (() => void) | undefined;
    const lookup = ((
      _host: string,
      _options: object,
      callback: (error: Error | null, address: unknown, family?: number) => void,
    ) => {
      answer = () => callback(null, [{ address: '127.0.0.1', family: 4 }]);
      abort.abort(reason);
    }) as never;
    const server = await rawServer(() => {});
    expect(await rejection(connect(`ws://name.test:${server.port}`, { signal: abort.signal, tls: { lookup } }))).toBe(
      reason,
    );
    answer?.();
    await turn();
    expect(server.connections).toBe(0);
    await nothingLeft(server);
  });

  it("by a refused connection or unknown name gives Node's error", async () => {
    const server = await rawServer(() => {});
    await server.close();
    expect(await rejection(connect(server.url))).toMatchObject({ code: 'ECONNREFUSED' });
    const lookup = ((_host: string, _options: object, callback: (error: Error) => void) =>
      callback(Object.assign(new Error('no such name'), { code: 'ENOTFOUND' }))) as never;
    expect(await rejection(connect('ws://nowhere.test', { tls: { lookup } }))).toMatchObject({ code: 'ENOTFOUND' });
    expect(sharedRuntime.deadlines).toBe(0);
  });

  it('leaves no socket and no timer in the process', async () => {
    const count = (): number =>
      process.getActiveResourcesInfo().filter((name) => /Timeout|TCPSocket|TLS/.test(name)).length;
    const server = await rawServer((socket) => void socket.write('HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n'));
    const before = count();
    for (let i = 0; i < 20; i++) await expect(connect(server.url)).rejects.toBeInstanceOf(UnexpectedStatusError);
    await server.quiet();
    await turn();
    expect(count()).toBeLessThanOrEqual(before);
  });
});

describe('frames after the 101', () => {
  const talking = (...frames: Buffer[]) =>
    rawServer((socket, _request, key) => {
      socket.write(Buffer.concat([Buffer.from(upgrade(key)), ...frames]));
      socket.resume();
    });

  it.each([
    ['a message over maxSize, by its declared length', [Buffer.from([0x82, 127, 0, 0, 0, 1, 0, 0, 0, 0])], 1009],
    ['a length beyond 2^53', [Buffer.from([0x82, 127, 255, 255, 255, 255, 255, 255, 255, 255])], 1009],
    [
      'too many fragments',
      [frame('a', { fin: false }), ...Array.from({ length: 8 }, () => frame('', { opcode: 0, fin: false }))],
      1008,
    ],
    ['a masked frame', [Buffer.from([0x81, 0x81, 1, 2, 3, 4, 0x61])], 1002],
    ['a reserved bit', [Buffer.from([0xa1, 1, 0x61])], 1002],
    ['RSV1 without compression', [frame('a', { rsv1: true })], 1002],
    ['a text that is not UTF-8', [frame(Buffer.from([0xff]))], 1007],
    ['a ping above 125 bytes', [Buffer.concat([Buffer.from([0x89, 126, 0, 200]), Buffer.alloc(200)])], 1002],
    ['an invalid close code', [frame(Buffer.from([0x03, 0xed]), { opcode: 8 })], 1002],
  ])('%s closes the connection, and does not end the process', async (_, frames, code) => {
    const codes: number[] = [];
    const server = await rawServer((socket, _request, key) => {
      socket.write(Buffer.concat([Buffer.from(upgrade(key)), ...frames]));
      onFrame(socket, ({ opcode, payload }) => {
        if (opcode !== 8) return;
        codes.push(payload.readUInt16BE(0));
        socket.end();
      });
    });
    const socket = await connect(server.url, { messages: { maxFragments: 4 }, compression: { mode: 'off' } });
    const { cause } = await socket.closed;
    expect(codes).toEqual([code]);
    expect(cause).toEqual(expect.any(String));
    await nothingLeft(server);
  });

  it.each([
    ['more than maxSize', {}, 8 * 1024 * 1024],
    ['more than maxRatio', { compression: { maxRatio: 10 } }, 100_000],
  ])('a bomb that inflates to %s is not inflated', async (_, options, size) => {
    const bomb = deflateRawSync(Buffer.alloc(size)).subarray(0);
    const server = await rawServer((socket, _request, key) => {
      const agreed = 'Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover';
      socket.write(Buffer.concat([Buffer.from(upgrade(key, agreed)), frame(bomb, { rsv1: true })]));
      onFrame(socket, () => socket.end());
    });
    const socket = await connect(server.url, options);
    const received: unknown[] = [];
    for await (const message of socket) received.push(message);
    expect(received).toEqual([]);
    expect((await socket.closed).cause).toBe('Max payload size exceeded');
    await nothingLeft(server);
  });

  it('an invalid frame is the last that is parsed, even if it waited with others until a message was inflated', async () => {
    const server = await rawServer((socket, _request, key) => {
      socket.write(upgrade(key, DEFLATE));
      onFrame(socket, () => socket.end());
    });
    const socket = await connect(server.url);
    const received: unknown[] = [];
    socket.on('message', (data) => received.push((data as Buffer).length));
    const bad = frame('', { opcode: 3 });
    const { _socket: raw } = socket as unknown as { _socket: Socket };
    // Each in its own read.
    for (const read of [frame(deflated('x'.repeat(500_000)), { rsv1: true }), bad, frame('two'), bad])
      raw.emit('data', read);
    expect((await socket.closed).cause).toBe('Invalid WebSocket frame: invalid opcode 3');
    expect(received).toEqual([500_000]);
    await nothingLeft(server);
  });

  it('a reset without an error listener does not throw', async () => {
    const server = await rawServer((socket, _request, key) => {
      socket.write(upgrade(key));
      setTimeout(() => socket.resetAndDestroy(), 10);
    });
    const socket = await connect(server.url);
    expect(await socket.closed).toMatchObject({ code: 1006, reason: '' });
    await nothingLeft(server);
  });

  it('that arrived with the 101 wait for a reader', async () => {
    const server = await talking(
      frame('one'),
      frame(Buffer.from('two'), { opcode: 2 }),
      frame('three'),
      frame(Buffer.from([3, 232]), { opcode: 8 }),
    );
    const socket = await connect(server.url);
    await socket.closed;
    const received: unknown[] = [];
    for await (const message of socket) received.push(message);
    expect(received).toEqual(['one', Buffer.from('two'), 'three']);
  });
});
