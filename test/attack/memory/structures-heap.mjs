// Prints what V8 takes for messages of many structures, each with as little text as makes it accepted.
import { accepted, structures } from '../../../bench/support/structures.mjs';
import { measureStructure, REFUSED } from '../../../lib/dispatch/json-structure.ts';
import { parseMessage } from '../../../lib/dispatch/message-parser.ts';

const COPIES = 3;
const NODES = 10_000;

function heap() {
  for (let i = 0; i < 4; i++) global.gc();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

function taken(texts) {
  const before = heap();
  const messages = texts.map((text) => parseMessage(text, NODES));
  return (heap() - before) / messages.length;
}

const names = [...structures()].map(([name]) => name);
const copies = Array.from({ length: COPIES }, (_, copy) => structures(copy));
const found = names.map((name) => {
  const texts = copies.map((copy) =>
    accepted(copy.next().value[1], (text) => measureStructure(text, NODES) !== REFUSED),
  );
  // The lesser of two: the engine allocates for itself, too.
  const [one, two] = [taken(texts), taken(texts)];
  const bytes = texts[0].length;
  return { name, bytes, taken: Math.min(one, two), counted: parseMessage(texts[0], NODES).charge + bytes };
});
process.send({ ready: found });
