// @ts-nocheck
// The most memory that a peer can pin for each byte it sends, with every setting at its default: what the ledger charges and
// what the process really takes. Run with: npm run build && node --expose-gc bench/pinned.mjs
import 'reflect-metadata';
import { once } from 'node:events';
import { connect } from 'node:net';
import { deflateRawSync } from 'node:zlib';
import { NestFactory } from '@nestjs/core';
import { SubscribeMessage, WebSocketGateway } from '@nestjs/websockets';
import { SecureWsModule, SecureWsStats } from 'nest-secure-ws';
import { moduleOf } from './servers/gateway.mjs';

class Silent {
  hold() {
    return new Promise(() => {});
  }
}
SubscribeMessage('hold')(Silent.prototype, 'hold', Object.getOwnPropertyDescriptor(Silent.prototype, 'hold'));
WebSocketGateway({ path: '/' })(Silent);
const app = await NestFactory.create(
  moduleOf([Silent], [SecureWsModule.forRoot({ keepalive: { pingInterval: null } })]),
  { logger: false },
);
await app.listen(0, '127.0.0.1');
const { port } = app.getHttpServer().address();
const stats = app.get(SecureWsStats);

const HEAD = (extensions) =>
  `GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n${extensions ? 'Sec-WebSocket-Extensions: permessage-deflate\r\n' : ''}\r\n`;

/** A frame with a mask of zeros. */
function frame(payload, { fin = true, rsv1 = false, opcode = 1 } = {}) {
  const first = (fin ? 0x80 : 0) | (rsv1 ? 0x40 : 0) | opcode;
  const { length } = payload;
  const head =
    length < 126
      ? Buffer.from([first, 0x80 | length])
      : length < 65536
        ? Buffer.from([first, 0x80 | 126, length >> 8, length & 255])
        : Buffer.concat([
            Buffer.from([first, 0x80 | 127, 0, 0, 0, 0]),
            Buffer.from([(length >>> 24) & 255, (length >>> 16) & 255, (length >>> 8) & 255, length & 255]),
          ]);
  return Buffer.concat([head, Buffer.alloc(4), payload]);
}

const settle = () => new Promise((resolve) => setTimeout(resolve, 300));

async function memory() {
  for (let i = 0; i < 5; i++) {
    global.gc?.();
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const { heapUsed, arrayBuffers, external } = process.memoryUsage();
  return heapUsed + Math.max(arrayBuffers, external);
}

async function measure(name, bytes, { compressed = false, chunk = bytes.length, count = 20 } = {}) {
  const sockets = [];
  for (let i = 0; i < count; i++) {
    const socket = connect({ port, host: '127.0.0.1', localAddress: `127.0.0.${10 + i}` });
    socket.on('error', () => {});
    socket.setNoDelay();
    await once(socket, 'connect');
    socket.write(HEAD(compressed));
    await once(socket, 'data');
    socket.pause();
    sockets.push(socket);
  }
  const before = await memory();
  for (const socket of sockets) {
    for (let at = 0; at < bytes.length; at += chunk) {
      socket.write(bytes.subarray(at, at + chunk));
      if (chunk < bytes.length) await new Promise((resolve) => setImmediate(resolve));
    }
  }
  await settle();
  const charged = stats.snapshot().heldBytes;
  const taken = (await memory()) - before;
  const per = (total) => (total / count / bytes.length).toFixed(1);
  console.log(
    `| ${name} | ${bytes.length} | ${Math.round(charged / count / 1024)} | ${per(charged)} | ${per(taken)} |`,
  );
  for (const socket of sockets) socket.resetAndDestroy();
  await settle();
}

const json = (size) => Buffer.from(JSON.stringify({ event: 'hold', data: 'x'.repeat(size) }));
const deflated = (size) => deflateRawSync(json(size), { finishFlush: 2 }).subarray(0, -4);
const first = frame(Buffer.from('x'), { fin: false });
const next = frame(Buffer.from('x'), { fin: false, opcode: 0 });

console.log('| a peer sends | bytes | held per connection, KiB | charged per byte | taken per byte |');
console.log('|---|---|---|---|---|');
await measure('a message of 1 MiB to a handler that never answers', frame(json(1024 ** 2 - 100)));
await measure('the same, compressed a thousandfold', frame(deflated(1024 ** 2 - 100), { rsv1: true }), {
  compressed: true,
});
await measure('1000 fragments of one byte', Buffer.concat([first, ...Array(999).fill(next)]));
await measure('half of a message, one byte at a time', frame(Buffer.alloc(4000)).subarray(0, 2000), {
  chunk: 1,
  count: 5,
});
await app.close();
