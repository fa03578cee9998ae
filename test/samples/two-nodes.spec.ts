import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeAll, expect, it } from '@jest/globals';
import { eventually } from '../support/app.js';
import { unusedPort } from '../support/ports.js';
import { has } from '../support/programs.js';
import { type HeadOptions, RawClient, upgradeHead } from '../support/raw-client.js';
import { HAS_REDIS, RedisServer } from '../support/redis.js';
import { accepts, ask, next, Running } from './processes.js';

const SAMPLE = resolve('sample/08-two-nodes');
const folder = mkdtempSync(join(tmpdir(), 'nest-secure-ws-'));
const running: Running[] = [];
const clients: RawClient[] = [];
let redis: RedisServer | undefined;

beforeAll(async () => {
  await promisify(execFile)(process.execPath, ['scripts/build-samples.mjs', '08-two-nodes'], {
    env: { ...process.env, NODE_OPTIONS: '' },
  });
}, 180_000);
afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  await Promise.all(running.splice(0).map((each) => each.stop(2_000)));
  await redis?.stop();
  rmSync(folder, { recursive: true, force: true });
});

function run(...args: ConstructorParameters<typeof Running>): Running {
  const started = new Running(...args);
  running.push(started);
  return started;
}

async function node(): Promise<{ readonly sample: Running; readonly port: number }> {
  const port = await unusedPort();
  const env = { PORT: String(port), WEBSOCKETS_CLUSTER_URL: redis!.url, WEBSOCKETS_CLUSTER_HEARTBEAT: '200ms' };
  const sample = run(process.execPath, [join(SAMPLE, 'dist/main.js')], { cwd: SAMPLE, env });
  await sample.prints(/Listening on/);
  return { sample, port };
}

async function proxy(ports: readonly number[]): Promise<number> {
  const port = await unusedPort();
  let text = readFileSync(join(SAMPLE, 'nginx.conf'), 'utf8');
  for (const [from, to] of [
    ['listen 8088', `listen 127.0.0.1:${port}`],
    ['127.0.0.1:3008', `127.0.0.1:${ports[0]}`],
    ['127.0.0.1:3009', `127.0.0.1:${ports[1]}`],
  ] as const) {
    expect(text).toContain(from);
    text = text.replace(from, to);
  }
  const spools = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((of) => `${of}_temp_path ${of};`);
  writeFileSync(join(folder, 'nginx.conf'), text.replace('http {', `http { ${spools.join(' ')}`));
  const env = { PATH: `${process.env['PATH']}:/usr/sbin` };
  const nginx = run('nginx', ['-p', '.', '-c', 'nginx.conf'], { cwd: folder, env });
  await Promise.race([accepts(port), nginx.exit().then(() => Promise.reject(new Error(nginx.printed)))]);
  return port;
}

(HAS_REDIS && has('nginx') ? it : it.skip)(
  'two processes behind nginx share limits, broadcasts, presence, disconnects and bans, and recover from a missing Redis',
  async () => {
    redis = await RedisServer.start();
    const nodes = [await node(), await node()];
    const port = await proxy(nodes.map((each) => each.port));
    const cluster = async () =>
      (await (await fetch(`http://127.0.0.1:${port}/cluster`)).json()) as { nodes: unknown[] };
    await eventually(() => nodes.every(({ sample }) => /cluster: joined/.test(sample.printed)));
    for (let together = 0; together !== 2; ) together = (await cluster()).nodes.length;

    const head = (name: string): HeadOptions => ({ path: `/chat?name=${name}` });
    const open = async (name: string, localAddress = '127.0.0.1'): Promise<RawClient> => {
      const client = await RawClient.open({ port, localAddress }, head(name));
      clients.push(client);
      return client;
    };
    const status = async (name: string, localAddress = '127.0.0.1'): Promise<number> => {
      const client = await RawClient.connect({ port, localAddress });
      clients.push(client);
      return (await client.upgrade(upgradeHead(port, head(name)))).status;
    };

    // nginx gives each process one of them.
    const [anna, bert] = [await open('anna', '127.0.0.5'), await open('bert', '127.0.0.6')];
    const entered = [await ask(anna, 'enter'), await ask(bert, 'enter')] as {
      data: { process: number; members: number };
    }[];
    expect(new Set(entered.map(({ data }) => data.process)).size).toBe(2);
    expect(entered[1]!.data.members).toBe(2);
    bert.send('say', 'hello');
    expect(await next(anna)).toMatchObject({ event: 'said', data: { by: 'bert', text: 'hello' } });
    expect(await ask(bert, 'online', 'anna')).toEqual({ event: 'online', data: true });
    expect(await ask(anna, 'online', 'zoe')).toEqual({ event: 'online', data: false });

    // Three connections of an address over both processes; a user has one.
    const third = '127.0.0.4';
    const statuses = [await status('c1', third), await status('c2', third), await status('c3', third)];
    expect(statuses).toEqual([101, 101, 101]);
    expect(await status('c4', third)).toBe(429);
    const second = await open('anna', '127.0.0.7');
    expect((await anna.closeFrame())?.code).toBe(1008);
    anna.destroy();

    const post = async (path: string) => (await fetch(`http://127.0.0.1:${port}/${path}`, { method: 'POST' })).json();
    expect(await post('disconnect/anna')).toEqual({ disconnected: 1 });
    expect((await second.closeFrame())?.code).toBe(1008);
    second.destroy();
    await post('ban/bert');
    expect((await bert.closeFrame())?.reason).toBe('banned');
    bert.destroy();
    for (let each = 0; each < 4; each++) expect(await status('bert', '127.0.0.8')).toBe(403);

    // Without Redis each process works alone, and both report it; with it they recover.
    await redis.kill();
    for (const { sample } of nodes)
      await sample.prints(/cluster: the store does not answer.*applies the limits by itself/);
    expect(await status('dora', '127.0.0.9')).toBe(101);
    await redis.restart();
    for (const { sample } of nodes) await sample.prints(/cluster: is back/, { timeout: 40_000 });
    for (let together = 0; together !== 2; ) together = (await cluster()).nodes.length;
    expect(await status('bert', '127.0.0.8')).toBe(403);

    for (const client of clients.splice(0)) client.destroy();
    expect(await nodes[0]!.sample.stop()).toBe(0);
    for (let left = 0; left !== 1; ) left = (await cluster()).nodes.length;
    expect(await nodes[1]!.sample.stop()).toBe(0);
  },
  120_000,
);
