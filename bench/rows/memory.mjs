import { setTimeout as sleep } from 'node:timers/promises';
import { uwsHere } from '../servers/uws-binary.mjs';
import { Row } from './collector.mjs';

const KIB = 1024;
const MESSAGE = 2048;
/** Milliseconds from the last connection or message to a figure. */
const SETTLE = 250;
/**
 * The same for a figure of an idle process. While connections open and messages are echoed, V8 enlarges its young generation
 * to its limit, 32 MiB. It shrinks it again in a full collection, which it starts by itself when the process is idle, if
 * less than 1 MB/s was allocated in the five seconds before.
 */
const IDLE = 6000;
/** Bytes: the young generation of an idle process is smaller. */
const SHRUNK = 4 * KIB * KIB;
const ATTEMPTS = 4;

/**
 * What connections add to an idle process that has just started, including its fixed growth of heap and code: right after
 * they were opened, and when the process is idle again. Then each further connection, which is the cost of a connection
 * itself, and one message each way on all of them.
 */
export async function memory(bench) {
  const rows = {
    idle: rowsOf('idle', 'per idle connection', { limits: { ours: { goal: 0.45, accepted: 1 } } }),
    opened: rowsOf('opened', 'per connection right after opening', { isHeapShown: false }),
    further: rowsOf('further', 'per further idle connection', { hasYoung: false }),
    used: rowsOf('used', 'per connection after a 2 KiB message each way'),
  };
  const first = bench.quick ? 1000 : 5000;
  const more = first * 0.6;
  await bench.together(5, ['bare', 'ours', 'nestWs', 'nestIo', 'net', ...(await uwsHere())], {}, async (servers) => {
    const base = await idleMemoryOf(servers);
    await each(servers, (server) => open(server, 'first', first));
    const opened = await memoryOf(servers);
    const idle = await idleMemoryOf(servers);
    await each(servers, (server) => open(server, 'more', more));
    const further = await memoryOf(servers);
    await each(servers, async (server) => {
      await echo(server, 'first', first);
      await echo(server, 'more', more);
    });
    rows.idle.add(base, idle, first);
    rows.opened.add(base, opened, first);
    rows.further.add(idle, further, more);
    rows.used.add(base, await memoryOf(servers), first + more);
  });
  return Object.values(rows).flatMap(({ rss, heap }) => (heap === undefined ? [rss] : [rss, heap]));
}

/** The same in an idle process with permessage-deflate negotiated by every connection. */
export async function memoryCompressed(bench) {
  const what = 'with compression after a 2 KiB message each way';
  const row = new Row({ id: 'memory.compressed.rss', title: `RSS ${what}`, unit: 'KiB' });
  const title = `RSS (without the young generation) per further connection ${what}`;
  const further = new Row({ id: 'memory.compressed.further', title, unit: 'KiB' });
  const count = bench.quick ? 200 : 2500;
  const keys = ['bare', 'tuned', 'ours', 'nestWs', 'nestIo'];
  await bench.together(3, keys, { compression: true }, async (servers) => {
    const base = await idleMemoryOf(servers);
    // One server after the other: 5000 connections of `ws` with compression take more than a gigabyte.
    for (const server of servers) {
      const { key } = server;
      const use = async (group) => {
        await open(server, group, count, { deflate: true });
        await echo(server, group, count);
      };
      await use('first');
      const half = await memoryOf([server]);
      await use('more');
      const whole = await idleMemoryOf([server]);
      row.add(key, (whole[key].rss - base[key].rss) / (2 * count) / KIB);
      further.add(key, (old(whole[key]) - old(half[key])) / count / KIB);
      await server.end();
    }
  });
  return [row, further];
}

const old = ({ rss, young }) => rss - young;

/** `base`: the server that the others are compared with. `hasYoung`: RSS includes V8's young generation. */
export function rowsOf(name, what, { limits = {}, base = 'bare', hasYoung = true, isHeapShown = true } = {}) {
  const of = hasYoung ? 'RSS' : 'RSS (without the young generation)';
  const rss = new Row({ id: `memory.${name}.rss`, title: `${of} ${what}`, unit: 'KiB', base, limits });
  const title = `JS heap ${what}`;
  const heap = isHeapShown ? new Row({ id: `memory.${name}.heap`, title, unit: 'KiB', base }) : undefined;
  const bytes = hasYoung ? (figures) => figures.rss : old;
  /** `from`, `to`: figures by server. */
  const add = (from, to, count) => {
    for (const key of Object.keys(from)) {
      rss.add(key, (bytes(to[key]) - bytes(from[key])) / count / KIB);
      heap?.add(key, (to[key].heapUsed - from[key].heapUsed) / count / KIB);
    }
  };
  return { rss, heap, add };
}

/** Idle connections, relative to the idle process. */
export async function idleFootprint(bench, turns, keys, count, rows) {
  await bench.together(turns, keys, {}, async (servers) => {
    const base = await idleMemoryOf(servers);
    await each(servers, (server) => open(server, 'first', count));
    rows.add(base, await idleMemoryOf(servers), count);
  });
}

/** When all of these processes have been idle for long enough. */
async function idleMemoryOf(servers) {
  for (let attempt = 1; ; attempt++) {
    const figures = await memoryOf(servers, IDLE);
    if (attempt === ATTEMPTS || Object.values(figures).every(({ young }) => young < SHRUNK)) return figures;
  }
}

/** By server; garbage is collected before. */
async function memoryOf(servers, wait = SETTLE) {
  await sleep(wait);
  const figures = {};
  await each(servers, async (server) => {
    figures[server.key] = await server.memory();
  });
  return figures;
}

async function each(servers, work) {
  for (const server of servers) await work(server);
}

const open = ({ load, port, protocol, tls }, group, count, how) =>
  load.call('open', { group, count, port, protocol, tls, ...how });

const echo = ({ load }, group, total) => load.call('echo', { group, bytes: MESSAGE, total });
