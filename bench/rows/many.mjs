import { setTimeout as sleep } from 'node:timers/promises';
import { startServer } from '../servers/index.mjs';
import { Row } from './collector.mjs';

/** Connections of a process, one count after the other; `quick` takes a sixth. */
const COUNTS = { few: 1000, from: 4500, to: 9000, many: 18_000 };
/** Milliseconds: every connection is pinged once in each. */
const PING = 2000;
const CYCLES = 3;
const KIB = 1024;

/**
 * Whether a connection costs more among many, in one process after the other. Memory is what a further connection adds:
 * from 4500 connections to 9000, and from 9000 to 18 000. V8's hash tables double their size at powers of two: in each
 * of these intervals once, and at the same place of it, so that each connection has the same share. The first thousands
 * are not counted, because they fit into pages that the process has anyway. Nor is V8's young generation: it grows to a
 * size that does not depend on the number of connections, at times that do not either, by more than 5000 connections take.
 */
export async function many(bench) {
  const limits = { ours: { max: 1.1 } };
  const count = Object.fromEntries(
    Object.entries(COUNTS).map(([name, value]) => [name, bench.quick ? Math.round(value / 6) : value]),
  );
  const further = [`${count.from} to ${count.to}`, `${count.to} to ${count.many}`];
  const kinds = {
    rss: ['RSS (without the young generation) per further connection', 'KiB', further],
    heap: ['JS heap per further connection', 'KiB', further],
    ping: ['CPU per ping and pong', 'µs', [`${count.few} connections`, `${count.many} connections`]],
  };
  const rows = Object.entries(kinds).map(([name, [title, unit, [few, more]]]) => {
    const of = (id, suffix, how = {}) =>
      new Row({ id: `many.${name}${id}`, title: `${title}, ${suffix}`, unit, base: null, ...how });
    return {
      name,
      few: of('.few', few),
      many: of('.many', more),
      ratio: of('', `${more} beside ${few}`, { unit: '×', limits }),
    };
  });
  await bench.turns(5, ['ours'], async (key) => {
    const figures = await costOf(bench, key, count);
    for (const { name, ...row } of rows) {
      const { few, many } = figures[name];
      row.few.add(key, few);
      row.many.add(key, many);
      row.ratio.add(key, many / few);
    }
  });
  return rows.flatMap(({ few, many, ratio }) => [few, many, ratio]);
}

async function costOf(bench, key, count) {
  const room = { rate: '1000000/1s', maxPerIp: count.many, max: count.many };
  const server = await startServer(key, { limits: { connections: room, keepalive: { pingInterval: PING } } });
  const { port, protocol } = server;
  const groups = [];
  let opened = 0;
  const openUpTo = async (total) => {
    const group = `many.${total}`;
    groups.push(group);
    await bench.load.call('open', { group, port, protocol, count: total - opened });
    opened = total;
    // Every connection has been pinged once, so everything that a ping needs is allocated.
    await sleep(PING);
  };
  try {
    await sleep(300);
    const alone = await server.cpuOf(() => sleep(PING));
    const pingCpu = async () => ((await server.cpuOf(() => sleep(PING * CYCLES))) - alone * CYCLES) / (opened * CYCLES);
    await openUpTo(count.few);
    const ping = { few: await pingCpu() };
    const memory = {};
    for (const name of ['from', 'to', 'many']) {
      await openUpTo(count[name]);
      const { rss, heapUsed, young } = await server.memory();
      memory[name] = { rss: rss - young, heapUsed };
    }
    ping.many = await pingCpu();
    const perConnection = (from, to, kind) => (memory[to][kind] - memory[from][kind]) / (count[to] - count[from]) / KIB;
    const further = (kind) => ({
      few: perConnection('from', 'to', kind),
      many: perConnection('to', 'many', kind),
    });
    return { rss: further('rss'), heap: further('heapUsed'), ping };
  } finally {
    for (const group of groups) await bench.load.call('close', { group }).catch(() => {});
    await server.stop();
  }
}
