import { afterEach, describe, expect, it } from '@jest/globals';
import { SubscribeMessage } from '@nestjs/websockets';
import {
  allow,
  beforeBuiltIn,
  refuse,
  SecureGateway,
  type SecureSocket,
  SecureWsBans,
  type SecureWsOptions,
  type UpgradeAttempt,
} from 'nest-secure-ws';
import { eventually, PLATFORMS, startApp, type TestApp } from '../../support/app.js';
import { type HeadOptions, RawClient, upgradeHead } from '../../support/raw-client.js';

let sockets: SecureSocket[] = [];

@SecureGateway()
class Gateway {
  handleConnection(socket: SecureSocket) {
    sockets.push(socket);
  }

  @SubscribeMessage('x') x() {}
}

const guards = [({ headers }: UpgradeAttempt) => allow({ userKey: headers['x-user'] as string })];
let app: TestApp;
const clients: RawClient[] = [];

afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  await app.close();
  sockets = [];
});

async function start(platform: (typeof PLATFORMS)[number], options: SecureWsOptions = {}): Promise<SecureWsBans> {
  app = await startApp({ platform, gateways: [Gateway], options: { guards, ...options } });
  return app.app.get(SecureWsBans);
}

async function open(localAddress: string): Promise<RawClient> {
  const client = await RawClient.connect({ port: app.port, localAddress });
  clients.push(client);
  return client;
}

/** The status of one upgrade; 0 where the connection was reset. */
async function status(client: RawClient, head: HeadOptions = {}): Promise<number> {
  client.write(upgradeHead(app.port, head));
  await client.until(() => client.closed || client.received.includes('\r\n\r\n'));
  return client.total === 0 ? 0 : (await client.response()).status;
}

describe.each(PLATFORMS)('bans on %s', (platform) => {
  it('reset a banned address at accept and accept others; after the ban it is accepted again', async () => {
    const bans = await start(platform);
    const before = await open('127.0.3.1');
    bans.ban({ address: '127.0.3.1' }, { for: '1h' });
    bans.ban({ cidr: '127.0.4.0/24' });
    for (const address of ['127.0.3.1', '127.0.4.200']) {
      // The reset may arrive before the socket has connected.
      const client = await open(address).catch(() => undefined);
      await client?.until(() => client.closed);
      expect(client?.total ?? 0).toBe(0);
    }
    expect(await status(await open('127.0.3.2'))).toBe(101);
    // A connection opened before the ban is refused when it sends its request.
    expect(await status(before)).toBe(403);
    expect(app.stats().refused).toEqual({ banned: 3 });
    bans.unban({ address: '127.0.3.1' });
    expect(await status(await open('127.0.3.1'))).toBe(101);
    await eventually(() => app.stats().pending === 0);
  });

  it('answer 403 behind a trusted proxy, which is exempt itself', async () => {
    const bans = await start(platform, { proxy: { trusted: ['127.0.5.1'] } });
    bans.ban({ address: '203.0.113.7' });
    bans.ban({ address: '127.0.5.1' });
    const through = async (client: string) =>
      status(await open('127.0.5.1'), { headers: { 'X-Forwarded-For': client } });
    expect(await through('203.0.113.7')).toBe(403);
    expect(await through('203.0.113.8')).toBe(101);
    expect(await through('127.0.5.1')).toBe(101);
  });

  it('refuse a banned user after the guards, and close the user’s connections', async () => {
    const bans = await start(platform);
    const [alice, bob] = [await open('127.0.0.1'), await open('127.0.0.1')];
    expect(await status(alice, { headers: { 'X-User': 'alice' } })).toBe(101);
    expect(await status(bob, { headers: { 'X-User': 'bob' } })).toBe(101);
    bans.ban({ userKey: 'alice' }, { reason: 'spam' });
    // The close frame: 1008 and its reason.
    await alice.until(() => alice.received.includes(Buffer.from([0x88, 8, 0x03, 0xf0, ...Buffer.from('banned')])));
    alice.destroy();
    expect(await status(await open('127.0.0.1'), { headers: { 'X-User': 'alice' } })).toBe(403);
    expect(await status(await open('127.0.0.1'), { headers: { 'X-User': 'carol' } })).toBe(101);
    expect(bob.closed).toBe(false);
    await eventually(() => app.stats().connections === 2 && app.stats().slots === 2);
  });

  it('prevent the renewal of a session for a banned user', async () => {
    const bans = await start(platform);
    expect(await status(await open('127.0.0.1'), { headers: { 'X-User': 'bob' } })).toBe(101);
    await eventually(() => sockets.length === 1);
    bans.ban({ userKey: 'alice' });
    expect(() => sockets[0]!.renew({ userKey: 'alice' })).toThrow('this user is banned');
    sockets[0]!.renew({ userKey: 'carol' });
  });
});

describe('refusals by guards', () => {
  const tokens = [({ headers }: UpgradeAttempt) => (headers['x-token'] === 'good' ? true : refuse(401))];
  const bad = { headers: { 'X-Token': 'bad' } };
  const good = { headers: { 'X-Token': 'good' } };

  /** The status, or 0 for a reset at accept or later. */
  const attempt = async (localAddress: string, head: HeadOptions): Promise<number> => {
    const client = await open(localAddress).catch(() => undefined);
    return client === undefined ? 0 : status(client, head);
  };

  it('ban an address that fails ten times, before anything is read from it, and no other', async () => {
    const bans = await start('express', { guards: tokens, bans: { failures: '10/10m' } });
    for (let i = 0; i < 10; i++) expect(await attempt('127.0.7.1', bad)).toBe(401);
    expect(await attempt('127.0.7.1', good)).toBe(0);
    expect(await attempt('127.0.7.2', good)).toBe(101);
    expect(bans.list()).toMatchObject([{ id: 'ip:127.0.7.1/32', reason: 'too many refusals by guards' }]);
    const { since, until } = bans.list()[0]!;
    expect(until - since).toBe(15 * 60_000);
    bans.unban({ address: '127.0.7.1' });
    expect(await attempt('127.0.7.1', good)).toBe(101);
    await eventually(() => app.stats().pending === 0 && app.stats().slots === 2);
  });

  it('count for every guard, and for no other reason', async () => {
    class Forbidden {
      canActivate() {
        return false;
      }
    }
    const fails = [
      beforeBuiltIn(({ query }: UpgradeAttempt) => !query.has('early')),
      ({ query }: UpgradeAttempt) => {
        if (query.has('throws')) throw new Error('a fault of ours');
        return query.has('busy') ? refuse(503) : query.has('later') ? Promise.resolve(refuse(403)) : true;
      },
      new Forbidden(),
    ];
    const bans = await start('express', { guards: fails, bans: { failures: '4/10m' } });
    for (const path of ['/?throws', '/?busy', '/?throws', '/?busy', '/nowhere', '/nowhere'])
      expect(await attempt('127.0.7.1', { path })).toBeGreaterThanOrEqual(404);
    for (let i = 0; i < 5; i++)
      expect(await attempt('127.0.7.1', { headers: { Origin: 'https://evil.example' } })).toBe(403);
    for (const path of ['/?early', '/?later', '/']) expect(await attempt('127.0.7.1', { path })).toBe(403);
    expect(bans.list()).toEqual([]);
    expect(await attempt('127.0.7.1', { path: '/' })).toBe(403);
    expect(bans.list()).toHaveLength(1);
  });

  it('behind a trusted proxy ban the client that it names, with 403, and never the proxy', async () => {
    const bans = await start('fastify', {
      guards: tokens,
      proxy: { trusted: ['127.0.5.1'] },
      bans: { failures: '3/10m' },
    });
    const through = (client: string, token: string) =>
      attempt('127.0.5.1', { headers: { 'X-Forwarded-For': client, 'X-Token': token } });
    for (let i = 0; i < 3; i++) expect(await through('203.0.113.7', 'bad')).toBe(401);
    expect(await through('203.0.113.7', 'good')).toBe(403);
    expect(await through('203.0.113.8', 'good')).toBe(101);
    for (let i = 0; i < 9; i++) expect(await attempt('127.0.5.1', bad)).toBe(401);
    expect(await attempt('127.0.5.1', good)).toBe(101);
    expect(bans.list().map(({ id }) => id)).toEqual(['ip:203.0.113.7/32']);
  });

  it('ban no address unless that is configured', async () => {
    const bans = await start('express', { guards: tokens });
    for (let i = 0; i < 20; i++) expect(await attempt('127.0.7.1', bad)).toBe(401);
    expect(bans.list()).toEqual([]);
  });
});
