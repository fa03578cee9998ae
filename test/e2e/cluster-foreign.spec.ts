import type { Server } from 'node:http';
import { afterEach, describe, expect, it } from '@jest/globals';
import { SubscribeMessage } from '@nestjs/websockets';
import { allow, type ForeignUpgrades, SecureGateway, type SecureWsOptions } from 'nest-secure-ws';
import { MemoryCluster } from 'nest-secure-ws/testing';
import { type WebSocket, WebSocketServer } from 'ws';
import { eventually, PLATFORMS, type Platform, startApp, type TestApp } from '../support/app.js';
import { frame, RawClient, upgradeHead } from '../support/raw-client.js';

@SecureGateway({ path: '/chat' })
class Chat {
  @SubscribeMessage('x') x() {}
}

const FOREIGN: ForeignUpgrades = { path: '/foreign', connections: { max: 4 } };
/** The user key comes from the request. */
const guards = [
  ({ headers }: { headers: Record<string, unknown> }) => allow({ userKey: headers['x-user'] as string | undefined }),
];

let cluster: MemoryCluster;
const apps: TestApp[] = [];
const clients: RawClient[] = [];
/** The sockets that the other library upgraded, by application. */
let theirs: WebSocket[][] = [];

afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  for (const socket of theirs.flat()) socket.terminate();
  theirs = [];
  await Promise.all(apps.splice(0).map((app) => app.close()));
});

/** Two processes of one cluster; on each, a plain `ws` server answers the upgrades of `/foreign`. */
async function start(platform: Platform, options: SecureWsOptions): Promise<void> {
  cluster = new MemoryCluster();
  for (let each = 0; each < 2; each++) {
    const shared = { store: cluster.store(), bus: cluster.bus(), heartbeat: '100ms', lease: '1s' };
    const app = await startApp({
      platform,
      gateways: [Chat],
      options: { guards, foreign: [FOREIGN], ...options, cluster: shared },
    });
    apps.push(app);
    const sockets: WebSocket[] = [];
    theirs.push(sockets);
    const library = new WebSocketServer({ noServer: true });
    (app.app.getHttpServer() as Server).on('upgrade', (request, socket, head) => {
      // A library that refuses the connection.
      if (request.url?.endsWith('?destroy')) return socket.destroy();
      library.handleUpgrade(request, socket, head, (webSocket) => sockets.push(webSocket.on('error', () => undefined)));
    });
  }
  await eventually(() => apps.every((app) => app.stats().cluster?.status === 'up'));
}

async function ask(app: TestApp, path: string, localAddress: string, user?: string): Promise<number | 'closed'> {
  const client = await RawClient.connect({ port: app.port, localAddress });
  clients.push(client);
  client.write(upgradeHead(app.port, { path, headers: user === undefined ? {} : { 'X-User': user } }));
  return client.response().then(
    ({ status }) => status,
    () => 'closed',
  );
}

const isEmpty = (): boolean =>
  cluster.counts.size === 0 &&
  // A refusal is kept until a connection ends, and briefly afterwards.
  apps.every((app) => app.stats().cluster?.refusals === 0) &&
  [...cluster.users.values()].flat().length === 0 &&
  apps.every((app) => app.stats().slots === 0 && app.stats().pending === 0);

describe.each(PLATFORMS)('upgrades of other libraries in a cluster on %s', (platform) => {
  it('count in the limits of all processes, of their path and of their address, together with gateways', async () => {
    await start(platform, { connections: { maxPerIp: 3, max: 6 } });
    const burst = (path: string, ip: string) =>
      Promise.all(Array.from({ length: 8 }, (_, each) => ask(apps[each % 2]!, path, ip)));
    const count = (all: readonly (number | 'closed')[], wanted: number) => all.filter((each) => each === wanted).length;

    // Three connections of an address over both processes.
    const first = await burst('/foreign', '127.0.0.2');
    expect([count(first, 101), count(first, 429)]).toEqual([3, 5]);
    // They count at gateways too.
    expect(count(await burst('/chat', '127.0.0.2'), 101)).toBe(0);
    // Four connections of the path over both processes: one is left for another address.
    expect(count(await burst('/foreign', '127.0.0.3'), 101)).toBe(1);
    // Six connections in all.
    expect(count(await burst('/chat', '127.0.0.4'), 101)).toBe(2);
    expect(theirs.flat()).toHaveLength(4);
  });

  it('release their slots in all processes, whichever side ends them and however', async () => {
    await start(platform, { connections: { maxPerIp: 2 } });
    const [here, there] = apps as [TestApp, TestApp];
    // `ws` waits for the end of TCP after its close frame.
    const leave = (client: RawClient): void => void client.closeFrame().then(() => client.destroy());
    const ends: Record<string, (client: RawClient, server: WebSocket) => void> = {
      'the peer leaves': (client) => client.destroy(),
      'the peer resets': (client) => client.reset(),
      'the library closes': (client, server) => {
        server.close();
        leave(client);
      },
      'the library terminates': (_, server) => server.terminate(),
      'garbage ends it': (client) => {
        client.write(frame('x', { masked: false }));
        leave(client);
      },
    };
    for (const end of Object.values(ends)) {
      for (const app of [here, there]) expect(await ask(app, '/foreign', '127.0.0.2', 'ada')).toBe(101);
      // Each process learns of the other's connections.
      expect(await ask(here, '/foreign', '127.0.0.2')).toBe(429);
      const held = clients.splice(0);
      for (const [each, server] of theirs.map((sockets) => sockets.pop()!).entries()) end(held[each]!, server);
      await eventually(isEmpty);
      for (const client of held) client.destroy();
    }
    expect(await ask(here, '/foreign?destroy', '127.0.0.2')).toBe('closed');
    await eventually(isEmpty);
  });

  it('count among the connections of their user in all processes', async () => {
    await start(platform, { connections: { maxPerUser: 1 } });
    const [here, there] = apps as [TestApp, TestApp];
    expect(await ask(here, '/foreign', '127.0.0.2', 'ada')).toBe(101);
    expect(await ask(there, '/foreign', '127.0.0.3', 'ada')).toBe(429);
    expect(await ask(there, '/chat', '127.0.0.3', 'ada')).toBe(429);
    expect(await ask(there, '/foreign', '127.0.0.3', 'bob')).toBe(101);
    for (const client of clients.splice(0)) client.destroy();
    await eventually(isEmpty);
    expect(await ask(there, '/chat', '127.0.0.3', 'ada')).toBe(101);
  });
});
