import { expect, it, jest } from '@jest/globals';

jest.unstable_mockModule('ioredis', () => {
  throw new Error("Cannot find package 'ioredis'");
});

it('redisCluster() without ioredis reports what to install', async () => {
  const { redisCluster } = await import('../../../lib/cluster/redis/index.js');
  const start = redisCluster({ url: 'redis://:secret@127.0.0.1:1' }, 'nsw');
  await expect(start).rejects.toThrow(
    "cluster.url (WEBSOCKETS_CLUSTER_URL) needs the package 'ioredis', which could not be loaded: npm install ioredis",
  );
});
