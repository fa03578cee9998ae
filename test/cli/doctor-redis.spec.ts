import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import type { DoctorReport } from '../../lib/cli/doctor/examine.js';
import type { Finding } from '../../lib/cli/doctor/finding.js';
import { unusedPort } from '../support/ports.js';
import { HAS_REDIS, RedisServer } from '../support/redis.js';
import { runJson } from './run.js';

jest.setTimeout(120_000);

const suite = HAS_REDIS ? describe : describe.skip;
const folder = mkdtempSync(join(tmpdir(), 'nest-secure-ws-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Doctor's findings about the Redis at a URL. */
async function look(url: string): Promise<readonly Finding[]> {
  writeFileSync(join(folder, '.env'), `WEBSOCKETS_CLUSTER_URL=${url}\nWEBSOCKETS_CLUSTER_TIMEOUT=10s\n`);
  const { json, stdout, stderr } = await runJson<DoctorReport>(['doctor', '--workers', '4'], { cwd: folder });
  expect(`${stdout}${stderr}`).not.toContain('canary');
  expect(json.checks.find(({ check }) => check === 'workers')?.status).toBe('passed');
  return json.findings.filter(({ check }) => check === 'redis');
}
const words = (findings: readonly Finding[]) =>
  findings.map(({ severity, what, where }) => `${severity}: ${where}: ${what}`);

async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 50));
}

suite('doctor on Sentinels', () => {
  const servers: RedisServer[] = [];
  const sentinels: RedisServer[] = [];
  const url = (name = 'main', at = sentinels) =>
    `redis+sentinel://:canary-password@${at.map(({ port }) => `127.0.0.1:${port}`).join(',')}/${name}`;
  beforeAll(async () => {
    const password = ['--requirepass', 'canary-password', '--masterauth', 'canary-password'];
    const master = await RedisServer.start(...password);
    const replica = await RedisServer.start('--replicaof', '127.0.0.1', String(master.port), ...password);
    servers.push(master, replica);
    for (let each = 0; each < 3; each++)
      sentinels.push(
        await RedisServer.sentinel(await unusedPort(), [
          `sentinel monitor main 127.0.0.1 ${master.port} 2`,
          'sentinel auth-pass main canary-password',
          'sentinel down-after-milliseconds main 500',
          // None of these tests waits for a failover.
          'sentinel failover-timeout main 600000',
        ]),
      );
    for (const sentinel of sentinels)
      await until(() =>
        sentinel.ask(async (redis) => /slaves=1,sentinels=3\b/.test((await redis.call('INFO', 'sentinel')) as string)),
      );
  });
  afterAll(() => Promise.all([...sentinels, ...servers].map((each) => each.stop())));

  it('finds nothing in a good deployment', async () => {
    expect(words(await look(url()))).toEqual([]);
  });

  it('finds an unknown master name, a wrong password, and a server that is not a Sentinel', async () => {
    expect(words(await look(url('other')))[0]).toMatch(
      /^error: .*: It cannot be queried: no Sentinel names the master/,
    );
    expect(words(await look(url().replace('canary', 'wrong')))).toEqual([
      expect.stringMatching(`^error: Redis at 127.0.0.1:${servers[0]!.port}: It cannot be queried: WRONGPASS`),
    ]);
    const master = `redis+sentinel://:canary-password@127.0.0.1:${servers[0]!.port}/main?sentinelPassword=canary-password`;
    expect(words(await look(master)).join()).toContain('it is not a Sentinel');
    expect(words(await look(`redis://127.0.0.1:${sentinels[0]!.port}`))).toEqual([
      expect.stringContaining('It cannot be queried: it is a Sentinel, which needs redis+sentinel://'),
    ]);
  });

  it('asks the other Sentinels when one is gone, and finds a master that is gone', async () => {
    await sentinels[0]!.kill();
    expect(words(await look(url()))).toEqual([
      expect.stringMatching(
        `^warning: Sentinel at 127.0.0.1:${sentinels[0]!.port}: It cannot be queried: connect ECONNREFUSED`,
      ),
    ]);
    // With one of three left there is no majority to fail over.
    await sentinels[1]!.kill();
    await servers[0]!.kill();
    await until(() =>
      sentinels[2]!.ask(async (redis) => /status=s?o?down/.test((await redis.call('INFO', 'sentinel')) as string)),
    );
    const found = words(await look(url('main', [sentinels[2]!])));
    expect(found.slice(0, 2)).toEqual(
      expect.arrayContaining([
        expect.stringMatching(/^error: Sentinel at .*: The master's status is /),
        expect.stringMatching(/^error: Redis at .*: It cannot be queried: connect ECONNREFUSED/),
      ]),
    );
  });
});

suite('doctor on a Redis Cluster', () => {
  const servers: RedisServer[] = [];
  const addresses = () => servers.map(({ port }) => `127.0.0.1:${port}`);
  const url = () => `redis+cluster://${addresses().slice(0, 2).join(',')}`;
  const MASTERS = 3;
  beforeAll(async () => {
    for (let each = 0; each < 2 * MASTERS; each++)
      servers.push(await RedisServer.start('--cluster-enabled', 'yes', '--cluster-node-timeout', '2000'));
    execFileSync('redis-cli', ['--cluster', 'create', ...addresses(), '--cluster-replicas', '1', '--cluster-yes'], {
      stdio: 'ignore',
    });
    for (const server of servers)
      await until(() =>
        server.ask(async (redis) => {
          const [info, slots] = [await redis.cluster('INFO'), (await redis.call('CLUSTER', 'SLOTS')) as unknown[][]];
          return /cluster_state:ok/.test(info as string) && slots.every((range) => range.length === 4);
        }),
      );
  });
  afterAll(() => Promise.all(servers.map((server) => server.stop())));

  it('finds nothing in a good deployment', async () => {
    expect(words(await look(url()))).toEqual([]);
  });

  it('checks each master', async () => {
    const [, second] = servers as [RedisServer, RedisServer];
    await second.ask((redis) => redis.call('CONFIG', 'SET', 'maxmemory', '64mb', 'maxmemory-policy', 'allkeys-lru'));
    expect(words(await look(url()))).toEqual([
      `warning: Redis at 127.0.0.1:${second.port}: maxmemory is 64 MiB with maxmemory-policy allkeys-lru.`,
    ]);
    await second.ask((redis) => redis.call('CONFIG', 'SET', 'maxmemory', '0'));
    expect(words(await look(`redis://127.0.0.1:${second.port}`))).toEqual([
      expect.stringContaining('It is a node of a Redis Cluster.'),
    ]);
  });

  it('needs only the permissions that the manual names', async () => {
    const rules = ['reset', 'on', '>canary-password', '~nsw:*', '~{nsw:nodes}:*', '&nsw:*'];
    const commands = ['+info', '+client|setname', '+time', '+cluster|slots', '+cluster|info'];
    for (const server of servers)
      await server.ask((redis) => redis.call('ACL', 'SETUSER', 'nsw', ...rules, ...commands));
    expect(words(await look(url().replace('//', '//nsw:canary-password@')))).toEqual([]);
    for (const server of servers) expect(await server.ask((redis) => redis.call('ACL', 'LOG'))).toEqual([]);
  });

  it('finds uncovered slots, and a node of the URL that is gone', async () => {
    await Promise.all([servers[0]!.kill(), ...servers.slice(MASTERS).map((server) => server.kill())]);
    await until(() =>
      servers[1]!.ask(async (redis) => /cluster_state:fail/.test((await redis.cluster('INFO')) as string)),
    );
    const found = words(await look(url()));
    expect(found).toEqual(
      expect.arrayContaining([
        expect.stringMatching(
          /^error: Redis at .*: The state of the cluster is fail; \d+ of 16384 slots are served\.$/,
        ),
        expect.stringMatching(/^warning: .*: It cannot be queried as a node of a Redis Cluster: connect ECONNREFUSED/),
      ]),
    );
    for (const server of servers) await server.kill();
    expect(words(await look(url()))[0]).toMatch(/^error: .*: It cannot be queried: no node describes the cluster/);
  });
});
