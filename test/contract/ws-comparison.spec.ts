import { on, once } from 'node:events';
import type { AddressInfo, Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { connect, SecureGateway, type SecureSocket } from 'nest-secure-ws';
import { createWebSocketStream, WebSocket, WebSocketServer } from 'ws';
import { eventually, startApp, type TestApp } from '../support/app.js';
import { frame } from '../support/raw-client.js';
import { turn } from '../support/time.js';

/**
 * The same calls on a socket of `ws` and on a socket of this library, in both roles, over real connections: results,
 * errors, events, and the arguments of callbacks are compared.
 */

type Role = 'server' | 'client';

interface Ends {
  readonly role: Role;
  readonly socket: WebSocket;
  readonly peer: WebSocket;
}

let app: TestApp;
let server: WebSocketServer;
let onOurs: (socket: WebSocket) => void = () => undefined;

// Without pings of our own: `ws` sends none.
@SecureGateway({ messages: { rate: '100000/1s' }, keepalive: { pingInterval: null } })
class OpenGateway {
  handleConnection(socket: SecureSocket): void {
    socket.on('message', () => undefined);
    onOurs(socket);
  }
}

beforeAll(async () => {
  app = await startApp({ gateways: [OpenGateway] });
  server = new WebSocketServer({ port: 0, host: '127.0.0.1', perMessageDeflate: false });
  await once(server, 'listening');
});

afterAll(async () => {
  for (const client of server.clients) client.terminate();
  server.close();
  await app.close();
});

const urlOfWs = () => `ws://127.0.0.1:${(server.address() as AddressInfo).port}/`;

async function ofWs(role: Role): Promise<Ends> {
  const accepted = once(server, 'connection') as Promise<[WebSocket]>;
  const client = new WebSocket(urlOfWs(), { perMessageDeflate: false });
  await once(client, 'open');
  const [socket] = await accepted;
  return role === 'server' ? { role, socket, peer: client } : { role, socket: client, peer: socket };
}

async function ofOurs(role: Role): Promise<Ends> {
  if (role === 'server') {
    const accepted = new Promise<WebSocket>((resolve) => {
      onOurs = resolve;
    });
    const peer = new WebSocket(`ws://127.0.0.1:${app.port}/`, { perMessageDeflate: false });
    await once(peer, 'open');
    return { role, socket: await accepted, peer };
  }
  const accepted = once(server, 'connection') as Promise<[WebSocket]>;
  const socket = await connect(urlOfWs(), { keepalive: { pingInterval: null } });
  return { role, socket, peer: (await accepted)[0] };
}

type Scenario = (ends: Ends, log: (...entry: unknown[]) => void) => Promise<void> | void;

/** A result, or the error that was thrown. */
function outcome(run: () => unknown): unknown {
  try {
    return ['returned', run()];
  } catch (error) {
    return ['threw', (error as Error).name, (error as Error).message];
  }
}

/** Does something on a socket and reports whether it was called back, with which error. */
const callback =
  (log: (...entry: unknown[]) => void, name: string) =>
  (...args: unknown[]): void =>
    log('called back', name, args.length, args[0] == null ? null : (args[0] as Error).message);

const received = (data: unknown, isBinary: unknown): unknown[] => [isBinary, String(data)];
/** Both ends are in this process: on a busy machine a time alone can pass with a single turn of the event loop. */
const ticks = async (ms = 20): Promise<void> => {
  await new Promise((resolve) => setTimeout(resolve, ms));
  for (let turns = 0; ms > 0 && turns < 50; turns++) await turn();
};

/**
 * Data of every type that callers pass, right or wrong. Two are left out: `false`, for which `ws` sends an empty message
 * and this library throws as for `true`, and a `SharedArrayBuffer`, which the client of `ws` masks in place.
 */
const DATA: readonly [string, unknown][] = [
  ['a text', 'text'],
  ['an empty text', ''],
  ['a number', 42],
  ['zero', 0],
  ['undefined', undefined],
  ['null', null],
  ['true', true],
  ['an object', {}],
  ['an array of bytes', [65, 66, 256 + 67]],
  ['an ArrayBuffer', Uint8Array.of(65, 66).buffer],
  ['a DataView', new DataView(Uint8Array.of(65, 66, 67).buffer, 1)],
  ['a Uint16Array', Uint16Array.of(0x4141, 0x4242)],
  ['a Buffer', Buffer.from('bytes')],
  ['a Blob', new Blob(['blob'])],
  ['a boxed String', new String('boxed')],
  ['an object with valueOf', { valueOf: () => 'value' }],
  ['a bigint', 7n],
  ['a symbol', Symbol('s')],
  ['a Date', new Date(0)],
];

const SCENARIOS: Record<string, Scenario> = {
  'is open': ({ socket }, log) => {
    log(socket.readyState, socket.bufferedAmount, socket.binaryType, socket.isPaused, socket.protocol);
    log(socket.onopen, socket.onclose, socket.onerror, socket.onmessage);
  },
  'ignores an unknown binaryType': ({ socket }, log) => {
    for (const type of ['blob', 'nonsense', 'fragments', undefined, 'arraybuffer', 'nodebuffer']) {
      socket.binaryType = type as 'nodebuffer';
      log(socket.binaryType);
    }
  },
  'returns what ws returns': async ({ socket }, log) => {
    log(
      outcome(() => socket.send('a')),
      outcome(() => socket.ping()),
      outcome(() => socket.pong()),
    );
    log(
      outcome(() => socket.pause()),
      socket.isPaused,
      outcome(() => socket.pause()),
      outcome(() => socket.resume()),
    );
    log(
      socket.isPaused,
      outcome(() => socket.resume()),
    );
    const listener = (): void => undefined;
    log(outcome(() => socket.addEventListener('message', listener)));
    log(outcome(() => socket.removeEventListener('message', listener)));
    log(outcome(() => socket.removeEventListener('close', listener)));
    log(socket.on('close', listener) === socket, socket.once('close', listener) === socket);
    log(
      outcome(() => socket.close()),
      socket.readyState,
      outcome(() => socket.close()),
      outcome(() => socket.terminate()),
    );
    log(socket.readyState);
    await once(socket, 'close');
    log(
      outcome(() => socket.close()),
      outcome(() => socket.terminate()),
      outcome(() => socket.pause()),
      socket.isPaused,
    );
    log(
      outcome(() => socket.resume()),
      socket.readyState,
      socket.bufferedAmount,
    );
  },
  'refuses wrong codes and reasons': async ({ socket }, log) => {
    for (const code of [0, 999, 1004, 1005, 1006, 1015, 2999, 5000, null, '1000', Number.NaN])
      log(
        code,
        outcome(() => socket.close(code as number)),
        socket.readyState,
      );
    log(
      outcome(() => socket.close(1000, 'x'.repeat(124))),
      outcome(() => socket.close(1000, 'ä'.repeat(62))),
    );
    log(socket.readyState);
    const closed = once(socket, 'close');
    log(outcome(() => socket.close(4000, 'x'.repeat(123))));
    log((await closed).map(String));
  },
  'calls callbacks in order': async ({ socket }, log) => {
    socket.send('a', callback(log, 'send'));
    socket.send('b', { compress: false }, callback(log, 'with options'));
    socket.send('c', {}, callback(log, 'with empty options'));
    socket.send('d', undefined as never, callback(log, 'with undefined options'));
    socket.ping(callback(log, 'ping') as never);
    socket.ping('x', callback(log, 'ping with data') as never);
    socket.ping('x', undefined, callback(log, 'ping with mask'));
    socket.pong(callback(log, 'pong') as never);
    socket.pong('x', callback(log, 'pong with data') as never);
    await ticks();
  },
  'sends nothing after close(), and reports an error': async ({ socket }, log) => {
    const closed = once(socket, 'close');
    socket.send('before', callback(log, 'before'));
    socket.close(1000, 'done');
    const amount = socket.bufferedAmount;
    log(outcome(() => socket.send('four', callback(log, 'send'))));
    log(
      outcome(() => socket.send('four')),
      outcome(() => socket.ping('four', true, callback(log, 'ping'))),
    );
    log(
      outcome(() => socket.pong('four')),
      outcome(() => socket.pong(undefined, true, callback(log, 'pong'))),
    );
    log('counts what was lost', socket.bufferedAmount - amount);
    log('not yet');
    await ticks(0);
    log('in a later tick');
    await closed;
    socket.send('late', callback(log, 'late'));
    socket.ping('late', true, callback(log, 'late ping'));
    await ticks(0);
    log(socket.bufferedAmount - amount >= 24);
  },
  'sends nothing after terminate()': async ({ socket }, log) => {
    socket.on('error', (error) => log('error', error.message));
    socket.on('close', (code, reason) => log('close', code, String(reason)));
    socket.terminate();
    log(socket.readyState);
    socket.send('a', callback(log, 'send'));
    log(outcome(() => socket.close()));
    await ticks(50);
    log(socket.readyState);
  },
  'reports the peer’s close frame': async ({ socket, peer }, log) => {
    socket.on('message', (data, isBinary) => log('message', ...received(data, isBinary), socket.readyState));
    socket.on('close', (...args) => log('close', args.map(String), socket.readyState));
    socket.onclose = ({ type, code, reason, wasClean, target }) =>
      log('onclose', type, code, reason, wasClean, target === socket);
    peer.send('last');
    peer.close(4321, 'peer is done');
    await once(socket, 'close');
    await ticks();
  },
  'reports a close frame without a code': async ({ socket, peer }, log) => {
    socket.onclose = ({ code, reason, wasClean }) => log(code, reason, wasClean);
    peer.close();
    await once(socket, 'close');
  },
  'reports a termination without a close frame': async ({ socket, peer }, log) => {
    socket.on('error', (error) => log('error', error.message));
    socket.onclose = ({ code, reason, wasClean }) => log(code, reason, wasClean);
    peer.terminate();
    await once(socket, 'close');
  },
  'reports an invalid frame': async ({ socket, peer }, log) => {
    socket.on('message', (data) => log('message', String(data)));
    socket.on('error', (error) =>
      log('error', error.name, error.message, (error as { code?: string }).code, socket.readyState),
    );
    socket.onerror = ({ type, message, error, target }) =>
      log('onerror', type, message, error instanceof Error, target === socket);
    socket.on('close', (code, reason) => log('close', code, String(reason)));
    peer.on('close', (code) => log('peer', code));
    // `once()` of Node rejects when there is an error.
    const closed = new Promise((resolve) => socket.on('close', resolve));
    peer.send('before');
    (peer as unknown as { _socket: { write(data: Buffer): void } })._socket.write(
      Buffer.from([0x83, 0x80, 0, 0, 0, 0]),
    );
    await closed;
    await ticks();
  },
  'emits pings and pongs': async ({ socket, peer }, log) => {
    socket.on('ping', (...args) => log('ping', args.length, Buffer.isBuffer(args[0]), String(args[0])));
    socket.on('pong', (...args) => log('pong', args.length, Buffer.isBuffer(args[0]), String(args[0])));
    peer.on('pong', (data) => log('peer got pong', String(data)));
    peer.on('ping', (data) => log('peer got ping', String(data)));
    peer.ping('from peer');
    await ticks();
    socket.ping('to peer');
    await ticks();
    peer.pong('unasked');
    await ticks();
    log(
      outcome(() => socket.ping('x'.repeat(126))),
      outcome(() => socket.pong('ä'.repeat(63))),
    );
    log(
      outcome(() => socket.ping({})),
      outcome(() => socket.pong(true)),
    );
    log(socket.readyState);
  },
  'keeps the order of messages, pings and pongs': async ({ socket, peer }, log) => {
    socket.on('message', (data, isBinary) => log('message', ...received(data, isBinary)));
    socket.on('ping', (data) => log('ping', String(data)));
    socket.on('pong', (data) => log('pong', String(data)));
    for (let at = 0; at < 3; at++) {
      peer.send(`text ${at}`);
      peer.ping(`ping ${at}`);
      peer.send(Buffer.from(`bytes ${at}`));
      peer.pong(`pong ${at}`);
    }
    await ticks(50);
  },
  'emits messages in the form that binaryType sets': async ({ socket, peer }, log) => {
    const show = async (data: unknown): Promise<string> =>
      data instanceof Blob
        ? `Blob ${data.type} ${await data.text()}`
        : Array.isArray(data)
          ? `array ${data.map(String)}`
          : `${Object.prototype.toString.call(data)} ${Buffer.isBuffer(data)} ${Buffer.from(data as ArrayBuffer)}`;
    for (const type of ['nodebuffer', 'arraybuffer', 'fragments', 'blob']) {
      socket.binaryType = type as 'nodebuffer';
      for (const data of ['text', Buffer.from('bytes'), '', Buffer.alloc(0)]) {
        const event = new Promise<unknown>((resolve) => {
          socket.onmessage = ({ data: told }) => resolve(told);
        });
        const got = once(socket, 'message');
        peer.send(data);
        const [told, isBinary] = await got;
        const viaEvent = await event;
        log(type, isBinary, await show(told), typeof viaEvent === 'string' ? viaEvent : await show(viaEvent));
      }
    }
  },
  'has the listeners of an EventTarget': async ({ socket, peer }, log) => {
    socket.removeAllListeners('message');
    const add = (name: string, options?: { once?: boolean }): (() => void) => {
      const listener = function (this: unknown, event: { type: string; data: unknown; target: unknown }): void {
        log(name, this === socket, event.type, String(event.data), event.target === socket);
      };
      socket.addEventListener('message', listener as never, options);
      return () => socket.removeEventListener('message', listener as never);
    };
    const object = {
      handleEvent(this: unknown, event: { data: unknown }) {
        log('object', this === object, String(event.data));
      },
    };
    const remove = add('listener');
    add('once', { once: true });
    socket.addEventListener('message', object as never);
    socket.addEventListener('message', object as never);
    log(
      outcome(() => socket.addEventListener('nonsense' as never, object as never)),
      socket.listenerCount('nonsense'),
    );
    log(socket.listenerCount('message'), socket.listeners('message').length);
    peer.send('one');
    await ticks();
    remove();
    socket.onmessage = () => log('attribute');
    const attribute = socket.onmessage;
    log(
      typeof attribute,
      outcome(() => socket.removeEventListener('message', attribute as never)),
      socket.onmessage === attribute,
    );
    socket.onmessage = 'no function' as never;
    log(socket.onmessage, socket.listenerCount('message'));
    socket.onmessage = () => log('second attribute');
    socket.removeAllListeners('message');
    log(socket.onmessage);
    const event = new Promise<object>((resolve) => {
      socket.onmessage = resolve as never;
    });
    peer.send('two');
    const told = await event;
    log(Object.hasOwn(told, 'nothing'), (told as { type: string }).type);
  },
  'pauses and resumes': async ({ socket, peer }, log) => {
    socket.on('message', (data) => log('message', String(data)));
    socket.pause();
    log(socket.isPaused);
    peer.send('while paused');
    await ticks(40);
    log('still paused');
    socket.resume();
    log(socket.isPaused, 'resumed');
    await ticks(40);
    socket.close();
    socket.pause();
    log('paused while closing', socket.isPaused);
    socket.resume();
    log(socket.isPaused);
    await once(socket, 'close');
    socket.pause();
    log(socket.isPaused);
  },
  'sends fragments': async ({ socket, peer }, log) => {
    peer.on('message', (data, isBinary) => log('peer', ...received(data, isBinary)));
    peer.on('ping', () => log('peer ping'));
    socket.send('a', { fin: false });
    socket.ping();
    socket.send('b', { fin: false, binary: true });
    socket.send('c', { fin: true }, callback(log, 'last'));
    socket.send('d', { binary: true });
    socket.send(Buffer.from('e'), { binary: false });
    await ticks(40);
  },
  'counts unsent bytes in bufferedAmount': async ({ socket, peer }, log) => {
    peer.pause();
    const chunk = Buffer.alloc(1024 * 1024, 1);
    for (let at = 0; at < 3; at++) socket.send(chunk, { compress: false });
    await ticks(40);
    log(socket.bufferedAmount > 0, socket.bufferedAmount <= 3 * 1024 * 1024 + 64);
    peer.resume();
    await eventually(() => socket.bufferedAmount === 0);
    log(socket.bufferedAmount);
  },
  'reports the end of TCP without a close frame': async ({ socket, peer }, log) => {
    socket.on('error', (error) => log('error', error.message));
    const closed = once(socket, 'close');
    raw(peer).end();
    await ticks(5);
    log(socket.readyState);
    log((await closed).map(String));
  },
  'reports the end of TCP while it is paused': async ({ socket, peer }, log) => {
    const closed = once(socket, 'close');
    socket.pause();
    raw(peer).end();
    log((await closed).map(String));
  },
  'reports a reset while it is paused': async ({ socket, peer }, log) => {
    socket.on('error', () => undefined);
    const closed = new Promise((resolve) => socket.on('close', (...args) => resolve(args.map(String))));
    socket.pause();
    raw(peer).resetAndDestroy();
    log(await closed, socket.readyState);
  },
  'reports a reset': async ({ socket, peer }, log) => {
    socket.on('error', (error) => log('error', error.message));
    const closed = new Promise((resolve) => socket.on('close', (...args) => resolve(args.map(String))));
    raw(peer).resetAndDestroy();
    log(await closed, socket.readyState);
  },
  'closes while the peer closes': async ({ socket, peer }, log) => {
    const ends = Promise.all([once(socket, 'close'), once(peer, 'close')]);
    socket.close(4001, 'ours');
    peer.close(4002, 'theirs');
    log((await ends).map((args) => args.map(String)));
  },
  'sends what was queued before the peer’s close, and nothing after it': async ({ socket, peer }, log) => {
    peer.on('message', (data) => log('peer', String(data)));
    socket.on('message', () => {
      socket.send('answer');
      socket.close(4000);
      socket.send('after', callback(log, 'after'));
    });
    const closed = once(peer, 'close');
    peer.send('question');
    log((await closed).map(String));
    await ticks();
  },
  'receives messages while it is closing': async ({ socket, peer }, log) => {
    socket.on('message', (data) => log('message', String(data), socket.readyState));
    socket.on('ping', (data) => log('ping', String(data)));
    const closed = once(socket, 'close');
    peer.pause();
    socket.close(4000, 'bye');
    peer.send('last words');
    peer.ping('last ping');
    await ticks();
    peer.resume();
    log((await closed).map(String));
  },
  'accepts a reason as text or bytes, ignores a value without a length, and throws for any other': async (
    { socket },
    log,
  ) => {
    log((outcome(() => socket.close(4000, [1, 2] as never)) as string[]).slice(0, 2), socket.readyState);
    log(
      outcome(() => socket.close(4000, 5 as never)),
      socket.readyState,
    );
    log((await once(socket, 'close')).map(String));
  },
  'accepts a reason in bytes': async ({ socket }, log) => {
    log(outcome(() => socket.close(4000, Uint8Array.of(65, 66) as never)));
    log((await once(socket, 'close')).map(String));
  },
  'works as a stream': async ({ socket, peer }, log) => {
    const stream = createWebSocketStream(socket, { encoding: 'utf8' });
    stream.on('data', (chunk: string) => log('data', chunk));
    for (const event of ['end', 'finish', 'close']) stream.on(event, () => log(event));
    peer.on('message', (data, isBinary) => log('peer', ...received(data, isBinary)));
    peer.send('in');
    stream.write('out');
    stream.write(Buffer.from('bytes'));
    await ticks(40);
    stream.end('last');
    await once(stream, 'close');
    log(socket.readyState);
  },
  'works as a stream that ends when the peer closes': async ({ socket, peer }, log) => {
    const stream = createWebSocketStream(socket);
    stream.resume();
    for (const event of ['end', 'finish', 'close', 'error']) stream.on(event, () => log(event));
    peer.close(1000);
    await once(stream, 'end');
    log(stream.destroyed, socket.readyState);
    stream.end();
    await once(stream, 'close');
    log(stream.destroyed);
  },
  'works as a stream that can be destroyed': async ({ socket, peer }, log) => {
    const stream = createWebSocketStream(socket);
    const told = once(peer, 'close');
    stream.on('error', (error) => log('error', error.message));
    const closed = new Promise((resolve) => stream.on('close', resolve));
    stream.destroy(new Error('enough'));
    await closed;
    log((await told)[0]);
  },
  'works with events.on()': async ({ socket, peer }, log) => {
    const aborted = new AbortController();
    socket.removeAllListeners('message');
    peer.send('one');
    peer.send('two');
    let count = 0;
    for await (const [data, isBinary] of on(socket, 'message', { signal: aborted.signal }) as AsyncIterable<
      unknown[]
    >) {
      log(...received(data, isBinary));
      if (++count === 2) break;
    }
    log(socket.listenerCount('message'), socket.listenerCount('error'));
  },
  'is listed and named as ws': ({ socket }, log) => {
    const names: string[] = [];
    for (const name in socket) if (name in WebSocket.prototype && !name.startsWith('_')) names.push(name);
    const listed = Object.keys(WebSocket.prototype).filter((name) => !names.includes(name));
    log(listed, Object.prototype.toString.call(socket), socket instanceof WebSocket);
    const assign = (name: string) => outcome(() => Object.assign(socket, { [name]: 1 }));
    for (const name of ['readyState', 'protocol', 'url', 'extensions', 'bufferedAmount', 'isPaused', 'OPEN'])
      log(name, (assign(name) as string[])[0]);
  },
};

/** Frames that a peer must not send, and the last of which ends the connection. */
const INVALID: readonly (readonly [string, ...Parameters<typeof frame>])[] = [
  ['a reserved opcode', '', { opcode: 3 }],
  ['a reserved opcode for control', '', { opcode: 11 }],
  ['a continuation of nothing', 'x', { opcode: 0 }],
  ['a fragmented ping', 'x', { opcode: 9, fin: false }],
  ['a long ping', 'x'.repeat(126), { opcode: 9 }],
  ['RSV1 without an extension', 'x', { rsv1: true }],
  ['RSV1 in a ping', 'x', { opcode: 9, rsv1: true }],
  ['a text that is not UTF-8', Buffer.from([0xc3, 0x28]), {}],
  ['a close code that nobody may send', Buffer.from([0x03, 0xed]), { opcode: 8 }],
  ['a close code without its second byte', Buffer.from([0x03]), { opcode: 8 }],
  ['a close reason that is not UTF-8', Buffer.from([0x03, 0xe8, 0xff]), { opcode: 8 }],
  ['a length of more than 2^53', '', { length: 2n ** 60n }],
];

const raw = (socket: WebSocket): Socket => (socket as unknown as { _socket: Socket })._socket;

// Two faults of one byte: `ws` tells of the length, this library of the mask.
for (const [name, payload, options] of INVALID)
  for (const isMasked of options?.opcode === 9 || payload.length === 1
    ? ['as it should be']
    : ['as it should be', 'wrongly'])
    SCENARIOS[`tells ${name}, masked ${isMasked}`] = async ({ socket, peer, role }, log) => {
      socket.on('message', (data) => log('message', String(data)));
      socket.on('ping', () => log('ping'));
      socket.on('error', (error: Error & { code?: string }) =>
        log(error.name, error.message, error.code, socket.readyState),
      );
      const closed = new Promise((resolve) => socket.on('close', (code, reason) => resolve([code, String(reason)])));
      const told = new Promise((resolve) => peer.on('close', (code) => resolve(code)));
      const masked = (role === 'server') === (isMasked === 'as it should be');
      raw(peer).write(frame(payload, { ...options, masked }));
      log(await closed, await told);
    };

for (const [name, data] of DATA)
  SCENARIOS[`sends ${name}, or throws`] = async ({ socket, peer }, log) => {
    peer.on('message', (got, isBinary) => log('peer', ...received(got, isBinary)));
    log(outcome(() => socket.send(data as never, callback(log, 'send'))));
    log(outcome(() => socket.send(data as never, { binary: typeof data === 'string' })));
    await ticks();
    log(socket.readyState, socket.bufferedAmount);
  };

async function run(ends: Ends, scenario: Scenario): Promise<unknown[]> {
  const entries: unknown[] = [];
  try {
    await scenario(ends, (...entry) => entries.push(entry));
  } finally {
    ends.socket.removeAllListeners();
    ends.socket.on('error', () => undefined);
    ends.peer.on('error', () => undefined);
    ends.socket.terminate();
    ends.peer.terminate();
  }
  return entries;
}

describe.each(['server', 'client'] as const)('the %s’s socket', (role) => {
  it.each(Object.entries(SCENARIOS))('%s', async (_, scenario) => {
    const theirs = await run(await ofWs(role), scenario);
    const ours = await run(await ofOurs(role), scenario);
    expect(theirs.length).toBeGreaterThan(0);
    expect(ours).toEqual(theirs);
  });
});
