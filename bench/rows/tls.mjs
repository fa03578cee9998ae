import { TURNS } from '../support/bench.mjs';
import { Row } from './collector.mjs';
import { acceptedCpu } from './handshake.mjs';
import { idleFootprint, rowsOf } from './memory.mjs';

const PEERS = { echo: 50, broadcast: 1000 };
/** Connections of one turn. */
const COUNT = 400;
const ASKED = { goal: 0.8, accepted: 1 };
const KEYS = ['bareTls', 'oursTls', 'nestTls'];
const SERVERS_OF_HANDSHAKES = [...KEYS, 'bareTlsInNest', 'netTlsInNest', 'netTls', 'netTls12', 'oursTlsRoomy'];

/** Idle connections over TLS, on a dedicated port, beside `ws` on a server of `node:https`. */
export async function tlsMemory(bench) {
  const rows = rowsOf('tls', 'per idle connection over TLS', { limits: { oursTls: ASKED }, base: 'bareTls' });
  await idleFootprint(bench, 3, KEYS, bench.quick ? 400 : 2500, rows);
  return [rows.rss, rows.heap];
}

/** CPU of the server process for echoes and broadcasts over TLS. */
export async function tlsEcho(bench) {
  const limits = { oursTls: ASKED };
  const of = (id, title) => new Row({ id: `tls.${id}`, title, unit: 'µs', base: 'bareTls', limits });
  const echo = of('echo', 'CPU per 64 B echo over TLS, 4 in flight');
  const broadcast = of('broadcast', 'CPU per broadcast delivery over TLS, 512 B to 1000 peers');
  await bench.withServers(KEYS, { limits: bench.limits.messages }, async (servers) => {
    await bench.openOnAll(servers, { count: PEERS.echo });
    await bench.measure(echo, servers, 7000, (server, total) =>
      bench.load.call('echo', { group: server.key, bytes: 64, inFlight: 4, total }),
    );
  });
  await bench.withServers(KEYS, { limits: bench.limits.messages }, async (servers) => {
    await bench.openOnAll(servers, { count: PEERS.broadcast });
    await bench.measure(broadcast, servers, 5 * PEERS.broadcast, (server) =>
      bench.load.call('broadcast', { group: server.key, bytes: 512, rounds: 5 }),
    );
  });
  return [echo, broadcast];
}

/** CPU per accepted handshake over TLS: full, and with a resumed session, with both kinds of certificates. */
export async function tlsHandshake(bench) {
  const rows = [];
  for (const [kind, suffix, title] of [
    ['ec', '', 'ECDSA P-256'],
    ['rsa', 'Rsa', 'RSA 2048'],
  ])
    rows.push(...(await handshakesOf(bench, kind, suffix, title)));
  return rows;
}

async function handshakesOf(bench, kind, suffix, title) {
  const [bare, ours, ...others] = SERVERS_OF_HANDSHAKES.map((key) => `${key}${suffix}`);
  const full = new Row({
    ...{ id: `tls.handshake.${kind}`, title: `CPU per accepted handshake over TLS, ${title}`, unit: 'µs', base: bare },
    limits: { [ours]: ASKED },
  });
  const resumed = new Row({
    ...{ id: `tls.resumed.${kind}`, title: `CPU per resumed handshake over TLS, ${title}`, unit: 'µs', base: bare },
    limits: { [ours]: ASKED },
  });
  // Relative to a full handshake of the same server in the same turn.
  const saved = new Row({
    ...{ id: `tls.saved.${kind}`, title: `Resumed against full handshakes, ${title}`, unit: '×', base: null },
    limits: { [ours]: { max: 0.35 } },
  });
  await bench.withServers([bare, ours, ...others], { limits: bench.limits.handshakes }, async (servers) => {
    const turn = async (server, resume) => (await acceptedCpu(bench, server, { resume, count: COUNT })).opened / COUNT;
    await bench.warm(servers, (server) => turn(server, false));
    await bench.turns(TURNS, servers, async (server) => {
      const cpu = { full: await turn(server, false), resumed: await turn(server, true) };
      full.add(server.key, cpu.full);
      resumed.add(server.key, cpu.resumed);
      saved.add(server.key, cpu.resumed / cpu.full);
    });
  });
  return [full, resumed, saved];
}
