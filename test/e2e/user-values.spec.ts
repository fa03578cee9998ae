import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import {
  BadRequestException,
  Catch,
  ForbiddenException,
  HttpException,
  InternalServerErrorException,
  Logger,
  ServiceUnavailableException,
  UseFilters,
} from '@nestjs/common';
import { BaseWsExceptionFilter, MessageBody, SubscribeMessage, WebSocketServer, WsException } from '@nestjs/websockets';
import { SecureGateway, type SecureSocket, SecureWsStats } from 'nest-secure-ws';
import { Observable, of } from 'rxjs';
import { createWebSocketStream, type WebSocketServer as Server } from 'ws';
import { eventually, startApp, type TestApp } from '../support/app.js';
import { frame, RawClient } from '../support/raw-client.js';

/** What applications return and throw, and its effect on the peer, the log and the process. */
const fail = (): never => {
  throw new Error('read');
};
const throwing = (name: string): object => Object.defineProperty({}, name, { get: fail, enumerable: true });
const cyclic: Record<string, unknown> = {};
cyclic['self'] = cyclic;

const HOSTILE: Record<string, () => unknown> = {
  'a then that throws when read': () => throwing('then'),
  'a subscribe that throws when read': () => throwing('subscribe'),
  'an event that throws when read': () => throwing('event'),
  'data that throws when read': () => ({ event: 'x', data: throwing('deep') }),
  'a toJSON that throws': () => ({ toJSON: fail }),
  'a toJSON that throws when read': () => throwing('toJSON'),
  'a proxy that throws on every access': () =>
    new Proxy({}, { get: fail, has: fail, ownKeys: fail, getPrototypeOf: fail }),
  'a revoked proxy': () => {
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    return proxy;
  },
  'a bigint': () => ({ event: 'x', data: 1n }),
  'a cyclic object': () => cyclic,
  'a promise of a subscribe that throws when read': async () => throwing('subscribe'),
  // biome-ignore lint/suspicious/noThenProperty: this is the subject
  'a thenable that throws': () => ({ then: fail }),
  'an observable that throws at subscribe': () => ({ subscribe: fail }),
  'an observable of a cyclic object': () => of(cyclic),
  'an observable that fails with undefined': () => new Observable((observer) => observer.error(undefined)),
};
const SILENT: Record<string, () => unknown> = {
  'a function': () => () => 1,
  'a symbol': () => Symbol('x'),
  'an empty foreign observable': () => ({
    subscribe: (observer: { complete(): void }) => observer.complete(),
  }),
  'an observable without a subscription': () => ({ subscribe: () => undefined }),
};
const ANSWERS: Record<string, [() => unknown, unknown[]]> = {
  'a thenable that resolves twice': [
    () => ({
      // biome-ignore lint/suspicious/noThenProperty: this is the subject
      then(done: (value: unknown) => void, failed: (error: unknown) => void) {
        done({ event: 'once' });
        done({ event: 'twice' });
        failed(new Error('thrice'));
      },
    }),
    [{ event: 'once' }],
  ],
  'an observable that emits after completion': [
    () => ({
      subscribe(observer: { next(value: unknown): void; complete(): void; error(error: unknown): void }) {
        observer.next({ event: 'first' });
        observer.complete();
        observer.complete();
        observer.error(new Error('late'));
        observer.next({ event: 'late' });
        return { unsubscribe: fail };
      },
    }),
    [{ event: 'first' }],
  ],
};

const exception = (message: unknown) => ({ event: 'exception', data: { status: 'error', message } });
const UNKNOWN = exception('Internal server error');

enum Op {
  Hello = 0,
  Bye = 1,
}

@SecureGateway({ path: '/values', messages: { handlerTimeout: '10s', strikes: '3/1h' } })
class ValuesGateway {
  static afterInit = 0;
  async afterInit(): Promise<void> {
    ValuesGateway.afterInit++;
    throw new Error('the gateway cannot be prepared');
  }
  @SubscribeMessage('return') returns(@MessageBody() name: string) {
    return (HOSTILE[name] ?? SILENT[name] ?? ANSWERS[name]?.[0])!();
  }
  @SubscribeMessage('throw') throws(@MessageBody() name: string) {
    throw THROWN[name]!();
  }
  @SubscribeMessage('ping') ping() {
    return { event: 'pong' };
  }
  @SubscribeMessage(Op.Hello) hello() {
    return { event: Op.Hello, data: 'zero' };
  }
  @SubscribeMessage(Op.Bye) bye() {
    return { event: Op.Bye, data: 'one' };
  }
  @SubscribeMessage(true) yes() {
    return { event: true };
  }
  @SubscribeMessage(null) nothing() {
    return { event: null };
  }
  @SubscribeMessage('twice') first() {
    return { event: 'first' };
  }
  @SubscribeMessage('twice') second() {
    return { event: 'second' };
  }
}

const THROWN: Record<string, () => unknown> = {
  '400': () => new BadRequestException('be polite'),
  '403': () => new ForbiddenException(),
  'a list': () => new BadRequestException(['a', 'b']),
  'an object': () => new BadRequestException({ message: { field: 'name' }, secret: 'inner' }),
  'no message': () => new HttpException({ inner: 'details' }, 422),
  '500': () => new InternalServerErrorException('connect ECONNREFUSED db-1.internal'),
  '503': () => new ServiceUnavailableException('db-1.internal is down'),
  '302': () => new HttpException('elsewhere', 302),
  'no status': () => new HttpException('odd', Number.NaN),
  'an error': () => new Error('the password is swordfish'),
  'a string': () => 'the password is swordfish',
  nothing: () => undefined,
  'a proxy': () => new Proxy(new Error('x'), { get: fail, getPrototypeOf: fail, has: fail }),
  'an exception that throws when read': () => Object.assign(new BadRequestException('x'), { getResponse: fail }),
  'a WsException': () => new WsException('denied'),
  'a WsException with an object': () => new WsException({ code: 7, reason: 'because' }),
};

@Catch()
class Plain extends BaseWsExceptionFilter {}
@Catch()
class WithCause extends BaseWsExceptionFilter {
  constructor() {
    super({ includeCause: true });
  }
}
@Catch()
class WithFactory extends BaseWsExceptionFilter {
  constructor() {
    super({ causeFactory: (pattern) => ({ event: pattern }) });
  }
}

@SecureGateway({ path: '/causes' })
class CausesGateway {
  @SubscribeMessage('plain') @UseFilters(Plain) plain() {
    throw new WsException('no');
  }
  @SubscribeMessage('bug') @UseFilters(Plain) bug() {
    throw new Error('a bug');
  }
  @SubscribeMessage('explicit') @UseFilters(WithCause) explicit() {
    throw new WsException('no');
  }
  @SubscribeMessage('explicit bug') @UseFilters(new WithCause()) explicitBug() {
    throw new Error('a bug');
  }
  @SubscribeMessage('factory') @UseFilters(WithFactory) factory() {
    throw new WsException('no');
  }
  @SubscribeMessage('nest') @UseFilters(new BaseWsExceptionFilter({ includeCause: true })) nest() {
    throw new WsException('no');
  }
  @SubscribeMessage('off') @UseFilters(new BaseWsExceptionFilter({ includeCause: false })) off() {
    throw new WsException('no');
  }
}

@SecureGateway({ path: '/long' })
class LongGateway {
  @SubscribeMessage('text') text(@MessageBody() length: number) {
    throw new WsException('é'.repeat(length));
  }
  @SubscribeMessage('emoji') emoji() {
    throw new WsException(`x${'🙂'.repeat(1000)}`);
  }
  @SubscribeMessage('list') list() {
    throw new BadRequestException(Array.from({ length: 500 }, (_, at) => `field ${at} must be something else`));
  }
  @SubscribeMessage('object') object() {
    throw new WsException({ code: 'E_FIELDS', fields: { name: 'n'.repeat(2000), age: 'too young' }, last: 1 });
  }
  @SubscribeMessage('escapes') escapes() {
    throw new WsException('\u0000"\\'.repeat(2000));
  }
  @SubscribeMessage('keys') keys() {
    throw new WsException({ ok: 1, ['k'.repeat(5000)]: 2 });
  }
}

/** Messages of a gateway with its own message format, read in each possible way. */
const received: string[] = [];
@SecureGateway({ path: '/own', messages: { strikes: '2/1h' } })
class OwnGateway {
  handleConnection(client: SecureSocket): void {
    const way = client.query.get('way');
    const receive = (data: unknown) => void received.push(String(data));
    if (way === 'on') client.on('message', receive);
    if (way === 'onmessage') client.onmessage = ({ data }) => receive(data);
    if (way === 'addEventListener') client.addEventListener('message', ({ data }) => receive(data));
    if (way === 'once') client.once('message', receive);
    if (way === 'stream') createWebSocketStream(client).on('data', receive);
  }
  @SubscribeMessage('known') known() {
    return { event: 'known' };
  }
}
@SecureGateway({ path: '/left', messages: { handlerTimeout: '2s' } })
class LeftGateway {
  static release: () => void = () => undefined;
  static running = 0;
  @SubscribeMessage('hold') hold() {
    return new Promise<void>((resolve) => {
      LeftGateway.release = resolve;
      LeftGateway.running++;
    });
  }
  @SubscribeMessage('forget') forget() {
    LeftGateway.running++;
    return new Promise(() => undefined);
  }
}

// Without pings: tests wait for any bytes, or for none.
@SecureGateway({ path: '/nodes', messages: { maxNodes: 1000, strikes: '2/1h' }, keepalive: { pingInterval: null } })
class NodesGateway {
  static release: (() => void)[] = [];
  @SubscribeMessage('hold') hold() {
    return new Promise<void>((resolve) => NodesGateway.release.push(resolve));
  }
  @SubscribeMessage('count') count(@MessageBody() data: unknown[]) {
    return { event: 'count', data: data.length };
  }
}

let app: TestApp;
let error: jest.SpiedFunction<Logger['error']>;
beforeAll(async () => {
  error = jest.spyOn(Logger.prototype, 'error').mockImplementation(() => {});
  app = await startApp({
    gateways: [ValuesGateway, CausesGateway, LongGateway, OwnGateway, LeftGateway, NodesGateway],
    metadata: { providers: [Plain, WithCause, WithFactory] },
  });
});
afterAll(async () => {
  await app.close();
  error.mockRestore();
});

const open = (path: string) => RawClient.open({ port: app.port }, { path });
async function answer(client: RawClient, event: unknown, data?: unknown): Promise<unknown> {
  client.write(frame(JSON.stringify({ event, data })));
  return client.json();
}
const faults = (where: 'handler' | 'afterInit') => app.stats().faults[where] ?? 0;

describe('a handler that returns', () => {
  it.each(Object.keys(HOSTILE))(
    '%s is answered with an exception and counted as a fault, and the connection stays open',
    async (name) => {
      const before = faults('handler');
      const client = await open('/values');
      expect(await answer(client, 'return', name)).toEqual(UNKNOWN);
      expect(await answer(client, 'ping')).toEqual({ event: 'pong' });
      expect(faults('handler')).toBe(before + 1);
      client.destroy();
    },
  );

  it.each(Object.keys(SILENT))('%s sends nothing', async (name) => {
    const client = await open('/values');
    client.send('return', name);
    expect(await answer(client, 'ping')).toEqual({ event: 'pong' });
    client.destroy();
  });

  it.each(Object.keys(ANSWERS))('%s sends its first result', async (name) => {
    const client = await open('/values');
    client.send('return', name);
    for (const each of ANSWERS[name]![1]) expect(await client.json()).toEqual(each);
    // The message released its place in the queue once: later messages are still handled one by one.
    for (let i = 0; i < 3; i++) expect(await answer(client, 'ping')).toEqual({ event: 'pong' });
    client.destroy();
  });
});

describe('a handler that throws', () => {
  const told = async (name: string) => {
    const client = await open('/values');
    const before = faults('handler');
    const got = await answer(client, 'throw', name);
    client.destroy();
    return [got, faults('handler') - before];
  };

  it.each([
    ['400', 'be polite'],
    ['403', 'Forbidden'],
    ['a list', ['a', 'b']],
    ['an object', { field: 'name' }],
    ['no message', 'Http Exception'],
    ['a WsException', 'denied'],
  ])('%s sends its message', async (name, message) => {
    expect(await told(name)).toEqual([exception(message), 0]);
  });

  it('a WsException with an object sends the object, as in Nest', async () => {
    expect(await told('a WsException with an object')).toEqual([
      { event: 'exception', data: { code: 7, reason: 'because' } },
      0,
    ]);
  });

  it.each([
    '500',
    '503',
    '302',
    'no status',
    'an error',
    'a string',
    'nothing',
    'a proxy',
    'an exception that cannot be read',
  ])('%s sends "Internal server error" and is counted as a fault', async (name) => {
    expect(await told(name)).toEqual([UNKNOWN, 1]);
  });

  it('an error logs its message on one line', async () => {
    const own = await startApp({ gateways: [ValuesGateway], metadata: {} });
    error.mockClear();
    const client = await RawClient.open({ port: own.port }, { path: '/values' });
    for (const name of ['500', '503', '302']) await answer(client, 'throw', name);
    client.destroy();
    await own.close();
    const lines = error.mock.calls.map(([line]) => String(line)).filter((line) => line.startsWith('handler failed'));
    expect(lines).toEqual([
      expect.stringMatching(/^handler failed path=\/values: .*connect ECONNREFUSED db-1\.internal at /),
      expect.stringContaining('db-1.internal is down'),
      expect.stringContaining('elsewhere'),
    ]);
    expect(lines.join()).not.toContain('\n');
  });
});

describe('an error reply', () => {
  it.each(['text', 'emoji', 'list', 'object', 'escapes', 'keys'])('of %s is truncated to 1 KiB', async (event) => {
    const client = await open('/long');
    client.send(event, 5000);
    const { payload } = (await client.frame())!;
    client.destroy();
    expect(payload.length).toBeLessThanOrEqual(1024);
    const { data } = JSON.parse(payload.toString()) as { data: Record<string, unknown> };
    if (event === 'text') expect(data).toMatchObject({ status: 'error', message: expect.stringMatching(/^é{200,}…$/) });
    if (event === 'emoji') expect(data['message']).toMatch(/^x(?:🙂){100,}…$/u);
    if (event === 'list') expect((data['message'] as string[]).length).toBeGreaterThan(20);
    if (event === 'object')
      expect(data).toMatchObject({
        code: 'E_FIELDS',
        fields: { name: expect.stringMatching(/^n{500,}…$/), age: 'too young' },
        last: 1,
      });
    if (event === 'escapes') expect(data['message']).toMatch(/^\0"\\/);
    if (event === 'keys') expect(data).toEqual({ ok: 1 });
  });

  it('of exactly 1 KiB is not truncated', async () => {
    const client = await open('/long');
    const frameOf = (length: number) => Buffer.byteLength(JSON.stringify(exception('é'.repeat(length))));
    const most = Math.floor((1024 - frameOf(0)) / 2);
    expect(await answer(client, 'text', most)).toEqual(exception('é'.repeat(most)));
    expect(((await answer(client, 'text', most + 1)) as { data: { message: string } }).data.message).toMatch(/…$/);
    client.destroy();
  });
});

describe('a filter that extends BaseWsExceptionFilter', () => {
  it.each([
    ['plain', undefined],
    ['bug', undefined],
    ['off', undefined],
    ['explicit', { pattern: 'explicit', data: 'mine' }],
    ['explicit bug', { pattern: 'explicit bug', data: 'mine' }],
    ['nest', { pattern: 'nest', data: 'mine' }],
    ['factory', { event: 'factory' }],
  ])('adds a cause only where the application asks for it: %s', async (event, cause) => {
    const client = await open('/causes');
    const before = faults('handler');
    const message = event.endsWith('bug') ? 'Internal server error' : 'no';
    const data = cause === undefined ? { status: 'error', message } : { status: 'error', message, cause };
    expect(await answer(client, event, 'mine')).toEqual({ event: 'exception', data });
    expect(faults('handler') - before).toBe(event.endsWith('bug') ? 1 : 0);
    client.destroy();
  });
});

it('an afterInit that rejects is counted as a fault, and the application starts', () => {
  expect(ValuesGateway.afterInit).toBeGreaterThan(0);
  expect(faults('afterInit')).toBe(1);
});

describe('an event name', () => {
  it('may be any JSON value that a handler is mapped to', async () => {
    const client = await open('/values');
    expect(await answer(client, 0)).toEqual({ event: 0, data: 'zero' });
    expect(await answer(client, 1)).toEqual({ event: 1, data: 'one' });
    expect(await answer(client, true)).toEqual({ event: true });
    expect(await answer(client, null)).toEqual({ event: null });
    client.write(frame('{"event":-0}'));
    expect(await client.json()).toEqual({ event: 0, data: 'zero' });
    for (const other of ['0', false, {}]) expect(await answer(client, other)).toEqual(exception('Unknown event'));
    client.destroy();
  });

  it('with two handlers of one gateway calls the last, as in Nest', async () => {
    const client = await open('/values');
    expect(await answer(client, 'twice')).toEqual({ event: 'second' });
    expect(await answer(client, 'ping')).toEqual({ event: 'pong' });
    client.destroy();
  });
});

describe('a gateway with its own message format', () => {
  it.each(['on', 'onmessage', 'addEventListener', 'once', 'stream'])(
    'may read messages itself without strikes: %s',
    async (way) => {
      const client = await open(`/own?way=${way}`);
      received.splice(0);
      for (let i = 0; i < 30; i++) client.write(frame(i % 2 ? `line ${i}` : '{"event":"unknown"}'));
      expect(await answer(client, 'known')).toEqual({ event: 'known' });
      await eventually(() => received.length === (way === 'once' ? 1 : 31));
      expect(received[0]).toBe('{"event":"unknown"}');
      client.destroy();
    },
  );

  it('has malformed messages counted when it reads none itself', async () => {
    const client = await open('/own');
    for (let i = 0; i < 3; i++) client.write(frame('line'));
    for (let i = 0; i < 2; i++) expect(await client.json()).toEqual(exception('Malformed message'));
    expect(await client.closeFrame()).toMatchObject({ code: 1008 });
    client.destroy();
  });
});

describe('the structure of a message', () => {
  const held = () => app.stats().heldBytes;
  const list = (length: number) => Array(length).fill(0);

  it('has at most messages.maxNodes values and keys, counted before parsing', async () => {
    const client = await open('/nodes');
    // The message, its two keys, the event and the list are five nodes.
    expect(await answer(client, 'count', list(995))).toEqual({ event: 'count', data: 995 });
    const parse = jest.spyOn(JSON, 'parse');
    client.write(frame(JSON.stringify({ event: 'count', data: list(996) })));
    await eventually(() => client.received.length > 0);
    const calls = parse.mock.calls.length;
    parse.mockRestore();
    expect(calls).toBe(0);
    expect(await client.json()).toEqual(exception('Malformed message'));
    client.destroy();
  });

  it('counts 64 bytes per node until its handler has settled, even after the peer left', async () => {
    await eventually(() => held() === 0);
    const client = await open('/nodes');
    client.send('hold', list(990));
    await eventually(() => NodesGateway.release.length === 1);
    expect(held()).toBeGreaterThanOrEqual(995 * 64);
    expect(held()).toBeLessThan(995 * 64 + 4096);
    client.destroy();
    await eventually(() => app.stats().connections === 0);
    expect(held()).toBe(995 * 64);
    NodesGateway.release.pop()!();
    await eventually(() => held() === 0);
  });

  it('counts in byteRate of a connection and of its address', async () => {
    const small = await startApp({
      gateways: [NodesGateway],
      options: { messages: { byteRate: '20kb/10s' } },
    });
    const client = await RawClient.open({ port: small.port }, { path: '/nodes' });
    // 2 KiB of text and 60 KiB of structure.
    client.send('count', list(950));
    expect(await client.json()).toEqual({ event: 'count', data: 950 });
    client.send('count', list(1));
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(client.received.length).toBe(0);
    client.destroy();
    await small.close();
  });
});

describe('a handler whose peer has left', () => {
  it('is awaited no longer than handlerTimeout', async () => {
    // Longer than the test: without the time limit of the handler, the shutdown would not end.
    const own = await startApp({ gateways: [LeftGateway], options: { shutdown: { drainTimeout: '1h' } } });
    const client = await RawClient.open({ port: own.port }, { path: '/left' });
    LeftGateway.running = 0;
    client.send('forget');
    client.send('forget');
    await eventually(() => LeftGateway.running > 0);
    client.destroy();
    await eventually(() => own.stats().connections === 0);
    await own.close();
    await eventually(() => own.stats().deadlines === 0);
  });

  it('is awaited while it may still settle', async () => {
    const own = await startApp({
      gateways: [LeftGateway],
      options: { shutdown: { drainTimeout: '20s' }, messages: {} },
    });
    const client = await RawClient.open({ port: own.port }, { path: '/left' });
    LeftGateway.running = 0;
    client.send('hold');
    await eventually(() => LeftGateway.running > 0);
    client.destroy();
    await eventually(() => own.stats().connections === 0);
    let closed = false;
    const closing = own.close().then(() => {
      closed = true;
    });
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(closed).toBe(false);
    LeftGateway.release();
    await closing;
    expect(own.stats()).toMatchObject({ heldBytes: 0, deadlines: 0 });
  });
});

describe('an asynchronous listener that rejects', () => {
  @SecureGateway({ path: '/async' })
  class AsyncGateway {
    @WebSocketServer() server!: Server;
    afterInit(server: Server): void {
      server.on('connection', async () => {
        throw new Error('a listener of the server rejects');
      });
    }
    handleConnection(client: SecureSocket): void {
      const reject = async (): Promise<never> => {
        throw new Error('a listener of the socket rejects');
      };
      client.on('message', reject);
      client.addEventListener('message', reject as never);
      client.onclose = reject as never;
    }
  }

  it('is counted as a fault and does not end the process', async () => {
    const own = await startApp({ gateways: [AsyncGateway] });
    const client = await RawClient.open({ port: own.port }, { path: '/async' });
    client.write(frame('anything'));
    await eventually(() => own.stats().faults.socket === 3);
    client.destroy();
    await eventually(() => own.stats().faults.socket === 4);
    expect(own.app.get(SecureWsStats).settings().compatibility).toMatchObject({
      nest: '12',
      listeners: 'rejections are caught',
    });
    await own.close();
  });
});

it('the application has no connection left', async () => {
  await eventually(() => app.stats().connections === 0 && app.stats().slots === 0 && app.stats().heldBytes === 0);
});
