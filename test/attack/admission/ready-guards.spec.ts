import { createHmac, generateKeyPairSync } from 'node:crypto';
import { afterEach, describe, expect, it, jest } from '@jest/globals';
import { Controller, Logger, Post, type Type } from '@nestjs/common';
import { SubscribeMessage } from '@nestjs/websockets';
import { SignJWT } from 'jose';
import { type GuardLike, Principal, SecureGateway, UseAdmissionGuards } from 'nest-secure-ws';
import { jwtGuard, SecureWsTickets, ticketGuard } from 'nest-secure-ws/guards';
import { JwtGuard } from '../../../lib/guards/jwt-guard.js';
import { eventually, PLATFORMS, type Platform, startApp, type TestApp } from '../../support/app.js';
import { openedByTests } from '../../support/opened.js';
import { type HeadOptions, RawClient, type Response, upgradeHead } from '../../support/raw-client.js';

const SECRET = 'a secret of forty-eight bytes that nobody knows.';

const opened = openedByTests();
const { clients } = opened;
afterEach(() => void jest.restoreAllMocks());

async function guarded(guards: readonly GuardLike[], platform: Platform = 'express', controllers: Type[] = []) {
  @SecureGateway({ path: '/chat' })
  @UseAdmissionGuards(...guards)
  class ChatGateway {
    @SubscribeMessage('who')
    who(@Principal() principal: unknown) {
      return { event: 'who', data: principal };
    }
  }
  opened.app = await startApp({ platform, gateways: [ChatGateway], metadata: { controllers } });
  return opened.app;
}

async function ask({ port }: TestApp, head: HeadOptions): Promise<{ client: RawClient; response: Response }> {
  const client = await RawClient.connect({ port });
  clients.push(client);
  return { client, response: await client.upgrade(upgradeHead(port, { path: '/chat', ...head })) };
}

const nothingHeld = (app: TestApp) => eventually(() => app.stats().slots === 0 && app.stats().pending === 0);

/** Everything passed to Nest's logger. */
function watchLog(): () => string {
  const words: unknown[] = [];
  for (const level of ['log', 'warn', 'error', 'debug', 'verbose', 'fatal'] as const)
    jest.spyOn(Logger.prototype, level).mockImplementation((...args: unknown[]) => void words.push(args));
  return () => JSON.stringify(words);
}

const inSeconds = (seconds: number): number => Math.floor(Date.now() / 1000) + seconds;
const sign = (claims: Record<string, unknown>): Promise<string> =>
  new SignJWT({ sub: 'user-7', exp: inSeconds(60), ...claims })
    .setProtectedHeader({ alg: 'HS256' })
    .sign(Buffer.from(SECRET));

describe('jwtGuard()', () => {
  const guard = () =>
    jwtGuard({ secret: SECRET, algorithms: ['HS256'], from: ['protocol', 'cookie:session', 'header'] });

  it.each(PLATFORMS)(
    'admits clients with a token in any configured place, and echoes no part of it (%s)',
    async (platform) => {
      const app = await guarded([guard()], platform);
      const token = await sign({});
      for (const headers of [
        { 'Sec-WebSocket-Protocol': `bearer.${token}, chat.v1` },
        { Cookie: `a=b; session=${token}` },
        { Authorization: `Bearer ${token}` },
      ] as Record<string, string>[]) {
        const { client, response } = await ask(app, { headers });
        expect(response.status).toBe(101);
        expect(response.raw).not.toContain(token.slice(0, 20));
        const offered = headers['Sec-WebSocket-Protocol'] !== undefined;
        expect(response.headers['sec-websocket-protocol']).toBe(offered ? 'chat.v1' : undefined);
        client.send('who');
        expect(await client.json()).toMatchObject({ event: 'who', data: { sub: 'user-7' } });
        client.destroy();
      }
      await nothingHeld(app);
    },
  );

  it('ends the connection when its token expires', async () => {
    const app = await guarded([jwtGuard({ secret: SECRET, algorithms: ['HS256'], clockTolerance: 0 })]);
    const { client } = await ask(app, { headers: { Authorization: `Bearer ${await sign({ exp: inSeconds(2) })}` } });
    expect(await client.closeFrame()).toMatchObject({ code: 4401 });
  });

  it('refuses everything that is not a valid token with 401, and neither stores, logs nor repeats it', async () => {
    const log = watchLog();
    const app = await guarded([guard()]);
    const [head, claims, signature] = (await sign({ secretword: 'canary' })).split('.') as [string, string, string];
    const none = Buffer.from('{"alg":"none"}').toString('base64url');
    const crit = Buffer.from('{"alg":"HS256","crit":["x"],"x":1}').toString('base64url');
    const hmac = (text: string) => createHmac('sha256', SECRET).update(text).digest('base64url');
    const tokens = [
      `${none}.${claims}.`,
      `${none}.${claims}.${signature}`,
      `${crit}.${claims}.${hmac(`${crit}.${claims}`)}`,
      // The first character: some bits of the last one are not part of the signature.
      `${head}.${claims}.${signature.startsWith('x') ? 'y' : 'x'}${signature.slice(1)}`,
      `${head}.${claims}.${signature}.${signature}.x`,
      `${head}.${claims}`,
      `canary-${claims}`,
      await sign({ exp: inSeconds(-60), secretword: 'canary' }),
      `${head}.${claims.repeat(90)}.${signature}`.slice(0, 8000),
    ];
    for (const token of tokens) {
      for (const headers of [
        { 'Sec-WebSocket-Protocol': `chat, bearer.${token}` },
        { Cookie: `session=${token}` },
        { Authorization: `Bearer ${token}` },
        { 'Sec-WebSocket-Protocol': `bearer.${token}, bearer.other` },
      ] as Record<string, string>[]) {
        const size = Math.max(...Object.values(headers).map(({ length }) => length));
        const { response } = await ask(app, { headers });
        expect(response.status).toBe(size > 8150 ? 431 : 401);
        for (const part of token.split('.')) if (part.length > 8) expect(response.raw).not.toContain(part.slice(0, 12));
        clients.pop()?.destroy();
      }
    }
    await nothingHeld(app);
    const said = log();
    expect(said).toContain('JwtGuard');
    for (const word of ['canary', head, claims.slice(0, 24), signature, none, crit]) expect(said).not.toContain(word);
  });

  it('does not choose among cookies of one name, in one line or in several', async () => {
    const app = await guarded([guard()]);
    const [mine, other] = [await sign({}), await sign({ sub: 'eve' })];
    for (const cookie of [
      `session=${other}; session=${mine}`,
      [`session=${other}`, `session=${mine}`],
      [`a=b; session=${mine}`, 'session="x"'],
    ])
      expect((await ask(app, { headers: { Cookie: cookie } })).response.status).toBe(401);
    expect(
      (await ask(app, { headers: { Cookie: [`session=${mine}`, 'sessions=x; Session=y'] } })).response.status,
    ).toBe(101);
    for (const each of clients.splice(0)) each.destroy();
    await nothingHeld(app);
  });

  it('admits users while an issuer hangs and a flood of tokens names unknown keys', async () => {
    const log = watchLog();
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const keys = JSON.stringify({ keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'good' }] });
    const [time, asked] = [{ now: 0 }, { times: 0 }];
    let end = (): void => undefined;
    const hangs = new Promise<void>((resolve) => (end = resolve));
    const hanging = new JwtGuard(
      { jwks: 'https://id.example/keys', algorithms: ['ES256'] },
      {
        now: () => time.now,
        fetch: async () => {
          if (asked.times++ === 0) return new globalThis.Response(keys);
          // Only its timeout ends the request.
          await hangs;
          throw new Error('aborted');
        },
      },
    );
    const app = await guarded([hanging]);
    const token = (kid: string) =>
      new SignJWT({ sub: 'ada', exp: inSeconds(60) }).setProtectedHeader({ alg: 'ES256', kid }).sign(privateKey);
    time.now = 30_000;
    const flood = await Promise.all(Array.from({ length: 40 }, () => RawClient.connect({ port: app.port })));
    clients.push(...flood);
    for (const [n, client] of flood.entries())
      client.write(
        upgradeHead(app.port, { path: '/chat', headers: { Authorization: `Bearer ${await token(`kid-${n}`)}` } }),
      );
    await eventually(() => app.stats().pending === 40);
    const headers = { Authorization: `Bearer ${await token('good')}` };
    for (let each = 0; each < 3; each++) expect((await ask(app, { headers })).response.status).toBe(101);
    // One fetch is pending for all of them.
    expect([asked.times, app.stats().pending, app.stats().slots]).toEqual([2, 40, 43]);
    // Half of the clients leave, by FIN or reset; the others are answered when the fetch ends.
    for (const [n, client] of flood.slice(0, 20).entries()) n % 2 === 0 ? client.reset() : client.destroy();
    await eventually(() => app.stats().pending === 20);
    end();
    const answers = await Promise.all(flood.slice(20).map((client) => client.response()));
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([401]));
    expect(asked.times).toBe(2);
    for (const each of clients.splice(0)) each.destroy();
    await nothingHeld(app);
    expect(log().match(/cannot be fetched/g)).toHaveLength(1);
    expect(log()).not.toContain('kid-');
  });

  it('stops the start without its package, and is prepared once for all its gateways', async () => {
    let prepared = 0;
    const counted = { admit: () => true, prepare: () => void prepared++ };
    const app = await guarded([counted, counted]);
    expect(prepared).toBe(1);
    await app.close();
    opened.app = undefined;
    const missing = { admit: () => true, prepare: () => Promise.reject(new Error('npm install jose')) };
    await expect(guarded([missing])).rejects.toThrow('npm install jose');
  });
});

describe('ticketGuard()', () => {
  @Controller('ticket')
  class TicketController {
    constructor(private readonly tickets: SecureWsTickets) {}
    @Post()
    async issue() {
      return { ticket: await this.tickets.issue({ principal: { id: 'ada' }, path: '/chat' }, '30s') };
    }
  }
  const ticketOf = async ({ port }: TestApp): Promise<string> => {
    const response = await fetch(`http://127.0.0.1:${port}/ticket`, { method: 'POST' });
    return ((await response.json()) as { ticket: string }).ticket;
  };

  it.each(PLATFORMS)('admits a client with a ticket from a route, once (%s)', async (platform) => {
    const log = watchLog();
    const app = await guarded([ticketGuard()], platform, [TicketController]);
    const ticket = await ticketOf(app);
    const { client, response } = await ask(app, { path: `/chat?ticket=${ticket}` });
    expect(response.status).toBe(101);
    client.send('who');
    expect(await client.json()).toEqual({ event: 'who', data: { id: 'ada' } });
    const replay = await ask(app, { path: `/chat?ticket=${ticket}` });
    expect(replay.response).toMatchObject({ status: 401, body: 'Unauthorized\n' });
    for (const each of clients.splice(0)) each.destroy();
    await nothingHeld(app);
    expect(log()).toContain('TicketGuard');
    expect(log()).not.toContain(ticket);
  });

  it('admits one of many clients with the same ticket at the same moment', async () => {
    const app = await guarded([ticketGuard()], 'express', [TicketController]);
    const ticket = await ticketOf(app);
    const many = await Promise.all(Array.from({ length: 20 }, () => RawClient.connect({ port: app.port })));
    clients.push(...many);
    const head = upgradeHead(app.port, { path: `/chat?ticket=${ticket}` });
    const answers = await Promise.all(many.map((client) => client.upgrade(head)));
    expect(answers.map(({ status }) => status).sort()).toEqual([101, ...Array(19).fill(401)]);
  });

  it('admits one of many clients with differently encoded copies of a ticket', async () => {
    const app = await guarded([ticketGuard({ from: ['query:ticket', 'cookie:t', 'protocol'] })], 'express', [
      TicketController,
    ]);
    const ticket = await ticketOf(app);
    const escaped = ticket.replace(/./g, (each) => `%${each.charCodeAt(0).toString(16)}`);
    const heads: HeadOptions[] = [
      { path: `/chat?ticket=${ticket}` },
      { path: `/chat?ticket=${escaped}` },
      { path: `/chat?%74icket=${ticket}` },
      { path: `/chat?ticket=${ticket}&a=b` },
      { path: `/chat?ticket=&ticket=${ticket}` },
      { path: `/chat?ticket=${ticket}&ticket=${ticket}` },
      { headers: { Cookie: `t=${ticket}` } },
      { headers: { Cookie: `t="${escaped}"` } },
      { headers: { Cookie: `t=${ticket}; t=${ticket}` } },
      { headers: { 'Sec-WebSocket-Protocol': `chat, ticket.${ticket}` } },
    ];
    const many = await Promise.all(heads.map(() => RawClient.connect({ port: app.port })));
    clients.push(...many);
    const answers = await Promise.all(
      many.map((client, n) => client.upgrade(upgradeHead(app.port, { path: '/chat', ...heads[n] }))),
    );
    expect(answers.map(({ status }) => status).sort()).toEqual([101, ...Array(heads.length - 1).fill(401)]);
    for (const each of clients.splice(0)) each.destroy();
    await nothingHeld(app);
  });

  it('keeps the ticket of a client that is refused because of its slot, origin or path', async () => {
    const app = await guarded([ticketGuard()], 'express', [TicketController]);
    const ticket = await ticketOf(app);
    const path = `/chat?ticket=${ticket}`;
    expect((await ask(app, { path, headers: { Origin: 'https://evil.example' } })).response.status).toBe(403);
    expect((await ask(app, { path: `/other?ticket=${ticket}` })).response.status).toBe(404);
    expect((await ask(app, { path, headers: { 'Sec-WebSocket-Version': '8' } })).response.status).toBe(426);
    expect((await ask(app, { path })).response.status).toBe(101);
  });
});
