import type { Server as HttpServer, IncomingMessage } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { isDeepStrictEqual } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type INestApplication, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import fc from 'fast-check';
import { eventually } from '../../support/app.js';
import { selfSigned } from '../../support/certificates.js';
import { RawClient } from '../../support/raw-client.js';
import { calm, sleep } from '../../support/time.js';
import { open, type RunningSetup, SETUPS, type Setup } from './setups.js';

/** Compares everything on a shared port that is not a WebSocket upgrade with a server without the module. */
const SHARED = SETUPS.filter(({ own }) => !own);

/** Longer than an upgrade takes here; it must not apply to connections that do not request one. */
const OPEN_TIMEOUT = 500;

/** Code of the application's 'connection' listener. */
type OnSocket = (socket: Socket, events: string[]) => void;

/** A server with or without the module, and what its application observes of each connection. */
class Side {
  /** Events of the last connection from each client port. */
  readonly seen = new Map<number, string[]>();
  private readonly bySocket = new WeakMap<Socket, string[]>();
  constructor(
    readonly server: HttpServer,
    readonly port: number,
    private readonly tls: boolean,
    readonly close: () => Promise<void>,
    onSocket: OnSocket,
  ) {
    server.on(tls ? 'secureConnection' : 'connection', (socket: Socket) => {
      const events = ['connection'];
      this.seen.set(socket.remotePort!, events);
      this.bySocket.set(socket, events);
      socket.on('end', () => events.push('end'));
      socket.on('timeout', () => events.push('timeout'));
      socket.on('error', (error: NodeJS.ErrnoException) => events.push(`error ${error.code}`));
      socket.on('close', () => events.push(`close ${socket.bytesRead}`));
      onSocket(socket, events);
    });
    server.on('request', (request: IncomingMessage) => {
      const events = this.bySocket.get(request.socket)!;
      events.push(`request ${request.method} ${request.url} ${request.rawHeaders.join()}`);
      request.on('close', () => events.push(`over ${request.complete}`));
    });
  }

  connect(): Promise<RawClient> {
    return RawClient.connect({ port: this.port, ...(this.tls ? { tls: {} } : {}) });
  }
}

const serverOf = (app: INestApplication): HttpServer => app.getHttpServer() as HttpServer;

async function plain({ platform, tls }: Setup): Promise<INestApplication> {
  class Plain {}
  Module({})(Plain);
  const pair = tls ? selfSigned() : undefined;
  const app =
    platform === 'fastify'
      ? await NestFactory.create(Plain, new FastifyAdapter((pair ? { https: pair } : {}) as object), { logger: false })
      : await NestFactory.create(Plain, { logger: false, ...(pair ? { httpsOptions: pair } : {}) });
  await app.listen(0, '127.0.0.1');
  return app;
}

/** The two servers to compare. */
async function sides(
  setup: Setup,
  onSocket: OnSocket = () => undefined,
): Promise<{ with: Side; without: Side; place: RunningSetup }> {
  const place = await open(setup, { options: { http: { openTimeout: OPEN_TIMEOUT } } });
  const app = await plain(setup);
  const { port } = serverOf(app).address() as AddressInfo;
  return {
    place,
    with: new Side(serverOf(place.test.app), place.port, setup.tls, () => place.close(), onSocket),
    without: new Side(serverOf(app), port, setup.tls, () => app.close(), onSocket),
  };
}

/** One action of a client. */
type Act = string | number | 'FIN' | 'RESET';

/** What the client received and the application observed, without variable headers. */
async function converse(side: Side, acts: readonly Act[], quiet: number): Promise<object> {
  const client = await side.connect();
  const port = client.socket.localPort ?? (client as unknown as { tcp: Socket }).tcp.localPort!;
  for (const act of acts) {
    if (typeof act === 'number') await sleep(act);
    else if (act === 'FIN') client.socket.end();
    else if (act === 'RESET') {
      await eventually(() => side.seen.has(port));
      client.resetTcp();
    } else client.write(act);
  }
  await calm(quiet, () => client.ended || client.closed);
  const text = client.received.toString('latin1').replace(/^(Date|ETag):.*$/gim, '$1');
  const { ended } = client;
  client.destroy();
  await eventually(() => side.seen.get(port)?.some((event) => event.startsWith('close')) === true);
  const events = side.seen.get(port)!;
  // A request may end before or after a pipelined one, depending on its response.
  return { text, ended, events: events.filter((event) => !event.startsWith('over')), over: events.length };
}

/** Repeated with longer pauses: a real difference shows each time. */
async function compare(pair: { with: Side; without: Side }, acts: readonly Act[]): Promise<void> {
  for (const quiet of [60, 300, 1500]) {
    const [without, withModule] = await Promise.all(
      [pair.without, pair.with].map((side) => converse(side, acts, quiet)),
    );
    if (isDeepStrictEqual(without, withModule)) return;
    if (quiet > 1000) expect(withModule).toEqual(without);
  }
}

const CLOSE = 'Connection: close\r\n';
const get = (headers = '') => `GET /seen HTTP/1.1\r\nHost: a\r\n${headers}\r\n`;
const POST = 'POST /seen HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello';
const REQUESTS = [
  get(),
  get(CLOSE),
  get('Connection: keep-alive\r\n'),
  get('Upgrade: websocket\r\n'),
  get(`Upgrade: websocket\r\n${CLOSE}`),
  get('Upgrade: websocket\r\nConnection: keep-alive, upgraded\r\n'),
  get('Upgrade: h2c\r\nConnection: upgrade\r\n'),
  get('Connection: upgrade\r\n'),
  'HEAD /seen HTTP/1.1\r\nHost: a\r\n\r\n',
  'OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n',
  POST,
  'POST /seen HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
  'POST /seen HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: T\r\n\r\n5;x=y\r\nhello\r\n0\r\nT: t\r\n\r\n',
  'POST /seen HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello',
  'POST /seen HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello',
  'CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\ntunnel',
  'CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n',
  'GET http://a/seen HTTP/1.1\r\nHost: a\r\n\r\n',
  'GET /seen HTTP/1.0\r\n\r\n',
  'GET /seen HTTP/1.1\r\n\r\n',
  '\r\n\r\nGET /seen HTTP/1.1\r\nHost: a\r\n\r\n',
  'garbage\r\n\r\n',
  'GET /seen HTTP/1.1\nHost: a\n\n',
  'GET /seen HTTP/1.1\r\nHost : a\r\n\r\n',
];

const acts: fc.Arbitrary<readonly Act[]> = fc
  .tuple(
    fc.array(fc.constantFrom(...REQUESTS), { maxLength: 3 }),
    fc.array(fc.tuple(fc.nat(400), fc.constantFrom(0, 1, 5, 20)), { maxLength: 4 }),
    fc.constantFrom(0, 0, 4),
    fc.constantFrom<Act | undefined>(undefined, 'FIN', 'RESET'),
    fc.boolean(),
  )
  .map(([list, cuts, first, end, isWhole]) => {
    const last = list.at(-1) ?? '';
    // Half an upgrade request counts as an upgrade under way.
    const missing = isWhole || last.includes('websocket') ? 0 : Math.ceil(last.length * 0.3);
    const text = list.join('').slice(0, missing === 0 ? undefined : -missing);
    const pieces: Act[] = first === 0 ? [] : [first];
    let rest = text;
    for (const [length, wait] of cuts) {
      if (rest === '') break;
      pieces.push(rest.slice(0, length + 1), wait);
      rest = rest.slice(length + 1);
    }
    if (rest !== '') pieces.push(rest);
    // What was answered before a reset depends on timing.
    if (end === 'RESET') pieces.push(30);
    return end === undefined ? pieces : [...pieces, end];
  });

describe.each(
  SHARED.flatMap((setup) =>
    [
      {
        how: 'pauses the socket for a moment',
        onSocket: (socket: Socket): void => {
          socket.pause();
          setTimeout(() => socket.resume(), 15);
        },
      },
      {
        how: 'reads along',
        onSocket: (socket: Socket, events: string[]): void =>
          void socket.on('data', ({ length }: Buffer) => events.push(`data ${length}`)),
      },
      { how: 'writes first', onSocket: (socket: Socket): void => void socket.write('hello\r\n') },
    ].map((listener) => ({ ...listener, setup, name: setup.name })),
  ),
)("with a 'connection' listener that $how: $name", ({ setup, onSocket }) => {
  const long = get(`Cookie: ${'x'.repeat(6000)}\r\n`);
  it.each<[string, readonly Act[]]>([
    ['a request', [get(CLOSE)]],
    ['a request after a pause', [30, get(CLOSE)]],
    ['a head in chunks', ['GET /se', 5, 'en HTTP/1.1\r\n', 5, `Host: a\r\n${CLOSE}`, 5, '\r\n']],
    ['requests cut at any place', [get() + long.slice(0, 3000), 5, long.slice(3000) + get(CLOSE)]],
    ['requests cut at any place after a pause', [30, get() + long.slice(0, 3000), 5, long.slice(3000) + get(CLOSE)]],
    ['bodies in chunks', [`${POST}${POST.slice(0, -3)}`, 5, `llo${get()}`, 40, get(CLOSE)]],
  ])('%s is answered as without the module', async (_, each) => {
    const pair = await sides(setup, onSocket);
    try {
      await compare(pair, each);
    } finally {
      await Promise.all([pair.with.close(), pair.without.close()]);
    }
  });
});

describe.each(SHARED)('a shared port: $name', (setup) => {
  let pair: Awaited<ReturnType<typeof sides>>;
  beforeAll(async () => {
    pair = await sides(setup);
  });
  afterAll(async () => {
    await Promise.all([pair.with.close(), pair.without.close()]);
  });

  it('treats random conversations as without the module', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(acts, { minLength: 20, maxLength: 20 }), async (talks) => {
        await Promise.all(talks.map((each) => compare(pair, each)));
      }),
      { numRuns: setup.tls ? 3 : 8, endOnFailure: true },
    );
    await eventually(() => pair.place.isEmpty);
    expect(pair.place.test.stats().faults).toEqual({});
  }, 180_000);

  it.each<[string, readonly Act[]]>([
    ['no bytes and FIN', ['FIN']],
    ['no bytes and a later FIN', [30, 'FIN']],
    ['no bytes and a reset', [30, 'RESET']],
    ['half a head and FIN', ['GET / HT', 'FIN']],
    ['half a head and a later FIN', ['GET / HT', 30, 'TP/1.1\r\nHo', 30, 'FIN']],
    ['half a head and a reset', ['GET / HT', 30, 'RESET']],
    ['half an upgrade and FIN', ['GET / HTTP/1.1\r\nUpgrade: websocket\r\n', 30, 'FIN']],
    ['half an upgrade in chunks and FIN', ['GET / HTTP/1.1\r\nUpgr', 30, 'ade: websocket\r\n', 30, 'FIN']],
    [
      'an upgrade that Connection does not name, in chunks',
      ['GET /seen HTTP/1.1\r\nUpgr', 10, 'ade: websocket\r\n', 10, CLOSE, '\r\n'],
    ],
    ['silence longer than openTimeout, then a request', [2 * OPEN_TIMEOUT, get(CLOSE)]],
    [
      'half a head, a pause longer than openTimeout, and the rest',
      ['GET /seen HTTP/1.1\r\nHost:', 2 * OPEN_TIMEOUT, ` a\r\n${CLOSE}\r\n`],
    ],
    ['a head byte by byte', [...get(CLOSE)].flatMap((byte) => [byte, 1])],
    [
      'a head of 9 KiB in chunks',
      [
        get(`${CLOSE}Cookie: ${'x'.repeat(9000)}\r\n`).slice(0, 5000),
        5,
        get(`${CLOSE}Cookie: ${'x'.repeat(9000)}\r\n`).slice(5000),
      ],
    ],
    ['a request after a pause of a few milliseconds', [3, get(CLOSE)]],
    ['a request with a body and an invalid one in the same chunk', [`${POST}garbage\r\n\r\n`]],
    ['both on a connection that Node already owns', [30, `${POST}garbage\r\n\r\n`]],
    [
      'a large body that the application does not read',
      [`POST /seen HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n${'x'.repeat(200_000)}`, 60, get(CLOSE)],
    ],
    ['a request and a head with too many fields in the same chunk', [`${get()}${get('A: b\r\n'.repeat(3000))}`]],
    ['two requests with bodies and an invalid one', [`${POST}${POST}GET /seen HTTP/1.1\r\nHost : a\r\n\r\n`]],
  ])('treats %s as without the module', async (_, each) => {
    await compare(pair, each);
  });

  it('answers 300 concurrent requests, and 300 silent connections that send later, of one address', async () => {
    const answered = async (wait: number): Promise<number> => {
      const clients = await Promise.all(Array.from({ length: setup.tls ? 100 : 300 }, () => pair.with.connect()));
      await sleep(wait);
      for (const client of clients) client.write(get(CLOSE));
      const answers = await Promise.all(clients.map((client) => client.response()));
      for (const client of clients) client.destroy();
      return answers.filter(({ status }) => status === 404).length;
    };
    for (const wait of [0, 2 * OPEN_TIMEOUT]) expect(await answered(wait)).toBe(setup.tls ? 100 : 300);
    expect(pair.place.test.stats()).toMatchObject({ pending: 0, faults: {} });
  }, 180_000);

  it('has the same listeners on the server and on a socket', async () => {
    const counts = ({ server }: Side) =>
      ['connection', 'secureConnection', 'request', 'clientError', 'timeout', 'tlsClientError'].map((event) =>
        server.listenerCount(event),
      );
    expect(counts(pair.with)).toEqual(counts(pair.without));
    expect(Object.keys(pair.with.server).sort()).toEqual(Object.keys(pair.without.server).sort());
  });
});
