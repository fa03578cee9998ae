import { describe, expect, it } from '@jest/globals';
import { HAS_REDIS } from '../support/redis.js';
import { Node, TOTAL, total, until, useCluster } from './nodes.js';

const HOURS = 5 * 3_600_000;

/** The clock of Redis was set back by five hours: what was stored before is five hours ahead. */
(HAS_REDIS ? describe : describe.skip)('clocks that are set', () => {
  const cluster = useCluster();
  const { nodes } = cluster;
  const start = async (count: number, options: object = {}): Promise<Node[]> => {
    await cluster.start(count, options);
    await cluster.everybody('up');
    return nodes;
  };

  it('that of Redis, back: a crashed process is released within its lease', async () => {
    const [a, b] = (await start(2)) as [Node, Node];
    expect(await b.ask('admit', total(5), 5)).toMatchObject({ admitted: 5 });
    nodes.pop();
    await b.kill();
    await cluster.server.ask(async (redis) => {
      for (const who of await redis.zrange('nsw:nodes', '0', '-1'))
        if (who.endsWith(b.id)) await redis.zincrby('nsw:nodes', HOURS, who);
    });
    await until('b has left', async () => (await a.state()).nodes.length === 1);
    expect(await a.ask('admit', total(5), 5)).toMatchObject({ admitted: 5 });
  }, 180_000);

  it('that of Redis, back: processes with a longer lease keep it', async () => {
    nodes.push(
      await Node.start(cluster.server.url, { lease: 1000 }),
      await Node.start(cluster.server.url, { lease: 60_000 }),
    );
    const [short, long] = nodes as [Node, Node];
    await until('short has renewed after long', async () => (await short.state()).nodes.length === 2);
    const scores = () =>
      cluster.server.ask(async (redis) => {
        const all = await redis.zrange('nsw:nodes', '0', '-1', 'WITHSCORES');
        const at = all.findIndex((who) => who.endsWith(long.id));
        return Number(all[at + 1]) - Date.now();
      });
    for (let each = 0; each < 20; each++) {
      await short.state();
      expect(await scores()).toBeGreaterThan(30_000);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }, 180_000);

  it('that of Redis, back: counts of a process that has ended are not those of a younger one', async () => {
    const [a] = (await start(1)) as [Node];
    const future = (Date.now() + HOURS).toString(16).padStart(11, '0');
    await cluster.server.ask((redis) => redis.hset(`nsw:${TOTAL}`, `${future}somebody`, 5));
    expect(await a.ask('admit', total(5), 5)).toMatchObject({ admitted: 5 });
    expect(await cluster.server.ask((redis) => redis.hlen(`nsw:${TOTAL}`))).toBe(1);
  });

  it('that of Redis, back: no address is refused for hours', async () => {
    const [a] = (await start(1)) as [Node];
    const name = 'a:{192.0.2.1}:n';
    const claims = [{ name, max: 100, rate: { limit: 10, window: 200 } }];
    expect(await a.ask('admit', claims)).toMatchObject({ admitted: 1 });
    await cluster.server.ask(async (redis) => {
      const tat = Number(await redis.hget(`nsw:${name}`, 'r'));
      await redis.hset(`nsw:${name}`, 'r', String(tat + HOURS * 1000));
    });
    // The bucket is full for its window at most.
    await until(
      'it is admitted again',
      async () => (await a.ask<{ admitted: number }>('admit', claims)).admitted === 1,
    );
  }, 180_000);

  it('that of Redis, back: the oldest connection of a user is still the oldest', async () => {
    const [a] = (await start(1)) as [Node];
    const user = [{ name: 'u:{ada}:all', max: 2, onLimit: 'closeOldest' }];
    await a.ask('admitUser', user, 'first');
    await cluster.server.ask(async (redis) => {
      for (const each of await redis.zrange('nsw:u:{ada}:all', '0', '-1'))
        await redis.zincrby('nsw:u:{ada}:all', HOURS, each);
    });
    await a.ask('admitUser', user, 'second');
    await a.ask('admitUser', user, 'third');
    expect(await a.ask('displaced')).toEqual(['first']);
    await a.ask('admitUser', user, 'fourth');
    expect(await a.ask('displaced')).toEqual(['second']);
  });

  it.each([HOURS, -HOURS])(
    'that of a process, by %d ms: messages arrive, and refusals end',
    async (change) => {
      const [a, b] = (await start(2, { heartbeat: 60_000, lease: 200_000 })) as [Node, Node];
      expect(await b.ask('admit', total(1))).toMatchObject({ admitted: 1 });
      await a.ask('setClock', change);
      await a.ask('cast', {}, 'from a');
      await b.ask('cast', {}, 'from b');
      for (const node of nodes)
        await until('it is heard', async () => (await node.ask<unknown[]>('received')).length === 1);
      expect((await b.state()).messages.replayed).toBe(0);
      // A refusal that a caches, and tells b.
      expect(await a.ask('admit', total(1))).toMatchObject({ admitted: 0, last: { kind: 'room', wait: 5000 } });
      await until('b has the refusal', async () => (await b.state()).refusals === 1);
      expect((await a.ask<{ last: { wait: number } }>('admit', total(1))).last.wait).toBeLessThanOrEqual(5000);
      expect((await b.ask<{ last: { wait: number } }>('admit', total(1))).last.wait).toBeLessThanOrEqual(5000);
      await b.ask('release', 1);
      await until(
        'there is room again',
        async () => (await a.ask<{ admitted: number }>('admit', total(1))).admitted === 1,
      );
    },
    180_000,
  );
});
