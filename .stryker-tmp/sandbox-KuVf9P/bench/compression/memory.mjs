// @ts-nocheck
// What compression adds to one connection: `node --expose-gc memory.mjs '{"kind":…}'` prints bytes.
import { compress, connectionsOf, decompress } from './codecs.mjs';
import { generateCorpus } from './corpus.mjs';

const row = JSON.parse(process.argv[2]);
const connect = connectionsOf(row);
const connections = row.kind === 'ours' && row.mode === 'shared' ? 100_000 : 300;
const message = Buffer.concat(generateCorpus(20)).subarray(0, 2048);

const settle = async () => {
  await new Promise((resolve) => setTimeout(resolve, 50));
  gc();
};

/** One message each way; what the other side sends refers to nothing before it. */
async function use(peer, wire) {
  await compress(peer, message);
  await decompress(peer, wire);
  return peer;
}

const wire = await compress(connect().sender, message);
for (let i = 0; i < 20; i++) (await use(connect().sender, wire)).cleanup();
await settle();
const before = process.memoryUsage().rss;
const kept = [];
for (let i = 0; i < connections; i++) kept.push(await use(connect().sender, wire));
await settle();
await settle();
const used = process.memoryUsage().rss - before;
console.log(Math.max(0, used) / kept.length);
process.exit();
