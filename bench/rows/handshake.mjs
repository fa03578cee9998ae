import { startServer } from '../servers/index.mjs';
import { Row } from './collector.mjs';

const CAP = 2;
/** Connections that are open at the same time. */
const COUNT = 700;
/**
 * A turn opens and ends so many connections this number of times: a collection of the whole heap takes as long as about a
 * thousand handshakes, and each turn has to contain its share of them.
 */
const ROUNDS = 10;
/** Fewer turns than in other rows, because they are longer. */
const TURNS = 11;
const CAPPED = { net: 3, sources: 16 };
const DENIED = { net: 4, sources: 16 };
/** The same addresses for the server that only writes prebuilt bytes. */
const REFUSES = { capped: `127.0.${CAPPED.net}.`, denied: `127.0.${DENIED.net}.` };
/** On a dedicated port, attempts above the limit are reset at accept. */
const REFUSED = { ours: ['429'], oursDedicated: ['reset', 'closed'], net: ['429'] };
const KEYS = ['bare', 'ours', 'oursDedicated', 'nestWs', 'nestIo', 'net'];

/** CPU per accepted handshake: up to the last 101, and including the end of the connections. */
export async function handshake(bench) {
  const accepted = new Row({
    id: 'handshake.accepted',
    title: 'CPU per accepted handshake',
    unit: 'µs',
    limits: { ours: { goal: 0.8, accepted: 0.9 } },
  });
  const whole = new Row({ id: 'handshake.whole', title: 'CPU per accepted handshake and its end', unit: 'µs' });
  await bench.withServers(KEYS, { limits: bench.limits.handshakes }, async (servers) => {
    const turn = (server) => acceptedCpu(bench, server, { stopped: server.pid });
    await bench.warm(servers, (server) => mean(WARM_ROUNDS, () => turn(server)));
    await bench.turns(TURNS, servers, async (server) => {
      const { opened, ended } = await mean(roundsOf(bench), () => turn(server));
      accepted.add(server.key, opened);
      whole.add(server.key, opened + ended);
    });
  });
  return [accepted, whole];
}

const roundsOf = ({ quick }) => (quick ? 2 : ROUNDS);
/** V8 optimises what a handshake runs only after thousands of them. */
const WARM_ROUNDS = 3;

/** Means per connection over the rounds of a turn; `round` returns sums over its connections. */
async function mean(rounds, round) {
  const sums = {};
  for (let left = rounds; left > 0; left--)
    for (const [key, sum] of Object.entries(await round())) sums[key] = (sums[key] ?? 0) + sum;
  return Object.fromEntries(Object.entries(sums).map(([key, sum]) => [key, sum / rounds / COUNT]));
}

/** `how`: options of the load's `open`. */
export async function acceptedCpu(bench, server, how = {}) {
  const { port, protocol, tls } = server;
  const all = { group: 'accept', port, protocol, tls, count: COUNT, ...how };
  const opened = await server.cpuOf(() => bench.load.call('open', all));
  const ended = await server.cpuOf(async () => {
    await bench.load.call('close', { group: 'accept' });
    await server.drained();
  });
  return { opened, ended };
}

/** CPU per refused attempt, from accept to the end of its socket, relative to an attempt accepted by bare `ws`. */
export async function refusals(bench) {
  const capped = new Row({
    id: 'handshake.429',
    title: 'CPU per refused attempt (per-address cap, 429) against one accepted by bare ws',
    unit: 'µs',
    limits: { ours: { goal: 0.7, accepted: 0.8 } },
  });
  const denied = new Row({
    id: 'handshake.denied',
    title: 'CPU per denied address against one accepted by bare ws',
    unit: 'µs',
    limits: { ours: { goal: 0.35, accepted: 0.4 } },
  });
  // A refused attempt is measured to its end, so these rows compare it with an accepted one measured to its end.
  const cappedWhole = new Row({
    id: 'handshake.429.whole',
    title: 'CPU per refused attempt (429) against one accepted and ended by bare ws',
    unit: 'µs',
  });
  const deniedWhole = new Row({
    id: 'handshake.denied.whole',
    title: 'CPU per denied address against one accepted and ended by bare ws',
    unit: 'µs',
  });
  await bench.withServers(
    ['bare', 'ours', 'oursDedicated', 'net'],
    { limits: refusingLimits(bench), refuses: REFUSES },
    async (servers) => {
      const turns = {
        bare: async (server, rounds) => {
          const { opened, ended } = await mean(rounds, () => acceptedCpu(bench, server, { stopped: server.pid }));
          return { atCap: opened, atAccept: opened, whole: opened + ended };
        },
        // Nothing stays open, so the rounds of a turn need no end of their own.
        ours: async (server, rounds) => ({
          atCap: await refusedCpu(bench, server, rounds * COUNT, CAPPED, ...REFUSED[server.key]),
          atAccept: await refusedCpu(bench, server, rounds * COUNT, DENIED, 'reset', 'closed'),
        }),
      };
      const turn = (server, rounds) => (turns[server.key] ?? turns.ours)(server, rounds);
      for (const server of servers) if (server.key.startsWith('ours')) await fillCap(bench, server);
      await bench.warm(servers, (server) => turn(server, WARM_ROUNDS));
      await bench.turns(TURNS, servers, async (server) => {
        const { atCap, atAccept, whole } = await turn(server, roundsOf(bench));
        capped.add(server.key, atCap);
        denied.add(server.key, atAccept);
        cappedWhole.add(server.key, whole ?? atCap);
        deniedWhole.add(server.key, whole ?? atAccept);
      });
    },
  );
  return [capped, denied, cappedWhole, deniedWhole];
}

/** Memory growth after 20 000 refused attempts. */
export async function refusalGrowth(bench) {
  const total = bench.quick ? 2000 : 20_000;
  const ways = { 429: { ...CAPPED, expected: ['429'] }, denied: { ...DENIED, expected: ['reset', 'closed'] } };
  const rows = [];
  for (const [way, { net, sources, expected }] of Object.entries(ways)) {
    const heap = growthRow(way, 'heap', total);
    const rss = growthRow(way, 'rss', total);
    await bench.turns(3, ['ours'], async (key) => {
      const server = await startServer(key, { limits: refusingLimits(bench) });
      try {
        await fillCap(bench, server);
        await refuse(bench, server, total / 10, { net, sources }, expected);
        const before = await server.memory();
        await refuse(bench, server, total, { net, sources }, expected);
        await server.drained(CAP * CAPPED.sources);
        const after = await server.memory();
        heap.add(key, (after.heapUsed - before.heapUsed) / 1024);
        rss.add(key, (after.rss - before.rss) / 1024);
      } finally {
        await bench.load.call('close', { group: `cap.${key}` });
        await server.stop();
      }
    });
    rows.push(heap, rss);
  }
  return rows;
}

function growthRow(way, what, total) {
  const title = `${what === 'heap' ? 'JS heap' : 'RSS'} growth after ${total} refused (${way})`;
  const limits = what === 'heap' ? { ours: { max: 2048 } } : {};
  return new Row({ id: `handshake.growth.${way}.${what}`, title, unit: 'KiB', base: null, limits });
}

const refusingLimits = ({ limits }) => ({
  ...limits.handshakes,
  connections: { ...limits.handshakes.connections, maxPerIp: CAP, deniedIps: [`127.0.${DENIED.net}.0/24`] },
});

/** Holds as many connections as the limit allows each of the limited addresses. */
function fillCap(bench, { key, port, protocol }) {
  return bench.load.call('open', { group: `cap.${key}`, port, protocol, count: CAP * CAPPED.sources, ...CAPPED });
}

/** CPU per attempt, until every socket has ended. */
async function refusedCpu(bench, server, count, from, ...expected) {
  const spent = await server.cpuOf(async () => {
    await refuse(bench, server, count, { ...from, stopped: server.pid }, expected);
    await server.drained(CAP * CAPPED.sources);
  });
  return spent / count;
}

async function refuse(bench, { port, title }, count, from, expected) {
  const outcomes = await bench.load.call('refused', { port, count, ...from });
  const wrong = Object.keys(outcomes).filter((outcome) => !expected.includes(outcome));
  if (wrong.length > 0) throw new Error(`${title}: expected ${expected}, got ${JSON.stringify(outcomes)}`);
}
