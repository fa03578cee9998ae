// CPU of parsing and framing alone, without a socket, compared with ws's Receiver and Sender: microseconds per message, the
// sides in turns, the minimum of many turns. Run with: npm run build && node bench/protocol.mjs
import { performance } from 'node:perf_hooks';
import { Receiver, Sender } from 'ws';
import { FrameEncoder } from '../build/protocol/encoder.js';
import { FrameParser } from '../build/protocol/parser.js';

const TURNS = Number(process.env.TURNS ?? 15);
const MESSAGES = 20_000;

/** A masked text frame. */
function masked(payload) {
  const client = new FrameEncoder('client');
  return client.frame(client.next(false), payload);
}

/** Reads of `perRead` frames each; created for each turn, because unmasking is in place. */
function reads(payload, perRead) {
  return Array.from({ length: MESSAGES / perRead }, () =>
    Buffer.concat(Array.from({ length: perRead }, () => masked(payload))),
  );
}

let received = 0;
const sink = {
  message: (data) => {
    received += data.length;
  },
  fragment() {},
  ping() {},
  pong() {},
  close() {},
  error: ({ reason }) => {
    throw new Error(reason);
  },
};
const decoding = {
  ...sink,
  message: (data) => {
    received += data.toString().length;
  },
};
let parser;

const LIMITS = { maxSize: 1024 * 1024, maxFragments: 1024 };
const ways = {
  'ws Receiver': (chunks) => {
    const receiver = new Receiver({ isServer: true, maxPayload: LIMITS.maxSize, maxFragments: 1024 });
    receiver.on('message', sink.message);
    for (const chunk of chunks) receiver.write(chunk);
  },
  FrameParser: (chunks) => {
    parser = new FrameParser('server', LIMITS, sink);
    for (const chunk of chunks) parser.push(chunk);
  },
  'FrameParser, text decoded': (chunks) => {
    parser = new FrameParser('server', LIMITS, decoding);
    for (const chunk of chunks) parser.push(chunk);
  },
};

const socket = { cork() {}, uncork() {}, write: (data) => (received += data.length) };
const writers = {
  'ws Sender': (text) => {
    const sender = new Sender(socket);
    for (let i = 0; i < MESSAGES; i++) sender.send(text, { binary: false, compress: false, fin: true, mask: false });
  },
  FrameEncoder: (text) => {
    const encoder = new FrameEncoder('server');
    for (let i = 0; i < MESSAGES; i++) socket.write(encoder.text(text));
  },
  'ws Sender, client': (text) => {
    const sender = new Sender(socket);
    for (let i = 0; i < MESSAGES; i++) sender.send(text, { binary: false, compress: false, fin: true, mask: true });
  },
  'FrameEncoder, client': (text) => {
    const encoder = new FrameEncoder('client');
    for (let i = 0; i < MESSAGES; i++) socket.write(encoder.text(text));
  },
};

function measure(table, input) {
  const best = Object.fromEntries(Object.keys(table).map((name) => [name, Number.POSITIVE_INFINITY]));
  for (let turn = 0; turn < TURNS; turn++) {
    for (const [name, way] of Object.entries(table)) {
      const data = input();
      const started = performance.now();
      way(data);
      best[name] = Math.min(best[name], performance.now() - started);
    }
  }
  return best;
}

function report(title, best, first) {
  for (const [name, millis] of Object.entries(best))
    console.log(
      `| ${title} | ${name} | ${((millis * 1000) / MESSAGES).toFixed(3)} | ${(millis / best[first]).toFixed(2)} |`,
    );
}

console.log('| what | who | µs per message | relative |\n|---|---|---|---|');
const text = (length) => JSON.stringify({ event: 'echo', data: 'x'.repeat(length) }).slice(0, length);
for (const [length, perRead] of [
  [64, 1],
  [64, 4],
  [64, 32],
  [1024, 1],
]) {
  const payload = Buffer.from(text(length));
  report(
    `read ${length} B, ${perRead} per read`,
    measure(ways, () => reads(payload, perRead)),
    'ws Receiver',
  );
}
for (const length of [64, 1024])
  report(
    `write ${length} B`,
    measure(writers, () => text(length)),
    'ws Sender',
  );
if (received === 0) throw new Error('nothing was received');
