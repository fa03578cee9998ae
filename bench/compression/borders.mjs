// The cost of messages of one size on the calling thread and in the thread pool: prints JSON.
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { DeflateContext, DeflateTask, InflateContext, InflateTask } from '../../build/protocol/deflate/contexts.js';
import { SYNC_DEFLATE_BYTES } from '../../build/protocol/deflate/per-message-deflate.js';
import { generateCorpus } from './corpus.mjs';

const SETTINGS = { windowBits: 12, memLevel: 5, level: +process.argv[2] };
const text = Buffer.concat(generateCorpus(3000));
const Z_SYNC_FLUSH = 2;

const ROUNDS = 5;

/** The result of the least disturbed round. */
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
  inflater.inflateSync(wire, size, false);
}

/** Runs all steps of a task, as the pool's queue does. */
function run(task) {
  const next = (isDone) => {
    if (!isDone) task.step(next);
  };
  task.step(next);
}
const now = () => performance.now();
const inPool = {
  deflate: (data) =>
    new Promise((resolve) => {
      const source = { isKept: false, take: () => new DeflateContext(SETTINGS, 65536) };
      run(new DeflateTask(source, data, true, now, resolve));
    }),
  inflate: (wire, size) =>
    new Promise((resolve) => {
      const source = { isKept: false, take: () => new InflateContext(12, 65536, false) };
      run(new InflateTask(source, wire, size, false, now, resolve));
    }),
};

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
      pool: await cost(seldom, () => inPool.deflate(data)),
    },
    inflate: {
      here: await cost(often, () => inflateHere(wire, size)),
      call: await cost(often, () => inflateRawSync(wire, { finishFlush: Z_SYNC_FLUSH, maxOutputLength: size })),
      pool: await cost(seldom, () => inPool.inflate(wire, size)),
    },
  });
}
console.log(JSON.stringify(rows));
