import { afterEach, describe, expect, it, jest } from '@jest/globals';
import { Logger, Module, type Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { SubscribeMessage } from '@nestjs/websockets';
import { Redis } from 'ioredis';
import {
  ConfigurationError,
  SecureGateway,
  SecureWsBroadcaster,
  SecureWsModule,
  type SecureWsOptions,
  UseAdmissionGuards,
} from 'nest-secure-ws';
import { SecureWsTickets, ticketGuard } from 'nest-secure-ws/guards';
import { until } from '../cluster/nodes.js';
import { eventually, startApp, type TestApp } from '../support/app.js';
import { unusedPort } from '../support/ports.js';
import { RawClient, upgradeHead } from '../support/raw-client.js';
import { HAS_REDIS, RedisServer } from '../support/redis.js';

@SecureGateway({ path: '/' })
class Gateway {
  @SubscribeMessage('x') x() {}
}

const env = { ...process.env };
const ends: (() => Promise<unknown>)[] = [];
const clients: RawClient[] = [];
afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  for (const end of ends.splice(0).reverse()) await end();
  process.env = { ...env };
  jest.restoreAllMocks();
});

@SecureGateway({ path: '/ticket' })
@UseAdmissionGuards(ticketGuard())
class TicketGateway {}

async function start(options: SecureWsOptions = {}, gateways: readonly Type[] = [Gateway]): Promise<TestApp> {
  const app = await startApp({ gateways, options });
  ends.push(() => app.close());
  return app;
}

async function redis(...args: string[]): Promise<RedisServer> {
  const server = await RedisServer.start(...args);
  ends.push(() => server.stop());
  return server;
}

async function status(app: TestApp): Promise<number> {
  const client = await RawClient.connect({ port: app.port });
  clients.push(client);
  return (await client.upgrade(upgradeHead(app.port))).status;
}

/** The lines that the library wrote to Nest's log. */
function log(): string[] {
  const lines: string[] = [];
  for (const level of ['log', 'warn', 'error'] as const)
    jest.spyOn(Logger.prototype, level).mockImplementation((line: unknown) => void lines.push(`${level}: ${line}`));
  return lines;
}

/** Processes notice each other soon; Redis has the time to answer on a busy machine. */
const quick = { heartbeat: '200ms', lease: '30s', timeout: '10s' };

describe('a cluster in an application', () => {
  it.each([
    [
      { url: 'redis://:canary@host:port' },
      /cluster\.url \(WEBSOCKETS_CLUSTER_URL\): the value \(not shown\) is not the URL of a Redis; expected redis:\/\//,
    ],
    [{ url: 'redis://:canary@h', heartbeat: '10s' }, /cluster\.lease .*twice cluster\.heartbeat/],
    [
      { url: 'redis://:canary@h', client: new Redis({ lazyConnect: true }) },
      /cluster\.url .*cluster\.client .*exclude each other/,
    ],
    [{ store: { start() {}, admit() {}, release() {} } }, /cluster\.store and cluster\.bus need each other/],
    [{ prefix: 'a b' }, /cluster\.prefix .*is not a prefix/],
    [{ secret: 'canary' }, /cluster\.secret .*not shown/],
    [{ client: {} }, /cluster\.client: .*is not an ioredis client/],
  ])('does not start with %#, and repeats no secret', async (cluster, expected) => {
    const error = await start({ cluster: cluster as never }).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(ConfigurationError);
    expect((error as Error).message).toMatch(expected);
    expect((error as Error).message).not.toContain('canary');
  });

  (HAS_REDIS ? it : it.skip)(
    'is configured by one variable; without Redis the application starts, says so, and joins later',
    async () => {
      const port = await unusedPort();
      const lines = log();
      process.env['WEBSOCKETS_CLUSTER_URL'] = `redis://:canary@127.0.0.1:${port}`;
      const [open, closed] = [
        await start({ cluster: quick }),
        await start({ cluster: { ...quick, onFailure: 'closed' } }),
      ];
      expect([await status(open), await status(closed)]).toEqual([101, 503]);
      expect(lines.filter((line) => /cluster/.test(line) && line.startsWith('warn'))).toEqual([
        expect.stringMatching(
          /the store does not answer \(.*\); each process applies the limits by itself \(cluster\.onFailure\)/,
        ),
        expect.stringMatching(/the store does not answer \(.*\); new connections get 503/),
        expect.stringMatching(/refused 503 cluster-unavailable/),
      ]);
      await redis('--port', String(port), '--requirepass', 'canary');
      await eventually(() => [open, closed].every((app) => app.stats().cluster?.status === 'up'), 40_000);
      expect([await status(open), await status(closed)]).toEqual([101, 101]);
      expect(lines.filter((line) => /cluster: joined|cluster: is back/.test(line))).toHaveLength(2);
      expect(lines.join()).not.toContain('canary');
    },
    180_000,
  );

  (HAS_REDIS ? it : it.skip)("takes the application's own client, and leaves it alone", async () => {
    const server = await redis();
    const client = new Redis(server.port, '127.0.0.1', { lazyConnect: true });
    const app = await start({ cluster: { ...quick, client } });
    await eventually(() => app.stats().cluster?.status === 'up');
    expect(await status(app)).toBe(101);
    expect(client.status).toBe('wait');
  });

  (HAS_REDIS ? it : it.skip)('admits one of many that bring a ticket to two processes at once', async () => {
    const server = await redis();
    const options = {
      connections: { maxPerIp: 1000, rate: '10000/1s' },
      bans: { failures: null },
      cluster: { ...quick, url: server.url },
    };
    const [a, b] = [await start(options, [Gateway, TicketGateway]), await start(options, [Gateway, TicketGateway])];
    await eventually(() => [a, b].every((app) => app.stats().cluster?.nodes.length === 2));
    for (let round = 0; round < 8; round++) {
      const ticket = await [a, b][round % 2]!.app.get(SecureWsTickets).issue({ userKey: 'alice', path: '/ticket' });
      const attempts = await Promise.all(
        Array.from({ length: 16 }, async (_, n) => {
          const { port } = [a, b][n % 2]!;
          const client = await RawClient.connect({ port });
          clients.push(client);
          return () => client.upgrade(upgradeHead(port, { path: `/ticket?ticket=${ticket}` }));
        }),
      );
      const answers = await Promise.all(attempts.map((each) => each()));
      expect(answers.map((each) => each.status).sort()).toEqual([101, ...Array(15).fill(401)]);
      for (const client of clients.splice(0)) client.destroy();
    }
    await eventually(() => [a, b].every((app) => app.stats().slots === 0 && app.stats().pending === 0));
    // Used tickets leave no key.
    expect(await server.ask((client) => client.keys('nsw:k:*'))).toEqual([]);
  });

  (HAS_REDIS ? it : it.skip)(
    'releases once each peer that leaves while Redis is asked about it and others',
    async () => {
      const server = await redis();
      const options = { connections: { maxPerIp: 9, rate: '1000/1s' }, cluster: { ...quick, url: server.url } };
      const app = await start(options);
      await eventually(() => app.stats().cluster?.status === 'up');
      const counted = () => server.ask((client) => client.hvals('nsw:t:{t}:all'));
      // Redis has the script.
      expect(await status(app)).toBe(101);
      server.signal('SIGSTOP');
      for (let each = 0; each < 8; each++) {
        const client = await RawClient.connect({ port: app.port });
        clients.push(client);
        client.write(upgradeHead(app.port));
      }
      await eventually(() => app.stats().slots === 9);
      for (const client of clients.filter((_, index) => index % 2 === 1)) client.destroy();
      await eventually(() => app.stats().slots === 5);
      server.signal('SIGCONT');
      await until('those that stayed are counted', async () => (await counted()).join() === '5');
      expect(app.stats()).toMatchObject({ pending: 0, slots: 5, cluster: { fallbacks: 0, failures: 0 } });
      // Exactly the places of those that left are free.
      const more = await Promise.all([1, 2, 3, 4, 5].map(() => status(app)));
      expect(more.sort()).toEqual([101, 101, 101, 101, 429]);
      for (const client of clients.splice(0)) client.destroy();
      await until('nobody is counted', async () => (await counted()).length === 0);
      expect(app.stats().slots).toBe(0);
    },
  );

  (HAS_REDIS ? it : it.skip)('reaches gateways from an application without HTTP', async () => {
    const server = await redis();
    const app = await start({ cluster: { ...quick, url: server.url } });
    const client = await RawClient.open({ port: app.port });
    clients.push(client);

    @Module({ imports: [SecureWsModule.forRoot({ cluster: { ...quick, url: server.url } })] })
    class Worker {}
    const worker = await NestFactory.createApplicationContext(Worker, { logger: false });
    ends.push(() => worker.close());
    await eventually(() => app.stats().cluster?.nodes.length === 2);
    worker.get(SecureWsBroadcaster).emit('news', 1);
    expect(await client.json()).toEqual({ event: 'news', data: 1 });
    await worker.close();
    await eventually(() => app.stats().cluster?.nodes.length === 1);
  });
});
