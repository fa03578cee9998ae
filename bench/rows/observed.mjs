import { get, request } from 'node:http';
import { performance } from 'node:perf_hooks';
import { startServer } from '../servers/index.mjs';
import { TURNS } from '../support/bench.mjs';
import { Row } from './collector.mjs';

const TOKEN = 'a-token-of-at-least-thirty-two-characters';
const SYNTHETIC = 100_000;
const PEERS = 50;

/** The cost of metrics and the dashboard: a scrape, a poll, and each message. */
export async function observed(bench) {
  return [...(await echoes(bench)), ...(await scrapes(bench)), ...(await syntheticPolls(bench))];
}

/** Echoes with metrics and the dashboard on, beside the same without. */
async function echoes(bench) {
  const rows = [];
  await bench.withServers(['ours', 'oursObserved'], { limits: bench.limits.messages }, async (servers) => {
    await bench.openOnAll(servers, { count: PEERS });
    for (const inFlight of [1, 4, 32]) {
      const row = new Row({
        id: `observed.echo.${inFlight}`,
        title: `CPU per 64 B echo with metrics on, ${inFlight} in flight`,
        unit: 'µs',
        base: 'ours',
        limits: { oursObserved: { goal: 1.01, accepted: 1.03 } },
      });
      await bench.measure(row, servers, 7000, (server, total) =>
        bench.load.call('echo', { group: server.key, bytes: 64, inFlight, total }),
      );
      rows.push(row);
    }
  });
  return rows;
}

/** Requests of Prometheus and of the page, including HTTP, while used connections are open. */
async function scrapes(bench) {
  const count = bench.quick ? 1000 : 10_000;
  const of = (id, title, max) =>
    new Row({ id: `observed.${id}`, title, unit: 'ms', base: null, limits: { oursObserved: { max } } });
  const rows = {
    scrape: of('scrape', `CPU per scrape at ${count} connections`, 2),
    poll: of('poll', `CPU per poll of the dashboard at ${count} connections`, 5),
  };
  const limits = { ...bench.limits.messages, connections: { rate: '1000000/1s', maxPerIp: count, max: count } };
  const server = await startServer('oursObserved', { limits });
  try {
    const { port, protocol } = server;
    await bench.load.call('open', { group: 'observed', port, protocol, count });
    await bench.load.call('echo', { group: 'observed', bytes: 64, total: count });
    const Cookie = await logIn(port);
    const work = {
      scrape: () => read(port, '/metrics'),
      // The poll that the page makes every two seconds.
      async poll() {
        await read(port, `/ws-admin/overview?since=${Math.floor(Date.now() / 1000) - 2}`, { Cookie });
        await read(port, '/ws-admin/connections?filter=&cursor=0&limit=50', { Cookie });
      },
    };
    const TIMES = 20;
    for (const [name, once] of Object.entries(work)) {
      for (let warm = 0; warm < 2 * TIMES; warm++) await once();
      await bench.turns(TURNS, ['oursObserved'], async (key) => {
        const cpu = await server.cpuOf(async () => {
          for (let time = 0; time < TIMES; time++) await once();
        });
        rows[name].add(key, cpu / TIMES / 1000);
      });
    }
  } finally {
    await bench.load.call('close', { group: 'observed' }).catch(() => {});
    await server.stop();
  }
  return Object.values(rows);
}

/** A poll at 100 000 connections, which one machine cannot open to itself: objects with the properties that the page reads. */
async function syntheticPolls(bench) {
  const { Dashboard } = await import('../../build/dashboard/dashboard.service.js');
  const { SecureWsStats } = await import('nest-secure-ws');
  const connections = Array.from({ length: SYNTHETIC }, (_, index) => ({
    openedAt: 1 + Math.floor(index / 20),
    peer: { ip: `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}`, userKey: `user-${index % 5000}` },
    context: { path: '/' },
  }));
  const stats = new SecureWsStats();
  const rowOf = ({ peer, openedAt }, now) => ({
    id: peer.ip,
    address: peer.ip,
    user: peer.userKey,
    age: now - openedAt,
  });
  const dashboard = new Dashboard(
    {
      stats: () => stats.snapshot(),
      settings: () => [],
      bans: { list: () => [] },
      connections: () => connections,
      row: rowOf,
      nodes: () => [],
      ask: async () => new Map(),
      now: () => SYNTHETIC,
    },
    true,
  );
  const pages = {
    first: ['', 0],
    last: ['', connections.at(-60).openedAt],
    'found nowhere': ['nobody', 0],
  };
  const rows = Object.entries(pages).map(
    ([name]) =>
      new Row({
        id: `observed.poll.${name.replaceAll(' ', '-')}`,
        title: `CPU per poll at ${SYNTHETIC} connections (objects), page: ${name}`,
        unit: 'ms',
        base: null,
        limits: { ours: { max: 5 } },
      }),
  );
  const TIMES = 20;
  for (const [at, [filter, cursor]] of Object.values(pages).entries())
    await bench.turns(TURNS, ['ours'], async (key) => {
      const began = performance.now();
      for (let time = 0; time < TIMES; time++) {
        JSON.stringify(await dashboard.overview(0));
        JSON.stringify(dashboard.connections(filter, cursor, 50));
      }
      rows[at].add(key, (performance.now() - began) / TIMES);
    });
  return rows;
}

function logIn(port) {
  return new Promise((resolve, reject) => {
    const headers = { Authorization: `Bearer ${TOKEN}`, 'X-Nest-Secure-Ws': 'dashboard', 'Content-Length': 0 };
    const login = request({ port, host: '127.0.0.1', path: '/ws-admin/login', method: 'POST', headers }, (response) => {
      response.resume();
      const [cookie] = response.headers['set-cookie'] ?? [];
      if (cookie === undefined) reject(new Error(`the login was answered with ${response.statusCode}`));
      else resolve(cookie.split(';')[0]);
    });
    login.on('error', reject).end();
  });
}

/** Reads a response to its end; it must be 200. */
function read(port, path, headers = {}) {
  return new Promise((resolve, reject) => {
    get({ port, host: '127.0.0.1', path, headers }, (response) => {
      response.resume();
      if (response.statusCode === 200) response.on('end', resolve);
      else reject(new Error(`${path}: ${response.statusCode}`));
    }).on('error', reject);
  });
}
