// node bench/soak.mjs [--seconds 60] [--lanes 240] [--server ours]
// Opens and closes connections under mixed abuse; then everything must be back at its start, or the exit code is 1.
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { source } from './load/peer.mjs';
import { startServer } from './servers/index.mjs';
import { ABUSES, honest, LIFETIME } from './soak/abuses.mjs';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    lanes: { type: 'string', default: '240' },
    server: { type: 'string', default: 'ours' },
  },
});
const SECONDS = Number(values.seconds);
const LANES = Number(values.lanes);
const HEAP_SLACK = 2 * 1024 * 1024;
const SETTLE = 40_000;
const HONEST_EVERY = 4;

/**
 * Short deadlines, so that a few minutes contain thousands of them; the load comes from few addresses, whose byte rate would
 * otherwise limit them.
 */
const LIMITS = {
  http: { openTimeout: '4s' },
  connections: { rate: '1000000/1s', maxPerIp: 1000, maxPendingPerIp: 1000 },
  messages: { assemblyTimeout: '3s', byteRatePerIp: '1gb/1s' },
  buffers: { stallTimeout: '3s', maxBuffered: '1mb' },
  keepalive: { pingInterval: '3s', pingTimeout: '2s', closeTimeout: '2s' },
};

const NOBODY = { sockets: 0, stats: { connections: 0, pending: 0, slots: 0, heldBytes: 0, contextBytes: 0 } };

const tally = new Map();
const problems = [];

async function main(server) {
  console.log(`warming up, then ${SECONDS} s of ${LANES} lanes against ${server.title}`);
  await abuse(server, Math.min(10, SECONDS / 4));
  const before = await settled(server, NOBODY);
  tally.clear();
  await abuse(server, SECONDS);
  const after = await settled(server, before);
  report(before, after);
}

/** Every lane opens one connection after the other until the time is over, then waits for its last. */
async function abuse({ port, key }, seconds) {
  const until = Date.now() + seconds * 1000;
  const target = { port, strict: key === 'ours' };
  await Promise.all(Array.from({ length: LANES }, (_, lane) => runLane(lane, target, until)));
}

async function runLane(lane, target, until) {
  const abuses = Object.entries(ABUSES);
  for (let turn = lane; Date.now() < until; turn++) {
    const behaves = lane % HONEST_EVERY === 0;
    const [name, act] = behaves ? ['honest', honest] : abuses[turn % abuses.length];
    // Honest peers have their own addresses, so the limits of the others' addresses do not affect them.
    const from = source(lane, { net: behaves ? 6 : 5, sources: 16 });
    await one(name, (nth) => act({ ...target, from }, nth));
    if (behaves) await sleep(20);
  }
}

async function one(name, act) {
  const nth = (tally.get(name) ?? 0) + 1;
  tally.set(name, nth);
  try {
    const stuck = sleep(LIFETIME, 'stuck', { ref: false });
    const outcome = await Promise.race([act(nth), stuck]);
    if (outcome === 'stuck') problem(`${name}: stuck for ${LIFETIME / 1000} s`);
    else if (!outcome) problem(`${name}: the server never ended the connection`);
  } catch (error) {
    problem(`${name}: ${error.message}`);
  }
}

function problem(text) {
  if (problems.push(text) <= 20) console.error(`! ${text}`);
}

/** The server's figures once its sockets and counters are down to `goal`, or at the deadline. */
async function settled(server, goal) {
  const deadline = Date.now() + SETTLE;
  for (;;) {
    await sleep(1000);
    const now = await server.memory();
    if (differences(goal, now).length === 0 || Date.now() > deadline) return now;
  }
}

// The table of addresses is bounded separately, and its entries expire in their own time.
const CURRENT = ['connections', 'pending', 'slots', 'heldBytes', 'deadlines', 'contextBytes'];

function differences(before, after) {
  const pairs = [
    ['sockets', before.sockets, after.sockets],
    ['descriptors', before.descriptors, after.descriptors],
    ...CURRENT.map((name) => [name, before.stats?.[name], after.stats?.[name]]),
  ];
  const moved = pairs
    .filter(([, was, is]) => was !== undefined && is > was)
    .map(([name, was, is]) => `${name}: ${was} → ${is}`);
  const grown = before.heapUsed && after.heapUsed - before.heapUsed > HEAP_SLACK;
  return grown ? [...moved, `heap grew by ${mib(after.heapUsed - before.heapUsed)} MiB`] : moved;
}

const mib = (bytes) => (bytes / 1024 / 1024).toFixed(2);

function report(before, after) {
  for (const text of differences(before, after)) problem(text);
  const leaks = CURRENT.filter((name) => name !== 'deadlines' && after.stats?.[name] > 0);
  for (const name of leaks) problem(`${name} is ${after.stats[name]} with nobody connected`);
  console.log([...tally].map(([name, count]) => `  ${name}: ${count}`).join('\n'));
  const total = [...tally.values()].reduce((sum, count) => sum + count, 0);
  console.log(`${total} connections, descriptors ${before.descriptors} → ${after.descriptors}`);
  console.log(
    `heap ${mib(before.heapUsed)} → ${mib(after.heapUsed)} MiB, RSS ${mib(before.rss)} → ${mib(after.rss)} MiB`,
  );
  if (after.stats) console.log(JSON.stringify(after.stats));
  console.log(problems.length === 0 ? 'everything returned to its start' : `${problems.length} problems`);
}

const server = await startServer(values.server, { limits: LIMITS });
const stop = async (code) => {
  await server.stop();
  process.exit(code);
};
setTimeout(() => stop(2), (SECONDS + 180) * 1000).unref();
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => stop(130));
await main(server).catch((error) => problem(error.stack));
await stop(problems.length === 0 ? 0 : 1);
