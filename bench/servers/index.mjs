import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { certificate } from '../support/certificate.mjs';
import { Child } from '../support/rpc.mjs';

/** The servers that are compared; every ratio is to the first. */
export const SERVERS = {
  bare: { title: 'bare ws', file: 'bare-ws.mjs', protocol: 'ws' },
  ours: { title: 'nest-secure-ws', file: 'ours.mjs', protocol: 'ws' },
  nestWs: { title: 'Nest platform-ws', file: 'nest-ws.mjs', protocol: 'ws' },
  nestIo: { title: 'Nest platform-socket.io', file: 'nest-socket-io.mjs', protocol: 'io' },
};

/** A handshake that resumes a session of TLS 1.2 has no key exchange. */
const OLDER_TLS = { file: 'net.mjs', protocol: 'ws', config: { maxVersion: 'TLSv1.2' } };

/** A server without Nest in a process that has also started a Nest application. */
const inNest = (server) => ({ file: 'in-nest.mjs', protocol: 'ws', config: { server } });
/** V8 starts no marking below this size of the old generation with Node's external memory (MiB). */
const ROOMY = ['--initial-old-space-size=128'];

/** A server in another configuration, in a column of its own. */
export const VARIANTS = {
  tuned: { ...SERVERS.bare, title: 'bare ws, tuned', config: { compression: 'tuned' } },
  oursListener: { ...SERVERS.ours, title: 'nest-secure-ws, a listener', config: { listener: true } },
  unread: { title: 'nest-secure-ws, unread replies', file: 'unread.mjs', protocol: 'ws' },
  net: { title: 'sockets of node:net alone', file: 'net.mjs', protocol: 'ws' },
  netNest: { title: 'sockets of node:net and a Nest handler', file: 'net-nest.mjs', protocol: 'ws' },
  netBroadcast: { title: 'sockets of node:net alone', file: 'net.mjs', protocol: 'ws', config: { broadcasts: true } },
  netDeflate: {
    title: 'sockets of node:net alone',
    file: 'net.mjs',
    protocol: 'ws',
    config: { broadcasts: true, deflate: true },
  },
  nestTls: { ...SERVERS.nestWs, title: 'Nest platform-ws over https', tls: 'ec' },
  nestTlsRsa: { ...SERVERS.nestWs, title: 'Nest platform-ws over https, RSA', tls: 'rsa' },
  netTls: { title: 'sockets of node:tls alone', file: 'net.mjs', protocol: 'ws', tls: 'ec' },
  netTlsRsa: { title: 'sockets of node:tls alone, RSA', file: 'net.mjs', protocol: 'ws', tls: 'rsa' },
  netTls12: { ...OLDER_TLS, title: 'sockets of node:tls alone, TLS 1.2', tls: 'ec' },
  netTls12Rsa: { ...OLDER_TLS, title: 'sockets of node:tls alone, TLS 1.2, RSA', tls: 'rsa' },
  netTlsInNest: { ...inNest('net.mjs'), title: 'sockets of node:tls alone, in a Nest process', tls: 'ec' },
  netTlsInNestRsa: { ...inNest('net.mjs'), title: 'sockets of node:tls alone, in a Nest process, RSA', tls: 'rsa' },
  bareTlsInNest: { ...inNest('bare-ws.mjs'), title: 'ws over https, in a Nest process', tls: 'ec' },
  bareTlsInNestRsa: { ...inNest('bare-ws.mjs'), title: 'ws over https, in a Nest process, RSA', tls: 'rsa' },
  uws: { title: 'uWebSockets.js', file: 'uws.mjs', protocol: 'ws' },
  oursDedicated: { ...SERVERS.ours, title: 'nest-secure-ws, dedicated port', config: { dedicated: true } },
  oursObserved: { ...SERVERS.ours, title: 'nest-secure-ws, metrics', config: { observed: true } },
  bareTls: { ...SERVERS.bare, title: 'ws over https', tls: 'ec' },
  oursTls: { ...SERVERS.ours, title: 'nest-secure-ws, dedicated TLS port', config: { dedicated: true }, tls: 'ec' },
  bareTlsRsa: { ...SERVERS.bare, title: 'ws over https, RSA', tls: 'rsa' },
  oursTlsRsa: {
    ...SERVERS.ours,
    title: 'nest-secure-ws, dedicated TLS port, RSA',
    config: { dedicated: true },
    tls: 'rsa',
  },
  oursTlsRoomy: {
    ...SERVERS.ours,
    title: `nest-secure-ws, dedicated TLS port, node ${ROOMY}`,
    config: { dedicated: true },
    tls: 'ec',
    flags: ROOMY,
  },
  oursTlsRoomyRsa: {
    ...SERVERS.ours,
    title: `nest-secure-ws, dedicated TLS port, node ${ROOMY}, RSA`,
    config: { dedicated: true },
    tls: 'rsa',
    flags: ROOMY,
  },
};

/** Processes that connect as clients, compared with each other. */
export const CLIENTS = {
  wsClient: { title: 'client of ws', file: '../clients/ws.mjs', protocol: 'ws' },
  oursClient: { title: 'client of nest-secure-ws', file: '../clients/ours.mjs', protocol: 'ws' },
  netClient: { title: 'sockets of node:net alone, as a client', file: '../clients/net.mjs', protocol: 'ws' },
};

const START_TIMEOUT = 20_000;

/** Starts one server in its own process. */
export async function startServer(key, config = {}) {
  const kind = SERVERS[key] ?? VARIANTS[key] ?? CLIENTS[key];
  const tls = kind.tls && certificate(kind.tls);
  const settings = { ...config, ...kind.config, ...(tls && { tls }) };
  const child = new Child(fileURLToPath(new URL(kind.file, import.meta.url)), settings, [
    '--expose-gc',
    ...(kind.flags ?? []),
  ]);
  try {
    return new Server(key, kind, child, await child.call('port', {}, START_TIMEOUT));
  } catch (error) {
    await child.stop();
    throw new Error(`${kind.title} did not start: ${error.message}`);
  }
}

class Server {
  constructor(key, { title, protocol, tls }, child, port) {
    Object.assign(this, { key, title, protocol, tls: tls !== undefined, child, port, pid: child.process.pid });
  }

  memory = () => this.child.call('memory');
  stop = () => this.child.stop();

  /** Microseconds of CPU that this process spends while `work` runs. */
  async cpuOf(work) {
    const before = await this.child.call('cpu');
    await work();
    return (await this.child.call('cpu')) - before;
  }

  /** Waits until at most `count` sockets are open; bounded in time (ms). */
  async drained(count = 0, timeout = 30_000) {
    for (const deadline = Date.now() + timeout; Date.now() < deadline; await sleep(20)) {
      if ((await this.child.call('sockets')) <= count) return;
    }
    throw new Error(`${this.title}: connections did not end`);
  }
}
