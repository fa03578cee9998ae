// node bench/profile.mjs
// The distribution of a server's main-thread time by origin, nest-secure-ws beside bare `ws`. Takes CPU profiles of both servers
// under the load of the benchmark, without the start of the process.
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SERVERS } from './servers/index.mjs';
import { Bench } from './support/bench.mjs';
import { Child } from './support/rpc.mjs';

const PEERS = 50;
const AUDIENCE = 1000;
const CALLS_THAT_WRITE = new Set(['writev', 'writeBuffer', 'writeLatin1String', 'writeUtf8String', 'writeAsciiString']);
const ORIGINS = [
  'writing',
  'Node',
  'garbage collection',
  'Nest',
  'this library',
  'ws',
  'the application, and the rest',
];

const bench = new Bench({});

const LOADS = {
  'echo, 1 in flight': echo(1),
  'echo, 4 in flight': echo(4),
  broadcast: {
    count: AUDIENCE,
    run: () => bench.load.call('broadcast', { group: 'peers', bytes: 512, rounds: 100 }),
  },
  'accepted handshake': {
    count: 0,
    run: async (port) => {
      for (let turn = 0; turn < 10; turn++) {
        await bench.load.call('open', { group: 'accept', port, protocol: 'ws', count: 700 });
        await bench.load.call('close', { group: 'accept' });
      }
    },
  },
};

function echo(inFlight) {
  return {
    count: PEERS,
    run: () => bench.load.call('echo', { group: 'peers', bytes: 64, inFlight, total: 140_000 }),
  };
}

/** The origin of a sampled function. */
function originOf({ functionName, url }) {
  if (functionName === '(garbage collector)') return 'garbage collection';
  if (CALLS_THAT_WRITE.has(functionName) && url === '') return 'writing';
  if (url.startsWith('node:')) return 'Node';
  if (url.includes('/node_modules/ws/')) return 'ws';
  if (url.includes('/@nestjs/') || url.includes('/rxjs/') || functionName === 'runMicrotasks') return 'Nest';
  if (url.includes('/bench/') || url === '') return 'the application, and the rest';
  return url.includes('/dist/') ? 'this library' : 'the application, and the rest';
}

/** Shares of the busy time after `since`, in microseconds of the monotonic clock. */
function sharesOf({ nodes, samples, timeDeltas, startTime }, since) {
  const frames = new Map(nodes.map(({ id, callFrame }) => [id, callFrame]));
  const sums = Object.fromEntries(ORIGINS.map((origin) => [origin, 0]));
  let at = startTime;
  let busy = 0;
  for (const [index, id] of samples.entries()) {
    at += timeDeltas[index];
    const frame = frames.get(id);
    if (at < since || frame.functionName === '(idle)') continue;
    busy += timeDeltas[index];
    sums[originOf(frame)] += timeDeltas[index];
  }
  return Object.fromEntries(Object.entries(sums).map(([origin, time]) => [origin, time / busy]));
}

async function profile(key, { count, run }) {
  const folder = await mkdtemp(join(tmpdir(), 'profile-'));
  try {
    const file = fileURLToPath(new URL(SERVERS[key].file, new URL('./servers/', import.meta.url)));
    const limits = { ...bench.limits.messages, ...bench.limits.handshakes };
    const flags = ['--expose-gc', '--cpu-prof', `--cpu-prof-dir=${folder}`, '--cpu-prof-interval=200'];
    const child = new Child(file, { limits }, flags);
    const port = await child.call('port');
    if (count > 0) await bench.load.call('open', { group: 'peers', port, protocol: 'ws', count });
    await run(port);
    const since = Number(process.hrtime.bigint() / 1000n);
    await run(port);
    const ended = new Promise((resolve) => child.process.once('exit', resolve));
    child.process.disconnect();
    await ended;
    await bench.load.call('close', { group: 'peers' });
    const [name] = await readdir(folder);
    return sharesOf(JSON.parse(await readFile(join(folder, name), 'utf8')), since);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const percent = (share) => `${Math.round(100 * share)} %`;

bench.start();
const columns = [];
for (const load of Object.values(LOADS)) columns.push([await profile('ours', load), await profile('bare', load)]);
await bench.stop();
console.log(
  `| | ${Object.keys(LOADS).join(' | ')} |\n|---|${Object.keys(LOADS)
    .map(() => '--:|')
    .join('')}`,
);
for (const origin of ORIGINS) {
  const cells = columns.map(([ours, bare]) => `${percent(ours[origin])} (${percent(bare[origin])})`);
  console.log(`| ${origin} | ${cells.join(' | ')} |`);
}
