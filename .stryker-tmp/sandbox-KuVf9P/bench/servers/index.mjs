// @ts-nocheck
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Child } from '../support/rpc.mjs';

/** The servers that are compared; every ratio is to the first. */
export const SERVERS = {
  bare: { title: 'bare ws', file: 'bare-ws.mjs', protocol: 'ws' },
  ours: { title: 'nest-secure-ws', file: 'ours.mjs', protocol: 'ws' },
  nestWs: { title: 'Nest platform-ws', file: 'nest-ws.mjs', protocol: 'ws' },
  nestIo: { title: 'Nest platform-socket.io', file: 'nest-socket-io.mjs', protocol: 'io' },
};

/** Where a row measures a server in another set-up: the same server, its own column. */
export const VARIANTS = {
  tuned: { ...SERVERS.bare, title: 'bare ws, tuned', config: { compression: 'tuned' } },
  oursOwnPort: { ...SERVERS.ours, title: 'nest-secure-ws, own port', config: { ownPort: true } },
};

const START_TIMEOUT = 20_000;

/** Starts one server in a process of its own. */
export async function startServer(key, config = {}) {
  const kind = SERVERS[key] ?? VARIANTS[key];
  const child = new Child(fileURLToPath(new URL(kind.file, import.meta.url)), { ...config, ...kind.config });
  try {
    return new Server(key, kind, child, await child.call('port', {}, START_TIMEOUT));
  } catch (error) {
    await child.stop();
    throw new Error(`${kind.title} did not start: ${error.message}`);
  }
}

class Server {
  constructor(key, { title, protocol }, child, port) {
    Object.assign(this, { key, title, protocol, child, port });
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
