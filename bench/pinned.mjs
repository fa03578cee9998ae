// The most memory that a peer can occupy per byte sent, with every setting at its default: the memory charged to the budget and
// the memory really used. Searches for the JSON structure that uses most. Run with: npm run build && node --expose-gc bench/pinned.mjs
import 'reflect-metadata';
import { once } from 'node:events';
import { connect } from 'node:net';
import { deflateRawSync } from 'node:zlib';
import { NestFactory } from '@nestjs/core';
import { SubscribeMessage, WebSocketGateway } from '@nestjs/websockets';
import { SecureGateway, SecureWsModule, SecureWsStats } from 'nest-secure-ws';
import { parseMessage } from '../build/dispatch/message-parser.js';
import { moduleOf } from './servers/gateway.mjs';
import { accepted, structures } from './support/structures.mjs';

/** The messages that handlers hold. */
const worked = [];
class Silent {
  hold(_client, data) {
    worked.push(data);
    return new Promise(() => {});
  }
  /** A reply that fills the buffers of the kernel. */
  fill() {
    return 'x'.repeat(3_500_000);
  }
}
for (const name of ['hold', 'fill'])
  SubscribeMessage(name)(Silent.prototype, name, Object.getOwnPropertyDescriptor(Silent.prototype, name));
WebSocketGateway({ path: '/' })(Silent);
/** A gateway whose guard never answers. */
class Guarded {}
SecureGateway({ path: '/guarded', guards: [() => new Promise(() => {})] })(Guarded);
const options = { keepalive: { pingInterval: null }, http: { openTimeout: '1m' }, connections: { guardTimeout: '1m' } };
const app = await NestFactory.create(moduleOf([Silent, Guarded], [SecureWsModule.forRoot(options)]), { logger: false });
await app.listen(0, '127.0.0.1');
const { port } = app.getHttpServer().address();
const stats = app.get(SecureWsStats);

const HEAD = (extensions, path = '/') =>
  `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n${extensions ? 'Sec-WebSocket-Extensions: permessage-deflate\r\n' : ''}\r\n`;

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
  return memoryNow();
}

function memoryNow() {
  for (let i = 0; i < 4; i++) global.gc?.();
  const { heapUsed, arrayBuffers, external } = process.memoryUsage();
  return heapUsed + Math.max(arrayBuffers, external);
}

/** `opens`: whether the bytes come after a handshake. `before`: what the peer sends before, and is not measured. */
async function measure(
  name,
  bytes,
  { compressed = false, chunk = bytes.length, count = 20, opens = true, before: prepared } = {},
) {
  const sockets = [];
  for (let i = 0; i < count; i++) {
    const socket = connect({ port, host: '127.0.0.1', localAddress: `127.0.0.${10 + i}` });
    socket.on('error', () => {});
    socket.setNoDelay();
    await once(socket, 'connect');
    sockets.push(socket);
    if (!opens) continue;
    socket.write(HEAD(compressed));
    await once(socket, 'data');
    socket.pause();
    if (prepared !== undefined) socket.write(prepared);
  }
  await settle();
  const before = await memory();
  const countedBefore = stats.snapshot().heldBytes;
  for (const socket of sockets) {
    for (let at = 0; at < bytes.length; at += chunk) {
      socket.write(bytes.subarray(at, at + chunk));
      if (chunk < bytes.length) await new Promise((resolve) => setImmediate(resolve));
    }
  }
  await settle();
  const charged = stats.snapshot().heldBytes - countedBefore;
  const taken = (await memory()) - before;
  const kib = (total) => (total / count / 1024).toFixed(1);
  // A connection takes about as much itself.
  const beyond = Math.max(0, taken / count - 4096) / bytes.length;
  console.log(
    `| ${name} | ${bytes.length} | ${kib(charged)} | ${kib(taken)} | ${(taken / count / bytes.length).toFixed(1)} | ${beyond.toFixed(1)} |`,
  );
  for (const socket of sockets) socket.resetAndDestroy();
  worked.length = 0;
  await settle();
}

const json = (size) => Buffer.from(JSON.stringify({ event: 'hold', data: 'x'.repeat(size) }));
const deflated = (size) => deflateRawSync(json(size), { finishFlush: 2 }).subarray(0, -4);
const first = frame(Buffer.from('x'), { fin: false });
const next = frame(Buffer.from('x'), { fin: false, opcode: 0 });

const MAX_SIZE = 1024 ** 2 - 100;
const COPIES = 4;

/** The memory of a message's objects, and the memory counted for them. */
function weigh(texts) {
  const before = memoryNow();
  const kept = texts.map((text) => parseMessage(text, 10_000));
  const taken = (memoryNow() - before) / kept.length;
  return { taken, counted: kept[0].charge + texts[0].length, bytes: texts[0].length };
}

const found = [];
const copies = Array.from({ length: COPIES }, (_, copy) => structures(copy));
for (const [name] of structures()) {
  const texts = copies.map((copy) =>
    accepted(copy.next().value[1], (text) => parseMessage(text, 10_000) !== undefined),
  );
  if (texts[0].length <= MAX_SIZE) found.push({ name, text: texts[0].toString(), ...weigh(texts) });
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

console.log('| a peer sends | bytes | counted, KiB | taken, KiB | taken per byte | the same beyond 4 KiB |');
console.log('|---|---|---|---|---|---|');
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
await measure('1000 empty objects, to the same handler', call(`[${Array(1000).fill('{}')}]`));
await measure(
  'as many keys as a message may have',
  call(`{${Array.from({ length: 4990 }, (_, at) => `"${at.toString(36)}":1`)}}`),
);
await measure(
  '5000 messages of no byte behind it',
  Buffer.concat([call(1), ...Array(5000).fill(frame(Buffer.alloc(0)))]),
);
await measure('5000 messages of 20 bytes', Buffer.concat(Array(5000).fill(frame(Buffer.from('{"event":"hold"}    ')))));
const behind = (opcode, payload, count) => Buffer.concat([call(1), ...Array(count).fill(frame(payload, { opcode }))]);
await measure('a queue of 15 binary messages of one byte', behind(2, Buffer.from('x'), 15));
await measure('a queue of 15 texts of 16 bytes', behind(1, Buffer.from('{"event":"hold"}'), 15));
await measure('half of a ping', frame(Buffer.alloc(125), { opcode: 9 }).subarray(0, 7));
// The peer does not read, so that answers wait.
const full = frame(Buffer.from('{"event":"fill"}'));
await measure('10 pings of 125 bytes, whose pongs are not read', behind(9, Buffer.alloc(125), 10), { before: full });
await measure('10 pings of no byte', Buffer.concat(Array(10).fill(frame(Buffer.alloc(0), { opcode: 9 }))), {
  before: full,
});
const unknown = Buffer.concat(Array(9).fill(frame(Buffer.from('{"event":0}'))));
await measure('9 unknown events, whose exceptions are not read', unknown, { before: full });
const head = Buffer.from(HEAD(false, '/guarded').replace('\r\n\r\n', `\r\nX-Long: ${'x'.repeat(4000)}\r\n\r\n`));
await measure('half of a request head, one byte at a time', head.subarray(0, 2000), { opens: false, chunk: 1 });
await measure('a request head, whose guard does not answer', head, { opens: false });
const early = Buffer.concat([head, ...Array(400).fill(frame(Buffer.from('x')))]);
await measure('the same, with 400 messages behind it', early, { opens: false });
await app.close();
