// Memory that compression adds to one connection: `node --expose-gc memory.mjs '{"kind":…}'` prints bytes.
import { measureMemory } from '../../build/cli/tune/measure.js';
import { makerOf } from './codecs.mjs';
import { generateCorpus } from './corpus.mjs';

const row = JSON.parse(process.argv[2]);
const connections = row.kind === 'ours' && row.mode === 'shared' ? 100_000 : 300;
const message = Buffer.concat(generateCorpus(20)).subarray(0, 2048);
console.log(await measureMemory(makerOf(row), message, connections));
process.exit();
