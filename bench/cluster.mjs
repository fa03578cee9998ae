// node bench/cluster.mjs [--only admission,redis,memory,broadcast,frozen,crash] [--turns 9]
// The cost of a cluster compared with one process without it on the same machine: Redis (redis-server on a free port), two
// processes in a cluster, one without. Run `npm run build` first.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Redis } from 'ioredis';
import { redisCluster } from '../build/cluster/redis/index.js';
import { upgradeRequest } from './load/peer.mjs';
import { Child } from './support/rpc.mjs';
import { spread } from './support/stats.mjs';

const { values } = parseArgs({ options: { only: { type: 'string' }, turns: { type: 'string', default: '9' } } });
const TURNS = Number(values.turns);
const OURS = fileURLToPath(new URL('./servers/ours.mjs', import.meta.url));
const LOAD = fileURLToPath(new URL('./load/generator.mjs', import.meta.url));
const COUNT = 700;
/** Turns that are discarded: the code for Redis must be compiled. */
const WARM = 40;
const LIMITS = {
  connections: { rate: '1000000/1s', max: 1_000_000, maxPerIp: 100_000 },
  messages: { rate: '1000000/1s' },
};

const children = [];
const round = (value, digits = 1) => Number(value.toFixed(digits));
const row = (title, text) => console.log(`${title.padEnd(64)} ${text}`);
const of = ({ min, median, max }, unit) => `${round(median)} ${unit} (${round(min)}–${round(max)})`;

async function child(file, config) {
  const started = new Child(file, config);
  children.push(started);
  return started;
}

async function server(cluster, more = {}) {
  const started = await child(OURS, { limits: { ...LIMITS, ...more, ...(cluster && { cluster }) } });
  started.port = await started.call('port');
  // Connections to Redis stay.
  started.idle = await started.call('sockets');
  return started;
}

async function cpuOf(started, work) {
  const before = await started.call('cpu');
  await work();
  return (await started.call('cpu')) - before;
}

/** A Redis without persistence; `redisCpu` is all of its CPU time, in microseconds. */
async function startRedis() {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address();
  probe.close();
  await once(probe, 'close');
  const args = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'];
  const process = spawn('redis-server', args, { stdio: ['ignore', 'pipe', 'ignore'] });
  for await (const chunk of process.stdout) if (/Ready to accept/.test(chunk)) break;
  const client = new Redis(port, '127.0.0.1');
  return {
    process,
    client,
    url: `redis://127.0.0.1:${port}`,
    async cpu() {
      const info = await client.info('cpu');
      const of = (name) => Number(new RegExp(`${name}:([\\d.]+)`).exec(info)[1]);
      return (of('used_cpu_user_main_thread') + of('used_cpu_sys_main_thread')) * 1e6;
    },
    /** Number of scripts that were run by their digest. */
    async scripts() {
      return Number(/cmdstat_evalsha:calls=(\d+)/.exec(await client.info('commandstats'))?.[1] ?? 0);
    },
  };
}

const bench = {
  /**
   * CPU of a process per accepted handshake, and including its end, with and without a cluster, in turns: with 32 attempts
   * in flight; with batches that are sent while the process is stopped, as under a flood; and one after the other.
   */
  async admission({ redis, load }) {
    const servers = { without: await server(), within: await server({ url: redis.url }) };
    const arrivals = {
      '': () => ({}),
      ', many at once': ({ process }) => ({ stopped: process.pid }),
      ', one after the other': () => ({ concurrency: 1 }),
    };
    let warm = WARM;
    for (const [how, options] of Object.entries(arrivals)) {
      const samples = {
        without: { opened: [], whole: [] },
        within: { opened: [], whole: [] },
        redis: [],
        commands: [],
      };
      for (let turn = -warm; turn < TURNS; turn++)
        for (const [name, each] of Object.entries(servers)) {
          const [before, scripts] = [await redis.cpu(), await redis.scripts()];
          const open = { group: name, port: each.port, count: COUNT, ...options(each) };
          const opened = await cpuOf(each, () => load.call('open', open));
          const commands = (await redis.scripts()) - scripts;
          const ended = await cpuOf(each, async () => {
            await load.call('close', { group: name });
            while ((await each.call('sockets')) > each.idle) await sleep(5);
            await sleep(50);
          });
          if (turn < 0) continue;
          samples[name].opened.push(opened / COUNT);
          samples[name].whole.push((opened + ended) / COUNT);
          if (name === 'without') continue;
          samples.redis.push(((await redis.cpu()) - before) / COUNT);
          samples.commands.push(commands / COUNT);
        }
      for (const [kind, title, goal] of [
        ['opened', `CPU per handshake${how}`, ' (goal: at most 25)'],
        ['whole', `CPU per handshake and its end${how}`, ''],
      ]) {
        const [without, within] = [samples.without[kind], samples.within[kind]];
        row(`${title}, without a cluster`, of(spread(without), 'µs'));
        row('… with one', of(spread(within), 'µs'));
        row(`… more${goal}`, of(spread(within.map((each, turn) => each - without[turn])), 'µs'));
      }
      row(`CPU of Redis per handshake and its end${how}`, of(spread(samples.redis), 'µs'));
      row('… commands per handshake', `${round(spread(samples.commands).median, 2)}`);
      warm = 5;
    }
  },

  /** The capacity of one Redis: as many attempts as two processes can make, and the cost of each for Redis. */
  async redis({ redis }) {
    const stores = [await storeOf(redis, 'bench-01'), await storeOf(redis, 'bench-02')];
    const SECONDS = 4;
    let admitted = 0;
    const before = await redis.cpu();
    const began = performance.now();
    const attempt = async (store, lane) => {
      for (let at = 0; performance.now() - began < SECONDS * 1000; at++) {
        const claims = claimsOf(lane * 1000 + (at % 1000));
        const { outcome } = await store.admit(claims);
        if (outcome !== 'admitted') throw new Error(outcome);
        store.release(claims);
        admitted++;
      }
    };
    await Promise.all(
      stores.flatMap((store, at) => Array.from({ length: 64 }, (_, lane) => attempt(store, at * 64 + lane))),
    );
    const seconds = (performance.now() - began) / 1000;
    const cpu = ((await redis.cpu()) - before) / admitted;
    row('admissions and releases a second, from one process', `${Math.round(admitted / seconds)}`);
    row('CPU of Redis for each', `${round(cpu)} µs: ${Math.round(1e6 / cpu)} a second from one core (goal: 20000)`);
    for (const store of stores) await store.stop();
  },

  /** Memory of Redis for each connected address. */
  async memory({ redis }) {
    const store = await storeOf(redis, 'bench-03');
    const used = async () => Number(/used_memory:(\d+)/.exec(await redis.client.info('memory'))[1]);
    const ADDRESSES = 50_000;
    const before = await used();
    for (let from = 0; from < ADDRESSES; from += 500)
      await Promise.all(Array.from({ length: 500 }, (_, at) => store.admit(claimsOf(from + at + 1_000_000))));
    row('memory of Redis per address (goal: at most 250)', `${round(((await used()) - before) / ADDRESSES)} B`);
    await store.stop();
  },

  /** CPU of a process per broadcast of another process, without deliveries: it has no peer. */
  async broadcast({ redis, load }) {
    const MESSAGES = 6000;
    const WARM = 6000;
    for (const [burst, secret] of [[10], [10, 'x'.repeat(32)], [1]]) {
      const cluster = { url: redis.url, prefix: `bench${burst}${secret ? 1 : 0}`, ...(secret && { secret }) };
      const [alone, speaker, hearer] = [await server(), await server(cluster), await server(cluster)];
      await load.call('open', { group: 'alone', port: alone.port, count: 1 });
      await load.call('open', { group: 'speaker', port: speaker.port, count: 1 });
      const shout = (group, rounds) => load.call('broadcast', { group, bytes: 512, rounds, burst });
      // Until the code is compiled: a first thousand turns of the loop cost twice what the later ones do.
      for (const group of ['alone', 'speaker']) await shout(group, WARM);
      const without = await cpuOf(alone, () => shout('alone', MESSAGES / burst));
      let spoken = 0;
      const heard = await cpuOf(hearer, async () => {
        spoken = await cpuOf(speaker, () => shout('speaker', MESSAGES / burst));
        await sleep(200);
      });
      const kind = `${secret ? ', signed' : ''}${burst === 1 ? ', one after the other' : ''}`;
      row(`CPU per broadcast heard from another process${kind} (goal: at most 20)`, `${round(heard / MESSAGES)} µs`);
      row(`… for the process that publishes it${kind}`, `${round((spoken - without) / MESSAGES)} µs`);
      for (const each of [alone, speaker, hearer]) await each.stop();
    }
  },

  /** How long an admission waits while Redis is stopped (SIGSTOP). */
  async frozen({ redis, load }) {
    const each = await server({ url: redis.url, prefix: 'frozen' });
    const timed = async () => {
      const began = performance.now();
      await load.call('open', { group: 'frozen', port: each.port, count: 1 });
      return performance.now() - began;
    };
    const ordinary = [];
    for (let warm = 0; warm < 40; warm++) ordinary.push(await timed());
    const usual = spread(ordinary.slice(20)).median;
    redis.process.kill('SIGSTOP');
    const waits = [];
    for (let attempt = 0; attempt < 12; attempt++) waits.push(await timed());
    redis.process.kill('SIGCONT');
    row(
      'an admission while Redis is stopped, more than one that is answered (goal: at most 100 ms)',
      `${round(Math.max(...waits) - usual)} ms at most (answered: ${round(usual)} ms)`,
    );
    row('… while the breaker is open', `${round(spread(waits.slice(-4)).median)} ms`);
    await each.stop();
  },

  /** How soon the slots of a killed process are free, with the default lease and heartbeat. */
  async crash({ redis, load }) {
    const cluster = { url: redis.url, prefix: 'crash' };
    const limits = { connections: { ...LIMITS.connections, max: 50 } };
    const [killed, left] = [await server(cluster, limits), await server(cluster, limits)];
    await load.call('open', { group: 'killed', port: killed.port, count: 50 });
    await sleep(500);
    await killed.stop();
    const began = performance.now();
    while ((await statusOf(left.port)) !== '101') await sleep(50);
    row('slots of a killed process are free (goal: at most 12 s)', `${round((performance.now() - began) / 1000, 2)} s`);
    await left.stop();
  },
};

const claimsOf = (address) => [
  {
    name: `a:{10.${(address >> 16) & 255}.${(address >> 8) & 255}.${address & 255}}:n`,
    max: 1_000_000,
    rate: { limit: 1_000_000, window: 1000 },
  },
  { name: 't:{t}:all', max: 100_000_000 },
];

/** The status of one upgrade, which ends at once. */
async function statusOf(port) {
  const socket = connect({ port, host: '127.0.0.1' });
  socket.write(upgradeRequest(port));
  const [chunk] = await once(socket, 'data');
  socket.destroy();
  return chunk.latin1Slice(9, 12);
}

async function storeOf(redis, id) {
  const { store } = await redisCluster({ url: redis.url }, 'nsw');
  const nothing = () => {};
  await store.start({
    id,
    prefix: 'nsw',
    timeout: 5000,
    heartbeat: 2000,
    lease: 20_000,
    maxBans: 10,
    about: () => '{}',
    onChange: nothing,
    onBans: nothing,
    onBansLost: nothing,
  });
  return store;
}

const redis = await startRedis();
try {
  const load = await child(LOAD);
  for (const [name, measure] of Object.entries(bench))
    if (values.only === undefined || values.only.split(',').includes(name)) await measure({ redis, load });
} finally {
  for (const each of children) await each.stop();
  redis.client.disconnect();
  redis.process.kill('SIGKILL');
}
