// @ts-nocheck
// node bench/fairness.mjs [--peers 20] [--keys 60000] [--seconds 10]
// The small echo of an honest client while peers of one other address send messages of a megabyte as fast as they are read.
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
    keys: { type: 'string', default: '60000' },
    seconds: { type: 'string', default: '10' },
  },
});
const PAUSE = 5;
const MOST_P99 = 250;
const NONE = '1000gb/1s';
const CASES = {
  'every setting at its default': {},
  'no rate of bytes, so that only the turns are shared': {
    messages: { rate: '1000000/1s', byteRate: NONE, byteRatePerIp: NONE },
  },
};
const ECHO = frame(JSON.stringify({ event: 'echo', data: 'a small honest message' }));

/** Milliseconds of each echo of one client, one after the other. */
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

const at = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))].toFixed(1);
const line = (times) => `p50 ${at(times, 0.5)} ms, p99 ${at(times, 0.99)} ms, most ${at(times, 1)} ms`;

async function measure(title, limits) {
  const server = await startServer('ours', { limits });
  const load = new Child(fileURLToPath(new URL('./load/greedy.mjs', import.meta.url)));
  try {
    console.log(`${title}\n  alone: ${line(await echoes(server.port, 2))}`);
    const count = Number(values.peers);
    const size = await load.call('start', { port: server.port, count, event: 'echo', keys: Number(values.keys) });
    await sleep(1000);
    const before = await load.call('sent');
    const times = await echoes(server.port, Number(values.seconds));
    const rate = ((await load.call('sent')) - before) / Number(values.seconds);
    console.log(
      `  beside ${count} peers, ${rate.toFixed(0)} messages of ${(size / 2 ** 20).toFixed(2)} MiB a second: ${line(times)}, ${times.length} echoes`,
    );
    return Number(at(times, 0.99)) < MOST_P99;
  } finally {
    await load.stop();
    await server.stop();
  }
}

let failed = 0;
for (const [title, limits] of Object.entries(CASES)) {
  if (await measure(title, limits)) continue;
  console.error(`! p99 is not under ${MOST_P99} ms`);
  failed++;
}
process.exit(failed);
