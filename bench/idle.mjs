// node bench/idle.mjs [--count 10000] [--seconds 10]
// The cost of idle connections: between pings, with pings, and how the pings are spread.
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Peer, source, upgradeRequest } from './load/peer.mjs';
import { startServer } from './servers/index.mjs';

const { values } = parseArgs({
  options: { count: { type: 'string', default: '10000' }, seconds: { type: 'string', default: '10' } },
});
const COUNT = Number(values.count);
const SECONDS = Number(values.seconds);
const CYCLE = 20_000;
const TENTH = 100;
const MOST_CPU = 0.005;
const MOST_PINGS = 0.02;
const AT_ONCE = 100;

const connections = { rate: '1000000/1s', maxPerIp: COUNT, maxPending: COUNT, maxPendingPerIp: COUNT, max: COUNT };
const problems = [];

/** Opens all connections, and calls `work` with the server; `onBytes` is called for every read of a peer. */
async function withIdlePeers(keepalive, work, onBytes = () => undefined) {
  const server = await startServer('ours', { limits: { connections, keepalive } });
  const peers = [];
  try {
    const request = upgradeRequest(server.port);
    for (let at = 0; at < COUNT; at += AT_ONCE) {
      const batch = Array.from({ length: Math.min(AT_ONCE, COUNT - at) }, (_, i) => {
        const peer = new Peer({ port: server.port, from: source(at + i), request });
        const { send } = peer;
        // An idle peer sends only pongs.
        peer.send = (bytes) => {
          onBytes();
          send.call(peer, bytes);
        };
        return peer;
      });
      peers.push(...batch);
      await Promise.all(batch.map(({ ready }) => ready));
    }
    await sleep(2000);
    return await work(server);
  } finally {
    for (const peer of peers) peer.end();
    await server.stop();
  }
}

const share = async (server, seconds) => (await server.cpuOf(() => sleep(seconds * 1000))) / (seconds * 1e6);
const percent = (part) => `${(part * 100).toFixed(2)} %`;

function check(what, figure, most) {
  const kept = most === undefined || figure <= most;
  console.log(`${what}: ${percent(figure)}${most === undefined ? '' : ` (at most ${percent(most)})`}`);
  if (!kept) problems.push(what);
}

const nobody = await startServer('ours', { limits: { connections } });
const baseline = await share(nobody, 5);
await nobody.stop();
check('CPU of one core with nobody connected', baseline);

await withIdlePeers({ pingInterval: '1h', idleTimeout: '2h' }, async (server) => {
  check(`CPU of one core between pings, ${COUNT} peers`, (await share(server, SECONDS)) - baseline, MOST_CPU);
});

const tenths = new Map();
await withIdlePeers(
  { pingInterval: CYCLE },
  async (server) => {
    tenths.clear();
    check(`CPU of one core with pings every 20 s, ${COUNT} peers`, await share(server, CYCLE / 1000));
  },
  () => {
    const tenth = Math.floor(performance.now() / TENTH);
    tenths.set(tenth, (tenths.get(tenth) ?? 0) + 1);
  },
);
const pings = [...tenths.values()];
check('pings of a cycle in its fullest tenth of a second', Math.max(...pings) / COUNT, MOST_PINGS);

for (const problem of problems) console.error(`! ${problem}`);
process.exit(problems.length);
