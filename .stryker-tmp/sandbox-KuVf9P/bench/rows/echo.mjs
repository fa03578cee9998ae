// @ts-nocheck
import { Row } from './collector.mjs';

const PEERS = 50;
const LIMITS = {
  1: { goal: 1.15, accepted: 1.35 },
  4: { goal: 0.8, accepted: 0.95 },
  32: { goal: 0.65, accepted: 0.8 },
};

/** CPU of the server process per echoed message, by messages in flight per connection and by size. */
export async function echo(bench) {
  const rows = [];
  await bench.withServers(['bare', 'ours', 'nestWs', 'nestIo'], { limits: bench.limits.messages }, async (servers) => {
    await bench.openOnAll(servers, { count: PEERS });
    for (const bytes of [64, 1024]) {
      for (const inFlight of [1, 4, 32]) rows.push(await echoRow(bench, servers, { bytes, inFlight }));
    }
  });
  return rows;
}

async function echoRow(bench, servers, { bytes, inFlight }) {
  const row = new Row({
    id: `echo.${bytes}.${inFlight}`,
    title: `CPU per ${bytes === 64 ? '64 B' : '1 KiB'} echo, ${inFlight} in flight`,
    unit: 'µs',
    limits: bytes === 64 ? { ours: LIMITS[inFlight] } : {},
  });
  await bench.measure(row, servers, 7000, (server, total) =>
    bench.load.call('echo', { group: server.key, bytes, inFlight, total }),
  );
  return row;
}

/** The same for a compressible message of 1 KiB, with permessage-deflate negotiated. */
export async function echoCompressed(bench) {
  const row = new Row({ id: 'echo.compressed', title: 'CPU per compressed 1 KiB echo, 4 in flight', unit: 'µs' });
  const config = { compression: true, limits: bench.limits.messages };
  await bench.withServers(['bare', 'tuned', 'ours', 'nestWs', 'nestIo'], config, async (servers) => {
    await bench.openOnAll(servers, { count: PEERS, deflate: true });
    await bench.measure(row, servers, 2000, (server, total) =>
      bench.load.call('echo', { group: server.key, bytes: 1024, inFlight: 4, total }),
    );
  });
  return [row];
}
