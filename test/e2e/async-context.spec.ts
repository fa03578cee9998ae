import { AsyncLocalStorage, createHook } from 'node:async_hooks';
import { randomBytes } from 'node:crypto';
import { on, once } from 'node:events';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  type ArgumentsHost,
  type CallHandler,
  Catch,
  type ExceptionFilter,
  type ExecutionContext,
  type NestInterceptor,
  UseFilters,
  UseInterceptors,
} from '@nestjs/common';
import { ConnectedSocket, MessageBody, SubscribeMessage } from '@nestjs/websockets';
import { createContextKey, context as otel } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import {
  beforeBuiltIn,
  SecureGateway,
  type SecureSocket,
  SecureWsBroadcaster,
  type UpgradeAttempt,
  UseAdmissionGuards,
} from 'nest-secure-ws';
import { defer, Observable, of } from 'rxjs';
import { WebSocket } from 'ws';
import { eventually, PLATFORMS, startApp, type TestApp } from '../support/app.js';
import { Child } from '../support/child.js';
import { collectGarbage } from '../support/garbage.js';
import { frame, RawClient } from '../support/raw-client.js';

/** Every callback of a connection runs in the async context that its guards and hooks entered, and in no other. */
const als = new AsyncLocalStorage<{ user: string }>();
const KEY = createContextKey('user');
const store = (): unknown => als.getStore()?.user;
const spin = (ms: number): void => {
  for (const until = performance.now() + ms; performance.now() < until; );
};

/** The context that callbacks of each kind saw, and the connection's owner. */
const seen: { readonly kind: string; readonly whose: string; readonly store: unknown }[] = [];
const note = (kind: string, whose: string): void => void seen.push({ kind, whose, store: store() });
const whose = (socket: SecureSocket): string => socket.query.get('user') ?? 'nobody';

@Catch()
class NotingFilter implements ExceptionFilter {
  catch(_: unknown, host: ArgumentsHost): void {
    const socket = host.switchToWs().getClient<SecureSocket>();
    note('filter', whose(socket));
    socket.sendEvent('failed');
  }
}

class NotingInterceptor implements NestInterceptor {
  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const socket = context.switchToWs().getClient<SecureSocket>();
    note('interceptor', whose(socket));
    return defer(() => {
      note('deferred', whose(socket));
      return next.handle();
    });
  }
}

const early = beforeBuiltIn((attempt: UpgradeAttempt) => {
  note('early guard', 'nobody');
  const user = attempt.query.get('user');
  if (user !== null && attempt.query.get('by') === 'guard') als.enterWith({ user });
  return true;
});
const later = async (attempt: UpgradeAttempt): Promise<boolean> => {
  const user = attempt.query.get('user') ?? 'nobody';
  note('guard', attempt.query.get('by') === 'guard' ? user : 'nobody');
  await new Promise((resolve) => setTimeout(resolve, Math.random() * 5));
  spin(1);
  note('guard, later', attempt.query.get('by') === 'guard' ? user : 'nobody');
  return true;
};

@SecureGateway({ path: '/als', messages: { handlerTimeout: '2s', maxQueue: 64 } })
@UseAdmissionGuards(early, later)
@UseFilters(new NotingFilter())
class AlsGateway {
  handleConnection(client: SecureSocket): void {
    const user = client.query.get('user');
    if (user !== null && client.query.get('by') === 'hook') als.enterWith({ user });
    if (client.query.has('listens')) client.on('message', () => note('listener', whose(client)));
    client.on('close', () => note('close listener', whose(client)));
  }
  handleDisconnect(client: SecureSocket): void {
    note('handleDisconnect', whose(client));
  }
  @SubscribeMessage('work') work(@MessageBody() data: unknown, @ConnectedSocket() client: SecureSocket) {
    note('handler', whose(client));
    spin(1);
    // Must not affect the next message.
    als.enterWith({ user: `entered by ${whose(client)}` });
    return { event: 'work', data };
  }
  @SubscribeMessage('wait') async wait(@ConnectedSocket() client: SecureSocket) {
    await new Promise((resolve) => setTimeout(resolve, 2));
    note('handler, later', whose(client));
    return { event: 'wait' };
  }
  @SubscribeMessage('fail') fail() {
    throw new Error('for the filter');
  }
  @SubscribeMessage('intercepted') @UseInterceptors(new NotingInterceptor()) intercepted() {
    return of({ event: 'intercepted' });
  }
  @SubscribeMessage('endless') @UseInterceptors(new NotingInterceptor()) endless(
    @ConnectedSocket() client: SecureSocket,
  ) {
    return new Observable(() => () => note('teardown', whose(client)));
  }
}

let app: TestApp;
beforeAll(async () => {
  app = await startApp({
    gateways: [AlsGateway],
    options: { compression: { threshold: 1 }, messages: { rate: '100000/1s' } },
  });
});
afterAll(() => app.close());

const open = (query: string) => RawClient.open({ port: app.port }, { path: `/als?${query}` });
const nobodyLeft = () => eventually(() => app.stats().connections === 0);

/** Sends many messages at once, and returns replies one by one. */
interface Peer {
  all(events: readonly string[]): void;
  next(): Promise<unknown>;
  destroy(): void;
}

async function openRaw(query: string): Promise<Peer> {
  const client = await open(query);
  return {
    all: (events) => client.write(Buffer.concat(events.map((event) => frame(JSON.stringify({ event, data: 1 }))))),
    next: () => client.json(),
    destroy: () => client.destroy(),
  };
}

/** Messages small enough for the main thread, and others large enough for the thread pool. */
async function openCompressed(query: string): Promise<Peer> {
  const client = new WebSocket(`ws://127.0.0.1:${app.port}/als?${query}`, { perMessageDeflate: { threshold: 0 } });
  const replies = on(client, 'message');
  await once(client, 'open');
  return {
    all(events) {
      for (const [at, event] of events.entries())
        client.send(JSON.stringify({ event, data: randomBytes(at % 2 ? 60_000 : 10).toString('hex') }));
    },
    next: () => replies.next(),
    destroy: () => client.terminate(),
  };
}

const foreign = () => seen.filter(({ whose: owner, store: had }) => had !== (owner === 'nobody' ? undefined : owner));
const kinds = () => [...new Set(seen.map(({ kind }) => kind))].sort();

describe.each(['guard', 'hook'])('a context entered by a %s', (by) => {
  it.each(['plain', 'listening', 'compressed'])('is seen only by its own connection, under load: %s', async (how) => {
    await nobodyLeft();
    seen.splice(0);
    const open = how === 'compressed' ? openCompressed : openRaw;
    const extra = how === 'listening' ? '&listens' : '';
    const clients = await Promise.all([
      open(`user=ada&by=${by}${extra}`),
      open(`user=bob&by=${by}${extra}`),
      open(`x=1${extra}`),
      open(`x=2${extra}`),
    ]);
    const messages = ['work', 'wait', 'fail', 'intercepted', 'work', 'work', 'work', 'work'];
    for (let round = 0; round < 3; round++) {
      for (const client of clients) client.all(messages);
      for (const client of clients) for (const _ of messages) await client.next();
    }
    for (const client of clients) client.destroy();
    await nobodyLeft();
    expect(foreign()).toEqual([]);
    const wanted = [
      'handler',
      'handler, later',
      'filter',
      'interceptor',
      'deferred',
      'handleDisconnect',
      'close listener',
    ];
    if (how === 'listening') wanted.push('listener');
    expect(kinds()).toEqual(expect.arrayContaining(wanted));
  });

  it('is seen by callbacks of a deadline', async () => {
    seen.splice(0);
    const clients = await Promise.all([open(`user=ada&by=${by}`), open('x=1')]);
    for (const client of clients) client.send('endless');
    for (const client of clients) expect(await client.json()).toMatchObject({ event: 'exception' });
    for (const client of clients) client.destroy();
    expect(seen.filter(({ kind }) => kind === 'teardown')).toHaveLength(2);
    expect(foreign()).toEqual([]);
  });
});

it('a broadcast runs no callback of its receivers in the context of the broadcaster', async () => {
  seen.splice(0);
  const [slow, other] = [await open('user=ada&by=hook'), await open('x=1')];
  slow.socket.pause();
  const broadcaster = app.app.get(SecureWsBroadcaster);
  als.run({ user: 'broadcaster' }, () => {
    for (let i = 0; i < 40; i++) broadcaster.emit('news', 'x'.repeat(65_000));
  });
  for (const client of [slow, other])
    client.write(Buffer.concat(Array.from({ length: 20 }, () => frame('{"event":"work"}'))));
  await new Promise((resolve) => setTimeout(resolve, 100));
  slow.socket.resume();
  await eventually(() => seen.filter(({ kind }) => kind === 'handler').length === 40);
  for (const client of [slow, other]) client.destroy();
  await nobodyLeft();
  expect(foreign()).toEqual([]);
});

it('destroys the async resources of messages and connections when they end', async () => {
  const live = new Set<number>();
  let begun = 0;
  const hook = createHook({
    init(id, type) {
      if (type !== 'SECUREWS') return;
      begun++;
      live.add(id);
    },
    destroy: (id) => void live.delete(id),
  }).enable();
  try {
    const client = await openRaw('user=ada&by=hook');
    for (let message = 0; message < 500; message++) {
      client.all(['work']);
      await client.next();
    }
    client.destroy();
    await nobodyLeft();
    expect(begun).toBeGreaterThan(500);
    await eventually(() => {
      collectGarbage();
      return live.size < 50;
    });
  } finally {
    hook.disable();
  }
});

describe('nestjs-cls', () => {
  it.each(PLATFORMS)(
    'never returns the user of another connection, with guards, interceptors, run and compression: %s',
    async (platform) => {
      // nestjs-cls requires Nest, and Jest cannot require a package of ES modules.
      const child = await Child.start('test/e2e/cls.app.ts', [platform]);
      const { port } = child.ready as { port: number };
      const users = ['ada', 'bob', 'eve'];
      for (const [path, events] of [
        ['/guarded', ['who']],
        ['/intercepted', ['who', 'run']],
      ] as const) {
        const clients = await Promise.all(
          users.map((user) => RawClient.open({ port }, { path: `${path}?user=${user}` })),
        );
        const messages = Array.from({ length: 20 }, (_, at) =>
          frame(JSON.stringify({ event: events[at % events.length] })),
        );
        for (const client of clients) client.write(Buffer.concat(messages));
        for (const [at, client] of clients.entries())
          for (const _ of messages) expect(await client.json()).toEqual({ event: 'who', data: [users[at], users[at]] });
        for (const client of clients) client.destroy();
      }
      await child.end();
    },
  );
});

describe('OpenTelemetry', () => {
  @SecureGateway({ path: '/traced' })
  @UseAdmissionGuards(() => true)
  class TracedGateway {
    @SubscribeMessage('span') async span(@ConnectedSocket() client: SecureSocket) {
      const before = otel.active().getValue(KEY) ?? 'none';
      return otel.with(otel.active().setValue(KEY, whose(client)), async () => {
        spin(1);
        await new Promise(setImmediate);
        return { event: 'span', data: [before, otel.active().getValue(KEY)] };
      });
    }
  }

  it('has no context of another message or connection', async () => {
    const manager = new AsyncLocalStorageContextManager().enable();
    otel.setGlobalContextManager(manager);
    const own = await startApp({ gateways: [TracedGateway], options: { compression: { threshold: 1 } } });
    const users = ['ada', 'bob', 'eve'];
    const clients = await Promise.all(
      users.map((user) => RawClient.open({ port: own.port }, { path: `/traced?user=${user}` })),
    );
    for (const client of clients)
      client.write(Buffer.concat(Array.from({ length: 20 }, () => frame('{"event":"span"}'))));
    for (const [at, client] of clients.entries())
      for (let i = 0; i < 20; i++) expect(await client.json()).toEqual({ event: 'span', data: ['none', users[at]] });
    for (const client of clients) client.destroy();
    await own.close();
    otel.disable();
  });
});
