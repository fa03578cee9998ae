import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { HAS_REDIS, RedisServer } from '../support/redis.js';
import { Node, until } from './nodes.js';

const total = (max: number) => [{ name: 't:{t}:all', max }];

(HAS_REDIS ? describe : describe.skip)('processes with different secrets', () => {
  let server: RedisServer;
  const nodes: Node[] = [];
  const [SECRET, OTHER] = ['s', 'o'].map((each) => each.repeat(40));

  beforeAll(async () => {
    server = await RedisServer.start();
  });
  afterEach(async () => {
    await Promise.all(nodes.splice(0).map((node) => node.kill()));
  });
  afterAll(() => server.stop());

  it.each([
    ['another secret', SECRET, OTHER, /dropped/, /dropped/],
    ['no secret', SECRET, undefined, /dropped/, /signs its messages/],
  ])('share limits, drop messages, and say so once: %s', async (_, first, second, firstSays, secondSays) => {
    await server.ask((redis) => redis.flushall());
    nodes.push(await Node.start(server.url, { secret: first }), await Node.start(server.url, { secret: second }));
    const [a, b] = nodes as [Node, Node];
    for (const node of nodes) await until('both are seen', async () => (await node.state()).nodes.length === 2);
    const said: string[][] = [[], []];
    const says = [firstSays, secondSays];
    await until('both have said so', async () => {
      await a.ask('cast', {}, 'secret');
      await b.ask('cast', {}, 'secret');
      for (const [index, node] of nodes.entries())
        said[index]!.push(...(await node.ask<string[]>('notices')).filter((line) => line.includes('cluster.secret')));
      return said.every((lines) => lines.length > 0);
    });
    for (const [index, lines] of said.entries()) {
      expect(lines).toHaveLength(1);
      expect(lines[0]).toMatch(says[index]!);
      expect(lines[0]).not.toContain(SECRET);
    }
    expect(await a.ask<unknown[]>('received')).toEqual([]);
    expect((await a.state()).messages.unsigned).toBeGreaterThan(0);
    expect((await a.state()).status).toBe('up');
    expect(await a.ask('admit', total(5), 3)).toMatchObject({ admitted: 3 });
    expect(await b.ask('admit', total(5), 5)).toMatchObject({ admitted: 2 });
    // A request ends without the answer of the other process.
    expect(await a.ask('isOnline', 'ada')).toBe(false);
  });
});
