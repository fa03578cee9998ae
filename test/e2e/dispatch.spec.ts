import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  type ArgumentsHost,
  BadRequestException,
  type CallHandler,
  type CanActivate,
  Catch,
  type ExceptionFilter,
  type ExecutionContext,
  Inject,
  Injectable,
  Module,
  type NestInterceptor,
  Scope,
  UseFilters,
  UseGuards,
  UseInterceptors,
  UsePipes,
  ValidationPipe,
} from '@nestjs/common';
import {
  BaseWsExceptionFilter,
  ConnectedSocket,
  MessageBody,
  SubscribeMessage,
  WebSocketServer,
  WsException,
} from '@nestjs/websockets';
import { IsString } from 'class-validator';
import {
  MessageRate,
  SecureGateway,
  type SecureSocket,
  SecureWsBroadcaster,
  UnsupportedDataError,
} from 'nest-secure-ws';
import { concat, NEVER, Observable, of, throwError } from 'rxjs';
import { delay, map } from 'rxjs/operators';
import type { WebSocketServer as Server } from 'ws';
import { eventually, startApp, type TestApp } from '../support/app.js';
import { freePort } from '../support/ports.js';
import { frame, KEY, RawClient, upgradeHead } from '../support/raw-client.js';

class Denied implements CanActivate {
  canActivate(): boolean {
    throw new WsException('denied');
  }
}

@Injectable()
class Slowly implements NestInterceptor {
  intercept(_context: ExecutionContext, next: CallHandler): Observable<unknown> {
    return next.handle().pipe(delay(1));
  }
}

class Endless implements NestInterceptor {
  static unsubscribed = 0;
  intercept(): Observable<unknown> {
    return new Observable(() => () => Endless.unsubscribed++);
  }
}

class Follows implements NestInterceptor {
  intercept(_context: ExecutionContext, next: CallHandler): Observable<unknown> {
    return concat(next.handle(), NEVER);
  }
}

class Say {
  @IsString({ message: 'text must be text' })
  text!: string;
}

class Teapot extends Error {}

@Catch(Teapot)
class TeapotFilter implements ExceptionFilter {
  catch(_: unknown, host: ArgumentsHost): void {
    host.switchToWs().getClient<SecureSocket>().sendEvent('teapot');
  }
}

@Catch()
class Passing extends BaseWsExceptionFilter {
  override catch(exception: unknown, host: ArgumentsHost): void {
    super.catch(exception, host);
  }
}

@Catch()
class Rejecting implements ExceptionFilter {
  catch = async (): Promise<void> => {
    throw new Error('a filter rejects');
  };
}

@Catch()
class Throwing implements ExceptionFilter {
  catch(): void {
    throw new Error('a filter throws');
  }
}

const streams = { subscribed: 0, unsubscribed: 0 };

@UseFilters(new TeapotFilter())
@SecureGateway({
  path: '/main',
  messages: { strikes: '5/1h', handlerTimeout: '2s', concurrency: 4, maxStreams: 2 },
  // A ping would check the deadlines of handlers too.
  keepalive: { pingInterval: null },
})
class MainGateway {
  @SubscribeMessage('value') value(@MessageBody() data: unknown) {
    return { event: 'value', data };
  }
  @SubscribeMessage('promise') async promise(@MessageBody() data: unknown) {
    return { event: 'promise', data };
  }
  @SubscribeMessage('many') many() {
    return of(1, 2, 3).pipe(map((data) => ({ event: 'many', data })));
  }
  @SubscribeMessage('nothing') nothing() {}
  @SubscribeMessage('guarded') @UseGuards(new Denied()) guarded() {}
  @SubscribeMessage('piped') @UsePipes(new ValidationPipe()) piped(@MessageBody() { text }: Say) {
    return { event: 'piped', data: text };
  }
  @SubscribeMessage('http') http() {
    throw new BadRequestException('be polite');
  }
  @SubscribeMessage('long') long() {
    throw new WsException('é'.repeat(5000));
  }
  @SubscribeMessage('bug') bug() {
    throw new Error('the password is swordfish');
  }
  @SubscribeMessage('teapot') teapot() {
    throw new Teapot();
  }
  @SubscribeMessage('passing') @UseFilters(Passing) passing() {
    throw new WsException('passed');
  }
  @SubscribeMessage('rejecting') @UseFilters(Rejecting) async rejecting() {
    throw new Error('first');
  }
  @SubscribeMessage('throwing') @UseFilters(new Throwing()) throwing() {
    throw new Error('first');
  }
  @SubscribeMessage('intercepted') @UseInterceptors(Slowly) intercepted(@MessageBody() data: unknown) {
    return { event: 'intercepted', data };
  }
  @SubscribeMessage('follows') @UseInterceptors(new Follows()) follows() {
    return { event: 'follows' };
  }
  @SubscribeMessage('endless') @UseInterceptors(new Endless()) endless() {}
  @SubscribeMessage('bigint') bigint() {
    return { event: 'bigint', data: 1n };
  }
  @SubscribeMessage('circular') circular() {
    const data: unknown[] = [];
    data.push(data);
    return { event: 'circular', data };
  }
  @SubscribeMessage('broken') broken() {
    return throwError(() => new Error('inner'));
  }
  @SubscribeMessage('limited') @MessageRate('2/1h') limited() {
    return { event: 'limited' };
  }
  @SubscribeMessage('stream') stream() {
    return new Observable((observer) => {
      streams.subscribed++;
      observer.next({ event: 'stream' });
      return () => streams.unsubscribed++;
    });
  }
  static finish: () => void = () => undefined;
  @SubscribeMessage('late') async late() {
    await new Promise<void>((resolve) => {
      MainGateway.finish = resolve;
    });
    return { event: 'late' };
  }
}

@SecureGateway({ path: '/ordered' })
class OrderedGateway {
  @SubscribeMessage('one') @UseInterceptors(new Slowly()) async one(@MessageBody() data: number) {
    await new Promise((resolve) => setTimeout(resolve, data % 3));
    return { event: 'one', data };
  }
}

let app: TestApp;
const gatewaysOfModules = () => [FirstModule, SecondModule];

interface Called {
  readonly what: string;
  readonly at?: unknown;
}
const calls: Called[] = [];

@SecureGateway({ path: '/shared' })
class FirstGateway {
  @WebSocketServer() server!: Server;
  seen = 0;
  afterInit(server: Server): void {
    calls.push({ what: 'init', at: server });
    server.on('connection', () => this.seen++);
  }
  async handleConnection(client: SecureSocket, request: { url?: string }): Promise<void> {
    client.join('early');
    await new Promise((resolve) => setTimeout(resolve, 30));
    calls.push({ what: 'connected', at: request.url });
  }
  handleDisconnect(_: SecureSocket, code: number): void {
    calls.push({ what: 'disconnected', at: code });
  }
  @SubscribeMessage('both') both() {
    return { event: 'first', data: calls.filter(({ what }) => what === 'connected').length };
  }
}
@Module({ providers: [FirstGateway] })
class FirstModule {}

@SecureGateway({ path: '/shared' })
class SecondGateway {
  handleConnection = (): void => {
    calls.push({ what: 'second connected' });
  };
  handleDisconnect = async (): Promise<void> => {
    calls.push({ what: 'second disconnected' });
    throw new Error('a hook rejects');
  };
  @SubscribeMessage('both') both() {
    return { event: 'second' };
  }
}
@Module({ providers: [SecondGateway] })
class SecondModule {}

class BaseGateway {
  static settled = 0;
  async handleConnection(_: SecureSocket): Promise<void> {
    BaseGateway.settled++;
  }
  @SubscribeMessage('inherited') inherited() {
    return { event: 'inherited', data: DerivedGateway.settled };
  }
}

@SecureGateway({ path: '/derived' })
class DerivedGateway extends BaseGateway {
  static override settled = 0;
  override async handleConnection(client: SecureSocket): Promise<void> {
    await super.handleConnection(client);
    await new Promise((resolve) => setTimeout(resolve, 30));
    DerivedGateway.settled++;
  }
}

@Injectable({ scope: Scope.REQUEST })
class PerRequest {
  static mode: 'fine' | 'throws' = 'fine';
  static made = 0;
  constructor() {
    PerRequest.made++;
    if (PerRequest.mode === 'throws') throw new Error('cannot be made');
  }
}

@SecureGateway({ path: '/scoped' })
class ScopedGateway {
  static connected = 0;
  static disconnected = 0;
  constructor(@Inject(PerRequest) readonly request: PerRequest) {}
  handleConnection = async (): Promise<void> => {
    await new Promise((resolve) => setTimeout(resolve, 20));
    ScopedGateway.connected++;
  };
  handleDisconnect(): void {
    ScopedGateway.disconnected++;
  }
  @SubscribeMessage('scoped') scoped() {
    return { event: 'scoped', data: [this.request instanceof PerRequest, ScopedGateway.connected] };
  }
}

@UseFilters(new Passing())
@SecureGateway({ path: '/scoped-filtered' })
class FilteredScopedGateway {
  constructor(@Inject(PerRequest) readonly request: PerRequest) {}
  @SubscribeMessage('scoped') scoped() {}
}

@SecureGateway({ path: '/rejects' })
class RejectsGateway {
  static disconnected = 0;
  async handleConnection(): Promise<void> {
    throw new Error('nobody is welcome');
  }
  handleDisconnect(): void {
    RejectsGateway.disconnected++;
  }
}

@SecureGateway({ path: '/never', connections: { guardTimeout: '1s' } })
class NeverGateway {
  static disconnected = 0;
  handleConnection(): Promise<void> {
    return new Promise(() => undefined);
  }
  handleDisconnect(): void {
    NeverGateway.disconnected++;
  }
}

const parser = (data: string | Buffer) => {
  const text = data.toString();
  if (text === 'throw') throw new Error('no');
  if (text === 'foreign') throw new UnsupportedDataError('no');
  if (text === 'reject') return Promise.reject(new Error('no')) as never;
  return text === 'nothing' ? undefined : { event: text, data: typeof data };
};

const parsedPort = freePort();

@SecureGateway(parsedPort, { path: '/parsed', messageParser: parser, messages: { strikes: '2/1h' } })
class ParsedGateway {
  @SubscribeMessage('kind') kind(@MessageBody() data: unknown) {
    return { event: 'kind', data };
  }
}

@SecureGateway({ path: '/rooms' })
class RoomsGateway {
  static sockets: SecureSocket[] = [];

  async handleConnection(client: SecureSocket): Promise<void> {
    RoomsGateway.sockets.push(client);
    client.join('left');
    client.leave('left');
    await new Promise((resolve) => setTimeout(resolve, 5));
    client.join('all');
  }
  @SubscribeMessage('enter') enter(@MessageBody() room: string, @ConnectedSocket() client: SecureSocket) {
    client.join(room);
    return { event: 'in', data: [...client.rooms] };
  }
  @SubscribeMessage('id') id(@ConnectedSocket() client: SecureSocket) {
    return { event: 'id', data: client.id };
  }
}

const gateways = [
  MainGateway,
  OrderedGateway,
  DerivedGateway,
  ScopedGateway,
  FilteredScopedGateway,
  RejectsGateway,
  NeverGateway,
  ParsedGateway,
  RoomsGateway,
];

beforeAll(async () => {
  app = await startApp({
    gateways,
    options: { connections: { maxPerIp: 1000, rate: '10000/1s' } },
    metadata: { imports: gatewaysOfModules(), providers: [PerRequest, Slowly] },
  });
});
afterAll(() => app.close());

const open = (path: string, port = app.port) => RawClient.open({ port }, { path });
const faults = (where: 'filter' | 'parser' | 'handleDisconnect' | 'handler' | 'handleConnection') =>
  app.stats().faults[where] ?? 0;
const exception = (message: unknown) => ({ event: 'exception', data: { status: 'error', message } });

async function answers(path: string, ...events: (string | [string, unknown])[]): Promise<unknown[]> {
  const client = await open(path);
  const got: unknown[] = [];
  for (const each of events) {
    const [event, data] = typeof each === 'string' ? [each, undefined] : each;
    client.send(event, data);
    got.push(await client.json());
  }
  client.destroy();
  return got;
}

describe('replies', () => {
  it('may be values, promises and observables, to text and binary messages', async () => {
    const client = await open('/main');
    client.send('nothing');
    client.send('value', [1]);
    expect(await client.json()).toEqual({ event: 'value', data: [1] });
    client.write(frame('{"event":"promise","data":"binary"}', { opcode: 2 }));
    expect(await client.json()).toEqual({ event: 'promise', data: 'binary' });
    client.send('many');
    for (const data of [1, 2, 3]) expect(await client.json()).toEqual({ event: 'many', data });
    client.destroy();
  });

  it('of interceptors are sent completely and in order', async () => {
    const client = await open('/ordered');
    for (let i = 0; i < 30; i++) client.send('one', i);
    for (let i = 0; i < 30; i++) expect(await client.json()).toEqual({ event: 'one', data: i });
    client.destroy();
  });

  it('of intercepted handlers do not count as streams, however many run at once', async () => {
    const client = await open('/main');
    for (let i = 0; i < 12; i++) client.send('intercepted', i);
    const got = [];
    for (let i = 0; i < 12; i++) got.push(((await client.json()) as { data: number }).data);
    expect(got.sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    client.destroy();
  });

  it('that cannot be serialised become an exception', async () => {
    expect(await answers('/main', 'bigint', 'circular', 'broken')).toEqual(
      Array(3).fill(exception('Internal server error')),
    );
  });
});

describe('errors', () => {
  it('contain the message of a WsException or HttpException, and nothing of other errors', async () => {
    const [guarded, piped, http, bug] = await answers(
      '/main',
      'guarded',
      ['piped', { text: 7, secret: 'mine' }],
      'http',
      'bug',
    );
    expect(guarded).toEqual(exception('denied'));
    expect(piped).toEqual(exception(['text must be text']));
    expect(http).toEqual(exception('be polite'));
    expect(bug).toEqual(exception('Internal server error'));
  });

  it('are at most 1 KiB', async () => {
    const [long] = await answers('/main', 'long');
    expect(Buffer.byteLength(JSON.stringify(long))).toBeLessThanOrEqual(1024);
    expect(JSON.stringify(long)).toContain('ééé');
  });

  it('pass through the filters of the application, and repeat no payload', async () => {
    expect(await answers('/main', 'teapot', ['passing', 'my payload'])).toEqual([
      { event: 'teapot' },
      exception('passed'),
    ]);
  });

  it('of filters are counted and answered', async () => {
    const before = faults('filter');
    expect(await answers('/main', 'rejecting', 'throwing')).toEqual(Array(2).fill(exception('Internal server error')));
    expect(faults('filter')).toBe(before + 2);
  });
});

describe('hostile messages', () => {
  const deep = (depth: number) => `{"event":"value","data":${'['.repeat(depth)}${']'.repeat(depth)}}`;
  it.each([
    ['no JSON', '{'],
    ['an array', '[]'],
    ['null', 'null'],
    ['no event name', '{"data":1}'],
    ['a number as event', '{"event":7}'],
    ['__proto__', '{"event":"value","data":{"__proto__":{"admin":true}}}'],
    ['__proto__ as event', '{"event":"__proto__"}'],
    ['constructor.prototype', '{"event":"value","data":{"constructor":{"prototype":{"admin":true}}}}'],
    ['a depth of 100 000', deep(100_000)],
    ['a depth of 300, which JSON.parse accepts', deep(300)],
    ['toString as event', '{"event":"toString"}'],
  ])('%s is answered with an exception, and finally 1008', async (_, text) => {
    const client = await open('/main');
    for (let i = 0; i < 5; i++) {
      client.write(frame(text));
      expect(await client.json()).toMatchObject({
        event: 'exception',
        data: { message: expect.stringMatching(/^(Malformed message|Unknown event)$/) },
      });
    }
    client.write(frame(text));
    expect(await client.closeFrame()).toEqual({ code: 1008, reason: 'too many malformed messages' });
    client.destroy();
  });

  it('nested 200 levels deep are read', async () => {
    const client = await open('/main');
    client.write(frame(deep(200)));
    expect(await client.json()).toMatchObject({ event: 'value' });
    client.destroy();
  });
});

describe('limits of handlers', () => {
  it('@MessageRate answers excess messages with an exception and continues', async () => {
    const got = await answers('/main', 'limited', 'limited', 'limited', ['value', 1]);
    expect(got).toEqual([
      { event: 'limited' },
      { event: 'limited' },
      exception('Too many messages for this event'),
      { event: 'value', data: 1 },
    ]);
  });

  it('maxStreams bounds streams, and they are unsubscribed when their peer leaves', async () => {
    const client = await open('/main');
    for (let i = 0; i < 3; i++) client.send('stream');
    expect([await client.json(), await client.json(), await client.json()]).toEqual([
      { event: 'stream' },
      { event: 'stream' },
      exception('Too many streams'),
    ]);
    expect(streams).toEqual({ subscribed: 2, unsubscribed: 0 });
    client.destroy();
    await eventually(() => streams.unsubscribed === 2);
  });

  it('intercepted streams count once they continue after their first value', async () => {
    const client = await open('/main');
    for (let i = 0; i < 3; i++) client.send('follows');
    const got = [];
    for (let i = 0; i < 4; i++) got.push(await client.json());
    expect(got.filter((each) => JSON.stringify(each).includes('Too many streams'))).toHaveLength(1);
    expect(got.filter((each) => (each as { event: string }).event === 'follows')).toHaveLength(3);
    client.destroy();
  });

  it('handlerTimeout answers for a handler that takes too long, and drops its result', async () => {
    const client = await open('/main');
    client.send('late');
    expect(await client.json()).toEqual(exception('The handler took too long'));
    MainGateway.finish();
    client.send('value', 1);
    expect(await client.json()).toEqual({ event: 'value', data: 1 });
    client.destroy();
  });

  it('an interceptor without values is unsubscribed at handlerTimeout and at the end of the connection', async () => {
    const client = await open('/main');
    client.send('endless');
    expect(await client.json()).toEqual(exception('The handler took too long'));
    expect(Endless.unsubscribed).toBe(1);
    client.send('endless');
    client.send('value');
    await client.json();
    client.destroy();
    await eventually(() => Endless.unsubscribed === 2);
  });
});

describe('gateway hooks', () => {
  it('of several gateways run once each, before the first message and after the last', async () => {
    const client = await RawClient.connect({ port: app.port });
    const head = upgradeHead(app.port, { path: '/shared?a=1', headers: { 'Sec-WebSocket-Key': KEY } });
    client.write(Buffer.concat([Buffer.from(head), frame('{"event":"both"}')]));
    await client.response();
    expect([await client.json(), await client.json()]).toEqual(
      expect.arrayContaining([{ event: 'first', data: 1 }, { event: 'second' }]),
    );
    const gateway = app.app.get(FirstGateway, { strict: false });
    expect([gateway.server.clients.size, gateway.seen]).toEqual([1, 1]);
    client.write(frame(Buffer.from([0x0f, 0xa0]), { opcode: 8 }));
    expect(await client.closeFrame()).toMatchObject({ code: 4000 });
    client.destroy();
    await eventually(() => calls.some(({ what }) => what === 'second disconnected'));
    expect(gateway.server.clients.size).toBe(0);
    expect(calls.filter(({ what }) => what === 'init')).toEqual([{ what: 'init', at: gateway.server }]);
    for (const [what, at] of [
      ['connected', '/shared?a=1'],
      ['second connected', undefined],
      ['disconnected', 4000],
      ['second disconnected', undefined],
    ] as const)
      expect(calls.filter((each) => each.what === what)).toEqual([at === undefined ? { what } : { what, at }]);
    await eventually(() => faults('handleDisconnect') === 1);
    client.destroy();
  });

  it('that are inherited and call super settle once the whole chain has settled', async () => {
    expect(await answers('/derived', 'inherited')).toEqual([{ event: 'inherited', data: 1 }]);
    expect(BaseGateway.settled).toBe(1);
  });

  it('that reject close with 1011, and handleDisconnect still runs once', async () => {
    const client = await open('/rejects');
    expect(await client.closeFrame()).toEqual({ code: 1011, reason: 'internal error' });
    client.destroy();
    await eventually(() => RejectsGateway.disconnected === 1);
  });

  it('that never settle close with 1011 at guardTimeout; handleDisconnect of a peer that has left runs then', async () => {
    const [one, two] = [await open('/never'), await open('/never')];
    two.destroy();
    expect(await one.closeFrame()).toEqual({ code: 1011, reason: 'internal error' });
    one.destroy();
    await eventually(() => NeverGateway.disconnected === 2);
  });

  it('of request-scoped gateways are awaited', async () => {
    expect(await answers('/scoped', 'scoped')).toEqual([{ event: 'scoped', data: [true, 1] }]);
    await eventually(() => ScopedGateway.disconnected === 1);
  });

  it('of gateways that cannot be constructed close with 1011, with any filters', async () => {
    PerRequest.mode = 'throws';
    for (const path of ['/scoped', '/scoped-filtered']) {
      const client = await open(path);
      expect(await client.closeFrame()).toMatchObject({ code: 1011 });
      client.destroy();
    }
    await eventually(() => app.stats().connections === 0);
    PerRequest.mode = 'fine';
  });
});

describe('a messageParser', () => {
  it('reads text and binary; undefined drops a message, an error is a strike, UnsupportedDataError is 1003', async () => {
    const client = await open('/parsed', parsedPort);
    client.write(frame('nothing'));
    client.write(frame('kind'));
    expect(await client.json()).toEqual({ event: 'kind', data: 'string' });
    client.write(frame('kind', { opcode: 2 }));
    expect(await client.json()).toEqual({ event: 'kind', data: 'object' });
    for (const text of ['throw', 'reject']) {
      client.write(frame(text));
      expect(await client.json()).toEqual(exception('Malformed message'));
    }
    expect(faults('parser')).toBe(2);
    client.write(frame('foreign'));
    expect(await client.closeFrame()).toEqual({ code: 1003, reason: 'unsupported data' });
    client.destroy();
  });
});

describe('SecureWsBroadcaster', () => {
  it('reaches connected peers in order; rooms belong to a gateway', async () => {
    const broadcaster = app.app.get(SecureWsBroadcaster);
    const [one, two, other] = [await open('/rooms'), await open('/rooms'), await open('/ordered')];
    one.send('enter', 'a');
    expect(await one.json()).toEqual({ event: 'in', data: ['all', 'a'] });
    two.send('id');
    const { data: id } = (await two.json()) as { data: string };
    for (let i = 0; i < 3; i++) broadcaster.to('all').emit('n', i);
    broadcaster.of(RoomsGateway).to('a').emit('only one');
    broadcaster.of(OrderedGateway).emit('other');
    broadcaster.emit('everybody');
    for (const client of [one, two])
      for (let i = 0; i < 3; i++) expect(await client.json()).toEqual({ event: 'n', data: i });
    expect(await one.json()).toEqual({ event: 'only one' });
    expect(await other.json()).toEqual({ event: 'other' });
    for (const client of [one, two, other]) expect(await client.json()).toEqual({ event: 'everybody' });
    expect(await broadcaster.disconnectSocket('nobody')).toBe(0);
    expect(await broadcaster.disconnectSocket(id, 4000, 'bye')).toBe(1);
    expect(await two.closeFrame()).toEqual({ code: 4000, reason: 'bye' });
    for (const client of [one, two, other]) client.destroy();
  });

  it('does not reach a peer whose handleConnection has not settled', async () => {
    const client = await open('/never');
    app.app.get(SecureWsBroadcaster).of(NeverGateway).emit('too early');
    const next = await client.frame();
    expect(next?.payload.toString()).not.toContain('too early');
    client.destroy();
  });

  it('removes a closed connection from its rooms', async () => {
    RoomsGateway.sockets = [];
    const client = await open('/rooms');
    client.send('enter', 'a');
    await client.json();
    const [socket] = RoomsGateway.sockets;
    expect([...socket!.rooms]).toEqual(['all', 'a']);
    client.destroy();
    await eventually(() => socket!.readyState === 3);
    expect([...socket!.rooms]).toEqual([]);
  });

  it('limits the length and number of rooms', async () => {
    const client = await open('/rooms');
    for (const room of ['', 'x'.repeat(129)]) {
      client.send('enter', room);
      expect(await client.json()).toEqual(exception('Internal server error'));
    }
    for (let i = 1; i < 100; i++) client.send('enter', `room ${i}`);
    for (let i = 1; i < 100; i++) expect(await client.json()).toMatchObject({ event: 'in' });
    client.send('enter', 'one more');
    expect(await client.json()).toEqual(exception('Internal server error'));
    client.destroy();
  });
});

it('the application has no connection left', async () => {
  await eventually(() => app.stats().connections === 0 && app.stats().slots === 0);
});
