import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import {
  type CanActivate,
  type ExecutionContext,
  HttpException,
  Inject,
  Injectable,
  Logger,
  Module,
  Scope,
  type Type,
} from '@nestjs/common';
import { MessageBody, SubscribeMessage } from '@nestjs/websockets';
import {
  type Admission,
  type AdmissionGuard,
  allow,
  beforeBuiltIn,
  type GuardLike,
  Principal,
  refuse,
  SecureGateway,
  type SecureWsOptions,
  type UpgradeAttempt,
  UseAdmissionGuards,
} from 'nest-secure-ws';
import { of, throwError } from 'rxjs';
import { eventually, startApp, type TestApp } from '../../support/app.js';
import { openedByTests } from '../../support/opened.js';
import { type HeadOptions, RawClient, type Response, upgradeHead } from '../../support/raw-client.js';
import { passUntil, restoreTime, stopTime } from '../../support/stopped-time.js';
import type { ManualClock } from '../../support/time.js';

const opened = openedByTests();
const { clients } = opened;
let clock: ManualClock;
beforeEach(() => {
  clock = stopTime();
});
afterEach(() => {
  jest.restoreAllMocks();
  restoreTime();
});

const SELF = Symbol('self');

/** An application with one gateway behind the guards, whose handler returns the principal. */
async function guarded(
  guards: readonly GuardLike[],
  options: SecureWsOptions = {},
  providers: readonly Type[] = [],
): Promise<TestApp> {
  @SecureGateway({ path: '/' })
  @UseAdmissionGuards(...guards)
  class Gateway {
    readonly [SELF] = true;
    @SubscribeMessage('who')
    who(@Principal() principal: unknown) {
      return { event: 'who', data: principal ?? null };
    }
  }
  opened.app = await startApp({
    gateways: [Gateway, ...providers],
    options: { ...options, connections: { guardTimeout: 300, ...options.connections } },
  });
  return opened.app;
}

async function ask({ port }: TestApp, head: HeadOptions = {}): Promise<Response> {
  const client = await connected(port);
  return client.upgrade(upgradeHead(port, head));
}

async function connected(port: number): Promise<RawClient> {
  const client = await RawClient.connect({ port });
  clients.push(client);
  return client;
}

const nothingHeld = async (app: TestApp) => {
  await passUntil(clock, () => app.stats().slots === 0 && app.stats().pending === 0);
};

describe('a guard', () => {
  it('is a class with dependencies, an instance or a function; those of the application run first, in order', async () => {
    const order: string[] = [];
    @Injectable()
    class Users {
      find = (token: string | undefined) => (token === 'good' ? { id: 7 } : undefined);
    }
    @Injectable()
    class TokenGuard implements AdmissionGuard {
      constructor(private readonly users: Users) {}
      admit(attempt: UpgradeAttempt) {
        order.push('class');
        const principal = this.users.find(attempt.headers['authorization']);
        return principal === undefined ? refuse(401, 'Who?', { 'WWW-Authenticate': 'Bearer' }) : allow({ principal });
      }
    }
    const instance = { admit: (attempt: UpgradeAttempt) => order.push(`instance ${attempt.path}`) > 0 };
    const app = await guarded(
      [TokenGuard, instance],
      { guards: [async () => order.push('first') > 0, () => order.push('second') > 0] },
      [Users],
    );
    const refused = await ask(app);
    expect(refused).toMatchObject({ status: 401, body: 'Who?\n' });
    expect(refused.headers).toMatchObject({ 'www-authenticate': 'Bearer', connection: 'close' });
    expect(order.splice(0)).toEqual(['first', 'second', 'class']);
    const client = await RawClient.open({ port: app.port }, { headers: { Authorization: 'good' } });
    clients.push(client);
    expect(order).toEqual(['first', 'second', 'class', 'instance /']);
    client.send('who');
    expect(await client.json()).toEqual({ event: 'who', data: { id: 7 } });
  });

  it('is the provider of its module, with its private dependencies, or created once when no module provides it', async () => {
    const made: string[] = [];
    @Injectable()
    class Provided implements AdmissionGuard {
      constructor(@Inject('secret') private readonly secret: string) {
        made.push(`provided ${secret}`);
      }
      admit = (attempt: UpgradeAttempt) => attempt.query.get('secret') === this.secret;
    }
    @Injectable()
    class Unprovided implements AdmissionGuard {
      constructor(@Inject('secret') secret: string) {
        made.push(`unprovided ${secret}`);
      }
      admit = () => true;
    }
    @SecureGateway({ path: '/a' })
    @UseAdmissionGuards(Provided, Unprovided)
    class A {
      @SubscribeMessage('x') x(@MessageBody() data: unknown) {
        return { event: 'x', data };
      }
    }
    @SecureGateway({ path: '/b' })
    @UseAdmissionGuards(Unprovided)
    class B {
      @SubscribeMessage('x') x() {}
    }
    @Module({ providers: [A, B, Provided, { provide: 'secret', useValue: 'feature' }] })
    class Feature {}
    opened.app = await startApp({
      metadata: { imports: [Feature], providers: [{ provide: 'secret', useValue: 'root' }] },
    });
    expect(made.sort()).toEqual(['provided feature', 'unprovided feature']);
    expect(await ask(opened.app, { path: '/a?secret=root' })).toMatchObject({ status: 403, body: 'Forbidden\n' });
    expect(await ask(opened.app, { path: '/a?secret=feature' })).toMatchObject({ status: 101 });
  });

  it.each([
    ['request-scoped', { scope: Scope.REQUEST }, true],
    ['request-scoped and not provided', { scope: Scope.REQUEST }, false],
    ['transient', { scope: Scope.TRANSIENT }, true],
  ])('that is %s stops the start with an explanation', async (_, scope, isProvided) => {
    @Injectable(scope)
    class ScopedGuard implements AdmissionGuard {
      admit = () => true;
    }
    await expect(guarded([ScopedGuard], {}, isProvided ? [ScopedGuard] : [])).rejects.toThrow(
      /admission guard ScopedGuard of .* must be singletons/,
    );
  });

  it('that depends on a request-scoped provider, or is not a guard, stops the start', async () => {
    @Injectable({ scope: Scope.REQUEST })
    class PerRequest {}
    @Injectable()
    class Dependent implements AdmissionGuard {
      constructor(readonly dependency: PerRequest) {}
      admit = () => true;
    }
    await expect(guarded([Dependent], {}, [PerRequest])).rejects.toThrow(/Dependent of .* must be singletons/);
    await expect(guarded([Dependent], {}, [PerRequest, Dependent])).rejects.toThrow(/must be singletons/);
    await expect(guarded([{} as never])).rejects.toThrow(/Object is not a guard/);
  });

  it('may set headers and the subprotocol of the 101, and expiresAt', async () => {
    const app = await guarded([
      () =>
        allow({
          principal: 'u',
          headers: { 'Set-Cookie': ['a=1', 'b=2'], 'X-Tenant': 'blue' },
          subprotocol: 'v2',
          expiresAt: Date.now() + 15_000,
        }),
    ]);
    const client = await connected(app.port);
    const response = await client.upgrade(upgradeHead(app.port, { headers: { 'Sec-WebSocket-Protocol': 'v1, v2' } }));
    expect(response.headers).toMatchObject({ 'sec-websocket-protocol': 'v2', 'x-tenant': 'blue' });
    expect(response.raw).toContain('Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n');
    clock.pass(16_000);
    expect(await client.closeFrame()).toMatchObject({ code: 4401 });
  });

  it('may refuse with any text: Content-Length counts its bytes', async () => {
    const app = await guarded([() => refuse(403, 'nö – €')]);
    const { headers, body } = await ask(app);
    expect(headers['content-length']).toBe('12');
    expect(Buffer.from(body, 'latin1').toString()).toBe('nö – €\n');
  });

  it('runs after the built-in checks, or before them with beforeBuiltIn()', async () => {
    const order: string[] = [];
    const noting = (name: string) => (attempt: UpgradeAttempt) => order.push(`${name} ${attempt.principal}`) > 0;
    const app = await guarded([noting('gateway'), beforeBuiltIn(noting('early gateway'))], {
      guards: [noting('app'), beforeBuiltIn(async () => allow({ principal: 'p', headers: { 'X-Early': '1' } }))],
      connections: { maxPerIp: 1 },
    });
    expect(await ask(app, { headers: { Origin: 'https://evil.test' } })).toMatchObject({ status: 403 });
    expect(order.splice(0)).toEqual(['early gateway p']);
    expect((await ask(app)).headers).toMatchObject({ 'x-early': '1' });
    expect(order.splice(0)).toEqual(['early gateway p', 'app p', 'gateway p']);
    expect(await ask(app)).toMatchObject({ status: 429 });
    expect(order).toEqual(['early gateway p']);
  });

  it('that throws is answered with 500 and logged once, without the request’s secrets; only the status of an HttpException is sent', async () => {
    const warn = jest.spyOn(Logger.prototype, 'warn').mockImplementation(() => {});
    const failures: (() => Admission | Promise<boolean>)[] = [
      () => {
        throw new Error('no such token: canary-token-1');
      },
      () => Promise.reject(new Error('late canary-query-2')),
      () => JSON.parse('canary-cookie-3') as Admission,
      () => {
        throw new HttpException({ inner: 'canary' }, 418);
      },
      () => refuse(200),
      () => allow({ headers: { 'Bad\r\nName': '1' } }),
      () => allow({ headers: { 'X-A': 'a\r\nX-B: b' } }),
      () => allow({ headers: { 'Sec-WebSocket-Accept': 'x' } }),
      () => allow({ subprotocol: 'not-offered' }),
      () => allow({ expiresAt: 1_700_000_000 }),
      () => undefined as never,
      () => null as never,
      () => 'yes' as never,
      () => allow({ expiresAt: new Date(1_700_000_000_000) }),
    ];
    let next = 0;
    const app = await guarded([() => failures[next]!()]);
    const statuses: number[] = [];
    for (; next < failures.length; next++) {
      const { status, raw } = await ask(app, {
        path: '/?q=canary-query-2',
        headers: { Authorization: 'Bearer canary-token-1', Cookie: 's=canary-cookie-3' },
      });
      expect(raw).not.toContain('canary');
      statuses.push(status);
    }
    expect(statuses).toEqual([500, 500, 500, 418, 500, 500, 500, 500, 500, 500, 500, 500, 500, 401]);
    expect(app.stats()).toMatchObject({ refused: { 'guard-failed': 12, guard: 2 }, faults: { guard: 3 } });
    const lines = warn.mock.calls.map(([line]) => String(line));
    const failed = lines.filter((line) => line.includes('guard-failed'));
    expect(failed).toHaveLength(5);
    expect(failed[0]).toMatch(
      /^refused 500 guard-failed ip=127\.0\.0\.1 path=\/: .*no such token: … at .*guards\.spec/,
    );
    expect(failed[1]).toMatch(/late … at .*guards\.spec/);
    expect(lines.join()).not.toContain('canary');
    await nothingHeld(app);
  });

  it('that never answers is refused with 503 and an aborted signal, even if it answers later; its slot is freed', async () => {
    let signal: AbortSignal | undefined;
    let late: (error: Error) => void = () => {};
    const app = await guarded([
      beforeBuiltIn(async () => {
        clock.pass(200);
        return true;
      }),
      (attempt) => {
        signal = attempt.signal;
        return new Promise<boolean>((_, reject) => {
          late = reject;
        });
      },
    ]);
    const asked = ask(app);
    await eventually(() => signal !== undefined);
    // Both guards together have guardTimeout.
    clock.pass(200);
    const response = await asked;
    expect(response).toMatchObject({ status: 503, headers: { 'retry-after': expect.stringMatching(/^\d+$/) } });
    expect(signal?.reason).toMatchObject({ name: 'TimeoutError' });
    late(new Error('too late'));
    await nothingHeld(app);
    expect(app.stats().refused).toEqual({ 'guard-timeout': 1 });
    expect(app.stats().faults).toEqual({});
  });

  it.each(['end', 'reset'] as const)(
    'gets an aborted signal when the peer leaves before the decision (%s)',
    async (way) => {
      const signals: AbortSignal[] = [];
      const app = await guarded(
        [
          (attempt) =>
            new Promise<boolean>((_, reject) => {
              signals.push(attempt.signal);
              attempt.signal.addEventListener('abort', () => reject(new Error('aborted')));
            }),
        ],
        { connections: { guardTimeout: '30s' } },
      );
      for (let i = 0; i < 5; i++) (await connected(app.port)).write(upgradeHead(app.port));
      await eventually(() => signals.length === 5);
      expect(app.stats().slots).toBe(5);
      for (const client of clients) way === 'end' ? client.socket.end() : client.reset();
      await eventually(() => signals.every(({ aborted }) => aborted));
      await nothingHeld(app);
      expect(app.stats()).toMatchObject({ opened: 0, refused: {}, faults: {} });
    },
  );

  it('that answers after the peer has left admits no connection', async () => {
    const answers: ((yes: boolean) => void)[] = [];
    const app = await guarded([() => new Promise<boolean>((resolve) => answers.push(resolve))]);
    const client = await connected(app.port);
    client.write(upgradeHead(app.port));
    await eventually(() => answers.length === 1);
    client.reset();
    await nothingHeld(app);
    answers[0]!(true);
    expect(await ask(app, { headers: { Origin: 'null' } })).toMatchObject({ status: 403 });
    const { opened, connections, faults } = app.stats();
    expect({ opened, connections, faults }).toEqual({ opened: 0, connections: 0, faults: {} });
  });
});

describe('a Nest guard', () => {
  it('receives the upgrade request, and its user becomes the principal', async () => {
    const seen: unknown[] = [];
    @Injectable()
    class Passport implements CanActivate {
      async canActivate(context: ExecutionContext) {
        const request = context.switchToHttp().getRequest<{
          headers: Record<string, string>;
          url: string;
          method: string;
          user?: unknown;
        }>();
        seen.push([context.getType(), request.method, request.url, SELF in new (context.getClass() as Type<object>)()]);
        seen.push(typeof context.getHandler());
        if (request.headers['authorization'] !== 'Bearer t') throw new HttpException('no', 401);
        request.user = { sub: 'anna' };
        return true;
      }
    }
    const app = await guarded([Passport]);
    expect(await ask(app)).toMatchObject({ status: 401, body: 'Unauthorized\n' });
    const client = await RawClient.open({ port: app.port }, { path: '/?a=1', headers: { Authorization: 'Bearer t' } });
    clients.push(client);
    client.send('who');
    expect(await client.json()).toEqual({ event: 'who', data: { sub: 'anna' } });
    expect(seen.slice(2)).toEqual([['http', 'GET', '/?a=1', true], 'function']);
  });

  it('may answer with booleans, promises and observables; a response that it writes is refused', async () => {
    const answers: (() => unknown)[] = [
      () => true,
      () => false,
      () => undefined,
      () => of(true),
      () => of(true, false),
      () => throwError(() => new HttpException('', 402)),
      () => Promise.resolve(false),
    ];
    let next = 0;
    class Any implements CanActivate {
      canActivate(context: ExecutionContext) {
        if (next < answers.length) return answers[next]!() as boolean;
        context.switchToHttp().getResponse().end('mine');
        return true;
      }
    }
    const app = await guarded([new Any()]);
    const statuses: number[] = [];
    for (; next <= answers.length; next++) statuses.push((await ask(app)).status);
    expect(statuses).toEqual([101, 403, 403, 101, 403, 402, 403, 500]);
  });
});
