import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { ClusterStore } from '../../lib/cluster/contract.js';
import { MOST_ATTEMPTS } from '../../lib/cluster/redis/admissions.js';
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

  /** Number of scripts that Redis has run. */
  const scripts = async (): Promise<number> => {
    const stats = await server.ask((redis) => redis.info('commandstats'));
    return Number(/cmdstat_evalsha:calls=(\d+)/.exec(stats)?.[1] ?? 0);
  };

  it('of one turn are as few commands as possible, whatever their addresses', () =>
    withStore(async (store) => {
      const claims = (address: number) => [
        { name: `a:{192.0.2.${address}}:n`, max: 10 },
        { name: 't:{t}:all', max: 1000 },
      ];
      // Redis has the script.
      expect(await store.admit(claims(9))).toEqual({ outcome: 'admitted' });
      const before = await scripts();
      const answers = await Promise.all(Array.from({ length: 100 }, () => store.admit(claims(1))));
      expect(answers.map(({ outcome }) => outcome)).toEqual([
        ...new Array(10).fill('admitted'),
        ...new Array(90).fill('refused'),
      ]);
      expect((await scripts()) - before).toBe(Math.ceil(100 / MOST_ATTEMPTS));
      await Promise.all(Array.from({ length: MOST_ATTEMPTS }, (_, at) => store.admit(claims(10 + at))));
      expect((await scripts()) - before).toBe(Math.ceil(100 / MOST_ATTEMPTS) + 1);
      expect(await server.ask((redis) => redis.hvals('nsw:t:{t}:all'))).toEqual([String(11 + MOST_ATTEMPTS)]);
    }));

  it('of one turn after releases that Redis does not know: the places are exactly the free ones', () =>
    withStore(async (store) => {
      const claims = [{ name: 't:{t}:all', max: 5 }];
      for (let round = 0; round < 5; round++) {
        const answers = await Promise.all(Array.from({ length: 7 }, () => store.admit(claims)));
        expect(answers.filter(({ outcome }) => outcome === 'admitted')).toHaveLength(round === 0 ? 5 : 3);
        for (let each = 0; each < 3; each++) store.release(claims);
      }
      await until('it is written', async () => (await server.ask((redis) => redis.hvals('nsw:t:{t}:all')))[0] === '2');
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

  it('what is no number in a hash counts as nothing, and concerns no other attempt', () =>
    withStore(async (store) => {
      const rate = { limit: 10, window: 1000 };
      const names = ['nan', 'inf', '-inf', '-7', '1e300', 'text'].map((value) => [value, `a:{${value}}:n`] as const);
      const future = Date.now().toString(16).padStart(11, '0');
      for (const [value, name] of names)
        await server.ask((redis) => redis.hset(`nsw:${name}`, 'r', value, `${future}another`, value));
      const claims = names.map(([, name]) => [
        { name, max: 1, rate },
        { name: 't:{t}:all', max: 50 },
      ]);
      const answers = await Promise.all(claims.map((each) => store.admit(each)));
      expect(answers.map(({ outcome }) => outcome)).toEqual(names.map(() => 'admitted'));
      const again = await Promise.all(claims.map((each) => store.admit(each)));
      expect(again).toEqual(names.map(() => ({ outcome: 'refused', claim: 0, wait: undefined })));
      expect(store.status).toMatchObject({ breaker: 'closed', failures: 0 });
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
