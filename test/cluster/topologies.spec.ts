import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import { clusterBusTests, clusterStoreTests } from '../../lib/cluster/contract-tests.js';
import type { RedisClient } from '../../lib/cluster/redis/index.js';
import { unusedPort } from '../support/ports.js';
import { HAS_REDIS, RedisServer } from '../support/redis.js';
import { busIn, Node, storeIn, storeOptions, until, type Where } from './nodes.js';

const suite = HAS_REDIS ? describe : describe.skip;

suite('Redis Cluster', () => {
  const servers: RedisServer[] = [];
  let url = '';

  beforeAll(async () => {
    for (let each = 0; each < 3; each++)
      servers.push(await RedisServer.start('--cluster-enabled', 'yes', '--cluster-node-timeout', '2000'));
    const addresses = servers.map(({ port }) => `127.0.0.1:${port}`);
    execFileSync('redis-cli', ['--cluster', 'create', ...addresses, '--cluster-yes'], { stdio: 'ignore' });
    url = `redis+cluster://${addresses.join(',')}`;
    for (const server of servers)
      await until('the cluster is formed', () =>
        server.ask(async (redis) => /cluster_state:ok/.test((await redis.cluster('INFO')) as string)),
      );
  }, 180_000);
  afterAll(() => Promise.all(servers.map((server) => server.stop())));

  for (const { name, run } of clusterStoreTests(storeIn(() => ({ url })))) it(name, run);
  for (const { name, run } of clusterBusTests(busIn(() => ({ url })))) it(name, run);

  it('spreads addresses over its masters', async () => {
    const store = await storeIn(() => ({ url }))();
    await store.start(storeOptions('spread01'));
    for (let n = 0; n < 50; n++)
      expect(
        await store.admit([
          { name: `a:{10.0.0.${n}}:n`, max: 1 },
          { name: 't:{t}:all', max: 100 },
        ]),
      ).toEqual({
        outcome: 'admitted',
      });
    for (const server of servers)
      expect((await server.ask((redis) => redis.keys('nsw:a:*'))).length).toBeGreaterThan(5);
    await store.stop();
  });
});

suite("the application's own client", () => {
  let server: RedisServer;
  let client: Redis;
  beforeAll(async () => {
    server = await RedisServer.start();
    client = new Redis(server.port, '127.0.0.1', { keyPrefix: 'app:', lazyConnect: true });
  });
  afterAll(() => server.stop());

  const where = (): Where => ({ client: client as unknown as RedisClient });
  for (const { name, run } of clusterStoreTests(storeIn(where))) it(name, run);
  for (const { name, run } of clusterBusTests(busIn(where))) it(name, run);

  it('is neither connected nor closed, and its key prefix is not used', async () => {
    expect(client.status).toBe('wait');
    expect(await server.ask((redis) => redis.keys('app:*'))).toEqual([]);
  });
});

/** docs/cluster.md names these commands. */
const COMMANDS = [
  ...['evalsha', 'eval', 'time', 'hget', 'hset', 'hgetall', 'hdel', 'hkeys', 'pexpire', 'pttl', 'del', 'get'],
  ...['zadd', 'zrem', 'zrange', 'zrangebyscore', 'zremrangebyscore', 'zscore', 'zcard', 'zpopmin', 'incr', 'set'],
  ...['getdel', 'publish', 'subscribe', 'unsubscribe', 'info', 'client|setname'],
];

suite('a Redis user with the permissions of the manual', () => {
  let server: RedisServer;
  const url = () => `redis://nsw:secret@127.0.0.1:${server.port}`;
  const allow = (...rules: string[]) =>
    server.ask((redis) =>
      redis.call('ACL', 'SETUSER', 'nsw', 'reset', 'on', '>secret', '~nsw:*', '~{nsw:nodes}:*', '&nsw:*', ...rules),
    );

  beforeAll(async () => {
    server = await RedisServer.start();
    await allow(...COMMANDS.map((command) => `+${command}`));
  });
  afterAll(() => server.stop());

  it('needs every one of them, and no other, for all that a store does', async () => {
    // The tests use random names within the prefix.
    for (const { run } of clusterStoreTests(storeIn(() => ({ url: url() })))) await run();
    const node = await Node.start(url(), { maxBans: 1 });
    try {
      expect((await node.state()).status).toBe('up');
      await node.ask('admit', [{ name: 't:{t}:all', max: 5 }]);
      await node.ask('release', 1);
      await node.ask('room', 'lobby', true);
      await node.ask('room', 'lobby', false);
      for (let each = 0; each < 3; each++)
        await node.ask('ban', { id: `ip:192.0.2.${each}/32`, until: 1e14, value: '{}' });
      const used = async () => {
        const stats = await server.ask((redis) => redis.info('commandstats'));
        return [...stats.matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm)].flatMap(([, name]) => name!);
      };
      let missing: readonly string[] = COMMANDS;
      await until('all of them were used', async () => {
        const names = await used();
        missing = COMMANDS.filter((command) => !names.includes(command));
        return missing.length === 0;
      }).catch(() => expect(missing).toEqual([]));
    } finally {
      await node.kill();
    }
    // No command was refused.
    expect(await server.ask((redis) => redis.call('ACL', 'LOG'))).toEqual([]);
    const documented = readFileSync('docs/cluster.md', 'utf8').match(/^ACL SETUSER[\s\S]*?^```$/m)![0];
    expect([...documented.matchAll(/\+(\S+)/g)].map(([, command]) => command).sort()).toEqual([...COMMANDS].sort());
  });
});

suite('Sentinel', () => {
  const servers: RedisServer[] = [];
  const nodes: Node[] = [];
  afterAll(async () => {
    await Promise.all(nodes.map((node) => node.kill()));
    await Promise.all(servers.map((server) => server.stop()));
  });

  it('fails over, and the processes follow', async () => {
    const master = await RedisServer.start();
    const replica = await RedisServer.start('--replicaof', '127.0.0.1', String(master.port));
    servers.push(master, replica);
    const port = await unusedPort();
    const sentinel = await RedisServer.sentinel(port, [
      `sentinel monitor main 127.0.0.1 ${master.port} 1`,
      'sentinel down-after-milliseconds main 500',
      'sentinel failover-timeout main 3000',
    ]);
    servers.push(sentinel);
    await until('it knows the replica', async () =>
      sentinel.ask(async (redis) => ((await redis.call('SENTINEL', 'replicas', 'main')) as unknown[]).length === 1),
    );
    const url = `redis+sentinel://127.0.0.1:${port}/main`;
    for (let each = 0; each < 2; each++) nodes.push(await Node.start(url));
    const [a, b] = nodes as [Node, Node];
    const claims = [{ name: 't:{t}:all', max: 10 }];
    await until('both are seen', async () => (await a.state()).nodes.length === 2);
    expect(await a.ask('admit', claims, 6)).toMatchObject({ admitted: 6 });
    await until('it is replicated', async () => (await replica.ask((redis) => redis.exists('nsw:t:{t}:all'))) === 1);
    await master.kill();
    await until(
      'all processes are connected to the replica',
      async () => {
        for (const node of nodes) if ((await node.state()).status !== 'up') return false;
        // The lease may have ended meanwhile: until it is renewed, the six are not counted.
        const leases = await replica.ask(async (redis) => {
          const [seconds] = await redis.time();
          return redis.zcount('nsw:nodes', 1000 * (Number(seconds) + 1), '+inf');
        });
        return leases === 2 && (await replica.ask((redis) => redis.hvals('nsw:t:{t}:all'))).join() === '6';
      },
      40_000,
    );
    expect(await b.ask('admit', claims, 9)).toMatchObject({ admitted: 4 });
  }, 180_000);
});
