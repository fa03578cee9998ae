import { setTimeout as sleep } from 'node:timers/promises';
import { startServer } from '../servers/index.mjs';
import { Row } from './collector.mjs';

const FEW = 1000;
const MANY = 18_000;
/** Milliseconds: every connection is pinged once in each. */
const PING = 2000;
const CYCLES = 3;

/**
 * Whether a connection costs more among many: 18 000 in one process beside 1 000. The heap is compared with its size after
 * as many connections had come and gone, RSS with its size at the start: the first thousand connections fit into pages
 * that the process has anyway.
 */
export async function many(bench) {
  const limits = { ours: { max: 1.1 } };
  const counts = bench.quick ? [FEW, 4000] : [FEW, MANY];
  const of = (id, title, unit, more = {}) => new Row({ id: `many.${id}`, title, unit, base: null, ...more });
  const kinds = {
    rss: ['RSS per connection', 'KiB'],
    heap: ['JS heap per connection', 'KiB'],
    ping: ['CPU per ping and pong', 'µs'],
  };
  const rows = [];
  const add = {};
  for (const [name, [title, unit]] of Object.entries(kinds)) {
    const each = counts.map((count) => of(`${name}.${count}`, `${title}, ${count} connections`, unit));
    // RSS varies by more than a thousand connections take.
    const ratio = of(
      name,
      `${title}, ${counts[1]} beside ${counts[0]} connections`,
      '×',
      name === 'rss' ? {} : { limits },
    );
    rows.push(...each, ratio);
    add[name] = (key, [few, more]) => {
      each[0].add(key, few);
      each[1].add(key, more);
      ratio.add(key, more / few);
    };
  }
  await bench.turns(3, ['ours'], async (key) => {
    const figures = [];
    for (const count of counts) figures.push(await costOf(bench, key, count));
    for (const name of Object.keys(kinds))
      add[name](
        key,
        figures.map((each) => each[name]),
      );
  });
  return rows;
}

async function costOf(bench, key, count) {
  const room = { rate: '1000000/1s', maxPerIp: count, max: count };
  const server = await startServer(key, { limits: { connections: room, keepalive: { pingInterval: PING } } });
  const { port, protocol } = server;
  const open = () => bench.load.call('open', { group: 'many', port, protocol, count });
  const close = () => bench.load.call('close', { group: 'many' });
  try {
    await sleep(300);
    const base = await server.memory();
    const alone = await server.cpuOf(() => sleep(PING));
    await open();
    // Every connection has been pinged once, so everything that a ping needs is allocated.
    await sleep(PING);
    const first = await server.memory();
    const cpu = await server.cpuOf(() => sleep(PING * CYCLES));
    await close();
    await server.drained();
    const empty = await server.memory();
    await open();
    await sleep(PING);
    const again = await server.memory();
    return {
      rss: (first.rss - base.rss) / count / 1024,
      heap: (again.heapUsed - empty.heapUsed) / count / 1024,
      ping: (cpu - alone * CYCLES) / (count * CYCLES),
    };
  } finally {
    await close().catch(() => {});
    await server.stop();
  }
}
