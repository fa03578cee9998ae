import { afterAll, expect, it } from '@jest/globals';
import { HAS_REDIS, RedisServer } from '../support/redis.js';
import { sleep } from '../support/time.js';
import { counted, Node, real, sorted, until } from './nodes.js';

/** `CHAOS_SECONDS=600 npm test -- test/cluster/chaos.spec.ts` is the long form; `CHAOS_SEED` repeats a run. */
const SECONDS = Number(process.env['CHAOS_SECONDS'] ?? 10);
const SEED = Number(process.env['CHAOS_SEED'] ?? Date.now() % 100_000);

const nodes: Node[] = [];
let server: RedisServer | undefined;
afterAll(async () => {
  await Promise.all(nodes.map((node) => node.kill()));
  await server?.stop();
});

(HAS_REDIS ? it : it.skip)(
  `after kills, stops, flushes and restarts Redis counts exactly the live connections (seed ${SEED})`,
  async () => {
    const redis = await RedisServer.start();
    server = redis;
    let random = SEED;
    const next = (below: number): number => {
      random = (Math.imul(random, 1_103_515_245) + 12_345) >>> 0;
      return (random >>> 8) % below;
    };
    const join = async (): Promise<Node> => {
      const node = await Node.start(redis.url);
      nodes.push(node);
      return node;
    };
    for (let each = 0; each < 3; each++) await join();
    const end = Date.now() + SECONDS * 1000;
    const busy = new Map<Node, Promise<unknown>>();
    /** Opens and closes connections in a process until the run or the process ends. */
    const churn = (node: Node): void => {
      busy.set(node, node.ask('churn', end - Date.now(), next(1000)));
    };
    for (const node of nodes) churn(node);

    const log: string[] = [];
    const disasters: Record<string, () => Promise<void>> = {
      async 'a process is killed, another one comes'() {
        const [node] = nodes.splice(next(nodes.length), 1);
        await node!.kill();
        churn(await join());
      },
      async 'a process is frozen'() {
        const node = nodes[next(nodes.length)]!;
        node.signal('SIGSTOP');
        await sleep(next(2) === 0 ? 500 : 2500);
        node.signal('SIGCONT');
      },
      async 'Redis is frozen'() {
        redis.signal('SIGSTOP');
        await sleep(300 + next(1500));
        redis.signal('SIGCONT');
      },
      async 'Redis is killed, and comes back empty'() {
        await redis.kill();
        await sleep(next(1000));
        await redis.restart();
      },
      async 'Redis is flushed'() {
        await redis.ask((each) => each.flushall());
      },
    };
    while (Date.now() < end - 1000) {
      const names = Object.keys(disasters);
      const name = names[next(names.length)]!;
      log.push(name);
      await disasters[name]!();
      await sleep(next(800));
    }
    await Promise.all(nodes.map((node) => busy.get(node)));
    await until(
      `all are up and counted after ${log.join(', ')}`,
      async () => {
        for (const node of nodes) if ((await node.state()).status !== 'up') return false;
        const [there, held] = [await redis.ask((each) => counted(each, nodes)), await real(nodes)];
        return JSON.stringify(sorted(there)) === JSON.stringify(sorted(held));
      },
      45_000,
    );
    // Some connections are open, and none is counted after all have closed.
    expect(Object.keys(await real(nodes)).length).toBeGreaterThan(0);
    for (const node of nodes) await node.ask('release', 100_000);
    await until('nothing is counted', async () => {
      const there = await redis.ask((each) => counted(each, nodes));
      return Object.keys(there).length === 0;
    });
    expect(log.length).toBeGreaterThan(2);
  },
  SECONDS * 1000 + 90_000,
);
