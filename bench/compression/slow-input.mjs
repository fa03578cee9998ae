// Messages designed to inflate slowly without output, from thirty connections of one address, beside an honest peer of
// another address that sends 128 KiB compressed: its latency, and the event loop delay.
// Run with: npm run build && node --import ./test/support/typescript.mjs bench/compression/slow-input.mjs
import { monitorEventLoopDelay, performance } from 'node:perf_hooks';
import { deflateRawSync } from 'node:zlib';
import { Compression, ContextBudget } from '../../build/protocol/deflate/compression.js';
import { chargedBytes } from '../../build/protocol/deflate/per-message-deflate.js';
import { slowDeflate } from '../../test/support/slow-deflate.ts';

const SECONDS = Number(process.env.SECONDS ?? 3);
const ATTACKERS = 30;
const settings = { mode: 'shared', windowBits: 15, memLevel: 5, level: 6, threshold: 256, maxSize: 1024 * 1024 };
const compression = new Compression(settings, new ContextBudget(0));
const peer = () => compression.accept([{ name: 'permessage-deflate', params: [] }]);
const userOf = (poolGroup) => ({ poolGroup, runInContext: (callback) => callback() });
const inflate = (codec, user, data) =>
  new Promise((resolve) => {
    const now = codec.inflate(data, true, user, resolve);
    if (now !== undefined) resolve(now);
  });

const text = Array.from({ length: 60_000 }, (_, i) => (i * 7919) % 10_007).join(' ');
const honestMessage = deflateRawSync(Buffer.from(text), { finishFlush: 2 }).subarray(0, -4);

async function measure(name, bytes, perSecond, addresses = 1) {
  let running = true;
  let charged = 0;
  let sent = 0;
  const slow = bytes > 0 ? slowDeflate(bytes) : undefined;
  const attackers = Array.from({ length: slow === undefined ? 0 : ATTACKERS }, async (_, i) => {
    const [codec, user] = [peer(), userOf(`attacker ${i % addresses}`)];
    while (running) {
      const result = await inflate(codec, user, slow);
      if (result.error !== undefined) throw new Error(result.error.reason);
      charged += chargedBytes(result);
      sent += slow.length;
      await new Promise((resolve) => setTimeout(resolve, 1000 / perSecond));
    }
  });
  const [codec, user] = [peer(), userOf('honest')];
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  const latencies = [];
  const started = performance.now();
  while (performance.now() - started < 1000 * SECONDS) {
    const begun = performance.now();
    const { error } = await inflate(codec, user, honestMessage);
    if (error !== undefined) throw new Error(error.reason);
    latencies.push(performance.now() - begun);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  delay.disable();
  running = false;
  await Promise.all(attackers);
  latencies.sort((a, b) => a - b);
  const at = (share) => latencies[Math.floor(latencies.length * share)].toFixed(1);
  const perByte = sent === 0 ? '–' : (charged / sent).toFixed(1);
  console.log(`| ${name} | ${at(0.5)} | ${at(0.99)} | ${(delay.percentile(99) / 1e6 - 1).toFixed(1)} | ${perByte} |`);
}

console.log(`An honest message: ${honestMessage.length} bytes, ${text.length} inflated.\n`);
console.log('| beside it | its latency, median, ms | 99 % | delay of the loop, 99 %, ms | charged per byte |');
console.log('|---|---|---|---|---|');
await measure('nobody', 0, 1);
await measure('30 connections, 1 MiB each, without a pause', 1024 * 1024, 1000);
await measure('the same from ten addresses', 1024 * 1024, 1000, 10);
await measure('30 connections, 64 KiB each, without a pause', 65_536, 1000);
await measure('30 connections, 4 KB each, 100 a second', 4000, 100);
