import { afterEach, describe, expect, it } from '@jest/globals';
import { allow, SecureGateway, SecureWsDashboardModule, type UpgradeAttempt, UseAdmissionGuards } from 'nest-secure-ws';
import type { OverviewAnswer } from '../../lib/dashboard/dashboard.service.js';
import type { ConnectionsAnswer } from '../../lib/dashboard/nodes.js';
import { eventually, startApp, type TestApp } from '../support/app.js';
import { RawClient } from '../support/raw-client.js';
import { HAS_REDIS, RedisServer } from '../support/redis.js';

const TOKEN = 'correct-horse-battery-staple-and-more';
const FROM_PAGE = { 'X-Nest-Secure-Ws': 'dashboard' };
const MARKUP = '<img src=x onerror=alert(1)>';

@SecureGateway({ path: '/chat' })
@UseAdmissionGuards(({ headers }: UpgradeAttempt) => allow({ userKey: headers['x-user'] as string | undefined }))
class ChatGateway {}

const apps: TestApp[] = [];
const clients: RawClient[] = [];
let redis: RedisServer | undefined;
afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  await Promise.all(apps.splice(0).map((app) => app.close()));
  await redis?.stop();
});

async function start(hasDashboard = true): Promise<TestApp> {
  const imports = hasDashboard ? [SecureWsDashboardModule.forRoot({ token: TOKEN, readonly: false })] : [];
  const cluster = { url: redis!.url, heartbeat: '200ms', lease: '5s', timeout: '2s', secret: 's'.repeat(32) };
  const app = await startApp({ gateways: [ChatGateway], options: { cluster }, metadata: { imports } });
  apps.push(app);
  return app;
}

async function open(app: TestApp, localAddress: string, user: string): Promise<RawClient> {
  const client = await RawClient.open({ port: app.port, localAddress }, { path: '/chat', headers: { 'X-User': user } });
  clients.push(client);
  return client;
}

class Operator {
  private constructor(
    private readonly port: number,
    private readonly cookie: string,
  ) {}

  static async login({ port }: TestApp): Promise<Operator> {
    const headers = { ...FROM_PAGE, Authorization: `Bearer ${TOKEN}` };
    const answer = await fetch(`http://127.0.0.1:${port}/ws-admin/login`, { method: 'POST', headers });
    return new Operator(port, answer.headers.get('set-cookie')!.split(';')[0]!);
  }

  async ask<T>(path: string, method = 'GET'): Promise<{ status: number; body: T }> {
    const headers = { ...FROM_PAGE, Cookie: this.cookie };
    const answer = await fetch(`http://127.0.0.1:${this.port}/ws-admin/${path}`, { method, headers });
    return { status: answer.status, body: (await answer.json()) as T };
  }

  overview = async (): Promise<OverviewAnswer> => (await this.ask<OverviewAnswer>('overview?since=0')).body;
}

(HAS_REDIS ? describe : describe.skip)('the dashboard of one of two processes', () => {
  it('shows the connections and refusals of both, and disconnects a connection of the other', async () => {
    redis = await RedisServer.start();
    const [here, there] = [await start(), await start()];
    await eventually(() => apps.every((app) => app.stats().cluster?.nodes.length === 2));
    await open(here, '127.0.0.2', 'ada');
    const far = await open(there, '127.0.0.3', MARKUP);
    await open(there, '127.0.0.3', 'bob');
    for (let each = 0; each < 5; each++) {
      const lost = await RawClient.connect({ port: there.port, localAddress: '127.0.0.4' });
      clients.push(lost);
      lost.write('GET /nowhere HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n');
      await lost.untilClosed();
    }
    const operator = await Operator.login(here);
    // Refusals enter the history when their second has passed.
    let overview = await operator.overview();
    for (let end = Date.now() + 10_000; Object.keys(overview.refused).length === 0 && Date.now() < end; )
      overview = await operator.overview();
    expect(overview.refused).toEqual({ 'malformed-request': 5 });
    expect(overview.stats.connections).toBe(1);
    const other = overview.nodes.find(({ self }) => !self)!;
    expect(overview.nodes.map(({ self, brief }) => [self, brief?.connections, brief?.state]).sort()).toEqual([
      [false, 2, 'well'],
      [true, 1, 'well'],
    ]);
    expect(overview.topAddresses.map(({ key, count }) => [key, count])).toEqual(
      expect.arrayContaining([
        ['127.0.0.4', 5],
        ['127.0.0.3', 2],
        ['127.0.0.2', 1],
      ]),
    );
    expect(overview.topUsers.map(({ key }) => key).sort()).toEqual([MARKUP, 'ada', 'bob'].sort());

    // The connections of the other process, page by page and filtered.
    const pageOf = async (query: string) =>
      (await operator.ask<ConnectionsAnswer>(`connections?node=${other.id}&${query}`)).body;
    const first = await pageOf('limit=1');
    expect(first.rows.map(({ user, address, gateway }) => [user, address, gateway])).toEqual([
      [MARKUP, '127.0.0.3', '/chat'],
    ]);
    expect((await pageOf(`limit=1&cursor=${first.cursor}`)).rows.map(({ user }) => user)).toEqual(['bob']);
    expect((await pageOf('filter=BOB')).rows.map(({ user }) => user)).toEqual(['bob']);
    expect((await operator.ask('connections?node=nobody')).status).toBe(502);
    const { body } = await operator.ask(`disconnect?id=${first.rows[0]!.id}`, 'POST');
    expect(body).toEqual({ disconnected: 1 });
    expect(await far.closeFrame()).toEqual({ code: 1008, reason: 'disconnected by an operator' });
  });

  it('reports a process without a dashboard, or that does not answer', async () => {
    redis = await RedisServer.start();
    const [here, there] = [await start(), await start(false)];
    await open(there, '127.0.0.3', 'ada');
    await eventually(
      () =>
        here.stats().cluster?.nodes.length === 2 &&
        here.stats().cluster!.nodes.every(({ about }) => typeof JSON.parse(about).connections === 'number'),
    );
    const operator = await Operator.login(here);
    const { nodes } = await operator.overview();
    const other = nodes.find(({ self }) => !self)!;
    expect(other.brief).toBeUndefined();
    expect((await operator.ask(`connections?node=${other.id}`)).status).toBe(502);
  });
});
