import { uwsHere } from '../servers/uws-binary.mjs';
import { Row } from './collector.mjs';

const PEERS = 50;
const LIMITS = {
  1: { goal: 0.85, accepted: 0.95 },
  4: { goal: 0.6, accepted: 0.75 },
  32: { goal: 0.5, accepted: 0.55 },
};

/** CPU of the server process per echoed message, by messages in flight per connection and by size. */
export async function echo(bench) {
  const rows = [];
  await bench.withServers(
    ['bare', 'ours', 'nestWs', 'nestIo', 'net', 'netNest'],
    { limits: bench.limits.messages },
    async (servers) => {
      await bench.openOnAll(servers, { count: PEERS });
      for (const bytes of [64, 1024]) {
        for (const inFlight of [1, 4, 32]) rows.push(await echoRow(bench, servers, { bytes, inFlight }));
      }
    },
  );
  return rows;
}

/** The same without Nest's path to a handler: a listener of `'message'`. */
export async function echoListener(bench) {
  const rows = [];
  const limits = { 1: undefined, 4: { goal: 0.58, accepted: 0.65 }, 32: { goal: 0.5, accepted: 0.56 } };
  const keys = ['bare', 'oursListener', ...(await uwsHere())];
  await bench.withServers(keys, { limits: bench.limits.messages }, async (servers) => {
    await bench.openOnAll(servers, { count: PEERS });
    for (const inFlight of [1, 4, 32]) {
      const row = new Row({
        id: `echo.listener.${inFlight}`,
        title: `CPU per 64 B echo by a listener, ${inFlight} in flight`,
        unit: 'µs',
        limits: limits[inFlight] ? { oursListener: limits[inFlight] } : {},
      });
      await bench.measure(row, servers, 7000, (server, total) =>
        bench.load.call('echo', { group: server.key, bytes: 64, inFlight, total }),
      );
      rows.push(row);
    }
  });
  return rows;
}

/** The client: CPU of a process that sends to a server in another, four messages in flight on each connection. */
export async function echoClient(bench) {
  return [
    await clientRow(bench, 'bare', { id: 'client.echo', title: 'CPU per 64 B echo of a client, 4 in flight' }),
    // A server that answers what it reads with one write, as nest-secure-ws does: so the client reads several at once.
    await clientRow(bench, 'net', {
      id: 'client.echo.joined',
      title: 'CPU per 64 B echo of a client, 4 in flight, replies joined by the server',
    }),
  ];
}

async function clientRow(bench, key, what) {
  const limits = { oursClient: { goal: 0.5, accepted: 0.8 } };
  const row = new Row({ ...what, unit: 'µs', base: 'wsClient', limits });
  await bench.withServers([key], {}, async ([server]) => {
    if (!server) return;
    const keys = ['wsClient', 'oursClient', 'netClient'];
    await bench.withServers(keys, { port: server.port, count: PEERS }, async (clients) => {
      await bench.measure(row, clients, 7000, (client, total) => client.child.call('echo', { total, inFlight: 4 }));
    });
  });
  return row;
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
