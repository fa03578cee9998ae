import { setTimeout as sleep } from 'node:timers/promises';
import { startServer } from '../servers/index.mjs';
import { uwsHere } from '../servers/uws-binary.mjs';
import { Row } from './collector.mjs';

const KIB = 1024;
const MESSAGE = 2048;
const SETTLE = 250;
const MORE = 0.6;

/**
 * Idle connections relative to a process that has just started, including its fixed growth of heap and code; the memory
 * of each further connection, which is its own; then one message each way on all of them.
 */
export async function memory(bench) {
  const rows = {
    idle: rowsOf('idle', 'per idle connection', { ours: { goal: 1, accepted: 1.1 } }),
    further: rowsOf('further', 'per further idle connection'),
    used: rowsOf('used', 'per connection after a 2 KiB message each way'),
  };
  const count = bench.quick ? 1000 : 5000;
  await bench.turns(5, ['bare', 'ours', 'nestWs', 'nestIo', ...(await uwsHere())], async (key) => {
    const { base, idle, more, used } = await footprint(bench, key, { count });
    rows.idle.add(key, base, idle, count);
    rows.further.add(key, idle, more, count * MORE);
    rows.used.add(key, base, used, count + count * MORE);
  });
  return Object.values(rows).flatMap(({ rss, heap }) => [rss, heap]);
}

/** `base`: the server that the others are compared with. */
export function rowsOf(name, what, limits = {}, base = 'bare') {
  const rss = new Row({ id: `memory.${name}.rss`, title: `RSS ${what}`, unit: 'KiB', base, limits });
  const heap = new Row({ id: `memory.${name}.heap`, title: `JS heap ${what}`, unit: 'KiB', base });
  const add = (key, from, to, count) => {
    rss.add(key, (to.rss - from.rss) / count / KIB);
    heap.add(key, (to.heapUsed - from.heapUsed) / count / KIB);
  };
  return { rss, heap, add };
}

/** The same with permessage-deflate negotiated by every connection. */
export async function memoryCompressed(bench) {
  const row = new Row({
    id: 'memory.compressed.rss',
    title: 'RSS with compression after a 2 KiB message each way',
    unit: 'KiB',
  });
  // Together with those opened later, five thousand.
  const count = bench.quick ? 200 : 3125;
  await bench.turns(3, ['bare', 'tuned', 'ours', 'nestWs', 'nestIo'], async (key) => {
    const { base, used } = await footprint(bench, key, { count, deflate: true });
    row.add(key, (used.rss - base.rss) / (count + count * MORE) / KIB);
  });
  return [row, await furtherCompressed(bench)];
}

/** The cost of a connection itself, without the fixed growth of the process. */
async function furtherCompressed(bench) {
  const row = new Row({
    id: 'memory.compressed.further',
    title: 'RSS per further connection with compression after a 2 KiB message each way',
    unit: 'KiB',
  });
  const count = bench.quick ? 200 : 2500;
  await bench.turns(3, ['bare', 'tuned', 'ours'], async (key) => {
    const server = await startServer(key, { compression: true, limits: bench.limits.connections });
    try {
      const after = [];
      for (const group of ['first', 'more']) {
        await openPeers(bench, server, { group, count, deflate: true });
        await bench.load.call('echo', { group, bytes: MESSAGE, total: count });
        after.push((await settledMemory(server)).rss);
      }
      row.add(key, (after[1] - after[0]) / count / KIB);
    } finally {
      for (const group of ['first', 'more']) await bench.load.call('close', { group }).catch(() => {});
      await server.stop();
    }
  });
  return row;
}

/** Garbage is collected before each figure. Each uses a new process, because RSS never returns completely. */
export async function footprint(bench, key, { count, deflate = false, isIdleOnly = false }) {
  const server = await startServer(key, { compression: deflate, limits: bench.limits.connections });
  try {
    const base = await settledMemory(server);
    await openPeers(bench, server, { group: 'first', count, deflate });
    const idle = await settledMemory(server);
    if (isIdleOnly) return { base, idle };
    await openPeers(bench, server, { group: 'more', count: count * MORE, deflate });
    const more = await settledMemory(server);
    await bench.load.call('echo', { group: 'first', bytes: MESSAGE, total: count });
    await bench.load.call('echo', { group: 'more', bytes: MESSAGE, total: count * MORE });
    return { base, idle, more, used: await settledMemory(server) };
  } finally {
    for (const group of ['first', 'more']) await bench.load.call('close', { group }).catch(() => {});
    await server.stop();
  }
}

function openPeers(bench, { port, protocol, tls }, options) {
  return bench.load.call('open', { port, protocol, tls, ...options });
}

async function settledMemory(server) {
  await sleep(SETTLE);
  return server.memory();
}
