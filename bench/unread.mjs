// node bench/unread.mjs
// The memory of replies that a peer does not read: resident memory compared with the bytes that the server counts, over TCP and TLS,
// each in its own process. Exits with 1 when the process uses more than 1.5 times the counted bytes.
import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';
import { frame } from './load/frames.mjs';
import { upgradeRequest } from './load/peer.mjs';
import { startServer } from './servers/index.mjs';
import { certificate } from './support/certificate.mjs';

const MOST = 1.5;
const BYTES = 96e6;
/** How long the server may take to queue everything (ms). */
const PATIENCE = 10_000;
/** Name, kind, character, bytes per character, and characters of a message. */
const ROWS = [
  ['texts of 300 000 characters, three bytes each', 'send', '漢', 3, 300_000],
  ['texts of 300 000 characters, two bytes each', 'send', 'é', 2, 300_000],
  ['texts of 300 000 characters, one byte each', 'send', 'x', 1, 300_000],
  ['texts of 1000 characters, three bytes each', 'send', '漢', 3, 1000],
  ['texts of 100 characters, one byte each', 'send', 'x', 1, 100],
  ['texts of 40 characters', 'send', 'x', 1, 40],
  ['events of 300 000 characters', 'event', 'x', 1, 300_000],
  ['bytes', 'bytes', 'x', 1, 300_000],
  ['bytes, 100 in a message', 'bytes', 'x', 1, 100],
  ['a broadcast, three bytes a character', 'broadcast', '漢', 3, 300_000],
  ['a broadcast of 100 characters', 'broadcast', 'x', 1, 100],
];
/** The maximum of messages, because small ones use far more memory than their bytes. */
const MOST_MESSAGES = 500_000;

async function open(port, tls) {
  const socket = (tls === undefined ? connect : connectTls)({ port, host: '127.0.0.1', rejectUnauthorized: false });
  socket.on('error', () => {});
  await once(socket, tls === undefined ? 'connect' : 'secureConnect');
  socket.write(upgradeRequest(port));
  await once(socket, 'data');
  return socket;
}

const fill = (...data) => frame(JSON.stringify({ event: 'fill', data }));

/** The server's figures once heldBytes is equal in two consecutive samples. */
async function settled(server) {
  let before = await server.memory();
  for (const deadline = Date.now() + PATIENCE; Date.now() < deadline; ) {
    await sleep(100);
    const now = await server.memory();
    if (before.stats.heldBytes === now.stats.heldBytes && now.stats.heldBytes > 0) return now;
    before = now;
  }
  throw new Error(`nothing is held, or ever more: ${JSON.stringify(before.stats)}`);
}

async function measure([, how, character, bytesEach, length], tls) {
  const server = await startServer('unread', { tls });
  try {
    const warm = await open(server.port, tls);
    warm.resume();
    warm.write(fill(how, character, 1000, 100));
    await sleep(300);
    warm.destroy();
    await sleep(100);
    const before = await server.memory();
    const socket = await open(server.port, tls);
    socket.pause();
    const count = Math.min(MOST_MESSAGES, Math.round(BYTES / (length * bytesEach)));
    socket.write(fill(how, character, length, count));
    const after = await settled(server);
    socket.destroy();
    return { counted: after.stats.heldBytes, taken: after.rss - before.rss };
  } finally {
    await server.stop();
  }
}

let failed = 0;
const mib = (bytes) => (bytes / 2 ** 20).toFixed(1);
console.log('| unread replies | over | counted, MiB | resident, MiB | resident / counted |');
console.log('|---|---|---|---|---|');
for (const tls of [undefined, certificate()]) {
  const over = tls === undefined ? 'TCP' : 'TLS';
  for (const row of ROWS) {
    const { counted, taken } = await measure(row, tls);
    const ratio = taken / counted;
    console.log(`| ${row[0]} | ${over} | ${mib(counted)} | ${mib(taken)} | ${ratio.toFixed(2)} |`);
    if (ratio <= MOST) continue;
    console.error(`! ${row[0]}, over ${over}: more than ${MOST} times what is counted`);
    failed++;
  }
}
process.exit(failed === 0 ? 0 : 1);
