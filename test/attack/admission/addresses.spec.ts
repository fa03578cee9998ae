import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it, jest } from '@jest/globals';
import { Logger } from '@nestjs/common';
import { SubscribeMessage } from '@nestjs/websockets';
import { ClientIp, SecureGateway, type SecureWsOptions, type UpgradeAttempt } from 'nest-secure-ws';
import { eventually, PLATFORMS, startApp, type TestApp } from '../../support/app.js';
import { selfSigned } from '../../support/certificates.js';
import { freePort } from '../../support/ports.js';
import { type HeadOptions, RawClient, type RawOptions, upgradeHead } from '../../support/raw-client.js';

const OWN = freePort();

@SecureGateway()
class Shared {
  @SubscribeMessage('ip')
  ip(@ClientIp() ip: string) {
    return { event: 'ip', data: ip };
  }
}

@SecureGateway(OWN, { listen: { host: '127.0.0.1' } })
class Own {
  @SubscribeMessage('x') x() {}
}

let running: TestApp | undefined;
const clients: RawClient[] = [];
const env = { ...process.env };
async function stop(): Promise<void> {
  for (const client of clients.splice(0)) client.destroy();
  await running?.close();
  running = undefined;
}

afterEach(async () => {
  await stop();
  process.env = { ...env };
  jest.restoreAllMocks();
});

async function start(options: SecureWsOptions, more: Partial<Parameters<typeof startApp>[0]> = {}): Promise<TestApp> {
  running = await startApp({ gateways: [Shared], options, ...more });
  return running;
}

/** The status for one request; 0 where the connection ended without a byte. */
async function status(options: Partial<RawOptions> = {}, head: HeadOptions = {}): Promise<number> {
  const port = options.port ?? running!.port;
  let client: RawClient;
  try {
    client = await RawClient.connect({ port, ...options });
  } catch {
    return 0;
  }
  clients.push(client);
  client.write(upgradeHead(port, head));
  await client.until(() => client.closed || client.ended || client.received.includes('\r\n\r\n'));
  return client.total === 0 ? 0 : (await client.response()).status;
}

const from = (localAddress: string) => ({ localAddress });

describe.each(PLATFORMS)('lists of addresses on %s', (platform) => {
  it('drop a denied address at accept, before TLS and HTTP, with nothing written', async () => {
    const app = await start({ connections: { deniedIps: ['127.0.1.0/24'] } }, { platform, https: selfSigned() });
    const denied = await import('node:net').then(({ connect }) =>
      connect({ port: app.port, host: '127.0.0.1', localAddress: '127.0.1.9' }),
    );
    let received = 0;
    denied.on('data', (chunk: Buffer) => (received += chunk.length));
    denied.on('error', () => {});
    const closed = new Promise((resolve) => denied.on('close', resolve));
    // Even before the peer sends anything.
    await closed;
    expect(received).toBe(0);
    expect(await status({ tls: {}, ...from('127.0.2.1') })).toBe(101);
    expect(app.stats().refused).toEqual({ 'address-denied': 1 });
    await eventually(() => app.stats().pending === 0);
  });
});

describe('lists of addresses on any platform', () => {
  it('allow only listed addresses, the denied list takes precedence, on shared and dedicated ports', async () => {
    await start(
      { connections: { allowedIps: ['127.0.0.0/24', '127.0.5.5'], deniedIps: ['127.0.0.7'] } },
      { gateways: [Shared, Own] },
    );
    for (const port of [running!.port, OWN]) {
      expect(await status({ port, ...from('127.0.0.6') })).toBe(101);
      expect(await status({ port, ...from('127.0.0.7') })).toBe(0);
      expect(await status({ port, ...from('127.0.5.5') })).toBe(101);
      expect(await status({ port, ...from('127.0.5.6') })).toBe(0);
    }
  });

  it('match an IPv4 peer on a dual-stack socket by its IPv4 address, and IPv6 peers', async () => {
    await start({ connections: { deniedIps: ['127.0.0.9', '::1/128'] } }, { host: '::' });
    expect(await status(from('127.0.0.9'))).toBe(0);
    expect(await status(from('127.0.0.8'))).toBe(101);
    expect(await status({ host: '::1' })).toBe(0);
  });

  it('are applied to the client behind a trusted proxy, with 403, and never to the proxy itself', async () => {
    const app = await start({
      proxy: { trusted: ['127.0.0.2'] },
      connections: { deniedIps: ['203.0.113.0/24', '127.0.0.2', '2001:db8::/32'], allowedIps: ['0.0.0.0/0'] },
    });
    const via = (forwarded: string) => status(from('127.0.0.2'), { headers: { 'X-Forwarded-For': forwarded } });
    expect(await via('203.0.113.5')).toBe(403);
    expect(await via('::ffff:203.0.113.5')).toBe(403);
    expect(await via('64:ff9b::203.0.113.5')).toBe(403);
    expect(await via('[2001:db8::1]:4711')).toBe(403);
    expect(await via('198.51.100.7')).toBe(101);
    expect(app.stats().refused).toEqual({ 'address-denied': 4 });
  });

  it('are applied to a trusted proxy that reports no client', async () => {
    const via = (headers: Record<string, string>) => status(from('127.0.0.2'), { headers });
    const unnamed = [{}, { 'X-Forwarded-For': 'unknown' }, { Forwarded: 'for=198.51.100.7' }] as const;
    const proxy = { trusted: ['127.0.0.2'] };
    await start({ proxy, connections: { allowedIps: ['198.51.100.0/24'] } });
    for (const headers of unnamed) expect(await via({ ...headers })).toBe(403);
    expect(await via({ 'X-Forwarded-For': '198.51.100.7' })).toBe(101);
    await stop();
    await start({ proxy, connections: { allowedIps: ['198.51.100.0/24', '127.0.0.2'] } });
    for (const headers of unnamed) expect(await via({ ...headers })).toBe(101);
    expect(await via({ 'X-Forwarded-For': '203.0.113.5' })).toBe(403);
  });
});

describe('forwarding headers', () => {
  async function ipFor(headers: Record<string, string | string[]>, localAddress = '127.0.0.2') {
    const client = await RawClient.open({ port: running!.port, localAddress }, { headers });
    clients.push(client);
    client.send('ip');
    return ((await client.json()) as { data: string }).data;
  }

  it('are read from the right through trusted addresses, one family only', async () => {
    await start({ proxy: { trusted: ['127.0.0.2', '10.0.0.0/8'] } });
    expect(await ipFor({ 'X-Forwarded-For': '6.6.6.6, 198.51.100.7' })).toBe('198.51.100.7');
    expect(await ipFor({ 'X-Forwarded-For': ['6.6.6.6', '198.51.100.7:55, 10.1.2.3'] })).toBe('198.51.100.7');
    expect(await ipFor({ 'X-Forwarded-For': '198.51.100.7', Forwarded: 'for=6.6.6.6' })).toBe('198.51.100.7');
    expect(await ipFor({ 'X-Forwarded-For': '[2001:db8::7%eth0]:80' })).toBe('2001:db8::7');
    expect(await ipFor({ 'X-Forwarded-For': 'garbage' })).toBe('127.0.0.2');
    expect(await ipFor({ 'X-Forwarded-For': '6.6.6.6' }, '127.0.0.3')).toBe('127.0.0.3');
    expect(await ipFor({ Forwarded: 'for=6.6.6.6' })).toBe('127.0.0.2');
  });

  it('of the other family are read if it is configured', async () => {
    await start({ proxy: { trusted: ['127.0.0.2'], header: 'forwarded' } });
    expect(await ipFor({ Forwarded: 'for=6.6.6.6, for="[2001:db8::7]:99";proto=https' })).toBe('2001:db8::7');
    expect(await ipFor({ 'X-Forwarded-For': '6.6.6.6' })).toBe('127.0.0.2');
  });

  it('determine the address that is counted; a trusted proxy is exempt from limits per address', async () => {
    await start({ proxy: { trusted: ['127.0.0.2'] }, connections: { maxPerIp: 2, maxPendingPerIp: 2 } });
    const via = (client?: string) =>
      status(from('127.0.0.2'), { headers: client === undefined ? {} : { 'X-Forwarded-For': client } });
    expect([await via('198.51.100.1'), await via('198.51.100.1'), await via('198.51.100.1')]).toEqual([101, 101, 429]);
    expect([await via('198.51.100.2'), await via(), await via(), await via(), await via()]).toEqual(Array(5).fill(101));
    expect(await status(from('127.0.0.4'), { headers: { 'X-Forwarded-For': '198.51.100.1' } })).toBe(101);
  });

  it.each(['https', 'wss', 'HTTPS'])('satisfy requireTls when the nearest trusted proxy reports %s', async (proto) => {
    await start({ proxy: { trusted: ['127.0.0.2'], requireTls: true } });
    const said = (value?: string, localAddress = '127.0.0.2') =>
      status(from(localAddress), { headers: value === undefined ? {} : { 'X-Forwarded-Proto': value } });
    expect(await said(proto)).toBe(101);
    expect(await said(`http, ${proto}`)).toBe(101);
    expect(await said(`${proto}, http`)).toBe(403);
    expect(await said()).toBe(403);
    expect(await said(proto, '127.0.0.3')).toBe(403);
  });

  it('from an untrusted private address are reported once, with the setting', async () => {
    const warn = jest.spyOn(Logger.prototype, 'warn').mockImplementation(() => {});
    await start({});
    for (let i = 0; i < 3; i++) expect(await status({}, { headers: { 'X-Forwarded-For': '1.2.3.4' } })).toBe(101);
    expect(warn.mock.calls.map(([line]) => line)).toEqual([
      expect.stringContaining('WEBSOCKETS_TRUSTED_PROXIES=127.0.0.1'),
    ]);
  });
});

describe.each(PLATFORMS)('a Unix domain socket on %s', (platform) => {
  const folder = mkdtempSync(join(tmpdir(), 'nest-secure-ws-unix-'));
  const unix = join(folder, `${platform}.sock`);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const listening = (options: SecureWsOptions, https?: object) => start(options, { platform, unix, https });
  const forwarded = (ip: string, more = {}) => ({ headers: { 'X-Forwarded-For': ip, ...more } });
  const local = { unix, port: 0 };

  it('is a trusted proxy’s if it is configured as one', async () => {
    const app = await listening({
      proxy: { trusted: ['unix'], requireTls: true },
      connections: { maxPerIp: 1, deniedIps: ['203.0.113.0/24'] },
    });
    const https = { 'X-Forwarded-Proto': 'https' };
    const client = await RawClient.open(local, forwarded('198.51.100.1', https));
    clients.push(client);
    client.send('ip');
    expect(await client.json()).toEqual({ event: 'ip', data: '198.51.100.1' });
    expect(await status(local, forwarded('198.51.100.1', https))).toBe(429);
    expect(await status(local, forwarded('203.0.113.1', https))).toBe(403);
    expect(await status(local, forwarded('198.51.100.2'))).toBe(403);
    // The proxy itself, such as its health check.
    expect([await status(local, { headers: https }), await status(local, { headers: https })]).toEqual([101, 101]);
    expect(app.stats().refused).toEqual({ 'connections-per-ip': 1, 'address-denied': 1, 'tls-required': 1 });
  });

  it('counts as one client otherwise, and the log names the setting', async () => {
    const warn = jest.spyOn(Logger.prototype, 'warn').mockImplementation(() => {});
    await listening({ proxy: { trusted: ['loopback'] }, connections: { maxPerIp: 1 } });
    const client = await RawClient.open(local, forwarded('198.51.100.1'));
    clients.push(client);
    client.send('ip');
    expect(await client.json()).toEqual({ event: 'ip', data: '' });
    expect(await status(local, forwarded('198.51.100.2'))).toBe(429);
    expect(String(warn.mock.calls[0]![0])).toContain('WEBSOCKETS_TRUSTED_PROXIES=unix');
  });

  it('is matched only by lists that contain `unix`', async () => {
    await listening({ connections: { allowedIps: ['0.0.0.0/0', '::/0'] } });
    expect(await status(local)).toBe(0);
    await stop();
    await listening({ connections: { allowedIps: ['unix'] } });
    expect(await status(local)).toBe(101);
    await stop();
    await listening({ connections: { deniedIps: ['unix'] } });
    expect(await status(local)).toBe(0);
  });

  it('can use TLS, for many connections at once', async () => {
    const app = await listening({ proxy: { trusted: ['unix'] } }, selfSigned());
    const peers = Array.from({ length: 20 }, (_, i) => `198.51.100.${i + 1}`);
    const said = peers.map(async (ip) => {
      const client = await RawClient.open({ ...local, tls: {} }, forwarded(ip));
      clients.push(client);
      client.send('ip');
      return ((await client.json()) as { data: string }).data;
    });
    expect(await Promise.all(said)).toEqual(peers);
    expect(app.stats()).toMatchObject({ connections: 20, pending: 0 });
  });
});

describe('requireTls', () => {
  it('refuses plaintext, and accepts TLS on the shared port', async () => {
    await start({ proxy: { requireTls: true } });
    expect(await status()).toBe(403);
    await stop();
    await start({ proxy: { requireTls: true } }, { https: selfSigned() });
    expect(await status({ tls: {} })).toBe(101);
  });

  it('must be set explicitly in production without TLS or a trusted proxy', async () => {
    process.env.NODE_ENV = 'production';
    await expect(start({})).rejects.toThrow(/WEBSOCKETS_REQUIRE_TLS/);
    for (const chosen of [true, false]) {
      await start({ proxy: { requireTls: chosen } });
      expect(await status()).toBe(chosen ? 403 : 101);
      await stop();
    }
    process.env.WEBSOCKETS_REQUIRE_TLS = 'false';
    await (await start({})).close();
    delete process.env.WEBSOCKETS_REQUIRE_TLS;
    await (await start({ proxy: { trusted: ['loopback'] } })).close();
    await start({}, { https: selfSigned() });
  });
});

describe('Origin', () => {
  const origin = (value: string | string[], host?: string, options: Partial<RawOptions> = {}) =>
    status(options, { headers: { Origin: value, ...(host === undefined ? {} : { Host: host }) } });

  it('must be the same by default; a foreign name for this machine is not accepted', async () => {
    const warn = jest.spyOn(Logger.prototype, 'warn').mockImplementation(() => {});
    const { port } = await start({});
    expect(await status()).toBe(101);
    expect(await origin(`http://127.0.0.1:${port}`)).toBe(101);
    expect(await origin(`http://localhost:${port}`, `localhost:${port}`)).toBe(101);
    expect(await origin('http://a.localhost', 'a.localhost')).toBe(101);
    expect(await origin('HTTP://A.LocalHost:80', 'a.localhost')).toBe(101);
    expect(await origin('http://[::1]', '[::1]:80')).toBe(101);
    expect(await origin('http://[::1]', '[0:0:0:0:0:0:0:1]')).toBe(101);
    expect(await origin('http://[::ffff:7f00:1]', '[::FFFF:127.0.0.1]')).toBe(101);
    // DNS rebinding: to the browser it is the same origin.
    expect(await origin(`http://rebound.evil.test:${port}`, `rebound.evil.test:${port}`)).toBe(403);
    expect(String(warn.mock.calls[0]![0])).toContain('came from loopback, where rebound.evil.test is not a local name');
    for (const [value, host] of [
      ['http://evil.test', undefined],
      ['http://[::1]', '[::2]'],
      [`https://127.0.0.1:${port}`, undefined],
      [`http://127.0.0.1:${port + 1}`, undefined],
      ['http://127.0.0.1', undefined],
      [`http://127.0.0.1:${port}.evil.test`, undefined],
      [`http://evil.test@127.0.0.1:${port}`, undefined],
      [`http://127.0.0.1:${port}@evil.test`, undefined],
      ['null', undefined],
      ['http://localhost.', 'localhost'],
      ['http://localhost.evil.test', 'localhost'],
    ] as const) {
      expect([value, await origin(value, host)]).toEqual([value, 403]);
    }
    expect(await status({}, { headers: { Origin: 'http://evil.test', 'X-Forwarded-Host': 'evil.test' } })).toBe(403);
    // A list of origins, or two header lines, is not an origin: 400 or 403.
    expect(await origin(['http://evil.test', `http://127.0.0.1:${port}`])).toBe(400);
    expect(await origin(`http://evil.test http://127.0.0.1:${port}`)).toBeGreaterThanOrEqual(400);
  });

  it('behind a trusted proxy may have any name in Host, and the scheme that the proxy reports', async () => {
    await start({ proxy: { trusted: ['127.0.0.2'] } });
    const via = (value: string, proto: string) =>
      status(from('127.0.0.2'), { headers: { Origin: value, Host: 'app.example', 'X-Forwarded-Proto': proto } });
    expect(await via('https://app.example', 'https')).toBe(101);
    expect(await via('http://app.example', 'https')).toBe(403);
    expect(await via('https://app.example:8443', 'https')).toBe(403);
  });

  it('may be listed by the application and by a gateway', async () => {
    @SecureGateway({ path: '/own', connections: { allowedOrigins: ['https://own.example', 'null'] } })
    class OwnList {
      @SubscribeMessage('x') x() {}
    }
    await start(
      { connections: { allowedOrigins: ['https://good.example', 'https://*.wild.example'] } },
      { gateways: [Shared, OwnList] },
    );
    const at = (path: string, value: string) => status({}, { path, headers: { Origin: value } });
    expect(await at('/', 'https://good.example')).toBe(101);
    expect(await at('/', 'https://a.b.wild.example')).toBe(101);
    expect(await at('/', 'https://own.example')).toBe(403);
    expect(await at('/own', 'https://own.example')).toBe(101);
    expect(await at('/own', 'null')).toBe(101);
    expect(await at('/own', 'https://good.example')).toBe(403);
    for (const value of [
      'https://wild.example',
      'https://evilwild.example',
      'https://a.wild.example.evil.test',
      'https://good.example.evil.test',
      'https://good.example:444',
      'http://good.example',
      `http://127.0.0.1:${running!.port}`,
      'null',
    ]) {
      expect([value, await at('/', value)]).toEqual([value, 403]);
    }
  });

  it('is checked together with Host and allowedHosts', async () => {
    await start({ connections: { allowedHosts: ['app.example'] } });
    expect(await status({}, { headers: { Host: 'app.example' } })).toBe(101);
    expect(await status({}, { headers: { Host: 'evil.test' } })).toBe(403);
    await stop();
    await start({ connections: { allowedHosts: ['[0:0::1]'], allowedOrigins: ['http://[0:0::1]'] } });
    for (const Host of ['[::1]', '[0:0:0:0:0:0:0:1]'])
      expect(await status({}, { headers: { Host, Origin: 'http://[::1]' } })).toBe(101);
    expect(await status({}, { headers: { Host: '[::2]' } })).toBe(403);
  });
});

describe('the addresses that a guard sees', () => {
  it('are the client, the peer and the scheme', async () => {
    const seen: unknown[] = [];
    const note = ({ ip, remoteAddress, secure, host, origin, cookies }: UpgradeAttempt) =>
      seen.push({ ip, remoteAddress, secure, host, origin, cookies: { ...cookies } }) > 0;
    await start({ proxy: { trusted: ['127.0.0.2'] }, guards: [note] });
    expect(
      await status(from('127.0.0.2'), {
        headers: {
          Host: 'APP.example:81',
          'X-Forwarded-For': '::ffff:1.2.3.4',
          'X-Forwarded-Proto': 'wss',
          Cookie: 'a=1',
        },
      }),
    ).toBe(101);
    expect(seen).toEqual([
      {
        ip: '1.2.3.4',
        remoteAddress: '127.0.0.2',
        secure: true,
        host: 'app.example:81',
        origin: undefined,
        cookies: { a: '1' },
      },
    ]);
  });
});
