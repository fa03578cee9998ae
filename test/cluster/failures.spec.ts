import { describe, expect, it } from '@jest/globals';
import { unusedPort } from '../support/ports.js';
import { HAS_REDIS, RedisServer } from '../support/redis.js';
import { TcpRelay } from '../support/tcp-relay.js';
import { sleep } from '../support/time.js';
import { Node, TOTAL, total, until, useCluster } from './nodes.js';

(HAS_REDIS ? describe : describe.skip)('a cluster whose Redis', () => {
  const cluster = useCluster();
  const { nodes, ends, start, agrees, everybody } = cluster;

  it('is stopped: attempts wait until a timeout, later ones find the circuit breaker open; and recovers', async () => {
    const [a, b] = (await start(2)) as [Node, Node];
    expect(await a.ask('admit', total(10), 4)).toMatchObject({ admitted: 4 });
    cluster.server.signal('SIGSTOP');
    // Five concurrent attempts, which wait for one timeout altogether.
    expect(await a.ask('admit', total(10), 5)).toMatchObject({ admitted: 5, isAtOnce: false });
    expect((await a.state()).breaker).toBe('open');
    expect(await a.ask('admit', total(10), 3)).toMatchObject({ admitted: 3, isAtOnce: true });
    expect((await a.state()).fallbacks).toBe(8);
    await a.ask('release', 2);
    cluster.server.signal('SIGCONT');
    await everybody('up');
    await agrees();
    expect(await b.ask('admit', total(10))).toMatchObject({ admitted: 0 });
    // One line per change.
    const notices = await a.ask<string[]>('notices');
    expect(notices).toEqual([
      expect.stringMatching(/joined, [12] process/),
      expect.stringMatching(/does not answer .*applies the limits by itself/),
      expect.stringMatching(/is back/),
    ]);
  }, 180_000);

  it('is gone: applies onFailure, and recovers when it returns without data', async () => {
    const [local, share, closed] = nodes as [Node, Node, Node];
    nodes.push(
      await Node.start(cluster.server.url, { onFailure: 'local' }),
      await Node.start(cluster.server.url, { onFailure: 'share' }),
      await Node.start(cluster.server.url, { onFailure: 'closed' }),
    );
    const [byLocal, byShare, byClosed] = nodes as [Node, Node, Node];
    expect([local, share, closed]).toEqual([undefined, undefined, undefined]);
    for (const node of nodes) await until('all are seen', async () => (await node.state()).nodes.length === 3);
    for (const node of nodes) expect(await node.ask('admit', total(30), 2)).toMatchObject({ admitted: 2 });
    await cluster.server.kill();
    await everybody('degraded');
    expect(await byLocal.ask('admit', total(30), 50)).toMatchObject({ admitted: 50 });
    // A third of 30, of which two are already held.
    expect(await byShare.ask('admit', total(30), 50)).toMatchObject({ admitted: 8, last: { kind: 'room' } });
    expect(await byClosed.ask('admit', total(30), 50)).toMatchObject({
      admitted: 0,
      last: { kind: 'unavailable', claim: -1 },
    });
    await byLocal.ask('release', 40);
    await cluster.server.restart();
    await everybody('up');
    await agrees();
    expect(await cluster.server.ask((redis) => redis.hvals(`nsw:${TOTAL}`))).toHaveLength(3);
  }, 180_000);

  it('is not reachable at the start: the process works alone, and joins later', async () => {
    const port = await unusedPort();
    const lonely = await Node.start(`redis://127.0.0.1:${port}`, { onFailure: 'closed' });
    nodes.push(lonely);
    expect((await lonely.ask<string[]>('notices'))[0]).toMatch(/does not answer/);
    expect(await lonely.ask('admit', total(5))).toMatchObject({ admitted: 0 });
    const late = await TcpRelay.start(cluster.server.port);
    ends.push(() => late.stop());
    // The Redis itself starts on that port, because a relay cannot choose its port.
    const other = await RedisServer.start('--port', String(port));
    ends.push(() => other.stop());
    await everybody('up');
    expect(await lonely.ask('admit', total(5), 9)).toMatchObject({ admitted: 5 });
  }, 180_000);

  it('was flushed: counts are written again at once', async () => {
    const [a, b] = (await start(2)) as [Node, Node];
    for (const node of nodes) expect(await node.ask('admit', total(10), 5)).toMatchObject({ admitted: 5 });
    await cluster.server.ask((redis) => redis.flushall());
    await agrees();
    expect(await a.ask('admit', total(10))).toMatchObject({ admitted: 0 });
    expect(await b.ask('admit', total(10))).toMatchObject({ admitted: 0 });
  });

  it('is out of memory: each process works alone, and recovers', async () => {
    const [a] = (await start(2)) as [Node, Node];
    await cluster.server.ask((redis) => redis.config('SET', 'maxmemory', '1'));
    try {
      await until('it is noticed', async () => {
        await a.ask('admit', [{ name: 'a:{192.0.2.1}:n', max: 1000 }], 3);
        return (await a.state()).status === 'degraded';
      });
      expect((await a.state()).lastError).toMatch(/OOM/);
    } finally {
      await cluster.server.ask((redis) => redis.config('SET', 'maxmemory', '0'));
    }
    await everybody('up');
    await agrees();
  }, 180_000);

  it('fails over to a replica without the last writes: recovers', async () => {
    const replica = await RedisServer.start('--replicaof', '127.0.0.1', String(cluster.server.port));
    ends.push(() => replica.stop());
    const relay = await TcpRelay.start(cluster.server.port);
    ends.push(() => relay.stop());
    const [a] = (await start(2, {}, `redis://127.0.0.1:${relay.port}`)) as [Node, Node];
    expect(await a.ask('admit', [{ name: 'a:{192.0.2.7}:n', max: 9 }], 2)).toMatchObject({ admitted: 2 });
    expect(await a.ask('admit', total(20), 5)).toMatchObject({ admitted: 5 });
    await until('it is replicated', async () => (await replica.ask((redis) => redis.hlen(`nsw:${TOTAL}`))) === 1);
    await replica.ask((redis) => redis.replicaof('NO', 'ONE'));
    // Too late for the replica.
    await a.ask('release', 2);
    expect(await a.ask('admit', total(20), 5)).toMatchObject({ admitted: 5 });
    // The former master is a replica now, and answers READONLY on connections that stay open.
    relay.target = replica.port;
    await cluster.server.ask((redis) => redis.replicaof('127.0.0.1', replica.port));
    try {
      await until(
        'all are with the new master',
        async () => {
          await a.ask('admit', [{ name: 'a:{192.0.2.1}:n', max: 1000 }]);
          for (const node of nodes) if ((await node.state()).status !== 'up') return false;
          return (await replica.ask((redis) => redis.client('LIST') as Promise<string>)).includes(
            'nest-secure-ws-commands',
          );
        },
        40_000,
      );
      await agrees(replica);
    } finally {
      await cluster.server.ask((redis) => redis.replicaof('NO', 'ONE'));
    }
  }, 180_000);

  it('has a broken pub/sub connection: the process detects, reports and reopens it', async () => {
    const relay = await TcpRelay.start(cluster.server.port);
    ends.push(() => relay.stop());
    const [a, b] = (await start(2, { timeout: 3000 }, `redis://127.0.0.1:${relay.port}`)) as [Node, Node];
    await everybody('up');
    const before = relay.connections;
    relay.swallows = (said) => said.includes('subscribe') && !said.includes('evalsha');
    await everybody('degraded');
    // The limits are shared nevertheless.
    expect(await a.ask('admit', total(5), 3)).toMatchObject({ admitted: 3 });
    expect(await b.ask('admit', total(5), 5)).toMatchObject({ admitted: 2 });
    await until('a new connection was made', async () => relay.connections > before);
    // It is reported when it has lasted for `timeout`.
    const reported: string[] = [];
    await until('it is reported', async () => {
      reported.push(...(await a.ask<string[]>('notices')).filter((line) => /do not arrive/.test(line)));
      return reported.length > 0;
    });
    relay.swallows = () => false;
    await everybody('up');
    await a.ask('cast', {}, 'there again');
    await until('it is heard', async () => (await b.ask<unknown[]>('received')).length === 1);
    reported.push(...(await a.ask<string[]>('notices')).filter((line) => /do not arrive/.test(line)));
    expect(reported).toHaveLength(1);
  }, 180_000);

  it('loses connections repeatedly: the counts stay exact', async () => {
    const relay = await TcpRelay.start(cluster.server.port);
    ends.push(() => relay.stop());
    await start(2, {}, `redis://127.0.0.1:${relay.port}`);
    const churning = Promise.all(nodes.map((node, index) => node.ask('churn', 3000, index + 1)));
    for (let round = 0; round < 8; round++) {
      await sleep(300);
      relay.cut();
    }
    await churning;
    await everybody('up');
    await agrees();
  }, 180_000);
});
