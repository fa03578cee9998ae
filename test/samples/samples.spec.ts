import { execFile, execFileSync } from 'node:child_process';
import { lookup } from 'node:dns/promises';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { selfSigned } from '../support/certificates.js';
import { unusedPort } from '../support/ports.js';
import { has } from '../support/programs.js';
import { type HeadOptions, RawClient, type RawOptions, upgradeHead } from '../support/raw-client.js';
import { accepts, ask, next, Running } from './processes.js';

/** Builds every sample, starts it as its README says, connects to it, and stops it. */
beforeAll(async () => {
  await promisify(execFile)(process.execPath, ['scripts/build-samples.mjs'], {
    env: { ...process.env, NODE_OPTIONS: '' },
  });
}, 180_000);

let folder: string;
const running: Running[] = [];
const clients: RawClient[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'nest-secure-ws-'));
});
afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  await Promise.all(running.splice(0).map((each) => each.stop(2_000)));
  rmSync(folder, { recursive: true, force: true });
});

function run(...args: ConstructorParameters<typeof Running>): Running {
  const started = new Running(...args);
  running.push(started);
  return started;
}

interface Started {
  readonly sample: Running;
  readonly port: number;
}

/** Starts a sample in its own folder, with its `.env`, on a free port. */
async function start(
  name: string,
  { file = 'main.js', cwd = resolve('sample', name), env = {} } = {},
): Promise<Started> {
  const port = await unusedPort();
  const program = resolve('sample', name, 'dist', file);
  const sample = run(process.execPath, [program], { cwd, env: { PORT: String(port), ...env } });
  await sample.prints(/Listening on/);
  return { sample, port };
}

async function open(options: RawOptions, head?: HeadOptions): Promise<RawClient> {
  const client = await RawClient.open(options, head);
  clients.push(client);
  return client;
}

async function refusal(
  options: RawOptions,
  head?: HeadOptions,
): Promise<{ status: number; headers: Record<string, string> }> {
  const client = await RawClient.connect(options);
  clients.push(client);
  return client.upgrade(upgradeHead(options.port, head));
}

/** Stops a sample with an open connection: the close code and the exit code. */
async function end(sample: Running, client: RawClient): Promise<{ code: number | null; closed: number | undefined }> {
  const farewell = client.closeFrame().then((frame) => {
    for (const each of clients) each.destroy();
    return frame?.code;
  });
  const [code, closed] = await Promise.all([sample.stop(), farewell]);
  return { code, closed };
}

describe('01-quick-start', () => {
  it('starts with its script, serves the page and the gateway, and exits with 0', async () => {
    const port = await unusedPort();
    const sample = run(process.execPath, ['scripts/start.mjs'], {
      env: { PORT: String(port), WEBSOCKETS_SERVER: 'acme' },
    });
    await sample.prints(/^Listening on http:\/\/localhost:\d+\/$/m);
    expect(sample.printed.trim().split('\n')).toHaveLength(1);

    const page = await fetch(`http://127.0.0.1:${port}/`);
    expect(page.headers.get('content-security-policy')).toMatch(/^default-src 'none';(?!.*unsafe)/);
    for (const [, path] of (await page.text()).matchAll(/(?:src|href)="(?!https:)([^"]+)"/g))
      expect((await fetch(new URL(path!, page.url))).status).toBe(200);
    expect(await (await fetch(`${page.url}settings.json`)).json()).toMatchObject({ server: 'acme', maxSize: 2 ** 20 });

    const [one, two] = [await open({ port }), await open({ port })];
    expect(await ask(one, 'echo', ['a', 1])).toEqual({ event: 'echo', data: ['a', 1] });
    one.send('shout', 'hear');
    for (const client of [one, two]) expect(await next(client)).toEqual({ event: 'shout', data: 'hear' });

    // Like the preconnected sockets of a browser, which stay open when the server stops.
    const silent = await Promise.all([RawClient.connect({ port }), RawClient.connect({ port })]);
    silent[1]!.write('GET / HTTP/1.1\r\nHo');
    expect(await end(sample, two)).toEqual({ code: 0, closed: 1001 });
    for (const client of silent) client.destroy();
  });

  it('reads every setting from .env in the working directory', async () => {
    const port = await unusedPort();
    writeFileSync(join(folder, '.env'), `PORT=${port}\nWEBSOCKETS_SERVER=from a file\nWEBSOCKETS_STRIKES=1/1m\n`);
    const sample = run(process.execPath, [resolve('sample/01-quick-start/dist/main.js')], { cwd: folder });
    await sample.prints(new RegExp(`localhost:${port}/`));
    const client = await RawClient.connect({ port });
    clients.push(client);
    expect((await client.upgrade(upgradeHead(port))).headers).toMatchObject({ server: 'from a file' });
    for (let i = 0; i < 2; i++) client.send('no such event');
    expect(await client.closeFrame()).toMatchObject({ code: 1008 });
  });

  it.each([[{ WEBSOCKETS_MAX_SIZE: 'huge', WEBSOCKETS_PING_INTERVAL: '-1' }], [{ PORT: '65536' }]])(
    'does not start with %j, and explains why',
    async (variables) => {
      const lines = Object.entries(variables).map(([name, value]) => `${name}=${value}\n`);
      writeFileSync(join(folder, '.env'), lines.join(''));
      const program = resolve('sample/01-quick-start/dist/main.js');
      const sample = run(process.execPath, [program], { cwd: folder });
      expect(await sample.exit()).toBe(1);
      for (const text of Object.entries(variables).flat()) expect(sample.printed).toContain(text);
      expect(sample.printed).not.toContain('Listening');
    },
  );
});

describe('02-guards-and-env', () => {
  it('admits clients with a token, and none during maintenance', async () => {
    const { sample, port } = await start('02-guards-and-env');
    const head = { path: '/chat' };
    expect(await refusal({ port }, head)).toMatchObject({ status: 401, headers: { 'www-authenticate': 'Bearer' } });
    const client = await open({ port }, { ...head, headers: { Authorization: 'Bearer blue-sky' } });
    expect(await ask(client, 'say', 'hi')).toEqual({ event: 'said', data: { by: 'anna', text: 'hi' } });
    expect(await end(sample, client)).toEqual({ code: 0, closed: 1001 });
    const maintained = await start('02-guards-and-env', { env: { MAINTENANCE: 'true' } });
    expect(await refusal({ port: maintained.port }, head)).toMatchObject({ status: 503 });
  });
});

(has('openssl') ? describe : describe.skip)('03-own-port-tls', () => {
  it('takes the name from a client’s certificate, and refuses clients without one', async () => {
    const here = resolve('sample/03-own-port-tls');
    for (const file of ['.env', 'certificates.sh']) copyFileSync(join(here, file), join(folder, file));
    execFileSync('sh', [join(folder, 'certificates.sh')], { stdio: 'ignore' });
    const sample = run(process.execPath, [join(here, 'dist/main.js')], { cwd: folder });
    const [, port] = await sample.prints(/Listening on wss:\/\/localhost:(\d+)/);
    const read = (name: string) => readFileSync(join(folder, 'certificates', name));
    const tls = { cert: read('anna.pem'), key: read('anna.key'), ca: read('ca.pem'), rejectUnauthorized: true };
    const address = { port: Number(port), host: 'localhost' };
    const client = await open({ ...address, tls }, { path: '/feed' });
    expect(await ask(client, 'hello')).toEqual({ event: 'hello', data: 'hello, anna' });
    await expect(open({ ...address, tls: {} }, { path: '/feed' })).rejects.toThrow();
    expect(await end(sample, client)).toEqual({ code: 0, closed: 1001 });
  });
});

/** The differences between the two proxies. */
const PROXIES = [
  {
    name: 'nginx',
    file: 'nginx.conf',
    plain: 'listen 8080',
    tls: 'listen 8443',
    args: ['-p', '.', '-c', 'nginx.conf'],
  },
  { name: 'haproxy', file: 'haproxy.cfg', plain: 'bind :8081', tls: 'bind :8444', args: ['-f', 'haproxy.cfg'] },
];

describe('04-behind-nginx', () => {
  /** The sample's configuration, with free ports and a certificate. */
  async function startProxy({ name, file, plain, tls, args }: (typeof PROXIES)[number], application: number) {
    const ports = { plain: await unusedPort(), tls: await unusedPort() };
    const { cert, key } = selfSigned();
    mkdirSync(join(folder, 'certificates'));
    for (const [of, text] of Object.entries({ 'server.pem': cert, 'server.key': key, 'both.pem': cert + key }))
      writeFileSync(join(folder, 'certificates', of), text);
    const [verb] = plain.split(' ');
    let text = readFileSync(join('sample/04-behind-nginx', file), 'utf8');
    for (const [from, to] of [
      [plain, `${verb} 127.0.0.1:${ports.plain}`],
      [tls, `${verb} 127.0.0.1:${ports.tls}`],
      ['127.0.0.1:3004', `127.0.0.1:${application}`],
    ] as const) {
      expect(text).toContain(from);
      text = text.replace(from, to);
    }
    // Only so that nginx does not need to write to system folders.
    const spools = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((of) => `${of}_temp_path ${of};`);
    writeFileSync(join(folder, file), text.replace('http {', `http { ${spools.join(' ')}`));
    const env = { PATH: `${process.env['PATH']}:/usr/sbin` };
    const proxy = run(name, args, { cwd: folder, env });
    await Promise.race([accepts(ports.tls), proxy.exit().then(() => Promise.reject(new Error(proxy.printed)))]);
    return ports;
  }

  for (const proxy of PROXIES)
    (has(proxy.name) && has('openssl') ? it : it.skip)(
      `knows the clients behind ${proxy.name}, and limits each one`,
      async () => {
        const { sample, port } = await start('04-behind-nginx');
        const ports = await startProxy(proxy, port);
        const host = `localhost:${ports.tls}`;
        const from = (localAddress: string) => ({ port: ports.tls, tls: {}, localAddress });
        const head = (headers = {}) => ({ path: '/who', headers: { Host: host, ...headers } });

        const page = await fetch(`http://127.0.0.1:${ports.plain}/`);
        expect(await page.text()).toContain('ordinary');

        // The client's address and TLS are known, and a page of the same origin is accepted.
        const first = await open(from('127.0.0.5'), head({ Origin: `https://${host}` }));
        expect(await ask(first, 'who')).toEqual({ event: 'who', data: { ip: '127.0.0.5', secure: true } });
        expect(await refusal(from('127.0.0.5'), head({ Origin: 'https://evil.example' }))).toMatchObject({
          status: 403,
        });

        // Headers that a client invents are ignored.
        const lies = { 'X-Forwarded-For': '203.0.113.9', 'X-Forwarded-Proto': 'http', Forwarded: 'for=203.0.113.9' };
        const liar = await open(from('127.0.0.5'), head(lies));
        expect(await ask(liar, 'who')).toEqual({ event: 'who', data: { ip: '127.0.0.5', secure: true } });
        const secure = { 'X-Forwarded-Proto': 'https' };
        expect(await refusal({ port: ports.plain }, { path: '/who', headers: secure })).toMatchObject({ status: 403 });
        const around = { port, localAddress: '127.0.0.7' };
        expect(
          await refusal(around, { path: '/who', headers: { ...secure, 'X-Forwarded-For': '127.0.0.8' } }),
        ).toMatchObject({
          status: 403,
        });

        // Three connections per client.
        await open(from('127.0.0.5'), head());
        const refused = await refusal(from('127.0.0.5'), head(lies));
        expect(refused).toMatchObject({ status: 429, headers: { 'retry-after': expect.any(String) } });
        const neighbour = await open(from('127.0.0.6'), head());
        expect(await ask(neighbour, 'who')).toEqual({ event: 'who', data: { ip: '127.0.0.6', secure: true } });

        expect(await end(sample, neighbour)).toEqual({ code: 0, closed: 1001 });
      },
    );
});

describe('05-behind-fastify', () => {
  it('serves pages and the gateway on every loopback address', async () => {
    const { sample, port } = await start('05-behind-fastify');
    expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toContain('Fastify');
    for (const { address: host } of await lookup('localhost', { all: true })) {
      const client = await open({ port, host }, { path: '/sum' });
      expect(await ask(client, 'sum', [1, 2, 3])).toEqual({ event: 'sum', data: 6 });
      expect(await ask(client, 'sum', 'many')).toMatchObject({
        event: 'exception',
        data: { message: 'data must be a list of numbers' },
      });
      client.send('sum', 'x'.repeat(4096));
      expect(await client.closeFrame()).toMatchObject({ code: 1009 });
      client.destroy();
    }
    expect(await sample.stop()).toBe(0);
  });
});

describe('06-rooms-and-broadcast', () => {
  it('delivers messages in a room to its members', async () => {
    const { sample, port } = await start('06-rooms-and-broadcast');
    const at = { path: '/rooms' };
    const [one, two, other] = [await open({ port }, at), await open({ port }, at), await open({ port }, at)];
    for (const client of [one, two])
      expect(await ask(client, 'join', { room: 'tea' })).toEqual({ event: 'rooms', data: ['tea'] });
    // Messages from outside are not delivered inside.
    other.send('say', { room: 'tea', text: 'let me in' });
    expect(await ask(other, 'join', { room: 'clock' })).toEqual({ event: 'rooms', data: ['clock'] });
    one.send('say', { room: 'tea', text: 'hello' });
    for (const client of [one, two])
      expect(await next(client)).toEqual({ event: 'said', data: { room: 'tea', text: 'hello' } });
    expect(await ask(one, 'leave', { room: 'tea' })).toEqual({ event: 'rooms', data: [] });
    expect(await next(other)).toMatchObject({ event: 'tick' });
    expect(await ask(two, 'join', { room: '../etc' })).toMatchObject({
      event: 'exception',
      data: { message: ['room must be 1 to 32 letters, digits, _ or -'] },
    });
    expect(await end(sample, one)).toEqual({ code: 0, closed: 1001 });
  });
});

describe('07-client', () => {
  it('follows a feed through its restart, and stops cleanly', async () => {
    const first = await start('07-client', { file: 'feed/main.js' });
    const env = { FEED_URL: `ws://127.0.0.1:${first.port}/prices`, WEBSOCKETS_BACKOFF_INITIAL_DELAY: '50ms' };
    const consumer = run(process.execPath, [resolve('sample/07-client/dist/main.js')], {
      cwd: resolve('sample/07-client'),
      env,
    });
    await consumer.prints(/price 10\d/);

    const before = consumer.printed.length;
    expect(await first.sample.stop()).toBe(0);
    await consumer.prints(/closed with 1001/, { from: before });
    // The feed is unavailable for at least one attempt.
    await consumer.prints(/ECONNREFUSED.*reconnecting in \d+ ms/, { from: before });
    await start('07-client', { file: 'feed/main.js', env: { PORT: String(first.port) } });
    await consumer.prints(/price 10\d/, { from: before });

    expect(await consumer.stop()).toBe(0);
    expect(consumer.printed).toContain('No longer following');
    expect(consumer.printed).not.toMatch(/ERROR|WARN/);
  });
});
