import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import { clusterBusTests, clusterStoreTests } from '../../lib/cluster/contract-tests.js';
import { MemoryCluster } from '../../lib/cluster/memory.js';
import { ADMIT_USER, ASSERT_USER } from '../../lib/cluster/redis/scripts.js';
import { HAS_REDIS, RedisServer } from '../support/redis.js';
import { busIn, storeIn } from './nodes.js';

describe('the cluster contract in memory', () => {
  const cluster = new MemoryCluster();
  for (const { name, run } of clusterStoreTests(() => cluster.store())) it(name, run);
  for (const { name, run } of clusterBusTests(() => cluster.bus())) it(name, run);
});

(HAS_REDIS ? describe : describe.skip)('the cluster contract in Redis', () => {
  let server: RedisServer;
  beforeAll(async () => {
    server = await RedisServer.start();
  });
  afterAll(() => server.stop());

  const where = () => ({ url: server.url });
  for (const { name, run } of clusterStoreTests(storeIn(where))) it(name, run);
  for (const { name, run } of clusterBusTests(busIn(where))) it(name, run);

  it('keeps the time that Redis gave a connection of a user when it is written again', async () => {
    const redis = new Redis(server.url);
    try {
      const own = '00000000000one';
      await redis.eval(ADMIT_USER.lua, 1, 'user', own, 0, '', 60_000, 'first', 9, 'closeOldest');
      const opened = await redis.zscore('user', `${own}/first`);
      expect(Number(opened)).toBeGreaterThan(0);
      // The process claims a later time, and a connection that Redis has lost.
      await redis.eval(ASSERT_USER.lua, 1, 'user', own, 0, '', 60_000, Number(opened) + 5000, 'first', 7, 'lost');
      expect(await redis.zscore('user', `${own}/first`)).toBe(opened);
      expect(await redis.zscore('user', `${own}/lost`)).toBe('7');
    } finally {
      redis.disconnect();
    }
  });
});
