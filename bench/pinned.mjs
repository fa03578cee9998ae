// The most memory that a peer can occupy per byte sent, with every setting at its default: the memory charged to the budget and
// the memory really used. Searches for the JSON structure that uses most. Run with: npm run build && node --expose-gc bench/pinned.mjs
import 'reflect-metadata';
import { once } from 'node:events';
import { connect } from 'node:net';
import { deflateRawSync } from 'node:zlib';
import { NestFactory } from '@nestjs/core';
import { SubscribeMessage, WebSocketGateway } from '@nestjs/websockets';
import { SecureWsModule, SecureWsStats } from 'nest-secure-ws';
import { parseMessage } from '../dist/dispatch/message-parser.js';
import { moduleOf } from './servers/gateway.mjs';
import { structures } from './support/structures.mjs';

/** The messages that handlers hold. */
const worked = [];
class Silent {
  hold(_client, data) {
    worked.push(data);
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
  worked.length = 0;
  await settle();
}

const json = (size) => Buffer.from(JSON.stringify({ event: 'hold', data: 'x'.repeat(size) }));
const deflated = (size) => deflateRawSync(json(size), { finishFlush: 2 }).subarray(0, -4);
const first = frame(Buffer.from('x'), { fin: false });
const next = frame(Buffer.from('x'), { fin: false, opcode: 0 });

/** The memory of a message's objects, and the memory counted for them. */
async function weigh(text) {
  const bytes = Buffer.from(text);
  const kept = [];
  const before = await memory();
  for (let i = 0; i < 8; i++) kept.push(parseMessage(bytes, 10_000));
  const taken = ((await memory()) - before) / kept.length;
  return kept[0] === undefined ? undefined : { taken, counted: kept[0].charge + bytes.length, bytes: bytes.length };
}

const MAX_SIZE = 1024 ** 2 - 100;
const found = [];
for (const [name, data] of structures()) {
  const text = `{"event":"hold","data":${data}}`;
  if (text.length > MAX_SIZE) continue;
  const weighed = await weigh(text);
  if (weighed !== undefined) found.push({ name, text, ...weighed });
}
const ratio = (each) => each.taken / each.counted;
const perByte = (each) => each.taken / each.bytes;
const worst = (by) => found.reduce((most, each) => (by(each) > by(most) ? each : most));

console.log(`${found.length} structures of at most 10 000 values and keys\n`);
console.log('| the worst | structure | text, bytes | taken, bytes | counted, bytes | taken per byte of text |');
console.log('|---|---|---|---|---|---|');
for (const [what, each] of [
  ['beyond what is counted', worst(ratio)],
  ['for each byte of its text', worst(perByte)],
  ['in all', worst(({ taken }) => taken)],
])
  console.log(
    `| ${what} | ${each.name} | ${each.bytes} | ${Math.round(each.taken)} | ${each.counted} | ${perByte(each).toFixed(1)} |`,
  );
console.log('');

/** The heaviest structure, filled with as much text as a message may have. */
const heavy = worst(({ taken }) => taken).text.slice(0, -1);
const heaviest = `${heavy},"pad":"${'x'.repeat(MAX_SIZE - heavy.length - 20)}"}`;
const deflate = (text) => deflateRawSync(Buffer.from(text), { finishFlush: 2, level: 9 }).subarray(0, -4);

console.log('| a peer sends | bytes | held per connection, KiB | charged per byte | taken per byte |');
console.log('|---|---|---|---|---|');
await measure('a message of 1 MiB to a handler that never answers', frame(json(1024 ** 2 - 100)));
await measure('the same, compressed a thousandfold', frame(deflated(1024 ** 2 - 100), { rsv1: true }), {
  compressed: true,
});
const structured = worst(perByte).text;
await measure('the structure that takes most for each byte', frame(Buffer.from(structured)));
await measure('the same, compressed', frame(deflate(structured), { rsv1: true }), { compressed: true });
await measure('the heaviest structure in 1 MiB, compressed', frame(deflate(heaviest), { rsv1: true }), {
  compressed: true,
});
await measure('1000 fragments of one byte', Buffer.concat([first, ...Array(999).fill(next)]));
await measure('half of a message, one byte at a time', frame(Buffer.alloc(4000)).subarray(0, 2000), { chunk: 1 });
const call = (data) => frame(Buffer.from(`{"event":"hold","data":${data}}`));
await measure('as many empty objects as a message may have, to the same handler', call(`[${Array(4990).fill('{}')}]`));
await measure('as many keys', call(`{${Array.from({ length: 4990 }, (_, at) => `"${at.toString(36)}":1`)}}`));
await measure(
  '5000 messages of no byte behind it',
  Buffer.concat([call(1), ...Array(5000).fill(frame(Buffer.alloc(0)))]),
);
await measure('5000 messages of 20 bytes', Buffer.concat(Array(5000).fill(frame(Buffer.from('{"event":"hold"}    ')))));
await app.close();
