import { afterEach, describe, expect, it } from '@jest/globals';
import { SubscribeMessage } from '@nestjs/websockets';
import { allow, SecureGateway, SecureWsBans, type SecureWsOptions, type UpgradeAttempt } from 'nest-secure-ws';
import { eventually, PLATFORMS, startApp, type TestApp } from '../../support/app.js';
import { type HeadOptions, RawClient, upgradeHead } from '../../support/raw-client.js';

@SecureGateway()
class Gateway {
  @SubscribeMessage('x') x() {}
}

const guards = [({ headers }: UpgradeAttempt) => allow({ userKey: headers['x-user'] as string })];
let app: TestApp;
const clients: RawClient[] = [];

afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  await app.close();
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
  it('reset a banned address at accept, others pass; unbanned it passes again', async () => {
    const bans = await start(platform);
    const before = await open('127.0.3.1');
    bans.ban({ address: '127.0.3.1' }, { for: '1h' });
    bans.ban({ cidr: '127.0.4.0/24' });
    for (const address of ['127.0.3.1', '127.0.4.200']) {
      // The reset may come before the socket has told that it is connected.
      const client = await open(address).catch(() => undefined);
      await client?.until(() => client.closed);
      expect(client?.total ?? 0).toBe(0);
    }
    expect(await status(await open('127.0.3.2'))).toBe(101);
    // Open before the ban: it asks in vain.
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

  it('refuse a banned user behind the guards, and close its connections', async () => {
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
});
