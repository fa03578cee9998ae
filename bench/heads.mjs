// node bench/heads.mjs [--connections 1500] [--lines 120] [--length 7900] [--server ours] [--seconds 8]
// How long the handshake of an honest client takes while connections of one other address send unfinished upgrade heads.
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
    seconds: { type: 'string', default: '8' },
    server: { type: 'string', multiple: true, default: ['ours', 'oursOwnPort'] },
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
const line = (times) =>
  `${times.length} handshakes, p50 ${at(times, 0.5)} ms, p99 ${at(times, 0.99)} ms, most ${at(times, 1)} ms`;

for (const key of values.server) {
  const server = await startServer(key);
  const load = new Child(fileURLToPath(new URL('./load/heads.mjs', import.meta.url)));
  try {
    console.log(`${server.title}\n  alone:  ${line(await handshakes(server.port, 2))}`);
    const [count, lines, length] = [values.connections, values.lines, values.length].map(Number);
    await load.call('start', { port: server.port, count, lines, length });
    console.log(`  beside: ${line(await handshakes(server.port, Number(values.seconds)))}`);
  } finally {
    await load.call('stop').catch(() => undefined);
    await load.stop();
    await server.stop();
  }
}
