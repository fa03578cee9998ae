import { setTimeout as sleep } from 'node:timers/promises';
import { startServer } from '../servers/index.mjs';
import { Row } from './collector.mjs';

const KIB = 1024;
const MESSAGE = 2048;
const SETTLE = 250;
const FIRST = 0.4;

/** Idle connections, then one message each way; a fresh process each turn, since RSS never comes back whole. */
export async function memory(bench) {
  const rows = {
    idleRss: new Row({
      id: 'memory.idle.rss',
      title: 'RSS per idle connection',
      unit: 'KiB',
      limits: { ours: { goal: 1, accepted: 1.1 } },
    }),
    idleHeap: new Row({ id: 'memory.idle.heap', title: 'JS heap per idle connection', unit: 'KiB' }),
    usedRss: new Row({ id: 'memory.used.rss', title: 'RSS after a 2 KiB message each way', unit: 'KiB' }),
    usedHeap: new Row({ id: 'memory.used.heap', title: 'JS heap after a 2 KiB message each way', unit: 'KiB' }),
  };
  const count = bench.quick ? 1000 : 5000;
  await bench.turns(5, ['bare', 'ours', 'nestWs', 'nestIo'], async (key) => {
    const { base, idle, used, total } = await footprint(bench, key, { count });
    rows.idleRss.add(key, (idle.rss - base.rss) / total / KIB);
    rows.idleHeap.add(key, (idle.heapUsed - base.heapUsed) / total / KIB);
    rows.usedRss.add(key, (used.rss - base.rss) / total / KIB);
    rows.usedHeap.add(key, (used.heapUsed - base.heapUsed) / total / KIB);
  });
  return Object.values(rows);
}

/** The same with permessage-deflate negotiated by every connection. */
export async function memoryCompressed(bench) {
  const row = new Row({
    id: 'memory.compressed.rss',
    title: 'RSS with compression after a 2 KiB message each way',
    unit: 'KiB',
  });
  const count = bench.quick ? 200 : 1000;
  await bench.turns(5, ['bare', 'tuned', 'ours', 'nestWs', 'nestIo'], async (key) => {
    const { base, used, total } = await footprint(bench, key, { count, deflate: true });
    row.add(key, (used.rss - base.rss) / total / KIB);
  });
  return [row];
}

/**
 * What `count` connections add to a process that holds others already: the first ones fill what the heap has spare,
 * grow it, and have its code compiled, so only the slope after them is a connection's own.
 */
async function footprint(bench, key, { count, deflate = false }) {
  const server = await startServer(key, { compression: deflate, limits: bench.limits.connections });
  try {
    const first = Math.ceil(count * FIRST);
    await openPeers(bench, server, { group: 'first', count: first, deflate });
    await bench.load.call('echo', { group: 'first', bytes: MESSAGE, total: first * 2 });
    const base = await settledMemory(server);
    await openPeers(bench, server, { group: 'more', count, deflate });
    const idle = await settledMemory(server);
    await bench.load.call('echo', { group: 'more', bytes: MESSAGE, total: count });
    return { base, idle, used: await settledMemory(server), total: count };
  } finally {
    for (const group of ['first', 'more']) await bench.load.call('close', { group }).catch(() => {});
    await server.stop();
  }
}

function openPeers(bench, { port, protocol }, options) {
  return bench.load.call('open', { port, protocol, ...options });
}

async function settledMemory(server) {
  await sleep(SETTLE);
  return server.memory();
}
