// Size and CPU of several rows, in turns, so that disturbances of the machine affect all of them:
// `node speed.mjs '[{"kind":…}, …]' [folder]` prints JSON.
import { readCorpus, sum } from '../../build/cli/tune/corpus.js';
import { measureSpeed } from '../../build/cli/tune/measure.js';
import { makerOf } from './codecs.mjs';
import { generateCorpus } from './corpus.mjs';

const rows = JSON.parse(process.argv[2]);
const corpus = process.argv[3] ? readCorpus(process.argv[3]) : generateCorpus();
const candidates = rows.map((row) => ({ make: makerOf(row), threshold: row.threshold }));
const measured = await measureSpeed(candidates, corpus, { turns: 15, time: 120_000 });
console.log(JSON.stringify({ messages: corpus.length, plain: sum(corpus), rows: measured }));
