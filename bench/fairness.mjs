// node bench/fairness.mjs [--peers 20] [--seconds 5] [--kind 'deep arrays']
// The round trip of an honest client's small echo while peers of another address send expensive messages as fast as they are
// read: with every setting at its default, and once without byte rates. Exits with 1 when a p99 is above its limit.
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { frame } from './load/frames.mjs';
import { Peer, source, upgradeRequest } from './load/peer.mjs';
import { startServer } from './servers/index.mjs';
import { Child } from './support/rpc.mjs';

const { values } = parseArgs({
  options: {
    peers: { type: 'string', default: '20' },
    seconds: { type: 'string', default: '5' },
    kind: { type: 'string', multiple: true },
  },
});
const PAUSE = 5;
const WARM_UP = 1000;
const NONE = '1000gb/1s';
const UNLIMITED = { messages: { rate: '1000000/1s', byteRate: NONE, byteRatePerIp: NONE } };
/** Name, kind of message, settings, and the limit of p99 (ms). */
const ROWS = [
  ['60 000 keys', 'keys', {}, 100],
  ['as many keys as a message may have', undefined, {}, 100],
  ['strings of 1 MB', undefined, {}, 100],
  ['deep arrays', undefined, {}, 100],
  ['arrays deeper than allowed', undefined, {}, 100],
  ['objects in a list, 1 MB', undefined, {}, 100],
  ['compressed megabytes', undefined, {}, 100],
  ['compressed structures', undefined, {}, 100],
  ['compressed input that yields nothing', undefined, {}, 150],
  ['strings of 1 MB, no rate of bytes', 'strings of 1 MB', UNLIMITED, 250],
];
const ECHO = frame(JSON.stringify({ event: 'echo', data: 'a small honest message' }));
const COUNT = Number(values.peers);
const SECONDS = Number(values.seconds);

/** Milliseconds of each echo of one client, one after the other. Throws when the client's connection ends. */
async function echoes(port, seconds) {
  const peer = new Peer({ port, from: source(1), request: upgradeRequest(port) });
  await peer.ready;
  const times = [];
  for (const end = performance.now() + seconds * 1000; performance.now() < end; await sleep(PAUSE)) {
    const began = performance.now();
    await new Promise((resolve, reject) => {
      peer.onMessages = resolve;
      peer.onClose = (code) => reject(new Error(`the honest client was closed with ${code}`));
      peer.send(ECHO);
    });
    times.push(performance.now() - began);
  }
  peer.onClose = undefined;
  peer.end();
  return times.sort((a, b) => a - b);
}

const at = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];

/** The load in its own process, which reads TypeScript too. */
const newLoad = () =>
  new Child(fileURLToPath(new URL('./load/greedy.mjs', import.meta.url)), {}, [
    '--import',
    new URL('../test/support/typescript.mjs', import.meta.url).href,
  ]);

async function measure(kind, limits) {
  const server = await startServer('ours', { limits });
  const load = newLoad();
  try {
    const size = await load.call('start', { port: server.port, count: COUNT, kind });
    await sleep(WARM_UP);
    const before = await load.call('sent');
    const times = await echoes(server.port, SECONDS);
    return { size, rate: ((await load.call('sent')) - before) / SECONDS, times };
  } finally {
    await load.call('stop').catch(() => undefined);
    await load.stop();
    await server.stop();
  }
}

let failed = 0;
console.log(`| beside ${COUNT} peers that send | KiB each | a second | echoes | p50, ms | p99, ms | most, ms |`);
console.log('|---|---|---|---|---|---|---|');
for (const [title, kind = title, limits, asked] of ROWS) {
  if (values.kind !== undefined && !values.kind.includes(title)) continue;
  try {
    const { size, rate, times } = await measure(kind, limits);
    const [p50, p99, most] = [0.5, 0.99, 1].map((share) => at(times, share));
    const numbers = [size / 1024, rate, times.length].map((each) => each.toFixed(0));
    console.log(`| ${[title, ...numbers, ...[p50, p99, most].map((each) => each.toFixed(1))].join(' | ')} |`);
    if (p99 <= asked) continue;
    console.error(`! ${title}: p99 is not under ${asked} ms`);
  } catch (error) {
    console.error(`! ${title}: ${error.message}`);
  }
  failed++;
}
process.exit(failed === 0 ? 0 : 1);
