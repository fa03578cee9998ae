// @ts-nocheck
// What messages of one size cost on the calling thread and in the thread pool: prints JSON.
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { DeflateContext } from '../../dist/compression/deflate-context.js';
import { InflateContext } from '../../dist/compression/inflate-context.js';
import { SYNC_DEFLATE_BYTES } from '../../dist/compression/settings.js';
import { generateCorpus } from './corpus.mjs';

const SETTINGS = { windowBits: 12, memLevel: 5, level: +process.argv[2] };
const text = Buffer.concat(generateCorpus(3000));
const Z_SYNC_FLUSH = 2;

const ROUNDS = 5;

/** Of the least disturbed round. */
async function cost(times, work) {
  let best = { cpu: Number.POSITIVE_INFINITY, wall: 0 };
  for (let round = 0; round < ROUNDS; round++) {
    const measured = await costOnce(times / ROUNDS, work);
    if (measured.cpu < best.cpu) best = measured;
  }
  return best;
}

async function costOnce(times, work) {
  const [cpu, wall] = [process.cpuUsage(), process.hrtime.bigint()];
  for (let i = 0; i < times; i++) await work();
  const { user, system } = process.cpuUsage(cpu);
  return { cpu: (user + system) / times, wall: Number(process.hrtime.bigint() - wall) / 1000 / times };
}

const [deflater, inflater] = [new DeflateContext(SETTINGS, 64), new InflateContext(12, 64, false)];
function deflateHere(data) {
  deflater.reset();
  if (data.length <= SYNC_DEFLATE_BYTES) deflater.deflateSync(data, true);
}
function inflateHere(wire, size) {
  inflater.reset();
  inflater.inflateSync(wire, size);
}

const rows = [];
for (const size of [64, 256, 1024, 4096, 16384, 32768, 65535]) {
  const data = text.subarray(0, size);
  const options = { ...SETTINGS, finishFlush: Z_SYNC_FLUSH };
  const wire = deflateRawSync(data, options).subarray(0, -4);
  const [often, seldom] = [size > 8192 ? 250 : 5000, size > 8192 ? 100 : 500];
  rows.push({
    size,
    deflate: {
      here: await cost(often, () => deflateHere(data)),
      call: await cost(often, () => deflateRawSync(data, options)),
      pool: await cost(seldom, () => {
        const context = new DeflateContext(SETTINGS, 65536);
        return new Promise((resolve) => context.deflate(data, true, resolve)).then(() => context.close());
      }),
    },
    inflate: {
      here: await cost(often, () => inflateHere(wire, size)),
      call: await cost(often, () => inflateRawSync(wire, { finishFlush: Z_SYNC_FLUSH, maxOutputLength: size })),
      pool: await cost(seldom, () => {
        const context = new InflateContext(12, 65536, false);
        return new Promise((resolve) => context.inflate(wire, size, resolve)).then(() => context.close());
      }),
    },
  });
}
console.log(JSON.stringify(rows));
