// Makes what the library leaves to chance a parameter: with CHANCE=0 or CHANCE=0.999 in the environment, every
// `Math.random()` in lib/ (or dist/) returns that value. First pings, lifetimes, delays before reconnecting and the
// spread of a shutdown are then at one end of their range. Other code keeps its own numbers: ports of tests,
// identifiers of Nest. A setup file of Jest; typescript.mjs imports it into the processes that specs start.
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const LIBRARY = [`${ROOT}lib/`, `${ROOT}dist/`];

const { CHANCE } = process.env;
if (CHANCE) {
  const chance = Number(CHANCE);
  if (!(chance >= 0 && chance < 1)) throw new RangeError(`CHANCE: "${CHANCE}" is not a number from 0 to below 1`);
  const { random } = Math;
  Math.random = () => (isCalledByLibrary() ? chance : random());
}

/** Whether the library called the function that calls this one. */
function isCalledByLibrary() {
  const { prepareStackTrace, stackTraceLimit } = Error;
  Error.stackTraceLimit = 3;
  Error.prepareStackTrace = (_, sites) => sites;
  const [, , caller] = new Error().stack;
  Object.assign(Error, { prepareStackTrace, stackTraceLimit });
  const file = caller?.getFileName()?.replace('file://', '') ?? '';
  return LIBRARY.some((folder) => file.startsWith(folder));
}
