import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream';
import { afterEach, describe, expect, it } from '@jest/globals';
import { buildSchema } from 'graphql';
import { createClient } from 'graphql-ws';
import { useServer } from 'graphql-ws/use/ws';
import { connect, SecureGateway, type SecureSocket, type SecureWsOptions } from 'nest-secure-ws';
import { createWebSocketStream, WebSocket, type WebSocketServer } from 'ws';
import { eventually, startApp, type TestApp } from '../support/app.js';
import { frame, RawClient } from '../support/raw-client.js';

/** The documented interface of a `WebSocket` of `ws`: both roles implement it without private members of `ws`. */

let app: TestApp | undefined;
let sockets: WebSocket[] = [];
let servers: WebSocketServer[] = [];
let clients: { terminate(): void }[] = [];
let onSocket: (socket: SecureSocket) => void = () => undefined;
let onServer: (server: WebSocketServer) => void = () => undefined;

@SecureGateway({ connections: { subprotocols: ['graphql-transport-ws', 'other'] } })
class OpenGateway {
  afterInit(server: WebSocketServer): void {
    servers.push(server);
    onServer(server);
  }

  handleConnection(socket: SecureSocket): void {
    sockets.push(socket);
    onSocket(socket);
  }
}

/** Keepalive pings come at random times. */
const WITHOUT_PINGS = { keepalive: { pingInterval: null } };

async function start(options: SecureWsOptions = {}): Promise<string> {
  app = await startApp({ gateways: [OpenGateway], options: { ...WITHOUT_PINGS, ...options } });
  return `ws://127.0.0.1:${app.port}/`;
}

/** Both ends of a connection. */
async function pair(options: SecureWsOptions = {}): Promise<{ server: WebSocket; client: WebSocket }> {
  const client = await connect(await start(options), { subprotocols: ['other'], ...WITHOUT_PINGS, ...pick(options) });
  clients.push(client);
  await eventually(() => sockets.length === 1);
  return { server: sockets[0]!, client };
}

const pick = ({ compression }: SecureWsOptions) => (compression === undefined ? {} : { compression });

afterEach(async () => {
  for (const client of clients) client.terminate();
  await app?.close();
  app = undefined;
  [sockets, servers, clients] = [[], [], []];
  onSocket = onServer = () => undefined;
});

describe('private members of ws', () => {
  const folder = join(dirname(createRequire(import.meta.url).resolve('ws')), 'lib');
  const own = readdirSync(folder)
    .map((file) => readFileSync(join(folder, file), 'utf8'))
    .flatMap((text) => [...text.matchAll(/\b(?:this|ws|websocket|receiver|sender)\.(_\w+)/g)].map(([, name]) => name!));
  const names = new Set(own);

  it('are not used in lib/, except for a getter that libraries look for', () => {
    // The best-known members must be among the names, or the search is empty.
    for (const name of ['_receiver', '_sender', '_socket', '_readyState', '_closeTimer', '_fragments'])
      expect(names).toContain(name);
    const files = readdirSync('lib', { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));
    const found = files.flatMap((file) =>
      [...readFileSync(join('lib', file), 'utf8').matchAll(/\b_\w+/g)]
        .filter(([name]) => names.has(name))
        .map(([name, ..._rest]) => `${file}: ${name}`),
    );
    expect(found).toEqual(['connection/connected-socket.ts: _socket']);
    expect(readFileSync('lib/connection/connected-socket.ts', 'utf8')).toContain('get _socket(): Socket {');
  });

  it('that have no underscore are not called in lib/, and of the package only two classes are imported', () => {
    const texts = ['websocket.js', 'websocket-server.js'].map((file) => readFileSync(join(folder, file), 'utf8'));
    const methods = texts.flatMap((text) =>
      [...text.matchAll(/@private\s*\*\/\s*(\w+)\s*\(/g)].map(([, name]) => name!),
    );
    expect(methods).toEqual(expect.arrayContaining(['setSocket', 'emitClose', 'completeUpgrade']));
    const calls = new RegExp(`\\.(?:${methods.join('|')})\\b`);
    const imported = new Set<string>();
    for (const file of readdirSync('lib', { recursive: true, encoding: 'utf8' })) {
      if (!file.endsWith('.ts')) continue;
      const text = readFileSync(join('lib', file), 'utf8');
      expect([file, calls.exec(text)?.[0]]).toEqual([file, undefined]);
      expect([file, /'ws\/(?!package\.json')/.test(text)]).toEqual([file, false]);
      for (const [, names] of text.matchAll(/^import (?:type )?\{([^}]*)\} from 'ws';/gm))
        for (const name of names!.split(',')) imported.add(name.replace(/^\s*type /, '').trim());
    }
    expect([...imported].sort()).toEqual(['WebSocket', 'WebSocketServer']);
  });

  it("are not set on this library's sockets", async () => {
    const { server, client } = await pair();
    for (const socket of [server, client]) {
      client.send('to allocate everything that is allocated on demand');
      const keys = Object.getOwnPropertyNames(socket).filter((name) => names.has(name));
      expect(keys).toEqual([]);
    }
  });
});

describe('a socket of this library', () => {
  it('is a WebSocket: instanceof, constants, the set of clients', async () => {
    const { server, client } = await pair();
    for (const socket of [server, client]) {
      expect(socket).toBeInstanceOf(WebSocket);
      expect([socket.CONNECTING, socket.OPEN, socket.CLOSING, socket.CLOSED]).toEqual([0, 1, 2, 3]);
      const { OPEN, CLOSED } = socket.constructor as typeof WebSocket;
      expect([OPEN, CLOSED]).toEqual([1, 3]);
      expect([socket.readyState, socket.protocol, socket.isPaused, socket.bufferedAmount]).toEqual([
        1,
        'other',
        false,
        0,
      ]);
      expect(socket.extensions).toBe('permessage-deflate');
    }
    expect([server.url, client.url]).toEqual([undefined, `ws://127.0.0.1:${app!.port}/`]);
    expect(servers[0]!.clients).toBeInstanceOf(Set);
    expect([...servers[0]!.clients]).toEqual([server]);
    client.terminate();
    await eventually(() => servers[0]!.clients.size === 0);
  });

  it('has no extension when none was agreed', async () => {
    const { server, client } = await pair({ compression: { mode: 'off' } });
    expect([server.extensions, client.extensions]).toEqual(['', '']);
  });
});

type Role = 'server' | 'client';
const ROLES: readonly Role[] = ['server', 'client'];

describe.each(ROLES)('the public interface of a %s socket', (role) => {
  async function ends(options: SecureWsOptions = {}): Promise<{ ours: WebSocket; other: WebSocket }> {
    const both = await pair(options);
    return role === 'server' ? { ours: both.server, other: both.client } : { ours: both.client, other: both.server };
  }

  it.each(['off', 'shared', 'dedicated'] as const)('sends every type that ws sends (compression: %s)', async (mode) => {
    const { ours, other } = await ends({ compression: { mode } });
    const got: unknown[] = [];
    other.on('message', (data: Buffer, isBinary) => got.push(isBinary ? [...data] : data.toString()));
    const bytes = Uint8Array.from([1, 2, 3, 4]);
    const long = 'ä'.repeat(40_000);
    ours.send('text');
    ours.send(42 as never);
    ours.send(Buffer.from([1]));
    ours.send(bytes.subarray(1, 3));
    ours.send(bytes.buffer);
    ours.send(new DataView(bytes.buffer, 2));
    ours.send(new Blob(['blo', 'b']) as never, { binary: false });
    ours.send(Buffer.from('as text'), { binary: false });
    ours.send('as binary', { binary: true });
    ours.send('not compressed'.repeat(100), { compress: false });
    ours.send(long);
    ours.send('');
    ours.send('a', { fin: false });
    ours.send('b', { fin: false });
    ours.ping();
    ours.send('c', { fin: true });
    ours.send(undefined as never);
    await eventually(() => got.length === 14);
    const expected: unknown[] = ['text', '42', [1], [2, 3], [1, 2, 3, 4], [3, 4], 'blob', 'as text'];
    expected.push([...Buffer.from('as binary')], 'not compressed'.repeat(100), long, '', 'abc', []);
    expect(got).toEqual(expected);
  });

  it('pauses until resume(), and lists its members as ws does', async () => {
    const { ours } = await ends();
    ours.pause();
    expect(ours.isPaused).toBe(true);
    ours.resume();
    expect(ours.isPaused).toBe(false);
    ours.pause();
    expect(ours.isPaused).toBe(true);
    ours.resume();
    const listed: string[] = [];
    for (const name in ours) listed.push(name);
    for (const name of Object.keys(WebSocket.prototype)) expect(listed).toContain(name);
  });

  it('closes without a code when only a reason is given', async () => {
    const { ours, other } = await ends();
    const closed = once(other, 'close');
    ours.close(undefined, 'a reason');
    const [code, reason] = await closed;
    expect([code, `${reason}`]).toEqual([1005, '']);
  });

  it('calls the callbacks of send, ping and pong', async () => {
    const { ours, other } = await ends();
    const called: unknown[] = [];
    const note =
      (name: string) =>
      (error?: Error | null): void =>
        void called.push(error == null ? name : `${name}: ${error.message}`);
    ours.send('a', note('send'));
    ours.send('b', { compress: false }, note('options'));
    ours.ping(note('ping') as never);
    ours.pong('x', note('pong') as never);
    ours.ping('x', true, note('mask'));
    await eventually(() => called.length === 5);
    expect(called).toEqual(['send', 'options', 'ping', 'pong', 'mask']);
    other.terminate();
    await once(ours, 'close');
    ours.send('late', note('late'));
    ours.ping('late', note('late') as never);
    expect(() => ours.send('nobody is told')).not.toThrow();
    await eventually(() => called.length === 7);
    expect(called.slice(5)).toEqual([expect.stringContaining('not open'), expect.stringContaining('not open')]);
    expect(ours.bufferedAmount).toBeGreaterThanOrEqual(8);
  });

  it('emits messages in each binaryType', async () => {
    const { ours, other } = await ends();
    const types = ['nodebuffer', 'arraybuffer', 'fragments', 'blob', 'nonsense'];
    const got: unknown[] = [];
    ours.on('message', (data) => got.push(data));
    expect(ours.binaryType).toBe('nodebuffer');
    for (const type of types) {
      ours.binaryType = type as 'nodebuffer';
      expect(ours.binaryType).toBe(type === 'nonsense' ? 'blob' : type);
      other.send(Buffer.from(type));
      await eventually(() => got.length === types.indexOf(type) + 1);
    }
    expect(Buffer.isBuffer(got[0])).toBe(true);
    expect(Buffer.from(got[1] as ArrayBuffer).toString()).toBe('arraybuffer');
    expect(got[1]).toBeInstanceOf(ArrayBuffer);
    expect((got[2] as Buffer[]).map(String)).toEqual(['fragments']);
    expect(await (got[3] as Blob).text()).toBe('blob');
  });

  it('has the listeners of an EventTarget', async () => {
    const { ours, other } = await ends();
    const events: unknown[] = [];
    const listener = (event: { type: string; data?: unknown; target: unknown }) =>
      events.push([event.type, event.data, event.target === ours]);
    const object = { handleEvent: (event: { data?: unknown }) => events.push(['object', event.data]) };
    ours.addEventListener('message', listener as never);
    ours.addEventListener('message', listener as never);
    ours.addEventListener('message', object as never);
    ours.addEventListener('message', (() => events.push('once')) as never, { once: true });
    ours.addEventListener('ping' as never, (() => events.push('never')) as never);
    other.send('one');
    await eventually(() => events.length === 3);
    expect(events).toEqual([['message', 'one', true], ['object', 'one'], 'once']);
    ours.removeEventListener('message', listener as never);
    ours.removeEventListener('message', object as never);
    ours.onmessage = ({ data }) => events.push(['attribute', data]);
    ours.onmessage = ({ data }) => events.push(['attribute again', data]);
    expect(typeof ours.onmessage).toBe('function');
    other.send(Buffer.from('two'));
    await eventually(() => events.length === 4);
    expect(events[3]).toEqual(['attribute again', Buffer.from('two')]);
    ours.onmessage = null;
    expect([ours.onmessage, ours.onopen, ours.onerror, ours.listenerCount('message')]).toEqual([null, null, null, 0]);
    const closed = new Promise((resolve) => {
      ours.onclose = ({ code, reason, wasClean, type }) => resolve([type, code, reason, wasClean]);
    });
    other.close(4001, 'done');
    expect(await closed).toEqual(['close', 4001, 'done', true]);
    expect(ours.readyState).toBe(WebSocket.CLOSED);
  });

  it('reports wasClean: false for an end without a close frame', async () => {
    const { ours, other } = await ends();
    const closed = new Promise((resolve) => {
      ours.onclose = ({ code, wasClean }) => resolve([code, wasClean]);
    });
    other.terminate();
    expect(await closed).toEqual([1006, false]);
  });

  it('sends pings and pongs, and emits both', async () => {
    const { ours, other } = await ends();
    const received: unknown[] = [];
    other.on('ping', (data: Buffer) => received.push(['ping', data.toString()]));
    ours.on('pong', (data: Buffer) => received.push(['pong', data.toString()]));
    for (const data of ['x', 7, Buffer.from('y'), Uint8Array.of(122)]) ours.ping(data);
    await eventually(() => received.length === 8);
    const payloads = ['x', '7', 'y', 'z'];
    for (const name of ['ping', 'pong'])
      expect(received.filter((each) => (each as string[])[0] === name)).toEqual(payloads.map((data) => [name, data]));
    expect(() => ours.ping(Buffer.alloc(126))).toThrow(RangeError);
    expect(ours.readyState).toBe(WebSocket.OPEN);
  });

  it('closes with the given code, and throws for invalid codes and reasons', async () => {
    const { ours, other } = await ends();
    for (const args of [[999], [1005], [1006], [5000], [1000, 'x'.repeat(124)], ['1000']] as [number, string?][])
      expect(() => ours.close(...args)).toThrow();
    expect(ours.readyState).toBe(WebSocket.OPEN);
    const closed = once(other, 'close');
    const own = once(ours, 'close');
    ours.close(3000, Buffer.from('why'));
    expect(ours.readyState).toBe(WebSocket.CLOSING);
    ours.close();
    expect(await closed).toEqual([3000, Buffer.from('why')]);
    expect((await own)[0]).toBe(3000);
    ours.close();
    ours.terminate();
    expect(ours.readyState).toBe(WebSocket.CLOSED);
  });

  it('pauses between two messages of one read, and resumes later', async () => {
    const { ours, other } = await ends();
    const received: string[] = [];
    ours.on('message', (data) => {
      received.push(String(data));
      if (received.length === 2) ours.pause();
    });
    for (let at = 0; at < 6; at++) other.send(String(at));
    await eventually(() => ours.isPaused);
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(received).toEqual(['0', '1']);
    ours.resume();
    expect(received).toHaveLength(2);
    await eventually(() => received.length === 6);
    expect([received, ours.isPaused]).toEqual([['0', '1', '2', '3', '4', '5'], false]);
  });

  it('becomes a stream with createWebSocketStream', async () => {
    const { ours, other } = await ends({
      messages: { byteRate: '1gb/1s', byteRatePerIp: '1gb/1s', rate: '100000/1s' },
    });
    const echo = createWebSocketStream(ours);
    pipeline(echo, echo, () => undefined);
    const stream = createWebSocketStream(other);
    const sent = randomBytes(3_000_000);
    const got: Buffer[] = [];
    stream.on('data', (chunk: Buffer) => got.push(chunk));
    for (let at = 0; at < sent.length; at += 50_000)
      if (!stream.write(sent.subarray(at, at + 50_000))) await once(stream, 'drain');
    await eventually(() => got.reduce((bytes, { length }) => bytes + length, 0) === sent.length);
    expect(Buffer.concat(got).equals(sent)).toBe(true);
    stream.end();
    await once(stream, 'close');
    await eventually(() => ours.readyState === WebSocket.CLOSED);
  });
});

describe("libraries on this library's sockets", () => {
  it('graphql-ws runs a query and a subscription to its end', async () => {
    const schema = buildSchema('type Query { hello: String } type Subscription { count: Int }');
    async function* count() {
      for (let at = 0; at < 3; at++) yield { count: at };
    }
    onServer = (server) =>
      void useServer({ schema, roots: { query: { hello: () => 'world' }, subscription: { count } } }, server);
    const url = await start();
    const client = createClient({ url, webSocketImpl: WebSocket, retryAttempts: 0 });
    const results: unknown[] = [];
    for await (const result of client.iterate({ query: '{ hello }' })) results.push(result.data);
    for await (const result of client.iterate({ query: 'subscription { count }' })) results.push(result.data);
    expect(results).toEqual([{ hello: 'world' }, { count: 0 }, { count: 1 }, { count: 2 }]);
    await client.dispose();
    await eventually(() => app!.stats().connections === 0);
    // Ten messages that are not Nest events did not end the connection.
    expect(app!.stats().closed).toEqual({ 1000: 2 });
  });

  it('the calls of y-websocket’s server work', async () => {
    const updates: Uint8Array[] = [];
    const alive: boolean[] = [];
    onSocket = (conn) => {
      conn.binaryType = 'arraybuffer';
      conn.on('message', (message) => {
        updates.push(new Uint8Array(message as ArrayBuffer));
        for (const each of servers[0]!.clients)
          if (each.readyState === 0 || each.readyState === 1)
            each.send(updates.at(-1)!, {}, (error) => error != null && conn.close());
      });
      conn.on('pong', () => alive.push(true));
      conn.on('close', () => alive.push(false));
      conn.ping();
      conn.send(Uint8Array.of(0, 0, 1, 0), {}, (error) => error != null && conn.close());
    };
    await start();
    const [one, other] = [await RawClient.open({ port: app!.port }), await RawClient.open({ port: app!.port })];
    for (const client of [one, other]) {
      const frames = [await client.frame(), await client.frame()];
      expect(frames.map((each) => each?.opcode).sort()).toEqual([2, 9]);
      client.write(frame(frames.find((each) => each?.opcode === 9)!.payload, { opcode: 10 }));
    }
    await eventually(() => alive.length === 2 && servers[0]!.clients.size === 2);
    one.write(frame(Buffer.from([0, 2, 3, 1, 2, 3]), { opcode: 2 }));
    for (const client of [one, other])
      expect(await client.frame()).toMatchObject({ opcode: 2, payload: Buffer.from([0, 2, 3, 1, 2, 3]) });
    expect(updates).toEqual([Uint8Array.of(0, 2, 3, 1, 2, 3)]);
    for (const client of [one, other]) client.destroy();
    await eventually(() => alive.filter((each) => !each).length === 2);
  });
});
