import { describe, expect, it } from '@jest/globals';
import { HAS_REDIS } from '../support/redis.js';
import { sleep } from '../support/time.js';
import { Node, total, until, useCluster } from './nodes.js';

(HAS_REDIS ? describe : describe.skip)('processes of a cluster', () => {
  // Unless the test is about them, no time limit passes on a slow machine.
  const cluster = useCluster({ timeout: 10_000, lease: 30_000 });
  const { nodes, start, agrees } = cluster;

  const everywhere = <T>(what: string, ...rest: unknown[]): Promise<T[]> =>
    Promise.all(nodes.map((node) => node.ask<T>(what, ...rest)));

  it('enforce limits exactly during a concurrent burst, per address and in total', async () => {
    await start(3);
    const claims = [{ name: 'a:{192.0.2.1}:n', max: 40 }, ...total(100)];
    const bursts = await everywhere<{ admitted: number }>('admit', claims, 60);
    expect(bursts.reduce((sum, { admitted }) => sum + admitted, 0)).toBe(40);
    const others = await everywhere<{ admitted: number }>(
      'admit',
      [{ name: 'a:{192.0.2.2}:n', max: 90 }, ...total(100)],
      60,
    );
    expect(others.reduce((sum, { admitted }) => sum + admitted, 0)).toBe(60);
    await agrees();
  });

  it('refuse without asking Redis until there is room, and then admit at once', async () => {
    const [a, b] = (await start(2)) as [Node, Node];
    expect(await a.ask('admit', total(5), 9)).toMatchObject({ admitted: 5, last: { kind: 'room', claim: 0 } });
    await until('b has received the refusal', async () => (await b.state()).refusals === 1);
    const before = await calls();
    expect(await b.ask('admit', total(5), 500)).toMatchObject({ admitted: 0 });
    expect(await a.ask('admit', total(5), 500)).toMatchObject({ admitted: 0 });
    expect((await calls()) - before).toBeLessThan(100);
    await a.ask('release', 1);
    // It is told: a refusal that has only ended in the meantime is removed by the next attempt.
    await until('there is room', async () => (await b.state()).refusals === 0);
    expect(await b.ask('admit', total(5))).toMatchObject({ admitted: 1 });
    await agrees();
  });

  const calls = (): Promise<number> =>
    cluster.server.ask(async (redis) =>
      Number(/cmdstat_evalsha:calls=(\d+)/.exec(await redis.info('commandstats'))?.[1] ?? 0),
    );

  it('release what a crashed process held when its lease ends', async () => {
    const [a, b] = (await start(2, { lease: 1500 })) as [Node, Node];
    expect(await a.ask('admit', total(10), 10)).toMatchObject({ admitted: 10 });
    expect(await b.ask('admit', total(10))).toMatchObject({ admitted: 0 });
    await a.kill();
    await until(
      'its slots are free',
      async () => (await b.ask<{ admitted: number }>('admit', total(10), 10)).admitted === 10,
    );
    expect((await b.state()).nodes.length).toBe(1);
    nodes.splice(0, 1);
    await agrees();
  });

  it('release what a process held at once when it stops', async () => {
    const [a, b] = (await start(2, { lease: 600_000 })) as [Node, Node];
    expect(await a.ask('admit', total(10), 10)).toMatchObject({ admitted: 10 });
    await a.ask('stop');
    await until(
      'its slots are free',
      async () => (await b.ask<{ admitted: number }>('admit', total(10), 10)).admitted === 10,
    );
  });

  it('count a process again that was stopped for longer than its lease', async () => {
    const [a, b] = (await start(2, { lease: 1500 })) as [Node, Node];
    expect(await a.ask('admit', total(10), 6)).toMatchObject({ admitted: 6 });
    a.signal('SIGSTOP');
    await until('a is no longer counted', async () => (await b.state()).nodes.length === 1);
    expect(await b.ask('admit', total(10), 20)).toMatchObject({ admitted: 10 });
    a.signal('SIGCONT');
    await until('both are there', async () => (await b.state()).nodes.length === 2);
    await agrees();
    // Sixteen connections hold ten slots: no one is admitted until seven have closed.
    await b.ask('release', 6);
    await sleep(100);
    expect(await b.ask('admit', total(10))).toMatchObject({ admitted: 0 });
    await b.ask('release', 1);
    await until('there is room', async () => (await a.ask<{ admitted: number }>('admit', total(10))).admitted === 1);
    await agrees();
  });

  it('displace the oldest connection of a user in any process', async () => {
    const [a, b] = (await start(2)) as [Node, Node];
    const claims = [{ name: 'u:{x}:all', max: 1, onLimit: 'closeOldest' }];
    expect(await a.ask('admitUser', claims, 'first')).toBeNull();
    expect(await b.ask('admitUser', claims, 'second')).toBeNull();
    await until('it is told', async () => (await a.ask<string[]>('displaced')).includes('first'));
    expect(await cluster.server.ask((redis) => redis.zrange('nsw:u:{x}:all', '0', '-1'))).toEqual([
      expect.stringMatching(/\/second$/),
    ]);
    await b.ask('releaseUser', claims, 'second');
    await until(
      'nothing is left',
      async () => (await cluster.server.ask((redis) => redis.exists('nsw:u:{x}:all'))) === 0,
    );
  });

  it("receive each other's broadcasts in order, and not their own", async () => {
    const [a, b, c] = (await start(3, { secret: 'x'.repeat(32) })) as [Node, Node, Node];
    for (let n = 0; n < 20; n++) await a.ask('cast', {}, `{"n":${n}}`);
    await b.ask('cast', { gateway: '/chat', userKey: 'u' }, 'ü\n');
    const heardBy = async (node: Node, count: number) => {
      const heard: { scope: object; text: string }[] = [];
      await until('all is heard', async () => {
        heard.push(...(await node.ask<typeof heard>('received')));
        return heard.length >= count;
      });
      return heard;
    };
    expect((await heardBy(b, 20)).map(({ text }) => text)).toEqual(Array.from({ length: 20 }, (_, n) => `{"n":${n}}`));
    expect((await heardBy(c, 21)).filter(({ text }) => text === 'ü\n')).toEqual([
      { scope: { gateway: '/chat', userKey: 'u' }, text: 'ü\n' },
    ]);
    expect(await heardBy(a, 1)).toHaveLength(1);
    for (const node of nodes)
      expect((await node.state()).messages).toMatchObject({ gaps: 0, unsigned: 0, malformed: 0 });
  });

  it('receive broadcasts to a room only while they have a member', async () => {
    const [a, b] = (await start(2)) as [Node, Node];
    const subscribers = () => cluster.server.ask((redis) => redis.pubsub('CHANNELS', 'nsw:r:*'));
    await a.ask('cast', { room: 'lobby' }, 'nobody');
    await until('it was published', () =>
      cluster.server.ask(async (redis) => /cmdstat_publish/.test(await redis.info('commandstats'))),
    );
    // It must have been delivered to no process before there is a member.
    await sleep(2000);
    await b.ask('room', 'lobby', true);
    await until('it has subscribed', async () => ((await subscribers()) as string[]).length === 1);
    await a.ask('cast', { room: 'lobby' }, 'somebody');
    await until('it is heard', async () => {
      const heard = await b.ask<{ text: string }[]>('received');
      expect(heard.map(({ text }) => text)).not.toContain('nobody');
      return heard.length > 0;
    });
    await b.ask('room', 'lobby', false);
    await until('it has left', async () => ((await subscribers()) as string[]).length === 0);
  });

  it('drop and count messages that are unsigned or foreign', async () => {
    const [a] = (await start(1, { secret: 'x'.repeat(32) })) as [Node];
    const stranger = await Node.start(cluster.server.url, { secret: 'y'.repeat(32) });
    await stranger.ask('cast', {}, 'forged');
    await stranger.ask('ban', { id: 'ip:192.0.2.1/32', until: Date.now() + 60_000, value: '{}' });
    await cluster.server.ask((redis) => redis.publish('nsw:all', 'hello?'));
    await until('both are counted', async () => {
      const { messages } = await a.state();
      return messages.unsigned >= 3 && messages.malformed === 1;
    });
    expect(await a.ask('received')).toEqual([]);
    await stranger.kill();
  });

  it("answer each other's questions: presence, disconnects, counts", async () => {
    const [a, b, c] = (await start(3, { timeout: 2000 })) as [Node, Node, Node];
    await b.ask('online', 'alice');
    await c.ask('online', 'alice');
    expect(await a.ask('isOnline', 'alice')).toBe(true);
    expect(await a.ask('isOnline', 'bob')).toBe(false);
    expect(await a.ask('total', 'lobby')).toBe(6);
    expect(await a.ask('members', 'lobby')).toHaveLength(2);
    expect(await a.ask('disconnectUser', 'alice')).toBe(4);
    expect(await b.ask('disconnected')).toEqual(['user alice 1008 bye']);
    expect(await a.ask('isOnline', 'alice')).toBe(false);
    // The answer does not wait for a process that never gives its own.
    c.signal('SIGSTOP');
    expect(await a.ask('total', 'lobby')).toBe(3);
  });

  it.each([
    ['scripts of several languages', 'ключ ☃ 😀 ناصر'],
    ['NUL and line breaks', 'a\0b\r\nc'],
    ['braces, as the hash tags of Redis', '{x}{nsw:nodes}}{'],
    ['10 KiB', 'x'.repeat(10_240)],
    ['quotes and backslashes', `"'\\\\u0000`],
    ['the name of a property', '__proto__'],
    ['half a surrogate pair', 'x\ud800y'],
  ])('tell each other keys of users and names of rooms of unusual text: %s', async (_, key) => {
    const [a, b] = (await start(2)) as [Node, Node];
    await b.ask('online', key);
    expect(await a.ask('isOnline', key)).toBe(true);
    expect(await a.ask('isOnline', `${key}!`)).toBe(false);
    expect(await a.ask('members', key)).toEqual([{ id: expect.stringMatching(/^\d+-/) }]);
    await b.ask('room', key, true);
    await until('b hears the room', async () => {
      await a.ask('cast', { room: key }, key);
      return (await b.ask<{ scope: unknown }[]>('received')).some(
        ({ scope }) => JSON.stringify(scope) === JSON.stringify({ room: key }),
      );
    });
    expect(await a.ask('disconnectUser', key)).toBe(2);
    expect(await b.ask('disconnected')).toEqual([`user ${key} 1008 bye`]);
    expect(await a.ask('put', `k:${key}`, key)).toBe(true);
    expect(await b.ask('take', `k:${key}`)).toBe(Buffer.from(key).toString());
    expect((await b.state()).messages).toMatchObject({ malformed: 0, unsigned: 0 });
  });

  it('share bans with later processes and after Redis has lost them', async () => {
    const [a, b] = (await start(2)) as [Node, Node];
    const ban = { id: 'ip:192.0.2.1/32', until: Date.now() + 60_000, value: '{}' };
    await a.ask('ban', ban);
    const bansOf = (node: Node) => node.ask<string[]>('bans');
    await until('it is told', async () => (await bansOf(b)).includes(ban.id));
    await until(
      'it is saved',
      async () => (await cluster.server.ask((redis) => redis.hlen('{nsw:nodes}:bans:values'))) === 1,
    );
    await cluster.server.ask((redis) => redis.flushall());
    await until(
      'it is saved again',
      async () => (await cluster.server.ask((redis) => redis.hlen('{nsw:nodes}:bans:values'))) === 1,
    );
    const late = await Node.start(cluster.server.url);
    nodes.push(late);
    await until('it is told later', async () => (await bansOf(late)).includes(ban.id));
    await b.ask('unban', ban.id);
    for (const node of [a, late]) await until('its end is told', async () => (await bansOf(node)).length === 0);
  });
});
