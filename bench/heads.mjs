// node bench/heads.mjs [--connections 1500] [--lines 120] [--length 7900] [--server ours] [--seconds 4]
// The handshake time of an honest client while connections of other addresses send incomplete upgrade heads: all of one address,
// of five, and byte by byte. Exits with 1 when a handshake exceeds the limit.
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Peer, source, upgradeRequest } from './load/peer.mjs';
import { startServer } from './servers/index.mjs';
import { Child } from './support/rpc.mjs';

const { values } = parseArgs({
  options: {
    connections: { type: 'string', default: '1500' },
    lines: { type: 'string', default: '120' },
    length: { type: 'string', default: '7900' },
    seconds: { type: 'string', default: '4' },
    server: { type: 'string', multiple: true, default: ['ours', 'oursDedicated'] },
  },
});
const PAUSE = 20;

/** Milliseconds of each handshake, one after the other. */
async function handshakes(port, seconds) {
  const times = [];
  for (const end = performance.now() + seconds * 1000; performance.now() < end; await sleep(PAUSE)) {
    const began = performance.now();
    const peer = new Peer({ port, from: source(1 + (times.length % 100)), request: upgradeRequest(port) });
    await peer.ready;
    times.push(performance.now() - began);
    peer.end();
  }
  return times.sort((a, b) => a - b);
}

const at = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))].toFixed(1);
/** The limit of the longest handshake (ms), on an otherwise idle machine. */
const MOST = 300;
const CASES = {
  'one address': {},
  'five addresses': { addresses: 5 },
  'one address, byte by byte': { drip: true },
};

async function measure(key, load) {
  const server = await startServer(key);
  const crowd = new Child(fileURLToPath(new URL('./load/heads.mjs', import.meta.url)));
  try {
    const alone = await handshakes(server.port, 1);
    const [count, lines, length] = [values.connections, values.lines, values.length].map(Number);
    await crowd.call('start', { port: server.port, count, lines, length, ...load });
    return { title: server.title, alone, beside: await handshakes(server.port, Number(values.seconds)) };
  } finally {
    await crowd.call('stop').catch(() => undefined);
    await crowd.stop();
    await server.stop();
  }
}

let failed = 0;
console.log(
  `| beside ${values.connections} unfinished heads of | server | alone, p99, ms | handshakes | p50, ms | p99, ms | most, ms |`,
);
console.log('|---|---|---|---|---|---|---|');
for (const [name, load] of Object.entries(CASES)) {
  for (const key of values.server) {
    const { title, alone, beside } = await measure(key, load);
    const figures = [at(alone, 0.99), beside.length, at(beside, 0.5), at(beside, 0.99), at(beside, 1)];
    console.log(`| ${[name, title, ...figures].join(' | ')} |`);
    if (Number(at(beside, 1)) <= MOST) continue;
    console.error(`! ${name}, ${title}: longer than ${MOST} ms`);
    failed++;
  }
}
process.exit(failed === 0 ? 0 : 1);
