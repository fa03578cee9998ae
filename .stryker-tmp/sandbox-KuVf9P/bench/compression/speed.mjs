// @ts-nocheck
// Size and CPU of some rows, in turns, so that what else the machine does meets all of them:
// `node speed.mjs '[{"kind":…}, …]' [folder]` prints JSON.
import { compress, connectionsOf, decompress } from './codecs.mjs';
import { generateCorpus, readCorpus } from './corpus.mjs';

const TURNS = 15;
const MOST_MILLISECONDS = 120_000;

const rows = JSON.parse(process.argv[2]);
const corpus = process.argv[3] ? readCorpus(process.argv[3]) : generateCorpus();
const makers = rows.map(connectionsOf);

/** All messages through one connection, there and back. */
async function pass({ threshold }, connect) {
  const { sender, receiver } = connect();
  const started = process.cpuUsage();
  let size = 0;
  for (const message of corpus) {
    size += message.length < threshold ? message.length : await roundTrip(sender, receiver, message);
  }
  const { user, system } = process.cpuUsage(started);
  sender.cleanup();
  receiver.cleanup();
  return { size, cpu: (user + system) / corpus.length };
}

async function roundTrip(sender, receiver, message) {
  const wire = await compress(sender, message);
  const back = await decompress(receiver, wire);
  if (!back.equals(message)) throw new Error('a message was changed');
  return wire.length;
}

const started = Date.now();
const results = rows.map(() => ({ size: 0, cpu: Number.POSITIVE_INFINITY }));
for (let turn = 0; turn < TURNS && Date.now() - started < MOST_MILLISECONDS; turn++) {
  for (const [i, row] of rows.entries()) {
    const { size, cpu } = await pass(row, makers[i]);
    // The least disturbed turn counts: other work on the machine only ever adds.
    results[i] = { size, cpu: Math.min(results[i].cpu, cpu) };
  }
}
const plain = corpus.reduce((sum, { length }) => sum + length, 0);
console.log(
  JSON.stringify({
    messages: corpus.length,
    plain,
    rows: results.map(({ size, cpu }) => ({ size: size / plain, cpu })),
  }),
);
