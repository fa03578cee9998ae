// Prints what V8 takes for messages of many structures, each with as little text as makes it accepted.
import { accepted, structures } from '../../../bench/support/structures.mjs';
import { measureStructure, REFUSED } from '../../../lib/dispatch/json-structure.ts';
import { parseMessage } from '../../../lib/dispatch/message-parser.ts';

const COPIES = 3;
const NODES = 10_000;

/** Collections take most of the time of this measurement. One is not enough: it leaves some of what was just released. */
function heap() {
  for (let i = 0; i < 2; i++) global.gc();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** What one of these messages takes. */
function taken(texts) {
  const before = heap();
  const messages = texts.map((text) => parseMessage(text, NODES));
  return (heap() - before) / messages.length;
}

/** More than the spec allows: the engine allocates for itself now and then, so this is measured again. */
const isMore = (found) => found.taken > 4096 + Math.min(20 * found.bytes, 1.4 * found.counted);
const TRIES = 4;

const names = [...structures()].map(([name]) => name);
const copies = Array.from({ length: COPIES }, (_, copy) => structures(copy));
const found = names.map((name) => {
  const texts = copies.map((copy) =>
    accepted(copy.next().value[1], (text) => measureStructure(text, NODES) !== REFUSED),
  );
  const bytes = texts[0].length;
  const one = { name, bytes, taken: taken(texts), counted: parseMessage(texts[0], NODES).charge + bytes };
  for (let tries = 1; tries < TRIES && isMore(one); tries++) one.taken = Math.min(one.taken, taken(texts));
  return one;
});
process.send({ ready: found });
