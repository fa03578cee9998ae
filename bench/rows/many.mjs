import { setTimeout as sleep } from 'node:timers/promises';
import { startServer } from '../servers/index.mjs';
import { Row } from './collector.mjs';

const FEW = 1000;
const MANY = 18_000;
/** Milliseconds: every connection is pinged once in each. */
const PING = 5000;
const CYCLES = 2;

/** Whether a connection costs more where there are many: 18 000 in one process beside 1 000. */
export async function many(bench) {
  const limits = { ours: { max: 1.1 } };
  const counts = bench.quick ? [FEW, 4000] : [FEW, MANY];
  const of = (id, title, unit, more = {}) => new Row({ id: `many.${id}`, title, unit, base: null, ...more });
  const rss = counts.map((count) => of(`rss.${count}`, `RSS per connection, ${count} of them`, 'KiB'));
  const ping = counts.map((count) => of(`ping.${count}`, `CPU per ping and pong, ${count} connections`, 'µs'));
  const ratios = {
    rss: of('rss', `RSS per connection, ${counts[1]} beside ${counts[0]}`, '×', { limits }),
    ping: of('ping', `CPU per ping and pong, ${counts[1]} beside ${counts[0]} connections`, '×', { limits }),
  };
  await bench.turns(3, ['ours'], async (key) => {
    const figures = [];
    for (const [at, count] of counts.entries()) {
      const each = await costOf(bench, key, count);
      figures.push(each);
      rss[at].add(key, each.rss);
      ping[at].add(key, each.ping);
    }
    for (const name of ['rss', 'ping']) ratios[name].add(key, figures[1][name] / figures[0][name]);
  });
  return [...rss, ...ping, ...Object.values(ratios)];
}

async function costOf(bench, key, count) {
  const room = { rate: '1000000/1s', maxPerIp: count, max: count };
  const server = await startServer(key, { limits: { connections: room, keepalive: { pingInterval: PING } } });
  try {
    await sleep(500);
    const alone = await server.cpuOf(() => sleep(PING));
    const base = await server.memory();
    await bench.load.call('open', { group: 'many', port: server.port, protocol: server.protocol, count });
    // Every one has been pinged: what a ping needs has been made.
    await sleep(PING);
    const { rss } = await server.memory();
    const cpu = await server.cpuOf(() => sleep(PING * CYCLES));
    return { rss: (rss - base.rss) / count / 1024, ping: (cpu - alone * CYCLES) / (count * CYCLES) };
  } finally {
    await bench.load.call('close', { group: 'many' }).catch(() => {});
    await server.stop();
  }
}
