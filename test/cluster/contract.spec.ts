import { afterAll, beforeAll, describe, it } from '@jest/globals';
import { clusterBusTests, clusterStoreTests, MemoryCluster } from '../../lib/cluster/index.js';
import { RedisBus } from '../../lib/cluster/redis/bus.js';
import { connectorOf, loadIoredis } from '../../lib/cluster/redis/client.js';
import { RedisLink } from '../../lib/cluster/redis/link.js';
import { RedisStore } from '../../lib/cluster/redis/store.js';
import { parseRedisUrl, type RedisAddress } from '../../lib/cluster/redis/url.js';
import { HAS_REDIS, RedisServer } from '../support/redis.js';

describe('in memory', () => {
  const cluster = new MemoryCluster();
  for (const { name, run } of clusterStoreTests(() => cluster.store())) it(name, run);
  for (const { name, run } of clusterBusTests(() => cluster.bus())) it(name, run);
});

(HAS_REDIS ? describe : describe.skip)('in Redis', () => {
  let server: RedisServer;
  beforeAll(async () => {
    server = await RedisServer.start();
  });
  afterAll(() => server.stop());

  const connect = async () => connectorOf(await loadIoredis(), parseRedisUrl(server.url) as RedisAddress);
  const store = async () => new RedisStore((await connect())('commands'), 'test');
  const bus = async () => {
    const client = (await connect())('commands');
    const made = new RedisBus(
      (await connect())('messages'),
      new RedisLink(
        client,
        () => undefined,
        () => performance.now(),
      ),
    );
    const { start, stop } = made;
    let isStopped = false;
    made.start = async (options) => {
      await client.connect();
      await start.call(made, options);
    };
    made.stop = async () => {
      if (!isStopped) client.disconnect();
      isStopped = true;
      await stop.call(made);
    };
    return made;
  };
  for (const { name, run } of clusterStoreTests(store)) it(name, run);
  for (const { name, run } of clusterBusTests(bus)) it(name, run);
});
