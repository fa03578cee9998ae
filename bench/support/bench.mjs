import { fileURLToPath } from 'node:url';
import { startServer } from '../servers/index.mjs';
import { Child } from './rpc.mjs';

/** Limits of this library raised above the load, row by row; everything else stays at its default. */
const LIMITS = {
  connections: {},
  messages: { messages: { rate: '10000000/1s', byteRate: '8gb/1s', byteRatePerIp: '8gb/1s' } },
  handshakes: { connections: { rate: '1000000/1s' } },
};

/** Many short turns, so that disturbances of a shared machine affect all servers of a turn. */
export const TURNS = 21;
const WARM = 3;
const GENERATOR = fileURLToPath(new URL('../load/generator.mjs', import.meta.url));

/** What a row needs: servers that take turns, one load generator, one method of measuring. */
export class Bench {
  limits = LIMITS;
  #children = new Set();

  constructor({ quick, only, rounds }) {
    Object.assign(this, { quick, only, rounds });
  }

  start() {
    this.load = new Child(GENERATOR);
  }

  async stop() {
    await Promise.all([...this.#children].map((server) => server.stop()));
    await this.load?.stop();
  }

  /** `turn(item)` for each item, then again: ABCABC… A quick run takes two turns. */
  async turns(count, items, turn) {
    for (let round = 0; round < (this.rounds ?? (this.quick ? 2 : count)); round++) {
      for (const item of items.filter((each) => this.#wanted(each))) await turn(item);
    }
  }

  /**
   * In each turn, new processes of all servers at the same time, which wait together. Each server has a load generator of
   * its own, because one process could need more file descriptors than it may open. `server.end()` ends both. A quick
   * run takes one turn, because most of a turn is waiting.
   */
  async together(count, keys, config, turn) {
    for (let round = 0; round < (this.rounds ?? (this.quick ? 1 : count)); round++) {
      await this.withServers(keys, { limits: this.limits.connections, ...config }, async (servers) => {
        for (const server of servers) {
          server.load = new Child(GENERATOR);
          server.end = async () => {
            await Promise.all([server.load.stop(), server.stop()]);
          };
        }
        try {
          await turn(servers);
        } finally {
          await Promise.all(servers.map((server) => server.end()));
        }
      });
    }
  }

  /** Discarded turns, so that every server is measured with compiled code. */
  async warm(servers, turn) {
    for (let round = 0; round < WARM; round++) for (const server of servers) await turn(server);
  }

  async withServers(keys, config, use) {
    const servers = [];
    try {
      for (const key of keys.filter((each) => this.#wanted(each))) {
        const server = await startServer(key, config);
        servers.push(server);
        this.#children.add(server);
      }
      await use(servers);
    } finally {
      for (const server of servers) {
        await this.load.call('close', { group: server.key }).catch(() => {});
        await this.load.call('close', { group: `cap.${server.key}` }).catch(() => {});
        await server.stop();
        this.#children.delete(server);
      }
    }
  }

  async openOnAll(servers, options) {
    for (const { key, port, protocol, tls } of servers) {
      await this.load.call('open', { group: key, port, protocol, tls, ...options });
    }
  }

  /** Adds to `row` the CPU per unit of `work(server, units)`, turn by turn. */
  async measure(row, servers, units, work) {
    await this.warm(servers, (server) => work(server, units));
    await this.turns(TURNS, servers, async (server) => {
      row.add(server.key, (await server.cpuOf(() => work(server, units))) / units);
    });
  }

  #wanted(item) {
    const key = item.key ?? item;
    return !this.only || this.only.some((name) => key === name || (name === 'bare' && key === 'tuned'));
  }
}
