import { afterAll, beforeAll, describe, it } from '@jest/globals';
import { clusterBusTests, clusterStoreTests } from '../../lib/cluster/contract-tests.js';
import { MemoryCluster } from '../../lib/cluster/memory.js';
import { HAS_REDIS, RedisServer } from '../support/redis.js';
import { busIn, storeIn } from './nodes.js';

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

  const where = () => ({ url: server.url });
  for (const { name, run } of clusterStoreTests(storeIn(where))) it(name, run);
  for (const { name, run } of clusterBusTests(busIn(where))) it(name, run);
});
