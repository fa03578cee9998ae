import { describe, expect, it, jest } from '@jest/globals';
import { type AttemptInit, abortAttempt, UpgradeAttempt } from '../../../lib/admission/attempt.js';
import {
  addressGuard,
  BUILT_IN_GUARDS,
  hostGuard,
  originGuard,
  rateGuard,
  tlsGuard,
} from '../../../lib/admission/built-in-guards.js';
import {
  type Admission,
  type AdmissionGuard,
  type AdmissionGuardFunction,
  allow,
  refuse,
} from '../../../lib/admission/guard.js';
import { userKeyOf } from '../../../lib/admission/guard-answer.js';
import { ABANDONED, type GuardOutcome, refusalOfThrown, runGuards } from '../../../lib/admission/guard-runner.js';
import { GuardResolver } from '../../../lib/nest/guard-resolver.js';
import { parseAddress } from '../../../lib/net/address.js';
import { attempt } from '../../../lib/testing/attempt.js';
import { turn } from '../../support/time.js';

class ChatGateway {}

const NOW = Date.UTC(2030, 0);
const init: AttemptInit = {
  address: parseAddress('203.0.113.9')!,
  peer: parseAddress('127.0.0.1')!,
  tls: false,
  secure: true,
  viaProxy: true,
  path: '/chat',
  rawQuery: 'a=1&a=2',
  route: '/chat',
  params: {},
  rawHeaders: ['Host', 'App.example:8443', 'Cookie', 'sid=x; b=2', 'cookie', '__proto__=3', 'X-A', '1', 'x-a', '2'],
  host: { name: 'app.example', port: 8443 },
  origin: 'https://app.example:8443',
  protocols: ['chat', 'json'],
  subprotocols: [],
  gateway: ChatGateway,
};
const newAttempt = (change: Partial<AttemptInit> = {}) => new UpgradeAttempt({ ...init, ...change });

/** A fake clock: the scheduled callbacks, and whether they were cancelled. */
function newContext() {
  const timers = new Set<() => void>();
  const schedule = jest.fn((expire: () => void, _timeout: number) => {
    timers.add(expire);
    return () => void timers.delete(expire);
  });
  return {
    timers,
    context: { timeout: 5000, schedule, now: () => NOW },
    expire() {
      for (const timer of timers) timer();
    },
  };
}

const run = (guards: unknown[], attempt = newAttempt(), context = newContext().context) =>
  runGuards(guards as AdmissionGuardFunction[], attempt, context);
const runNow = (...guards: unknown[]) => run(guards) as GuardOutcome;
const answering = (answer: unknown) => runNow(() => answer);

describe('UpgradeAttempt', () => {
  it('has the documented properties', () => {
    const attempt = newAttempt();
    expect(attempt).toMatchObject({
      ip: '203.0.113.9',
      remoteAddress: '127.0.0.1',
      secure: true,
      path: '/chat',
      host: 'app.example:8443',
      origin: 'https://app.example:8443',
      protocols: ['chat', 'json'],
      gateway: ChatGateway,
      rawHeaders: init.rawHeaders,
      principal: undefined,
      certificate: undefined,
    });
    expect(attempt.query.getAll('a')).toEqual(['1', '2']);
    expect(attempt.headers['x-a']).toBe('1, 2');
    expect(attempt.cookies['sid']).toBe('x');
    expect(Object.keys(attempt.cookies)).toContain('__proto__');
    expect(Object.getPrototypeOf(attempt.cookies)).toBeNull();
    expect(attempt.query).toBe(attempt.query);
    expect(newAttempt({ host: { name: 'x', port: undefined } }).host).toBe('x');
    expect(newAttempt({ secure: false, tls: true }).secure).toBe(true);
    expect(newAttempt({ secure: undefined }).secure).toBe(false);
    attempt.protocols.push('mine');
    expect(attempt.protocols).toEqual(['chat', 'json']);
  });

  it('has a signal that fires once, also when it is read late', () => {
    const attempt = newAttempt();
    const fired = jest.fn();
    attempt.signal.addEventListener('abort', fired);
    abortAttempt(attempt, new Error('first'));
    abortAttempt(attempt, new Error('second'));
    expect(fired).toHaveBeenCalledTimes(1);
    expect(attempt.signal.reason).toEqual(new Error('first'));
    const late = newAttempt();
    abortAttempt(late, new Error('gone'));
    expect(late.signal).toMatchObject({ aborted: true, reason: new Error('gone') });
  });
});

describe("a guard's answer", () => {
  it('admits with true and allow(), and refuses with false and refuse()', () => {
    expect(answering(true)).toMatchObject({ principal: undefined, expiresAt: Infinity, headers: [] });
    expect(answering(allow())).not.toHaveProperty('reason');
    expect(answering(false)).toMatchObject({ reason: 'guard', status: 403, text: 'Forbidden' });
    expect(answering(refuse(401, 'Unauthorized', { 'WWW-Authenticate': 'Bearer' }))).toMatchObject({
      reason: 'guard',
      status: 401,
      text: 'Unauthorized',
      headers: [['WWW-Authenticate', 'Bearer']],
    });
    expect(answering(refuse(418))).toMatchObject({ status: 418, text: "I'm a Teapot" });
    expect(answering(refuse(599))).toMatchObject({ status: 599, text: 'Refused' });
    expect(answering(refuse(302, 'Found', { location: '/login' }))).toMatchObject({ status: 302 });
    expect(answering(refuse(400, 'x', { 'Set-Cookie': ['a=1', 'b=2'] }))).toMatchObject({
      headers: [
        ['Set-Cookie', 'a=1'],
        ['Set-Cookie', 'b=2'],
      ],
    });
  });

  it.each<[string, unknown]>([
    ['nothing', undefined],
    ['null', null],
    ['a number', 1],
    ['a string', 'yes'],
    ['an object', {}],
    ['a function', () => true],
    ['an array', [true]],
    ['status 200', refuse(200)],
    ['status 101', refuse(101)],
    ['status 399', refuse(399)],
    ['status 600', refuse(600)],
    ['status 302 without Location', refuse(302)],
    ['a fractional status', refuse(400.5)],
    ['NaN', refuse(Number.NaN)],
    ['a refusal text that is not a string', { decision: 'refuse', status: 400, text: 7 }],
    ['CR LF in a header', refuse(401, 'x', { 'X-A': 'a\r\nSet-Cookie: evil=1' })],
    ['LF in a header', allow({ headers: { 'X-A': 'a\nb' } })],
    ['NUL in a header', allow({ headers: { 'X-A': 'a\0' } })],
    ['a header beyond Latin-1', allow({ headers: { 'X-A': '€' } })],
    ['a name that is not a token', allow({ headers: { 'X A': '1' } })],
    ['an empty name', allow({ headers: { '': '1' } })],
    ['Connection', allow({ headers: { connection: 'close' } })],
    ['Upgrade', allow({ headers: { Upgrade: 'h2c' } })],
    ['Transfer-Encoding', refuse(400, 'x', { 'Transfer-Encoding': 'chunked' })],
    ['Content-Length', refuse(400, 'x', { 'content-length': '0' })],
    ['Keep-Alive', refuse(400, 'x', { 'Keep-Alive': '1' })],
    ['Sec-WebSocket-Accept', allow({ headers: { 'SEC-WEBSOCKET-Accept': 'x' } })],
    ['Sec-WebSocket-Protocol', allow({ headers: { 'Sec-WebSocket-Protocol': 'chat' } })],
    ['a header value that is not a string', allow({ headers: { 'X-A': {} as string } })],
    ['a subprotocol that was not offered', allow({ subprotocol: 'soap' })],
    ['an empty subprotocol', allow({ subprotocol: '' })],
    ['seconds as expiresAt', allow({ expiresAt: 1_900_000_000 })],
    ['zero as expiresAt', allow({ expiresAt: 0 })],
    ['NaN as expiresAt', allow({ expiresAt: Number.NaN })],
    ['an invalid Date', allow({ expiresAt: new Date('x') })],
    ['a string as expiresAt', allow({ expiresAt: '2030-01-01' as unknown as Date })],
    ['an empty user key', allow({ userKey: '' })],
    ['an object as user key', allow({ userKey: {} as string })],
    [
      'a getter that throws',
      {
        get decision() {
          throw new Error('boo');
        },
      },
    ],
    [
      'a principal whose id throws',
      allow({
        principal: {
          get id() {
            throw new Error('boo');
          },
        },
      }),
    ],
  ])('is an error of the guard: %s', (_, answer) => {
    const outcome = answering(answer);
    expect(outcome).toMatchObject({ reason: 'guard-failed', status: 500, text: 'Internal Server Error' });
    expect(JSON.stringify(outcome)).not.toContain('evil');
  });

  it('is 401 when expiresAt has passed', () => {
    for (const expiresAt of [NOW, NOW - 1, new Date(NOW - 1), new Date(5)]) {
      expect(answering(allow({ expiresAt }))).toMatchObject({ reason: 'guard', status: 401 });
    }
    expect(answering(allow({ expiresAt: new Date(NOW + 1) }))).toMatchObject({ expiresAt: NOW + 1 });
  });

  it('sets the user key', () => {
    expect(
      [
        'u',
        7,
        0,
        7n,
        { id: 3 },
        { id: '', sub: 's' },
        { sub: 's' },
        {},
        '',
        null,
        undefined,
        true,
        Number.NaN,
        { id: {} },
        [],
      ].map(userKeyOf),
    ).toEqual(['u', '7', '0', '7', '3', 's', 's', ...Array.from({ length: 8 }, () => undefined)]);
    expect(answering(allow({ principal: { id: 1 }, userKey: 'k' }))).toMatchObject({ userKey: 'k' });
  });
});

describe('runGuards', () => {
  it('decides synchronously when all guards do, without a promise, timer or signal', () => {
    const { context } = newContext();
    const attempt = newAttempt();
    const outcome = run([() => true, () => allow({ principal: 'a' }), () => true], attempt, context);
    expect(outcome).toMatchObject({ principal: 'a', userKey: 'a' });
    expect(context.schedule).not.toHaveBeenCalled();
    expect(runNow()).toBe(runNow(() => true));
  });

  it('runs guards in order, shows the principal to later ones, and stops at the first refusal', () => {
    const heard: unknown[] = [];
    const guards = [
      () => allow({ principal: { id: 1 } }),
      (attempt: UpgradeAttempt) => heard.push(attempt.principal) > 0,
      () => refuse(402),
      () => heard.push('too far'),
    ];
    expect(runNow(...guards)).toMatchObject({ status: 402 });
    expect(heard).toEqual([{ id: 1 }]);
  });

  it("merges the guards' answers", () => {
    const outcome = runNow(
      () =>
        allow({ principal: { id: 1 }, userKey: 'old', expiresAt: NOW + 500, headers: { A: '1' }, subprotocol: 'chat' }),
      () => allow({ principal: { sub: 'two' }, expiresAt: NOW + 900, headers: { a: '2' } }),
      () => allow({ expiresAt: NOW + 700, subprotocol: 'json' }),
    );
    expect(outcome).toEqual({
      principal: { sub: 'two' },
      userKey: 'two',
      expiresAt: NOW + 500,
      headers: [
        ['A', '1'],
        ['a', '2'],
      ],
      subprotocol: 'json',
    });
    expect(
      runNow(
        () => allow({ principal: { id: 1 } }),
        () => allow({ userKey: 'k' }),
      ),
    ).toMatchObject({ principal: { id: 1 }, userKey: 'k' });
    // A new principal without a key does not inherit the key of another principal.
    expect(
      runNow(
        () => allow({ principal: 'a' }),
        () => allow({ principal: {} }),
      ),
    ).toMatchObject({ userKey: undefined });
  });

  it('hides the error message when the request carries more than can be searched', () => {
    const thrown = (cookie: string) =>
      refusalOfThrown(new Error(`no session canary-1`), { rawHeaders: ['Cookie', cookie], rawQuery: '' }).detail;
    expect(thrown('s=canary-1')).toMatch(/^Error: no session … at /);
    expect(thrown(`s=canary-1; ${'a=bcdefg; '.repeat(4000)}`)).toMatch(/^\(message not shown: [^)]*\) at /);
  });

  it('redacts the query even when it cannot be decoded', () => {
    const said = (rawQuery: string, words: string) =>
      refusalOfThrown(new Error(words), { rawHeaders: [], rawQuery }).detail;
    expect(said('token=canary%2D1', 'no session canary-1')).not.toContain('canary');
    expect(said('token=canary%ZZ', 'no session canary%ZZ, really')).toContain('no session …, really');
  });

  it('answers 500 to a thrown error, and takes only the status of an HttpException', async () => {
    const exception = (status: unknown) =>
      Object.assign(new Error('secret'), { getStatus: () => status, getResponse: () => 'secret' });
    const fail = (error: unknown) =>
      function TokenGuard() {
        throw error;
      };
    expect(runNow(fail(new Error('boo')))).toMatchObject({
      reason: 'guard-failed',
      status: 500,
      detail: expect.stringMatching(/^TokenGuard: Error: boo at .*guards\.spec/),
    });
    expect(runNow(fail(exception(401)))).toMatchObject({ reason: 'guard', status: 401, text: 'Unauthorized' });
    expect(runNow(fail(exception(401)))).not.toHaveProperty('headers');
    for (const status of [200, 302, 99, 'x', undefined])
      expect(runNow(fail(exception(status)))).toMatchObject({ status: 500 });
    const hostile = {
      getStatus() {
        throw new Error();
      },
      toString() {
        throw new Error();
      },
    };
    for (const error of [null, undefined, 0, 'x', hostile, Symbol('s'), Object.create(null)]) {
      expect(runNow(fail(error))).toMatchObject({ status: 500 });
      expect(await run([() => Promise.reject(error)])).toMatchObject({ status: 500 });
    }
    expect(
      await run([
        async () => {
          throw exception(403);
        },
      ]),
    ).toMatchObject({ status: 403 });
  });

  it('awaits promises in order under one timeout, and cancels it afterwards', async () => {
    const { context, timers } = newContext();
    const order: string[] = [];
    const outcome = await run(
      [
        () => order.push('sync') > 0,
        async () => {
          await turn();
          order.push('slow');
          return allow({ principal: 'p' });
        },
        (attempt: UpgradeAttempt) => order.push(String(attempt.principal)) > 0,
        async () => order.push('last') > 0,
      ],
      newAttempt(),
      context,
    );
    expect(outcome).toMatchObject({ principal: 'p' });
    expect(order).toEqual(['sync', 'slow', 'p', 'last']);
    expect(context.schedule).toHaveBeenCalledTimes(1);
    expect(context.schedule.mock.calls[0]![1]).toBe(5000);
    expect(timers.size).toBe(0);
  });

  it('answers 503 at the timeout: the signal fires, later guards are not run, a late answer has no effect', async () => {
    const { context, expire, timers } = newContext();
    let answer!: (value: boolean) => void;
    let signal!: AbortSignal;
    const later = jest.fn(() => true);
    const slow = (attempt: UpgradeAttempt) => {
      signal = attempt.signal;
      return new Promise<boolean>((resolve) => (answer = resolve));
    };
    const outcome = run([slow, later], newAttempt(), context);
    await turn();
    expire();
    expect(await outcome).toMatchObject({ reason: 'guard-timeout', status: 503, detail: 'slow' });
    expect(signal.aborted).toBe(true);
    expect(signal.reason).toMatchObject({ name: 'TimeoutError' });
    answer(true);
    await turn();
    expect(later).not.toHaveBeenCalled();
    expect(timers.size).toBe(0);
  });

  it('is abandoned when the peer leaves, and catches a late rejection', async () => {
    const { context, timers } = newContext();
    const uncaught = jest.fn();
    process.on('unhandledRejection', uncaught);
    const attempt = newAttempt();
    let fail!: (error: Error) => void;
    const outcome = run([() => new Promise((_, reject) => (fail = reject))], attempt, context);
    abortAttempt(attempt, new Error('the peer left'));
    expect(await outcome).toBe(ABANDONED);
    expect(timers.size).toBe(0);
    fail(new Error('late'));
    await turn();
    expect(uncaught).not.toHaveBeenCalled();
    process.off('unhandledRejection', uncaught);
    expect(await run([async () => true], attempt, context)).toBe(ABANDONED);
  });

  it('accepts thenables of any kind', async () => {
    const thenable = (descriptor: PropertyDescriptor) => () => Object.defineProperty({}, 'then', descriptor);
    const boo = () => {
      throw new Error('boo');
    };
    expect(await run([thenable({ value: (resolve: (answer: boolean) => void) => resolve(true) })])).not.toHaveProperty(
      'reason',
    );
    expect(await run([thenable({ value: boo })])).toMatchObject({ status: 500 });
    expect(runNow(thenable({ get: boo }))).toMatchObject({ status: 500 });
  });
});

describe('built-in guards', () => {
  const askAlone = (guard: AdmissionGuardFunction, change: Partial<AttemptInit> = {}) =>
    run([guard], newAttempt(change)) as GuardOutcome;
  const status = (outcome: GuardOutcome) => ('status' in outcome ? outcome.status : 101);

  it('tlsGuard, hostGuard, originGuard and addressGuard decide as the stage does', () => {
    expect(status(askAlone(tlsGuard()))).toBe(101);
    expect(askAlone(tlsGuard(), { secure: undefined })).toMatchObject({
      reason: 'tls-required',
      status: 403,
      detail: 'tlsGuard',
    });
    expect(status(askAlone(hostGuard(['app.example'])))).toBe(101);
    expect(askAlone(hostGuard(['x.example']))).toMatchObject({ reason: 'host', status: 403 });
    expect(status(askAlone(originGuard()))).toBe(101);
    expect(askAlone(originGuard(['https://x.example']))).toMatchObject({
      reason: 'origin',
      detail: expect.stringContaining('originGuard: Origin'),
    });
    expect(askAlone(addressGuard({ denied: ['203.0.113.0/24'] }))).toMatchObject({
      reason: 'address-denied',
      status: 403,
    });
    expect(status(askAlone(addressGuard({ allowed: ['203.0.113.9'] })))).toBe(101);
    expect(() => addressGuard({ allowed: ['x'] })).toThrow("'x' is not an IP address");
    expect(() => originGuard(['x', 'y'])).toThrow(TypeError);
  });

  it('rateGuard has its own buckets', () => {
    let now = 0;
    const guard = rateGuard({ limit: 2, window: 1000 }, () => now);
    expect([1, 2, 3].map(() => status(askAlone(guard)))).toEqual([101, 101, 429]);
    expect(askAlone(guard)).toMatchObject({ reason: 'connection-rate', headers: [['Retry-After', '1']] });
    expect(status(askAlone(guard, { address: parseAddress('203.0.113.10')! }))).toBe(101);
    now = 500;
    expect([1, 2].map(() => status(askAlone(guard)))).toEqual([101, 429]);
  });

  it('are listed in the order of their stages', () => {
    expect(BUILT_IN_GUARDS.map((guard) => guard.name)).toEqual([
      'rateGuard',
      'tlsGuard',
      'hostGuard',
      'originGuard',
      'addressGuard',
    ]);
    expect(BUILT_IN_GUARDS.map((guard) => guard.stage)).toEqual([2, 5, 5, 5, 5]);
  });

  it('have the same form as an application guard', () => {
    class TokenGuard implements AdmissionGuard {
      admit(attempt: UpgradeAttempt<{ id: number }>): Admission {
        return attempt.query.get('token') === 'secret' ? allow({ principal: { id: 1 } }) : refuse(401, 'Unauthorized');
      }
    }
    const guard = new TokenGuard();
    expect(status(askAlone((attempt) => guard.admit(attempt as UpgradeAttempt<{ id: number }>)))).toBe(401);
  });
});

describe('a Nest guard', () => {
  it('returns no promise when it answers synchronously', async () => {
    const answers = [true, Promise.resolve(true)].map((answer) => ({ canActivate: () => answer }));
    const { guards } = await new GuardResolver().resolve(answers, undefined as never, class {});
    const made = attempt();
    expect(guards.map((guard) => guard(made))).toEqual([true, expect.any(Promise)]);
  });
});
