// @ts-nocheck
import { Row } from './collector.mjs';

const PEERS = 1000;
const BYTES = 512;

/** CPU of the server process per delivery of a broadcast of 512 bytes to a thousand peers. */
export async function broadcast(bench) {
  return [
    await broadcastRow(bench, ['bare', 'ours', 'nestWs', 'nestIo'], {
      row: new Row({
        id: 'broadcast.plain',
        title: 'CPU per broadcast delivery, 512 B to 1000 peers',
        unit: 'µs',
        limits: { ours: { goal: 0.9, accepted: 1 } },
      }),
      rounds: 10,
      deflate: false,
    }),
  ];
}

/** The same with permessage-deflate negotiated by every peer. */
export async function broadcastCompressed(bench) {
  return [
    await broadcastRow(bench, ['bare', 'tuned', 'ours', 'nestWs', 'nestIo'], {
      row: new Row({
        id: 'broadcast.compressed',
        title: 'CPU per compressed broadcast delivery, 512 B to 1000 peers',
        unit: 'µs',
        limits: { ours: { goal: 0.2, accepted: 0.25 } },
      }),
      rounds: 5,
      deflate: true,
    }),
  ];
}

async function broadcastRow(bench, keys, { row, rounds, deflate }) {
  const config = { compression: deflate, limits: bench.limits.messages };
  await bench.withServers(keys, config, async (servers) => {
    await bench.openOnAll(servers, { count: PEERS, deflate });
    await bench.measure(row, servers, rounds * PEERS, (server) =>
      bench.load.call('broadcast', { group: server.key, bytes: BYTES, rounds }),
    );
  });
  return row;
}
