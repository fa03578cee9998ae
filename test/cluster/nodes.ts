import { afterAll, afterEach, beforeAll, beforeEach } from '@jest/globals';
import type { Redis } from 'ioredis';
import type { ClusterBus, ClusterStore, ClusterStoreOptions } from '../../lib/cluster/contract.js';
import type { ClusterState } from '../../lib/cluster/node.js';
import { redisCluster } from '../../lib/cluster/redis/index.js';
import { Child } from '../support/child.js';
import { RedisServer } from '../support/redis.js';

/** A process of a cluster: `test/cluster/process.ts`. */
export class Node {
  private constructor(
    private readonly child: Child,
    readonly id: string,
  ) {}

  static async start(url: string, options: object = {}, env: NodeJS.ProcessEnv = {}): Promise<Node> {
    const child = await Child.start('test/cluster/process.ts', [url, JSON.stringify(options)], env);
    return new Node(child, child.ready as string);
  }

  async ask<T = unknown>(what: string, ...rest: unknown[]): Promise<T> {
    return (await this.child.ask<{ answer: T }>([what, ...rest])).answer;
  }

  state(): Promise<ClusterState> {
    return this.ask('state');
  }

  signal(signal: NodeJS.Signals): void {
    this.child.process.kill(signal);
  }

  /** Kills it, as a crash does. */
  async kill(): Promise<void> {
    this.child.process.kill('SIGCONT');
    await this.child.end('SIGKILL');
  }
}

/** Polls until the condition holds. Only a hang takes longer than the default time limit. */
export async function until(what: string, holds: () => Promise<boolean>, timeout = 30_000): Promise<void> {
  const end = Date.now() + timeout;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`not within ${timeout} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** The counts in Redis of live processes by name, without empty ones. */
export async function counted(redis: Redis, nodes: readonly Node[]): Promise<Record<string, Record<string, number>>> {
  const alive = new Map<string, string>();
  for (const incarnation of await redis.zrange('nsw:nodes', '0', '-1')) alive.set(incarnation, incarnation.slice(11));
  const found: Record<string, Record<string, number>> = {};
  for (const key of [...(await redis.keys('nsw:a:*')), ...(await redis.keys('nsw:t:*'))])
    for (const [incarnation, count] of Object.entries(await redis.hgetall(key))) {
      const id = alive.get(incarnation);
      if (id === undefined || incarnation === 'r') continue;
      // The lease of a process that was killed may not have ended: then nothing agrees yet.
      const who = nodes.some((node) => node.id === id) ? id : `nobody: ${incarnation}`;
      (found[key.slice(4)] ??= {})[who] = Number(count);
    }
  return found;
}

/** The actual counts of each process by name. */
export async function real(nodes: readonly Node[]): Promise<Record<string, Record<string, number>>> {
  const found: Record<string, Record<string, number>> = {};
  for (const node of nodes)
    for (const [name, count] of Object.entries(await node.ask<Record<string, number>>('counts')))
      (found[name] ??= {})[node.id] = count;
  return found;
}

/** The same value with sorted keys. */
export const sorted = (value: unknown): unknown =>
  typeof value !== 'object' || value === null
    ? value
    : Object.fromEntries(
        Object.entries(value)
          .sort(([a], [b]) => (a < b ? -1 : 1))
          .map(([key, inner]) => [key, sorted(inner)]),
      );

export type Where = Parameters<typeof redisCluster>[0];

/** Only the store of a cluster; its bus is never started. */
export const storeIn = (where: () => Where) => async (): Promise<ClusterStore> =>
  (await redisCluster(where(), 'nsw')).store;

/** Options of a store without callbacks. */
export const storeOptions = (id: string): ClusterStoreOptions => ({
  id,
  prefix: 'nsw',
  timeout: 1000,
  heartbeat: 1000,
  lease: 5000,
  maxBans: 10,
  about: () => '',
  onChange: () => undefined,
  onBans: () => undefined,
  onBansLost: () => undefined,
});

/** The bus of a cluster, with the store whose connection it publishes on. */
export const busIn = (where: () => Where) => async (): Promise<ClusterBus> => {
  const { store, bus } = await redisCluster(where(), 'nsw');
  const { start, stop } = bus;
  bus.start = async (options) => {
    await store.start(storeOptions('x'.repeat(8)));
    await start.call(bus, options);
  };
  bus.stop = async () => {
    await store.stop();
    await stop.call(bus);
  };
  return bus;
};

/** A Redis for the tests of a suite, empty before each of them, and the processes that a test starts, which end with it. */
export function useCluster(defaults: object = {}) {
  let server: RedisServer;
  const nodes: Node[] = [];
  /** What else ends with the test, the newest first. */
  const ends: (() => Promise<void> | void)[] = [];

  beforeAll(async () => {
    server = await RedisServer.start();
  });
  beforeEach(async () => {
    await server.ask((redis) => redis.flushall());
  });
  afterEach(async () => {
    await Promise.all(nodes.splice(0).map((node) => node.kill()));
    for (const end of ends.splice(0).reverse()) await end();
  });
  afterAll(() => server.stop());

  return {
    get server(): RedisServer {
      return server;
    },
    nodes,
    ends,

    /** Starts processes, and waits until each sees all of them. */
    async start(count: number, options: object = {}, url = server.url): Promise<Node[]> {
      const all = { ...defaults, ...options };
      nodes.push(...(await Promise.all(Array.from({ length: count }, () => Node.start(url, all)))));
      for (const node of nodes) await until('all are seen', async () => (await node.state()).nodes.length === count);
      return nodes;
    },

    /** Waits until the counts in Redis equal those of the processes. */
    agrees: (of = server): Promise<void> =>
      until('what Redis counts is what there is', async () => {
        const [there, held] = [await of.ask((redis) => counted(redis, nodes)), await real(nodes)];
        return JSON.stringify(sorted(there)) === JSON.stringify(sorted(held));
      }),

    everybody: (status: 'up' | 'degraded'): Promise<void> =>
      until(
        `all are ${status}`,
        async () => {
          for (const node of nodes) if ((await node.state()).status !== status) return false;
          return true;
        },
        40_000,
      ),
  };
}

/** The name of the claim of all connections. */
export const TOTAL = 't:{t}:all';
/** The claim of one connection in total. */
export const total = (max: number) => [{ name: TOTAL, max }];
