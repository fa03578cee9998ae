import diagnostics_channel from 'node:diagnostics_channel';
import { connect } from 'node:net';
import { afterEach, describe, expect, it, jest } from '@jest/globals';
import { HttpException, Logger } from '@nestjs/common';
import { SubscribeMessage } from '@nestjs/websockets';
import {
  allow,
  type GuardLike,
  type OpenedEvent,
  type RefusedEvent,
  SecureGateway,
  type SecurePortOptions,
  type SecureWsOptions,
  type UpgradeAttempt,
} from 'nest-secure-ws';
import { Compression } from '../../../lib/protocol/deflate/compression.js';
import { eventually, startApp, type TestApp } from '../../support/app.js';
import { selfSigned } from '../../support/certificates.js';
import { freePort } from '../../support/ports.js';
import { frame, type HeadOptions, RawClient, upgradeHead } from '../../support/raw-client.js';
import { passUntil, restoreTime, stopTime } from '../../support/stopped-time.js';

let running: TestApp;
let port = 0;
const clients: RawClient[] = [];
/** Those of them that got a 101. */
const upgraded: RawClient[] = [];
afterEach(async () => {
  leave();
  await running?.close();
  jest.restoreAllMocks();
  restoreTime();
});

const leave = () => {
  for (const client of clients.splice(0)) client.destroy();
  upgraded.length = 0;
};

/** An application with a gateway at /, and more gateways by path. */
async function start(
  connections: NonNullable<SecureWsOptions['connections']>,
  more: Omit<SecureWsOptions, 'connections'> = {},
  gateways: Record<string, SecurePortOptions & { port?: number }> = { '/': {} },
): Promise<TestApp> {
  const classes = Object.entries(gateways).map(([path, { port: own, ...options }]) => {
    class Gateway {
      @SubscribeMessage('x') x() {}
    }
    if (own === undefined) SecureGateway({ path, ...options })(Gateway);
    else SecureGateway(own, { path, listen: { host: '127.0.0.1' }, ...options })(Gateway);
    return Gateway;
  });
  running = await startApp({
    gateways: classes,
    options: { ...more, connections: { rate: '10000/1s', ...connections } },
  });
  port = running.port;
  return running;
}

interface From extends HeadOptions {
  readonly ip?: string;
  readonly at?: number;
}

async function attempt({ ip = '127.0.0.1', at = port, ...head }: From = {}) {
  const client = await RawClient.connect({ port: at, localAddress: ip });
  clients.push(client);
  const response = await client.upgrade(upgradeHead(at, head));
  if (response.status === 101) upgraded.push(client);
  else client.destroy();
  return { client, ...response };
}

const status = async (from: From = {}) => (await attempt(from)).status;
const user = (name: string) => ({ headers: { Authorization: name } });
const byToken = (request: UpgradeAttempt) => allow({ principal: request.headers['authorization'] });
const count = (statuses: number[], wanted: number) => statuses.filter((each) => each === wanted).length;
const settled = () => eventually(() => running.stats().pending === 0);
const idle = () => eventually(() => running.stats().pending === 0 && running.stats().slots === 0);

describe('capacity', () => {
  it.each([
    ['max', { max: 50 }, 503],
    ['maxPerIp', { maxPerIp: 50 }, 429],
  ])('%s is exact: of 200 concurrent attempts 50 succeed, with asynchronous guards too', async (_, limits, refused) => {
    const guards: GuardLike[] = [() => new Promise<boolean>((resolve) => setImmediate(() => resolve(true)))];
    await start({ ...limits, maxPendingPerIp: 500 }, { guards });
    const answers = await Promise.all(Array.from({ length: 200 }, () => attempt()));
    const statuses = answers.map(({ status: each }) => each);
    expect([count(statuses, 101), count(statuses, refused)]).toEqual([50, 150]);
    for (const { status: each, headers } of answers)
      if (each === refused) expect(Number(headers['retry-after'])).toBeGreaterThan(0);
    expect(running.stats()).toMatchObject({ slots: 50, connections: 50 });
    upgraded[0]!.reset();
    await eventually(() => running.stats().slots === 49);
    expect(await status()).toBe(101);
    expect(await status()).toBe(refused);
    leave();
    await idle();
  });

  /** The result of an attempt at a dedicated port: a status, or a reset with no bytes written. */
  async function outcome(at: number, ip = '127.0.0.1'): Promise<number | 'reset'> {
    try {
      return await status({ at, ip, path: '/own' });
    } catch {
      return 'reset';
    }
  }

  it.each([
    ['max', { max: 50 }, 'connections', { shared: 503, elsewhere: 'reset' }],
    ['maxPerIp', { maxPerIp: 50 }, 'connections-per-ip', { shared: 429, elsewhere: 101 }],
  ] as const)(
    '%s is exact on a dedicated port, where attempts above it are reset at accept',
    async (_, limits, reason, others) => {
      const guards: GuardLike[] = [() => new Promise<boolean>((resolve) => setImmediate(() => resolve(true)))];
      const own = freePort();
      await start({ ...limits, maxPendingPerIp: 500 }, { guards }, { '/': {}, '/own': { port: own } });
      const outcomes = await Promise.all(Array.from({ length: 200 }, () => outcome(own)));
      // Attempts accepted before the slots were taken get a status.
      expect(outcomes.filter((each) => each === 101)).toHaveLength(50);
      expect(outcomes.filter((each) => ![101, 429, 503, 'reset'].includes(each))).toEqual([]);
      await settled();
      expect(running.stats()).toMatchObject({ slots: 50, connections: 50 });
      const refusals: RefusedEvent[] = [];
      const hear = (event: unknown) => refusals.push(event as RefusedEvent);
      diagnostics_channel.subscribe('nest-secure-ws:refused', hear);
      expect(await outcome(own)).toBe('reset');
      diagnostics_channel.unsubscribe('nest-secure-ws:refused', hear);
      expect(refusals).toMatchObject([{ reason, status: 0, ip: '127.0.0.1' }]);
      // Another address is not at its limit, and a shared port still responds.
      expect(await status()).toBe(others.shared);
      expect(await outcome(own, '127.0.0.2')).toBe(others.elsewhere);
      const { connections } = running.stats();
      upgraded[0]!.reset();
      await eventually(() => running.stats().connections === connections - 1);
      expect(await outcome(own)).toBe(101);
      leave();
      await idle();
    },
  );

  it('of a dedicated port is checked before TLS, and the attempt is charged', async () => {
    const own = freePort();
    await start({ maxPerIp: 1, rate: '3/1h' }, {}, { '/own': { port: own, tls: selfSigned() } });
    const tls = {};
    const first = await RawClient.open({ port: own, tls }, { path: '/own' });
    clients.push(first);
    for (let i = 0; i < 3; i++) {
      await expect(RawClient.connect({ port: own, tls })).rejects.toMatchObject({ code: 'ECONNRESET' });
    }
    expect(running.stats().refused).toMatchObject({ 'connections-per-ip': 3 });
    first.reset();
    await idle();
    const again = await RawClient.connect({ port: own, tls });
    clients.push(again);
    expect((await again.upgrade(upgradeHead(own, { path: '/own' }))).status).toBe(429);
  });

  it('of a dedicated port is reported to trusted proxies by a response, because their clients are not known at accept', async () => {
    const own = freePort();
    await start({ max: 1 }, { proxy: { trusted: ['127.0.0.9'] } }, { '/own': { port: own } });
    expect(await outcome(own)).toBe(101);
    expect(await outcome(own)).toBe('reset');
    expect(await outcome(own, '127.0.0.9')).toBe(503);
  });

  it('is freed however the connection ends', async () => {
    const never = new Promise<boolean>(() => {});
    const guards: GuardLike[] = [
      ({ path, query }) => {
        if (path !== '/') return true;
        switch (query.get('way')) {
          case 'refused':
            return false;
          case 'threw':
            throw new Error('x');
          case 'http':
            throw new HttpException('x', 402);
          case 'rejected':
            return Promise.reject(new Error('x'));
          case 'never':
            return never;
          default:
            return true;
        }
      },
    ];
    const clock = stopTime();
    const HALF_MINUTE = 30_000;
    const free = () => passUntil(clock, () => running.stats().pending === 0 && running.stats().slots === 0);
    await start(
      { max: 3, guardTimeout: HALF_MINUTE },
      { guards, http: { openTimeout: HALF_MINUTE }, keepalive: { closeTimeout: HALF_MINUTE, pingInterval: null } },
    );
    for (const [way, expected] of [
      ['refused', 403],
      ['threw', 500],
      ['http', 402],
      ['rejected', 500],
      ['never', 503],
    ] as const) {
      const asked = Promise.all([1, 2, 3].map(() => status({ path: `/?way=${way}` })));
      if (way === 'never') {
        await eventually(() => running.stats().slots === 3);
        clock.pass(HALF_MINUTE + 1000);
      }
      const statuses = await asked;
      expect([way, ...statuses]).toEqual([way, expected, expected, expected]);
      await free();
    }
    // The peer leaves while the guard runs, closes in order, half-closes, resets, and resets before the 101 is written.
    for (const end of ['destroy', 'reset'] as const) {
      const client = await RawClient.connect({ port });
      client.write(upgradeHead(port, { path: '/?way=never' }));
      await eventually(() => running.stats().slots === 1);
      client[end]();
      await free();
    }
    for (const end of [
      (client: RawClient) => client.write(Buffer.from([0x88, 0x80, 0, 0, 0, 0])),
      (client: RawClient) => client.socket.end(),
      (client: RawClient) => client.reset(),
      (client: RawClient) => client.write(Buffer.from([0xff, 0xff])),
    ]) {
      const { client } = await attempt();
      expect(running.stats().slots).toBe(1);
      end(client);
      await free();
    }
    for (let i = 0; i < 50; i++) {
      const socket = connect(port, '127.0.0.1', () => {
        socket.write(upgradeHead(port));
        socket.resetAndDestroy();
      });
      socket.on('error', () => {});
      await new Promise((resolve) => socket.once('close', resolve));
    }
    await free();
    expect(await Promise.all([1, 2, 3, 4].map(() => status()))).toEqual(expect.arrayContaining([101, 101, 101, 503]));
  });

  it('is freed when zlib fails while compression is set up', async () => {
    await start({ max: 1, rate: '100000/1s' });
    const offer = { headers: { 'Sec-WebSocket-Extensions': 'permessage-deflate' } };
    const accept = jest.spyOn(Compression.prototype, 'accept').mockImplementation(() => {
      throw new Error('zlib cannot allocate memory');
    });
    for (let i = 0; i < 3; i++) {
      const client = await RawClient.connect({ port });
      clients.push(client);
      client.write(upgradeHead(port, offer));
      await client.untilClosed();
      expect(client.received.toString()).not.toContain('101');
      await idle();
    }
    expect(running.stats()).toMatchObject({ addresses: 0, faults: { internal: 3 } });
    accept.mockRestore();
    const { status: answered, headers } = await attempt(offer);
    expect([answered, headers['sec-websocket-extensions']]).toEqual([
      101,
      expect.stringContaining('permessage-deflate'),
    ]);
  });

  it('keeps the state of an address no longer than its rate needs', async () => {
    await start({ rate: '100000/1s' });
    for (let i = 1; i <= 20; i++) {
      const localAddress = `127.0.7.${i}`;
      // Some are accepted, some are refused, some leave with half a head.
      const client = await RawClient.connect({ port, localAddress });
      const head = upgradeHead(port, { path: i % 3 === 0 ? '/nowhere' : '/' });
      client.write(i % 3 === 1 ? head.slice(0, -2) : head);
      if (i % 3 === 1) await eventually(() => running.stats().pending === 1);
      else await client.response();
      client.destroy();
      await idle();
    }
    expect(running.stats().addresses).toBe(0);
  });

  it('of a gateway applies in addition to the application’s', async () => {
    await start(
      { max: 5, maxPerIp: 4 },
      {},
      {
        '/': {},
        '/two': { connections: { max: 2 } },
        '/one': { connections: { maxPerIp: 1 } },
      },
    );
    expect([await status({ path: '/two' }), await status({ path: '/two' }), await status({ path: '/two' })]).toEqual([
      101, 101, 503,
    ]);
    expect([await status({ path: '/one' }), await status({ path: '/one' })]).toEqual([101, 429]);
    expect([await status(), await status()]).toEqual([101, 429]);
    expect(await status({ ip: '127.0.0.2', path: '/one' })).toBe(101);
    expect(await status({ ip: '127.0.0.3', path: '/one' })).toBe(503);
    expect(running.stats()).toMatchObject({
      slots: 5,
      refused: { 'connections-per-gateway': 1, 'connections-per-ip': 2, connections: 1 },
    });
  });
});

describe('the rate of an address', () => {
  it('counts every attempt once, whatever its result, and recovers by itself', async () => {
    const clock = stopTime();
    await start({ rate: '6/2s' });
    const bad = async (head: string) => {
      const client = await RawClient.connect({ port, localAddress: '127.0.0.9' });
      clients.push(client);
      return (await client.upgrade(head)).status;
    };
    const ip = '127.0.0.9';
    expect(await status({ ip })).toBe(101);
    expect(await status({ ip, path: '/nowhere' })).toBe(404);
    expect(await status({ ip, headers: { 'Sec-WebSocket-Version': '8' } })).toBe(426);
    expect(await status({ ip, headers: { Origin: 'null' } })).toBe(403);
    expect(await bad(`GET / HTTP/1.1\r\nUpgrade: websocket\r\nBad Name: 1\r\n\r\n`)).toBe(400);
    expect(await bad(`GET / HTTP/1.1\r\nUpgrade: websocket\r\nA: ${'a'.repeat(9000)}\r\n\r\n`)).toBe(431);
    expect(await attempt({ ip })).toMatchObject({ status: 429, headers: { 'retry-after': '1' } });
    expect(await status({ ip: '127.0.0.8' })).toBe(101);
    // A 429 is not charged: repeated attempts do not extend the refusal.
    for (let i = 0; i < 10; i++) expect(await status({ ip })).toBe(429);
    clock.pass(400);
    expect([await status({ ip }), await status({ ip })]).toEqual([101, 429]);
  });

  it('ignores ordinary requests of the same port', async () => {
    await start({ rate: '1/1h' });
    for (let i = 0; i < 5; i++) {
      const response = await fetch(`http://127.0.0.1:${port}/nothing`);
      expect(response.status).toBe(404);
    }
    expect(await status()).toBe(101);
    expect(await status()).toBe(429);
    expect((await fetch(`http://127.0.0.1:${port}/nothing`)).status).toBe(404);
  });
});

describe('a server full of pending handshakes', () => {
  const OWN = freePort();
  it.each([
    ['shared', () => port],
    ['dedicated', () => OWN],
  ])('drops the oldest of the address that has most, and accepts all others (%s port)', async (_, at) => {
    await start(
      { maxPending: 30, maxPendingPerIp: 100 },
      { http: { openTimeout: '30s' } },
      { '/': {}, '/own': { port: OWN } },
    );
    const path = at() === OWN ? '/own' : '/';
    const squatters: RawClient[] = [];
    for (let i = 0; i < 40; i++) {
      const squatter = await RawClient.connect({ port: at(), localAddress: '127.0.0.66' });
      squatter.write('GET / HTTP/1.1\r\nUpgrade: websocket\r\n');
      clients.push(squatter);
      squatters.push(squatter);
    }
    await eventually(() => running.stats().refused['pending-full'] === 10);
    await eventually(() => squatters.slice(0, 10).every(({ ended, closed }) => ended || closed));
    expect(squatters.slice(10).some(({ ended, closed }) => ended || closed)).toBe(false);
    for (let i = 1; i <= 20; i++) expect(await status({ ip: `127.0.1.${i}`, at: at(), path })).toBe(101);
    expect(running.stats().pending).toBeLessThanOrEqual(30);
    leave();
    await idle();
  });

  it('limits each client of a trusted proxy', async () => {
    const proxy = { trusted: ['127.0.8.1'] };
    await start({ maxPending: 50, maxPendingPerIp: 2 }, { proxy, guards: [() => new Promise<boolean>(() => {})] });
    const ask = async (client: string): Promise<RawClient> => {
      const peer = await RawClient.connect({ port, localAddress: '127.0.8.1' });
      clients.push(peer);
      const { pending } = running.stats();
      peer.write(upgradeHead(port, { headers: { 'X-Forwarded-For': client } }));
      await eventually(() => running.stats().pending === Math.min(pending + 1, 3));
      return peer;
    };
    const other = await ask('203.0.113.9');
    const [first, second] = [await ask('203.0.113.1'), await ask('203.0.113.1')];
    const third = await ask('203.0.113.1');
    await first!.untilClosed();
    expect([other, second!, third].some(({ closed }) => closed)).toBe(false);
  });

  it('limits each address, including lingering refusals', async () => {
    await start({ maxPendingPerIp: 5 });
    const lingering: RawClient[] = [];
    for (let i = 0; i < 9; i++) {
      const client = await RawClient.connect({ port, localAddress: '127.0.0.66' });
      clients.push(client);
      lingering.push(client);
      expect(await client.upgrade(upgradeHead(port, { path: '/nowhere' }))).toMatchObject({ status: 404 });
    }
    expect(running.stats().pending).toBeLessThanOrEqual(5);
    expect(await status({ ip: '127.0.0.67' })).toBe(101);
    await settled();
    // Each is reported once.
    expect(running.stats().refused).toEqual({ path: 9 });
  });
});

describe('a user', () => {
  it('has at most maxPerUser connections, over all gateways and at one of them', async () => {
    await start({ maxPerUser: 3 }, { guards: [byToken] }, { '/': {}, '/one': { connections: { maxPerUser: 1 } } });
    const anna = user('anna');
    expect(await status(anna)).toBe(101);
    expect(await status({ ...anna, path: '/one' })).toBe(101);
    expect(await status({ ...anna, path: '/one' })).toBe(429);
    const last = await attempt(anna);
    expect(last.status).toBe(101);
    const refused = await attempt(anna);
    expect(refused).toMatchObject({ status: 429, headers: { 'retry-after': expect.stringMatching(/^\d+$/) } });
    expect(await status(user('bert'))).toBe(101);
    expect(await status()).toBe(500);
    expect(running.stats().slots).toBe(4);
    last.client.reset();
    await eventually(() => running.stats().slots === 3);
    expect(await status(anna)).toBe(101);
  });

  it('has an exact limit in a burst', async () => {
    const guards: GuardLike[] = [byToken, () => new Promise<boolean>((resolve) => setImmediate(() => resolve(true)))];
    await start({ maxPerUser: 4 }, { guards });
    const statuses = await Promise.all(Array.from({ length: 40 }, () => status(user('anna'))));
    expect([count(statuses, 101), count(statuses, 429)]).toEqual([4, 36]);
    expect(running.stats().slots).toBe(4);
  });

  it('may have the oldest connection closed instead', async () => {
    await start({ maxPerUser: 2, onUserLimit: 'closeOldest' }, { guards: [byToken] });
    const [first, second] = [await attempt(user('anna')), await attempt(user('anna'))];
    expect(await status(user('anna'))).toBe(101);
    expect(await first.client.closeFrame()).toMatchObject({ code: 1008 });
    expect(await status(user('anna'))).toBe(101);
    expect(await second.client.closeFrame()).toMatchObject({ code: 1008 });
  });

  it.each([
    ['the gateway’s limit makes room for both', ['/', '/', '/one'], 2],
    ['the application’s limit makes room for both', ['/one', '/', '/'], 0],
  ])('has no more connections closed than necessary: %s', async (_, paths, closed) => {
    const one = { connections: { maxPerUser: 1 } };
    await start({ maxPerUser: 3, onUserLimit: 'closeOldest' }, { guards: [byToken] }, { '/': {}, '/one': one });
    const anna = user('anna');
    const before = [];
    for (const path of paths) before.push(await attempt({ ...anna, path }));
    const newcomer = await attempt({ ...anna, path: '/one' });
    expect(newcomer.status).toBe(101);
    expect(await before[closed]!.client.closeFrame()).toMatchObject({ code: 1008 });
    before[closed]!.client.destroy();
    await eventually(() => running.stats().slots === 3);
    const left = [...before.filter((_, index) => index !== closed), newcomer];
    for (const { client } of left) {
      client.write(frame('still here', { opcode: 9 }));
      expect((await client.frame())?.opcode).toBe(10);
    }
  });
});

describe('every attempt', () => {
  it('is counted, published, and logged by samples, on one line, without secrets', async () => {
    const warn = jest.spyOn(Logger.prototype, 'warn').mockImplementation(() => {});
    const refused: RefusedEvent[] = [];
    const opened: OpenedEvent[] = [];
    const onRefused = (event: unknown) => refused.push(event as RefusedEvent);
    const onOpened = (event: unknown) => opened.push(event as OpenedEvent);
    diagnostics_channel.subscribe('nest-secure-ws:refused', onRefused);
    diagnostics_channel.subscribe('nest-secure-ws:opened', onOpened);
    try {
      await start({ allowedHosts: ['127.0.0.1'] });
      const secrets = { Cookie: 'canary=1', Authorization: 'canary', 'Sec-WebSocket-Protocol': 'canary' };
      expect(await status({ headers: secrets, path: '/?canary' })).toBe(101);
      for (let i = 0; i < 30; i++) {
        const path = `/${'p'.repeat(3000)}?canary=${i}`;
        expect(await status({ path, headers: secrets })).toBe(404);
      }
      for (let i = 0; i < 30; i++) {
        const Origin = `https://canary:canary@${'o'.repeat(5000)}/canary?canary`;
        expect(await status({ path: '/?canary', headers: { ...secrets, Origin } })).toBe(403);
      }
      expect(await status({ headers: { Host: `${'h'.repeat(5000)}` } })).toBe(403);
    } finally {
      diagnostics_channel.unsubscribe('nest-secure-ws:refused', onRefused);
      diagnostics_channel.unsubscribe('nest-secure-ws:opened', onOpened);
    }
    expect(running.stats()).toMatchObject({ opened: 1, refused: { path: 30, origin: 30, host: 1 } });
    expect(opened).toEqual([{ ip: '127.0.0.1', path: '/' }]);
    expect(refused).toHaveLength(61);
    expect(refused[40]).toMatchObject({ reason: 'origin', status: 403, ip: '127.0.0.1', path: '/' });
    expect(JSON.stringify(refused)).not.toContain('canary');
    const lines = warn.mock.calls.map(([line]) => String(line));
    // The first few of each reason in full, and a notice about subprotocols of which none was chosen.
    expect(lines).toHaveLength(5 + 5 + 1 + 1);
    for (const line of lines) {
      expect(Buffer.byteLength(line)).toBeLessThanOrEqual(1024);
      expect(line).toMatch(/^[\x20-\x7e…’]*$/);
      expect(line).not.toContain('canary');
    }
  });
});
