import { afterEach, describe, expect, it } from '@jest/globals';
import { ConnectedSocket, MessageBody, SubscribeMessage } from '@nestjs/websockets';
import {
  allow,
  beforeBuiltIn,
  refuse,
  SecureGateway,
  type SecureSocket,
  SecureWsBans,
  SecureWsBroadcaster,
  type SecureWsOptions,
  type UpgradeAttempt,
  UseAdmissionGuards,
} from 'nest-secure-ws';
import { SecureWsTickets, ticketGuard } from 'nest-secure-ws/guards';
import { MemoryCluster } from 'nest-secure-ws/testing';
import { eventually, PLATFORMS, startApp, type TestApp } from '../support/app.js';
import { freePort } from '../support/ports.js';
import { frame, type HeadOptions, RawClient, upgradeHead } from '../support/raw-client.js';

@SecureGateway({ path: '/chat' })
class Chat {
  @SubscribeMessage('join')
  join(@ConnectedSocket() socket: SecureSocket, @MessageBody() room: string) {
    socket.join(room);
    return { event: 'id', data: socket.id };
  }

  @SubscribeMessage('leave')
  leave(@ConnectedSocket() socket: SecureSocket, @MessageBody() room: string) {
    socket.leave(room);
    return { event: 'left' };
  }
}

@SecureGateway({ path: '/other', connections: { max: 3 } })
class Other {
  @SubscribeMessage('x') x() {}
}

@SecureGateway({ path: '/ticket' })
@UseAdmissionGuards(ticketGuard())
class Ticketed {
  @SubscribeMessage('x') x() {}
}

/** The request names the user, and whether the guard refuses or never answers. */
const guards = [
  ({ headers, signal }: UpgradeAttempt) => {
    if (headers['x-refuse'] !== undefined) return refuse(401);
    if (headers['x-throw'] !== undefined) throw new Error('guard');
    if (headers['x-hang'] !== undefined)
      return new Promise<boolean>((resolve) => signal.addEventListener('abort', () => resolve(false)));
    return allow({ userKey: headers['x-user'] as string | undefined });
  },
];

let cluster: MemoryCluster;
const apps: TestApp[] = [];
const clients: RawClient[] = [];

afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  await Promise.all(apps.splice(0).map((app) => app.close()));
});

async function start(count: number, options: SecureWsOptions = {}, platform = PLATFORMS[0]!): Promise<TestApp[]> {
  cluster = new MemoryCluster();
  for (let each = 0; each < count; each++)
    apps.push(
      await startApp({
        platform,
        gateways: [Chat, Other, Ticketed],
        options: {
          guards,
          keepalive: { closeTimeout: 500 },
          ...options,
          cluster: { store: cluster.store(), bus: cluster.bus(), heartbeat: '100ms', lease: '1s', ...options.cluster },
        },
      }),
    );
  await eventually(() => apps.every((app) => app.stats().cluster?.status === 'up'));
  return apps;
}

async function open(app: TestApp, head: HeadOptions = {}, localAddress = '127.0.0.1'): Promise<RawClient> {
  const client = await RawClient.connect({ port: app.port, localAddress });
  clients.push(client);
  client.write(upgradeHead(app.port, { path: '/chat', ...head }));
  return client;
}

async function status(client: RawClient): Promise<number> {
  return (await client.response()).status;
}

const statuses = (count: number, head: HeadOptions = {}, localAddress?: string): Promise<number[]> =>
  Promise.all(
    apps.flatMap((app) => Array.from({ length: count }, async () => status(await open(app, head, localAddress)))),
  );

const of = (all: readonly number[], wanted: number): number => all.filter((each) => each === wanted).length;
/** Counts of all processes, by name. */
const counted = (): Record<string, number> =>
  Object.fromEntries(
    [...cluster.counts].map(([name, counts]) => [name, [...counts.values()].reduce((a, b) => a + b, 0)]),
  );
const isEmpty = () => cluster.counts.size === 0 && [...cluster.users.values()].flat().length === 0;

/** Connects, joins a room, and returns the client and its id. */
async function joined(app: TestApp, room: string, head: HeadOptions = {}): Promise<{ client: RawClient; id: string }> {
  const client = await open(app, head);
  expect(await status(client)).toBe(101);
  client.send('join', room);
  const { data } = await message(client);
  return { client, id: data as string };
}

const message = async (client: RawClient) => (await client.json()) as { event: string; data: unknown };

describe.each(PLATFORMS)('two processes on %s', (platform) => {
  it('share the total limit exactly, for concurrent attempts', async () => {
    await start(2, { connections: { max: 7 } }, platform);
    const all = await statuses(10);
    expect([of(all, 101), of(all, 503)]).toEqual([7, 13]);
    expect(counted()).toMatchObject({ 't:{t}:all': 7, 'a:{127.0.0.1}:n': 7 });
  });

  it('share the limits of an address and of a gateway exactly', async () => {
    await start(2, { connections: { maxPerIp: 5 } }, platform);
    const [one, two] = [await statuses(8), await statuses(8, {}, '127.0.0.2')];
    for (const all of [one, two]) expect([of(all, 101), of(all, 429)]).toEqual([5, 11]);
    const other = await statuses(4, { path: '/other' }, '127.0.0.3');
    expect([of(other, 101), of(other, 503)]).toEqual([3, 5]);
    expect(counted()).toMatchObject({ 't:{t}:Other/other': 3 });
  });

  it('share the rate of an address, also for requests refused before it', async () => {
    await start(2, { connections: { rate: '6/1h' } }, platform);
    const missing = await statuses(2, { path: '/nowhere' });
    expect(missing).toEqual([404, 404, 404, 404]);
    await eventually(() => apps.every((app) => app.stats().cluster !== undefined));
    const all = await statuses(4);
    expect([of(all, 101), of(all, 429)]).toEqual([2, 6]);
    const { headers } = await (await open(apps[1]!)).response();
    expect(Number(headers['retry-after'])).toBeGreaterThan(60);
  });
});

describe('two processes', () => {
  it('count an attempt in the rate even if its peer leaves during a guard before the built-in checks', async () => {
    const waiting: unknown[] = [];
    const early = beforeBuiltIn(({ headers, signal }: UpgradeAttempt) => {
      if (headers['x-hang'] === undefined) return true;
      waiting.push(signal);
      return new Promise<boolean>((resolve) => signal.addEventListener('abort', () => resolve(false)));
    });
    const [a, b] = await start(2, { connections: { rate: '4/1h' }, guards: [early] });
    for (let attempt = 1; attempt <= 4; attempt++) {
      const client = await open(a!, { headers: { 'X-Hang': '1' } });
      await eventually(() => waiting.length === attempt);
      client.reset();
      await eventually(() => a!.stats().pending === 0);
    }
    // The first attempt of this process: only the count of the other process can refuse it.
    expect(await status(await open(b!))).toBe(429);
  });

  it('release slots whatever ended the connection', async () => {
    const [a, b] = (await start(2, { connections: { max: 2, guardTimeout: '2s' } })) as [TestApp, TestApp];
    const ways: ((app: TestApp) => Promise<unknown>)[] = [
      async (app) => expect(await status(await open(app, { headers: { 'X-Refuse': '1' } }))).toBe(401),
      async (app) => expect(await status(await open(app, { headers: { 'X-Throw': '1' } }))).toBe(500),
      async (app) => expect(await status(await open(app, { headers: { 'X-Hang': '1' } }))).toBe(503),
      async (app) => {
        const client = await open(app, { headers: { 'X-Hang': '1' } });
        await eventually(() => app.stats().slots === 1);
        client.reset();
      },
      async (app) => {
        const client = await open(app);
        expect(await status(client)).toBe(101);
        client.reset();
      },
      async (app) => {
        const client = await open(app);
        expect(await status(client)).toBe(101);
        client.write(frame(Buffer.from([0x03, 0xe8]), { opcode: 8 }));
        await client.until(() => client.ended);
        client.destroy();
      },
      async (app) => {
        const { client, id } = await joined(app, 'x');
        expect(await b.app.get(SecureWsBroadcaster).disconnectSocket(id)).toBe(1);
        client.destroy();
      },
    ];
    for (const way of ways) {
      for (const app of [a, b]) await way(app);
      await eventually(isEmpty);
      expect([a.stats().slots, b.stats().slots]).toEqual([0, 0]);
    }
    const all = await statuses(3);
    expect(of(all, 101)).toBe(2);
  });

  it('share a refusal until a connection ends', async () => {
    const [a, b] = (await start(2, { connections: { max: 1 } })) as [TestApp, TestApp];
    const first = await open(a);
    expect(await status(first)).toBe(101);
    expect(await status(await open(b))).toBe(503);
    await eventually(() => [a, b].every((app) => app.stats().cluster?.refusals === 1));
    first.destroy();
    await eventually(() => [a, b].every((app) => app.stats().cluster?.refusals === 0));
    expect(await status(await open(b))).toBe(101);
  });

  it('refuse connections of a user above the limit, or close the oldest', async () => {
    const asAlice = { headers: { 'X-User': 'alice' } };
    await start(2, { connections: { maxPerUser: 3 } });
    const all = await statuses(4, asAlice);
    expect([of(all, 101), of(all, 429)]).toEqual([3, 5]);
    expect(await status(await open(apps[0]!, { headers: { 'X-User': 'bob' } }))).toBe(101);
    for (const client of clients.splice(0)) client.destroy();
    await eventually(isEmpty);
    await Promise.all(apps.splice(0).map((app) => app.close()));

    const [a, b] = (await start(2, { connections: { maxPerUser: 1, onUserLimit: 'closeOldest' } })) as [
      TestApp,
      TestApp,
    ];
    const oldest = await open(a, asAlice);
    expect(await status(oldest)).toBe(101);
    const newest = await open(b, asAlice);
    expect(await status(newest)).toBe(101);
    const { opcode, payload } = (await oldest.frame())!;
    expect([opcode, payload.readUInt16BE(0)]).toEqual([8, 1008]);
    oldest.destroy();
    await eventually(() => a.stats().connections === 0);
    expect(newest.closed).toBe(false);
    newest.destroy();
    await eventually(isEmpty);
  });

  it('count a connection for its new user after renew(), and end it above the limit of that user', async () => {
    const [a, b] = (await start(2, { connections: { maxPerUser: 1 } })) as [TestApp, TestApp];
    const as = (user: string) => ({ headers: { 'X-User': user } });
    const alice = await joined(a, 'x', as('alice'));
    const bob = await joined(b, 'x', as('bob'));
    const sockets = b.app.get(SecureWsBroadcaster).local.members('x');
    sockets[0]!.renew({ userKey: 'carol' });
    await eventually(() => [...cluster.users.values()].flat().length === 2);
    expect(await status(await open(a, as('bob')))).toBe(101);
    expect(await status(await open(a, as('carol')))).toBe(429);
    sockets[0]!.renew({ userKey: 'alice' });
    expect((await bob.client.frame())?.payload.readUInt16BE(0)).toBe(1008);
    bob.client.destroy();
    alice.client.destroy();
    for (const client of clients.splice(0)) client.destroy();
    await eventually(isEmpty);
  });

  it('broadcast to gateways, rooms and users of both, except local broadcasts and excluded sockets', async () => {
    const [a, b] = (await start(2)) as [TestApp, TestApp];
    const anna = await joined(a, 'lobby', { headers: { 'X-User': 'anna' } });
    const bert = await joined(b, 'lobby', { headers: { 'X-User': 'bert' } });
    const carl = await joined(b, 'attic', { headers: { 'X-User': 'carl' } });
    const other = await open(b, { path: '/other' });
    expect(await status(other)).toBe(101);
    const speaker = a.app.get(SecureWsBroadcaster);
    const socket = speaker.local.members('lobby')[0]!;

    speaker.emit('all');
    for (const client of [anna.client, bert.client, carl.client, other])
      expect(await message(client)).toEqual({ event: 'all' });
    speaker.of(Chat).emit('chat', { n: 1 });
    for (const { client } of [anna, bert, carl])
      expect(await message(client)).toEqual({ event: 'chat', data: { n: 1 } });
    speaker.to('lobby').except(socket).emit('lobby');
    expect(await message(bert.client)).toEqual({ event: 'lobby' });
    speaker.toUser('carl').emit('carl');
    expect(await message(carl.client)).toEqual({ event: 'carl' });
    speaker.of(Other).to('lobby').emit('nobody');
    speaker.local.emit('local');
    expect(await message(anna.client)).toEqual({ event: 'local' });
    // The last message shows that no other came before it.
    speaker.emit('end');
    for (const client of [anna.client, bert.client, carl.client, other])
      expect(await message(client)).toEqual({ event: 'end' });
    expect(() => speaker.emit('large', 'ü'.repeat(600_000))).toThrow(RangeError);
    expect(speaker.local.count('lobby')).toBe(1);
  });

  it('know the members of a room and the users online, and can disconnect both', async () => {
    const [a, b] = (await start(2)) as [TestApp, TestApp];
    const anna = await joined(a, 'lobby', { headers: { 'X-User': 'anna' } });
    const bert = await joined(b, 'lobby', { headers: { 'X-User': 'bert' } });
    await joined(b, 'lobby');
    const speaker = a.app.get(SecureWsBroadcaster);
    expect(await speaker.count('lobby')).toBe(3);
    expect(await speaker.of(Other).count('lobby')).toBe(0);
    expect(await speaker.of(Chat).members('lobby')).toEqual(
      expect.arrayContaining([
        { id: anna.id, userKey: 'anna' },
        { id: bert.id, userKey: 'bert' },
      ]),
    );
    expect([speaker.local.isOnline('bert'), await speaker.isOnline('bert'), await speaker.isOnline('zoe')]).toEqual([
      false,
      true,
      false,
    ]);
    expect(await speaker.disconnectUser('bert', 4000, 'bye')).toBe(1);
    const { payload } = (await bert.client.frame())!;
    expect(payload.toString('latin1')).toBe('\x0f\xa0bye');
    bert.client.destroy();
    await eventually(() => b.stats().connections === 1);
    expect(await speaker.isOnline('bert')).toBe(false);
    expect(await speaker.disconnectSocket('nobody')).toBe(0);
  });

  it('share bans and their end', async () => {
    const [a, b] = (await start(2)) as [TestApp, TestApp];
    const alice = await open(b, { headers: { 'X-User': 'alice' } });
    expect(await status(alice)).toBe(101);
    a.app.get(SecureWsBans).ban({ userKey: 'alice' }, { reason: 'spam' });
    expect((await alice.frame())!.payload.toString('latin1', 2)).toBe('banned');
    expect(await status(await open(b, { headers: { 'X-User': 'alice' } }))).toBe(403);
    a.app.get(SecureWsBans).ban({ address: '127.0.0.9' }, { for: '1h' });
    const bans = () => b.app.get(SecureWsBans).list();
    await eventually(() => bans().length === 2);
    expect(bans()).toEqual(a.app.get(SecureWsBans).list());
    const banned = await RawClient.connect({ port: b.port, localAddress: '127.0.0.9' }).catch(() => undefined);
    await banned?.until(() => banned.closed);
    expect(banned?.total ?? 0).toBe(0);
    b.app.get(SecureWsBans).unban({ address: '127.0.0.9' });
    await eventually(() => a.app.get(SecureWsBans).list().length === 1);
  });

  it('accept a ticket of the other process, once', async () => {
    const [a, b] = (await start(2)) as [TestApp, TestApp];
    const ticket = await a.app.get(SecureWsTickets).issue({ userKey: 'alice' });
    expect(await status(await open(b, { path: `/ticket?ticket=${ticket}` }))).toBe(101);
    expect(await status(await open(a, { path: `/ticket?ticket=${ticket}` }))).toBe(401);
    cluster.isDown = true;
    expect(await status(await open(b, { path: `/ticket?ticket=${ticket}` }))).toBe(503);
    await expect(a.app.get(SecureWsTickets).issue({})).rejects.toThrow('cluster');
  });

  it('limit the unused tickets of a user per process; a new one replaces the oldest', async () => {
    const [a, b] = (await start(2)) as [TestApp, TestApp];
    const issue = (app: TestApp, userKey: string) => app.app.get(SecureWsTickets).issue({ userKey });
    const [eve, anonymous] = [await issue(a, 'eve'), await a.app.get(SecureWsTickets).issue({})];
    const tickets: string[] = [];
    for (let n = 0; n < 40; n++) tickets.push(await issue(a, 'alice'));
    const use = async (ticket: string, app: TestApp) => {
      const answer = await status(await open(app, { path: `/ticket?ticket=${ticket}` }));
      for (const client of clients.splice(0)) client.destroy();
      return answer;
    };
    const answers: number[] = [];
    for (const ticket of tickets) answers.push(await use(ticket, b));
    expect(answers).toEqual([...Array(24).fill(401), ...Array(16).fill(101)]);
    expect([await use(eve, b), await use(anonymous, a)]).toEqual([101, 101]);
  });

  it.each([
    ['local', [101, 101, 101], 4],
    ['share', [101, 101, 503], 2],
    ['closed', [503, 503, 503], 0],
  ] as const)("apply onFailure '%s' while the cluster does not answer", async (onFailure, expected, most) => {
    const [a] = (await start(2, { connections: { max: 4 }, cluster: { onFailure } })) as [TestApp, TestApp];
    cluster.isDown = true;
    const answers: number[] = [];
    for (let each = 0; each < 3; each++) answers.push(await status(await open(a)));
    expect(answers).toEqual(expected);
    expect(a.stats()).toMatchObject({ cluster: { fallbacks: 3, status: 'degraded' } });
    expect(a.stats().slots).toBeLessThanOrEqual(most);
    for (const client of clients.splice(0)) client.destroy();
    await eventually(() => a.stats().slots === 0);
    cluster.isDown = false;
    expect(of(await statuses(4), 101)).toBe(4);
  });

  it('leave nothing behind when one closes', async () => {
    const [a, b] = (await start(2, { connections: { max: 2 } })) as [TestApp, TestApp];
    for (let each = 0; each < 2; each++) expect(await status(await open(a))).toBe(101);
    expect(await status(await open(b))).toBe(503);
    for (const client of clients.splice(0)) client.destroy();
    await a.close();
    apps.splice(0, 1);
    await eventually(() => b.stats().cluster?.nodes.length === 1);
    expect(await status(await open(b))).toBe(101);
  });

  it('reset connections at accept on a full dedicated port, even if the other process filled it', async () => {
    const ports = [freePort(), freePort()];
    const gateway = (port: number) => {
      @SecureGateway(port, { path: '/chat', listen: { host: '127.0.0.1' } })
      class Own {
        @SubscribeMessage('x') x() {}
      }
      return Own;
    };
    cluster = new MemoryCluster();
    for (const port of ports)
      apps.push(
        await startApp({
          gateways: [gateway(port)],
          options: {
            connections: { max: 1 },
            cluster: { store: cluster.store(), bus: cluster.bus(), heartbeat: '100ms', lease: '1s' },
          },
        }),
      );
    const [first, second] = ports.map((port) => ({ ...apps[0]!, port })) as [TestApp, TestApp];
    const holder = await open(first);
    expect(await status(holder)).toBe(101);
    expect(await status(await open(second))).toBe(503);
    const reset = await RawClient.connect({ port: second.port }).catch(() => undefined);
    await reset?.until(() => reset.closed);
    expect(reset?.total ?? 0).toBe(0);
    holder.destroy();
    await eventually(() => apps[1]!.stats().cluster?.refusals === 0);
    expect(await status(await open(second))).toBe(101);
  });
});
