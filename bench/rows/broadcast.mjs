import { uwsHere } from '../servers/uws-binary.mjs';
import { Row } from './collector.mjs';

const PEERS = 1000;
const BYTES = 512;

/** CPU of the server process per delivery of a broadcast of 512 bytes to a thousand peers. */
export async function broadcast(bench) {
  return [
    await broadcastRow(bench, ['bare', 'ours', 'nestWs', 'nestIo', 'netBroadcast'], {
      row: new Row({
        id: 'broadcast.plain',
        title: 'CPU per broadcast delivery, 512 B to 1000 peers',
        unit: 'µs',
        limits: { ours: { goal: 0.75, accepted: 0.8 } },
      }),
      rounds: 10,
      deflate: false,
    }),
  ];
}

/** Bursts of a hundred, as from an application that collects events before it sends them. */
export async function broadcastBursts(bench) {
  return [
    await broadcastRow(bench, ['bare', 'ours', 'nestWs', ...(await uwsHere())], {
      row: new Row({
        id: 'broadcast.bursts',
        title: 'CPU per broadcast delivery in bursts of 100, 512 B to 1000 peers',
        unit: 'µs',
        limits: { ours: { goal: 0.25, accepted: 0.45 } },
      }),
      rounds: 1,
      burst: 100,
      deflate: false,
    }),
  ];
}

/** The same with permessage-deflate negotiated by every peer. */
export async function broadcastCompressed(bench) {
  return [
    await broadcastRow(bench, ['bare', 'tuned', 'ours', 'nestWs', 'nestIo', 'netDeflate'], {
      row: new Row({
        id: 'broadcast.compressed',
        title: 'CPU per compressed broadcast delivery, 512 B to 1000 peers',
        unit: 'µs',
        limits: { ours: { goal: 0.1, accepted: 0.15 } },
      }),
      rounds: 5,
      deflate: true,
    }),
  ];
}

async function broadcastRow(bench, keys, { row, rounds, burst = 1, deflate }) {
  const config = { compression: deflate, limits: bench.limits.messages };
  await bench.withServers(keys, config, async (servers) => {
    await bench.openOnAll(servers, { count: PEERS, deflate });
    await bench.measure(row, servers, rounds * burst * PEERS, (server) =>
      bench.load.call('broadcast', { group: server.key, bytes: BYTES, rounds, burst }),
    );
  });
  return row;
}
