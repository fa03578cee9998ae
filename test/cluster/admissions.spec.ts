import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { ClusterStore } from '../../lib/cluster/contract.js';
import { HAS_REDIS, RedisServer } from '../support/redis.js';
import { storeIn, storeOptions, until } from './nodes.js';

(HAS_REDIS ? describe : describe.skip)('attempts in Redis', () => {
  let server: RedisServer;
  beforeAll(async () => {
    server = await RedisServer.start();
  });
  afterAll(() => server.stop());

  async function withStore(test: (store: ClusterStore) => Promise<void>): Promise<void> {
    await server.ask((redis) => redis.flushall());
    const store = await storeIn(() => ({ url: server.url }))();
    // No renewal falls into the test.
    await store.start({ ...storeOptions('only'), heartbeat: 60_000, lease: 200_000 });
    try {
      await test(store);
    } finally {
      await store.stop();
    }
  }

  it('of one turn of the event loop are decided in their order', () =>
    withStore(async (store) => {
      const claims = (address: number) => [
        { name: `a:{192.0.2.${address}}:n`, max: 2, rate: { limit: 3, window: 60_000 } },
        { name: 't:{t}:all', max: 5 },
      ];
      const first = claims(9);
      expect(await store.admit(first)).toEqual({ outcome: 'admitted' });
      const answers = await Promise.all([1, 1, 1, 1, 2, 3, 4].map((address) => store.admit(claims(address))));
      expect(answers).toEqual([
        { outcome: 'admitted' },
        { outcome: 'admitted' },
        { outcome: 'refused', claim: 0, wait: undefined },
        { outcome: 'refused', claim: 0, wait: expect.any(Number) },
        { outcome: 'admitted' },
        { outcome: 'admitted' },
        { outcome: 'refused', claim: 1, wait: undefined },
      ]);
      expect((answers[3] as { wait: number }).wait).toBeGreaterThan(0);
      expect(await server.ask((redis) => redis.hvals('nsw:t:{t}:all'))).toEqual(['5']);
      store.release(first);
      expect(
        await until(
          'it is written',
          async () => (await server.ask((redis) => redis.hvals('nsw:t:{t}:all')))[0] === '4',
        ),
      ).toBe(undefined);
    }));

  it('a thousand at once are admitted up to the limit', () =>
    withStore(async (store) => {
      const claims = [{ name: 't:{t}:all', max: 700 }];
      const answers = await Promise.all(Array.from({ length: 1000 }, () => store.admit(claims)));
      expect(answers.filter(({ outcome }) => outcome === 'admitted')).toHaveLength(700);
      expect(await server.ask((redis) => redis.hvals('nsw:t:{t}:all'))).toEqual(['700']);
    }));

  it('a key of another program under the same prefix concerns only the attempts that have it', () =>
    withStore(async (store) => {
      const [foreign, own] = ['a', 'b'].map((name) => [
        { name: `${name}:{x}:n`, max: 5 },
        { name: 't:{t}:all', max: 50 },
      ]);
      await server.ask((redis) => redis.set('nsw:a:{x}:n', 'a text'));
      const answers = await Promise.all([store.admit(foreign!), store.admit(own!), store.admit(foreign!)]);
      expect(answers.map(({ outcome }) => outcome)).toEqual(['unavailable', 'admitted', 'unavailable']);
      expect(store.status).toMatchObject({ breaker: 'closed', lastError: expect.stringMatching(/WRONGTYPE/) });
      for (const claims of [foreign!, own!, foreign!]) store.release(claims);
      await until(
        'what can be written is written',
        async () => !(await server.ask((redis) => redis.exists('nsw:b:{x}:n'))),
      );
      await until('the total too', async () => !(await server.ask((redis) => redis.exists('nsw:t:{t}:all'))));
      expect(await server.ask((redis) => redis.get('nsw:a:{x}:n'))).toBe('a text');
    }));

  it('is asked again with its text after SCRIPT FLUSH', () =>
    withStore(async (store) => {
      const claims = [{ name: 't:{t}:all', max: 5 }];
      expect(await store.admit(claims)).toEqual({ outcome: 'admitted' });
      await server.ask((redis) => redis.script('FLUSH'));
      const answers = await Promise.all([1, 2, 3, 4, 5].map(() => store.admit(claims)));
      expect(answers.filter(({ outcome }) => outcome === 'admitted')).toHaveLength(4);
      expect(store.status).toMatchObject({ breaker: 'closed', failures: 0 });
    }));
});
