// One row of the table, in a process of its own: `node --expose-gc row.mjs '{"kind":…}' [folder]` prints JSON.

import { compress, connectionsOf, decompress } from './codecs.mjs';
import { generateCorpus, readCorpus } from './corpus.mjs';

const row = JSON.parse(process.argv[2]);
const corpus = process.argv[3] ? readCorpus(process.argv[3]) : generateCorpus();
const connect = connectionsOf(row);

const settle = () => new Promise((resolve) => setTimeout(resolve, 50));
const micros = ({ user, system }) => user + system;

/** Only what is at least as long as the threshold; a context of its own makes `ws` compress everything. */
const isCompressed = (message) => message.length >= row.threshold;

async function memory(connections) {
  const [message] = [Buffer.from('x'.repeat(10) + JSON.stringify(corpus.slice(0, 20).map(String))).subarray(0, 2048)];
  const warm = connect();
  await decompress(warm.receiver, await compress(warm.sender, message));
  const wire = await compress(connect().sender, message);
  await settle();
  gc();
  const before = process.memoryUsage().rss;
  const kept = [];
  for (let i = 0; i < connections; i++) {
    const { sender: peer } = connect();
    await compress(peer, message);
    await decompress(peer, wire);
    kept.push(peer);
  }
  await settle();
  gc();
  await settle();
  const used = process.memoryUsage().rss - before;
  for (const peer of kept) peer.cleanup();
  return Math.max(0, used) / connections;
}

async function pass() {
  const { sender, receiver } = connect();
  const started = process.cpuUsage();
  let size = 0;
  for (const message of corpus) {
    if (!isCompressed(message)) {
      size += message.length;
      continue;
    }
    const wire = await compress(sender, message);
    size += wire.length;
    const back = await decompress(receiver, wire);
    if (back.length !== message.length) throw new Error('a message was changed');
  }
  const cpu = micros(process.cpuUsage(started));
  sender.cleanup();
  receiver.cleanup();
  return { size, cpu: cpu / corpus.length };
}

const passes = [];
for (let i = 0; i < row.passes + 1; i++) passes.push(await pass());
const cpu = passes
  .slice(1)
  .map((one) => one.cpu)
  .sort((a, b) => a - b)[row.passes >> 1];
const plain = corpus.reduce((sum, { length }) => sum + length, 0);
const kept = row.mode === 'shared' && row.kind !== 'ws' ? 20_000 : 300;
console.log(
  JSON.stringify({ cpu, size: passes[0].size / plain, memory: await memory(kept), messages: corpus.length, plain }),
);
