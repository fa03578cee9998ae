import { describe, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import { HAS_REDIS, RedisServer } from '../support/redis.js';
import { TcpRelay } from '../support/tcp-relay.js';
import { sleep } from '../support/time.js';
import { Node, TOTAL, total, until, useCluster } from './nodes.js';

const address = (last: number, max = 1000) => [{ name: `a:{192.0.2.${last}}:n`, max }];

(HAS_REDIS ? describe : describe.skip)('a cluster whose Redis answers with errors, or late', () => {
  const cluster = useCluster();
  const { nodes, ends, agrees, everybody } = cluster;
  const start = async (count: number, options: object = {}, url?: string): Promise<Node[]> => {
    await cluster.start(count, options, url);
    await everybody('up');
    return nodes;
  };
  /** A connection for what cannot connect any more later. */
  const admin = async (of = cluster.server): Promise<Redis> => {
    const redis = new Redis(of.port, '127.0.0.1');
    await redis.ping();
    ends.push(() => redis.disconnect());
    return redis;
  };

  it('LOADING at the start, and after a restart with an old dump: processes work alone, and count exactly later', async () => {
    // A minute; the delay is ended below.
    const slow = ['--key-load-delay', '1000', '--loading-process-events-interval-bytes', '1024'];
    const loading = await RedisServer.start(...slow, '--enable-debug-command', 'yes');
    ends.push(() => loading.stop());
    const [a] = await start(1, {}, loading.url);
    // Released after the dump: the address altogether.
    expect(await a!.ask('admit', address(7), 2)).toMatchObject({ admitted: 2 });
    expect(await a!.ask('admitUser', [{ name: 'u:{ada}:all', max: 3, onLimit: 'refuse' }], 'c')).toBe(null);
    expect(await a!.ask('admit', total(10), 3)).toMatchObject({ admitted: 3 });
    await loading.ask((redis) => redis.call('DEBUG', 'POPULATE', '60000'));
    await loading.ask((redis) => redis.save());
    await a!.ask('release', 3);
    await a!.ask('releaseUser', [{ name: 'u:{ada}:all', max: 3, onLimit: 'refuse' }], 'c');
    await agrees(loading);
    await loading.kill();
    const loaded = loading.restart();
    const redis = new Redis(loading.port, '127.0.0.1', { enableReadyCheck: false, retryStrategy: () => 20 });
    ends.push(() => redis.disconnect());
    redis.on('error', () => undefined);
    await expect(redis.get('x')).rejects.toThrow('LOADING');
    const newcomer = await Node.start(loading.url);
    nodes.push(newcomer);
    for (const node of nodes) {
      expect((await node.state()).status).toBe('degraded');
      expect(await node.ask('admit', total(10), 2)).toMatchObject({ admitted: 2 });
    }
    await redis.config('SET', 'key-load-delay', '0');
    await loaded;
    await everybody('up');
    await agrees(loading);
    const members = async () => loading.ask((redis) => redis.zrange('nsw:u:{ada}:all', '0', '-1'));
    const live = async () => loading.ask((redis) => redis.zrange('nsw:nodes', '0', '-1'));
    await until('the user has left', async () => {
      const alive = await live();
      return (await members()).every((each) => !alive.includes(each.split('/')[0]!));
    });
  }, 180_000);

  it('maxclients reached at the start and while running: continues to try', async () => {
    const redis = await admin();
    ends.push(async () => void (await redis.config('SET', 'maxclients', '1000')));
    await redis.config('SET', 'maxclients', '1');
    const late = await Node.start(cluster.server.url);
    nodes.push(late);
    expect((await late.state()).status).toBe('degraded');
    expect(await late.ask('admit', total(9), 3)).toMatchObject({ admitted: 3 });
    await redis.config('SET', 'maxclients', '1000');
    await everybody('up');
    await agrees();
    await redis.config('SET', 'maxclients', '1');
    for (const type of ['normal', 'pubsub']) await redis.call('CLIENT', 'KILL', 'TYPE', type, 'SKIPME', 'yes');
    await everybody('degraded');
    expect(await late.ask('admit', total(9), 2)).toMatchObject({ admitted: 2 });
    // Room for one of the two connections.
    await redis.config('SET', 'maxclients', '1000');
    await everybody('up');
    await agrees();
  }, 180_000);

  describe('NOPERM: a right is taken away while running:', () => {
    const user = 'worker';
    const rules = ['reset', 'on', '>secret', '~nsw:*', '~{nsw:nodes}:*', '&nsw:*', '+@all'];
    const acl = (...more: string[]) => cluster.server.ask((redis) => redis.call('ACL', 'SETUSER', user, ...more));
    const restricted = async (count: number): Promise<Node[]> => {
      await acl(...rules);
      ends.push(async () => void (await cluster.server.ask((redis) => redis.call('ACL', 'DELUSER', user))));
      return start(count, {}, `redis://${user}:secret@127.0.0.1:${cluster.server.port}`);
    };

    it.each(['evalsha', 'hgetall', 'zadd'])(
      '%s: each process works alone until it has it again',
      async (command) => {
        const [a] = await restricted(2);
        expect(await a!.ask('admit', total(50), 3)).toMatchObject({ admitted: 3 });
        await acl(`-${command}`);
        await until('it is noticed', async () => {
          await a!.ask('admit', address(1), 3);
          return (await a!.state()).status === 'degraded';
        });
        expect((await a!.state()).lastError).toMatch(/permission|can't run this command/);
        await acl(`+${command}`);
        await everybody('up');
        await agrees();
      },
      60_000,
    );

    it('publish and getdel: the limits stay shared, however often they are refused', async () => {
      const [a, b] = await restricted(2);
      await acl('-publish', '-getdel', '-set');
      for (let each = 0; each < 12; each++) {
        await a!.ask('cast', {}, 'not heard');
        expect(await a!.ask('take', 'k:ticket')).toBe(null);
        expect(await a!.ask('put', 'k:ticket', 'value')).toBe(false);
      }
      expect(await a!.ask('admit', total(5), 3)).toMatchObject({ admitted: 3 });
      expect(await b!.ask('admit', total(5), 5)).toMatchObject({ admitted: 2 });
      const state = await a!.state();
      expect(state).toMatchObject({ breaker: 'closed', fallbacks: 0, lastError: expect.stringMatching(/permission/) });
      expect(state.messages.unsent).toBeGreaterThanOrEqual(12);
      await everybody('degraded');
      await acl('+publish', '+getdel', '+set');
      await everybody('up');
      expect(await a!.ask('put', 'k:ticket', 'value')).toBe(true);
      expect(await b!.ask('take', 'k:ticket')).toBe('value');
    }, 180_000);

    it('the channels: the limits stay shared, and messages arrive when it has them again', async () => {
      const [a, b] = await restricted(2);
      await acl('resetchannels');
      await everybody('degraded');
      expect(await a!.ask('admit', total(5), 3)).toMatchObject({ admitted: 3 });
      expect(await b!.ask('admit', total(5), 5)).toMatchObject({ admitted: 2 });
      await until('it says why', async () => /channel/.test((await a!.state()).lastError ?? ''));
      await acl('&nsw:*');
      await everybody('up');
      await a!.ask('cast', {}, 'there again');
      await until('it is heard', async () => (await b!.ask<unknown[]>('received')).length === 1);
    }, 180_000);
  });

  it('READONLY for long: does not connect again and again', async () => {
    const [a] = await start(1);
    const received = async (): Promise<number> =>
      Number(/total_connections_received:(\d+)/.exec(await redis.info('stats'))![1]);
    const redis = await admin();
    ends.push(async () => void (await redis.replicaof('NO', 'ONE')));
    // A replica of nobody.
    await redis.replicaof('127.0.0.1', 1);
    await until('it is noticed', async () => {
      await a!.ask('admit', address(1), 3);
      return (await a!.state()).status === 'degraded';
    });
    const before = await received();
    const begun = performance.now();
    for (let each = 0; each < 40; each++) {
      await a!.ask('admit', address(1), 2);
      await sleep(50);
    }
    // Of each of the two connections. Without the limit there are ten to twenty a second.
    const most = 4 + 2 * Math.ceil((performance.now() - begun) / 1000);
    expect((await received()) - before).toBeLessThanOrEqual(most);
    await redis.replicaof('NO', 'ONE');
    await everybody('up');
    await agrees();
  }, 180_000);

  it('evicted keys (allkeys-lru): the processes stay together, and each attempt puts its counts right', async () => {
    const [a, b] = await start(2);
    for (let last = 0; last < 40; last++)
      for (const node of nodes) expect(await node.ask('admit', address(last), 2)).toMatchObject({ admitted: 2 });
    const redis = await admin();
    ends.push(async () => void (await redis.config('SET', 'maxmemory', '0')));
    const used = Number(/used_memory:(\d+)/.exec(await redis.info('memory'))![1]);
    await redis.config('SET', 'maxmemory-policy', 'allkeys-lru');
    await redis.config('SET', 'maxmemory', String(used + 500_000));
    for (let each = 0; each < 3000; each++) await redis.set(`other:${each}`, 'x'.repeat(1000));
    expect(Number(/evicted_keys:(\d+)/.exec(await redis.info('stats'))![1])).toBeGreaterThan(0);
    for (const node of nodes) expect(await node.ask('admit', total(10))).toMatchObject({ admitted: 1 });
    await redis.config('SET', 'maxmemory', '0');
    await redis.config('SET', 'maxmemory-policy', 'noeviction');
    await everybody('up');
    for (let last = 0; last < 40; last++)
      for (const node of [a!, b!]) expect(await node.ask('admit', address(last))).toMatchObject({ admitted: 1 });
    await agrees();
  }, 180_000);

  it('SCRIPT FLUSH again and again: no attempt fails, the counts stay exact', async () => {
    await start(2, { timeout: 3000, heartbeat: 3500, lease: 20_000 });
    const churning = Promise.all(nodes.map((node, index) => node.ask('churn', 1500, index + 1)));
    for (let round = 0; round < 15; round++) {
      await cluster.server.ask((redis) => redis.script('FLUSH'));
      await sleep(100);
    }
    await churning;
    for (const node of nodes)
      expect(await node.state()).toMatchObject({ status: 'up', breaker: 'closed', failures: 0 });
    await agrees();
  }, 180_000);

  it('WRONGTYPE for one address or user: that one alone is affected, however often it comes', async () => {
    const [a, b] = await start(2);
    const user = [{ name: 'u:{eve}:all', max: 3, onLimit: 'refuse' }];
    await cluster.server.ask(async (redis) => {
      await redis.set('nsw:a:{192.0.2.66}:n', 'of another program');
      await redis.set('nsw:u:{eve}:all', 'of another program');
      await redis.hset('nsw:a:{192.0.2.67}:n', 'r', 'no number', 'fffffffffffsomebody', 'no number');
    });
    for (let each = 0; each < 12; each++) {
      // Admitted by the limits of the process itself.
      expect(await a!.ask('admit', address(66))).toMatchObject({ admitted: 1 });
      await a!.ask('admitUser', user, `c${each}`);
    }
    const rate = { limit: 100, window: 1000 };
    expect(await a!.ask('admit', [{ ...address(67)[0]!, rate }])).toMatchObject({ admitted: 1 });
    expect(await a!.state()).toMatchObject({
      status: 'up',
      breaker: 'closed',
      lastError: expect.stringMatching(/WRONGTYPE/),
    });
    expect(await a!.ask('admit', total(5), 3)).toMatchObject({ admitted: 3 });
    expect(await b!.ask('admit', total(5), 5)).toMatchObject({ admitted: 2 });
    for (let each = 0; each < 12; each++) await a!.ask('releaseUser', user, `c${each}`);
    await a!.ask('release', 100);
    await until('the rest was released', async () =>
      cluster.server.ask(async (redis) => (await redis.hvals(`nsw:${TOTAL}`)).join() === '2'),
    );
    // What belongs to another program is neither changed nor asked for again and again.
    await sleep(300);
    const { failures } = await a!.state();
    await sleep(300);
    expect((await a!.state()).failures).toBe(failures);
    expect(await cluster.server.ask((redis) => redis.mget('nsw:a:{192.0.2.66}:n', 'nsw:u:{eve}:all'))).toEqual([
      'of another program',
      'of another program',
    ]);
  }, 180_000);

  it('each answer late, but in time: the limits stay exact, and nothing is left behind', async () => {
    const relay = await TcpRelay.start(cluster.server.port);
    ends.push(() => relay.stop());
    await start(2, { timeout: 3000, heartbeat: 3500, lease: 20_000 }, `redis://127.0.0.1:${relay.port}`);
    relay.delay = 400;
    await Promise.all(nodes.map((node, index) => node.ask('churn', 3000, index + 1)));
    await agrees();
    for (const node of nodes)
      expect(await node.state()).toMatchObject({ breaker: 'closed', fallbacks: 0, failures: 0 });
    relay.delay = 0;
  }, 180_000);

  it('is restarted empty while 1000 connections of as many addresses are open: all are counted again', async () => {
    const [a] = await start(2);
    for (let last = 0; last < 1000; last++) await a!.ask('admit', [...address(last), ...total(5000)]);
    await agrees();
    await cluster.server.kill();
    await everybody('degraded');
    await cluster.server.restart();
    await everybody('up');
    await agrees();
    expect(await cluster.server.ask((redis) => redis.hvals(`nsw:${TOTAL}`))).toEqual(['1000']);
  }, 180_000);
});
