import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { afterEach, describe, expect, it } from '@jest/globals';
import { Controller, Get, Req } from '@nestjs/common';
import { SubscribeMessage } from '@nestjs/websockets';
import {
  type AttemptProxy,
  allow,
  SecureGateway,
  SecureWsBans,
  type SecureWsOptions,
  type UpgradeAttempt,
} from 'nest-secure-ws';
import { eventually, startApp } from '../../support/app.js';
import { header, TLV, tls, tlv, v2, withChecksum } from '../../support/proxy-header.js';
import { RawClient, upgradeHead } from '../../support/raw-client.js';
import { restoreTime, stopTime } from '../../support/stopped-time.js';
import { turn } from '../../support/time.js';
import { LISTENERS, open, type RunningSetup, SETUPS, type Setup } from './setups.js';

/** Proxies connect from this address; 127.0.0.1 is untrusted. */
const PROXY = '127.0.6.1';
const CLIENT = '203.0.113.7';
const named = (client = CLIENT, port = 40_001): Buffer =>
  v2({ source: [client, port], destination: ['192.0.2.1', 443] });
const HALF = 'GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\n';
const V1 = `PROXY TCP4 ${CLIENT} 192.0.2.1 40001 443\r\n`;

let place: RunningSetup | undefined;
const clients: RawClient[] = [];
const attempts: UpgradeAttempt[] = [];
afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  await place?.close();
  place = undefined;
  attempts.length = 0;
  restoreTime();
});

@Controller('whoami')
class WhoController {
  @Get()
  who(@Req() { socket, raw }: { socket?: { remoteAddress: string; remotePort: number }; raw?: { socket: never } }) {
    const { remoteAddress, remotePort } = (raw?.socket ?? socket)!;
    return `${remoteAddress} ${remotePort}`;
  }
}

function gateways(...at: [] | [port: number]) {
  const decorate = at.length === 1 ? SecureGateway(at[0]) : SecureGateway();
  @decorate
  class IpGateway {
    @SubscribeMessage('ip')
    ip(socket: { ip: string; secure: boolean }) {
      return { event: 'ip', data: [socket.ip, socket.secure] };
    }
  }
  return [IpGateway];
}

async function start(setup: Setup, options: SecureWsOptions = {}): Promise<RunningSetup> {
  place = await open(setup, {
    gateways,
    metadata: { controllers: [WhoController] },
    options: {
      guards: [(attempt) => attempts.push(attempt) > 0 && allow()],
      ...options,
      proxy: { trusted: [PROXY], protocol: 'any', ...options.proxy },
    },
  });
  return place;
}

/** A connection from the proxy or another address that first sends these bytes. */
async function connect(prefix: string | Buffer, localAddress = PROXY, withTls = place!.setup.tls): Promise<RawClient> {
  const client = await RawClient.connect({
    port: place!.port,
    localAddress,
    prefix,
    ...(withTls ? { tls: {} } : {}),
  });
  clients.push(client);
  return client;
}

/** The status of an upgrade, or 0 when the connection ends without a response. */
async function ask(prefix: string | Buffer, headers: Record<string, string> = {}, from = PROXY): Promise<number> {
  const client = await connect(prefix, from).catch(() => undefined);
  if (client === undefined) return 0;
  client.write(upgradeHead(place!.port, { headers }));
  await client.until(() => client.closed || client.ended || client.received.includes('\r\n\r\n'));
  return client.total === 0 ? 0 : (await client.response()).status;
}

const isEmpty = () => eventually(() => place!.isEmpty);
const reset = async (client: RawClient): Promise<void> => {
  await client.until(() => client.closed);
  expect(client.total).toBe(0);
};

describe.each(SETUPS)('$name', (setup) => {
  it('uses the client address of a trusted proxy’s header, before TLS and HTTP', async () => {
    await start(setup);
    for (const prefix of [V1, named(), withChecksum(named())]) {
      const client = await connect(prefix);
      expect((await client.upgrade(upgradeHead(place!.port))).status).toBe(101);
      client.send('ip');
      expect(await client.json()).toEqual({ event: 'ip', data: [CLIENT, setup.tls] });
      expect(attempts.at(-1)).toMatchObject({ ip: CLIENT, remoteAddress: CLIENT });
      client.destroy();
    }
    expect(attempts.map(({ proxy }) => (proxy as AttemptProxy).version)).toEqual([1, 2, 2]);
    await isEmpty();
  });

  it('resets a trusted proxy that sends no valid header, and counts it', async () => {
    await start(setup);
    for (const prefix of [
      'GET / HTTP/1.1\r\n\r\n',
      'PROXY TCP4 x y 1 2\r\n',
      'PROXY\r\n\r\n',
      '\x16\x03\x01',
      header(0x21, 0x12, Buffer.alloc(12)),
      withChecksum(named()).fill(7, 20, 21),
      named().fill(0x31, 12, 13),
    ])
      await reset(await connect(prefix, PROXY, false));
    expect(place!.test.stats().refused).toEqual({ 'proxy-protocol': 7 });
    expect(attempts).toEqual([]);
    await isEmpty();
  });

  it('never reads a header from an untrusted peer', async () => {
    await start(setup);
    for (const prefix of [V1, named()]) {
      // The header is invalid as TLS and as HTTP.
      const client = await connect(prefix, '127.0.0.1', false);
      client.write(upgradeHead(place!.port));
      await client.untilClosed();
      if (client.total > 0 && !setup.tls) expect((await client.response()).status).toBe(400);
    }
    expect(await ask('', {}, '127.0.0.1')).toBe(101);
    expect(attempts.map(({ ip, proxy }) => [ip, proxy])).toEqual([['127.0.0.1', undefined]]);
  });
});

describe.each(LISTENERS)('$name', (setup) => {
  it('reads a header in any chunks, with or without the bytes after it', async () => {
    await start(setup);
    for (const whole of [Buffer.from(V1), withChecksum(named())]) {
      for (const at of [0, 1, 5, 12, 15, 16, 17, 30, whole.length - 1]) {
        const client = await connect(whole.subarray(0, at), PROXY, false);
        await new Promise((resolve) => setTimeout(resolve, 5));
        client.write(whole.subarray(at));
        if (!setup.tls) client.write(upgradeHead(place!.port));
        if (setup.tls) client.destroy();
        else expect((await client.response()).status).toBe(101);
      }
    }
    expect(attempts.every(({ ip }) => ip === CLIENT)).toBe(true);
    for (const client of clients.splice(0)) client.destroy();
    await isEmpty();
  });

  it('checks the address in the header before TLS: denied, banned', async () => {
    await start(setup, { connections: { deniedIps: ['198.51.100.0/24'] } });
    place!.test.app.get(SecureWsBans).ban({ address: '203.0.113.66' });
    for (const address of ['198.51.100.9', '203.0.113.66']) await reset(await connect(named(address), PROXY, false));
    expect(place!.test.stats().refused).toEqual({ 'address-denied': 1, banned: 1 });
    expect(await ask(named())).toBe(101);
    // The proxy itself is exempt: the ban does not apply to it.
    place!.test.app.get(SecureWsBans).ban({ address: PROXY });
    expect(await ask(named())).toBe(101);
  });

  it('limits the address in the header, not the proxy', async () => {
    await start(setup, { connections: { maxPerIp: 2, rate: '6/1m' } });
    const statuses = [];
    for (let i = 0; i < 3; i++) statuses.push(await ask(named(CLIENT, 50_000 + i)));
    // A dedicated port resets at accept when the limit is reached.
    expect(statuses).toEqual([101, 101, setup.own ? 0 : 429]);
    for (let i = 0; i < 9; i++) expect(await ask(named(`198.51.100.${i}`))).toBe(101);
    for (const client of clients.splice(0)) client.destroy();
    await isEmpty();
    const rated = [];
    for (let i = 0; i < 7; i++) {
      rated.push(await ask(named('198.51.100.200', 50_000 + i)));
      clients.pop()?.destroy();
      await isEmpty();
    }
    expect(rated).toEqual([101, 101, 101, 101, 101, 101, 429]);
  });

  it("keeps the real endpoints for LOCAL, UNKNOWN, UNSPEC and UNIX, and trusts the proxy's forwarding headers", async () => {
    await start(setup);
    for (const prefix of [
      header(0x20, 0x00),
      'PROXY UNKNOWN\r\n',
      header(0x21, 0x00),
      header(0x21, 0x31, Buffer.alloc(216)),
    ]) {
      expect(await ask(prefix)).toBe(101);
      expect(attempts.at(-1)!.ip).toBe(PROXY);
      expect(await ask(prefix, { 'X-Forwarded-For': '198.51.100.5' })).toBe(101);
      expect(attempts.at(-1)!.ip).toBe('198.51.100.5');
    }
  });

  it('ignores forwarding headers of the client in the header, unless it is a trusted proxy too', async () => {
    await start(setup, { proxy: { trusted: [PROXY, '192.0.2.50'] } });
    const claims = { 'X-Forwarded-For': '198.51.100.5', 'X-Forwarded-Proto': 'https' };
    expect(await ask(named(), claims)).toBe(101);
    expect(attempts.at(-1)).toMatchObject({ ip: CLIENT, secure: setup.tls });
    expect(await ask(named('192.0.2.50'), claims)).toBe(101);
    expect(attempts.at(-1)).toMatchObject({ ip: '198.51.100.5', secure: true });
    // A second header is not accepted.
    const client = await connect(Buffer.concat([named(), Buffer.from(V1)]), PROXY, false);
    client.write(upgradeHead(place!.port));
    await client.untilClosed();
    if (client.total > 0 && !setup.tls) expect((await client.response()).status).toBe(400);
  });

  it('takes TLS, certificate name and authority of the client from the header', async () => {
    await start(setup, { proxy: { requireTls: true } });
    const values = (client: number, verify = 0) => [
      tls({ client, verify, version: 'TLSv1.3', commonName: 'device-7' }),
      tlv(TLV.AUTHORITY, 'chat.example'),
      tlv(TLV.UNIQUE_ID, 'id-1'),
    ];
    expect(await ask(v2({ source: [CLIENT, 1], values: values(7) }))).toBe(101);
    const { secure, proxy } = attempts.at(-1)!;
    expect(secure).toBe(true);
    expect(proxy).toEqual({
      version: 2,
      address: PROXY,
      destination: { address: '203.0.113.1', port: 2 },
      authority: 'chat.example',
      uniqueId: Buffer.from('id-1'),
      tlsVersion: 'TLSv1.3',
      commonName: 'device-7',
    });
    expect(await ask(v2({ source: [CLIENT, 1], values: values(7, 1) }))).toBe(101);
    expect(attempts.at(-1)!.proxy!.commonName).toBeUndefined();
    for (const prefix of [v2({ source: [CLIENT, 1], values: values(0) }), V1, named()])
      expect(await ask(prefix)).toBe(setup.tls ? 101 : 403);
  });

  it('counts openTimeout from accept for the header, and on a dedicated port for the handshake too', async () => {
    const clock = stopTime();
    await start(setup, { http: { openTimeout: 10_000 } });
    const silent = await connect('', PROXY, false);
    const dripping = await connect(named().subarray(0, 3), PROXY, false);
    const late = await connect('', PROXY, false);
    await eventually(() => place!.test.stats().deadlines === 3);
    clock.pass(6000);
    dripping.write(named().subarray(3, 4));
    late.write(Buffer.concat([named(), Buffer.from(setup.tls ? '\x16' : HALF)]));
    // The answer to a later connection shows that the server has read these bytes.
    expect(await ask(named())).toBe(101);
    clock.pass(3900);
    await turn();
    expect([silent, dripping, late].map(({ closed, ended }) => closed || ended)).toEqual([false, false, false]);
    clock.pass(300);
    await Promise.all([silent, dripping].map((client) => client.until(() => client.closed)));
    expect([silent.total, dripping.total]).toEqual([0, 0]);
    expect(place!.test.stats().refused['proxy-protocol']).toBe(2);
    // 4.2 s after the bytes of the handshake. On a shared port the handshake begins with them, and TLS is Node's, which
    // has a timeout of its own.
    if (!setup.own) {
      await turn();
      expect(late.closed || late.ended).toBe(false);
      clock.pass(6000);
    }
    if (setup.own || !setup.tls) await late.untilClosed();
    for (const client of clients.splice(0)) client.destroy();
    await isEmpty();
  });

  it('leaves nothing behind when peers leave', async () => {
    await start(setup);
    for (const prefix of ['', V1.slice(0, 9), named().subarray(0, 20), V1]) {
      for (const end of ['destroy', 'reset'] as const) {
        const client = await connect(prefix, PROXY, false);
        await new Promise((resolve) => setTimeout(resolve, 5));
        client[end]();
      }
      const ended = await connect(prefix, PROXY, false);
      ended.socket.end();
      if (prefix !== V1) await ended.until(() => ended.closed);
      ended.destroy();
    }
    await isEmpty();
    expect(await ask(V1)).toBe(101);
  });

  it('limits the connections that wait for their header, and drops the oldest for a new one', async () => {
    await start(setup, { connections: { maxPending: 3, maxPendingPerIp: 3 } });
    const waiting: RawClient[] = [];
    for (let i = 0; i < 4; i++) waiting.push(await connect(V1.slice(0, 9), PROXY, false));
    await reset(waiting[0]!);
    expect(waiting.slice(1).some(({ closed }) => closed)).toBe(false);
    expect(place!.test.stats().refused).toEqual({ 'proxy-protocol': 1 });
  });

  it('ends connections that wait for their header at shutdown', async () => {
    await start(setup);
    const waiting = await connect(V1.slice(0, 9), PROXY, false);
    await new Promise((resolve) => setTimeout(resolve, 20));
    await place!.close();
    place = undefined;
    await waiting.until(() => waiting.closed);
  });
});

describe.each(LISTENERS.filter(({ own }) => !own))('$name', (setup) => {
  it("gives the application the client's address in ordinary requests and in a later upgrade", async () => {
    await start(setup);
    const client = await connect(named());
    client.write('GET /whoami HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n');
    expect((await client.response()).body).toBe(`${CLIENT} 40001`);
    client.write('GET /whoami HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n');
    expect((await client.response()).body).toBe(`${CLIENT} 40001`);
    expect((await client.upgrade(upgradeHead(place!.port))).status).toBe(101);
    expect(attempts.at(-1)).toMatchObject({ ip: CLIENT, proxy: { address: PROXY, version: 2 } });
    const direct = await connect('', '127.0.0.1');
    direct.write('GET /whoami HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n');
    expect((await direct.response()).body).toMatch(/^127\.0\.0\.1 /);
  });

  it('passes large bodies after the header to the application unchanged', async () => {
    await start(setup);
    const client = await connect(named());
    const body = 'x'.repeat(300_000);
    client.write(`POST /nowhere HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    expect((await client.response()).status).toBe(404);
    client.write('GET /whoami HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n');
    expect((await client.response()).body).toContain(CLIENT);
  });
});

describe('proxy.protocol', () => {
  it('accepts only the configured version', async () => {
    await start(LISTENERS[1]!, { proxy: { protocol: 'v2' } });
    await reset(await connect(V1, PROXY, false));
    expect(await ask(named())).toBe(101);
    await place!.close();
    await start(LISTENERS[1]!, { proxy: { protocol: 'v1' } });
    await reset(await connect(named(), PROXY, false));
    expect(await ask(V1)).toBe(101);
  });

  it('when off answers a header with 400', async () => {
    await start(LISTENERS[1]!, { proxy: { protocol: 'off' } });
    expect(await ask('')).toBe(101);
    expect(await ask(V1)).toBe(400);
  });

  it('requires proxy.trusted', async () => {
    const started = startApp({ gateways: gateways(), options: { proxy: { protocol: 'v2' } } });
    await expect(started).rejects.toThrow('proxy.trusted');
    await expect(startApp({ options: { proxy: { protocol: 'v3' as never } } })).rejects.toThrow(
      'WEBSOCKETS_PROXY_PROTOCOL',
    );
  });
});

it('reports a proxy over a dual-stack port by its IPv4 address', async () => {
  const test = await startApp({
    host: '::',
    gateways: gateways(),
    options: { proxy: { trusted: [PROXY], protocol: 'v1' } },
  });
  const told: unknown[] = [];
  const listener = (event: unknown): void => void told.push((event as { ip: string }).ip);
  subscribe('nest-secure-ws:refused', listener);
  try {
    const client = await RawClient.connect({ port: test.port, localAddress: PROXY, prefix: 'GET /' });
    await client.until(() => client.closed);
    expect(told).toEqual([PROXY]);
  } finally {
    unsubscribe('nest-secure-ws:refused', listener);
    await test.close();
  }
});
