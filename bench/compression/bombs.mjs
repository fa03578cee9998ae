// 40 concurrent bombs of 128 MiB beside an honest peer: peak memory, event loop delay, latency. Prints JSON.
import { monitorEventLoopDelay, performance } from 'node:perf_hooks';
import { deflateRawSync } from 'node:zlib';
import { codecFrom } from '../../build/cli/tune/codecs.js';
import { Compression, ContextBudget } from '../../build/protocol/deflate/compression.js';

const MIB = 1024 * 1024;
const RESOLUTION = 1;
const mode = process.argv[2];
const settings = { mode, windowBits: 12, memLevel: 5, level: 3, threshold: 256, maxSize: MIB };
const compression = new Compression(settings, new ContextBudget(64 * MIB));
const peer = () => codecFrom(compression.accept([{ name: 'permessage-deflate', params: [] }]));

const bomb = deflateRawSync(Buffer.alloc(128 * MIB), { finishFlush: 2 }).subarray(0, -4);
const echo = Buffer.from(JSON.stringify({ event: 'echo', data: 'a small honest message '.repeat(20) }));
const honest = peer();
const roundTrip = async () => honest.decompress(await honest.compress(echo));
for (let i = 0; i < 100; i++) await roundTrip();
gc();
await new Promise((resolve) => setTimeout(resolve, 200));

const delay = monitorEventLoopDelay({ resolution: RESOLUTION });
const before = process.memoryUsage().rss;
let peak = before;
const latencies = [];
let running = true;
const watch = (async () => {
  while (running) {
    peak = Math.max(peak, process.memoryUsage().rss);
    const started = performance.now();
    await roundTrip();
    await new Promise((resolve) => setImmediate(resolve));
    latencies.push(performance.now() - started);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
})();

delay.enable();
const started = performance.now();
const codes = await Promise.all(
  Array.from({ length: 40 }, () =>
    peer()
      .decompress(bomb)
      .then(
        () => 0,
        (error) => error.closeCode,
      ),
  ),
);
const took = performance.now() - started;
delay.disable();
running = false;
await watch;
latencies.sort((a, b) => a - b);
console.log(
  JSON.stringify({
    refused: codes.filter((code) => code === 1009).length,
    took,
    growth: (peak - before) / MIB,
    delay: delay.max / 1e6 - RESOLUTION,
    p99: latencies[Math.floor(latencies.length * 0.99)],
    echoes: latencies.length,
  }),
);
