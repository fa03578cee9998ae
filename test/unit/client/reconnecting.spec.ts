import diagnostics_channel from 'node:diagnostics_channel';
import { afterEach, describe, expect, it } from '@jest/globals';
import { type ConnectOptions, resolveCall } from '../../../lib/client/call.js';
import type { ClientSocket } from '../../../lib/client/client-socket.js';
import { connect, type RetryEvent, reconnecting, SecureWsConnector } from '../../../lib/client/index.js';
import { reconnect } from '../../../lib/client/reconnect.js';
import { ClientRuntime, sharedRuntime } from '../../../lib/client/runtime.js';
import { defaultEnvironment } from '../../../lib/config/environment.js';
import { resolveSettings } from '../../../lib/config/resolve.js';
import {
  closeAll,
  frame,
  onFrame,
  type RawServer,
  rawServer,
  rejection,
  upgrade,
} from '../../attack/client/support.js';
import { ManualClock } from '../../support/time.js';
import { until } from './support.js';

afterEach(closeAll);

/** Reconnects with a fake clock: delays take no time and are recorded. */
function timed(url: string, options: ConnectOptions = {}, random = 0.5) {
  const clock = new ManualClock();
  const delays: number[] = [];
  const retries: RetryEvent[] = [];
  const runtime = new ClientRuntime(
    clock,
    () => random,
    async (delay, signal) => {
      signal.throwIfAborted();
      delays.push(Math.round(delay));
      await new Promise((resolve) => setTimeout(resolve, 1));
    },
  );
  const sockets = reconnect(resolveCall(url, { keepalive: { pingInterval: null }, ...options }), runtime, (event) =>
    retries.push(event),
  );
  return { clock, delays, retries, sockets, runtime };
}

const NEXT = [2500, 3100, 5016, 8116, 13131];

/** Answers with these statuses one after the other, then upgrades. */
const serverAnswering = (...answers: string[]): Promise<RawServer> =>
  rawServer((socket, _request, key, count) => {
    const answer = answers[count - 1];
    if (answer === undefined) socket.write(upgrade(key));
    else if (answer === 'reset') socket.resetAndDestroy();
    else socket.end(`HTTP/1.1 ${answer}\r\nContent-Length: 0\r\n\r\n`);
  });

describe('reconnecting', () => {
  it('retries network failures and 500, 502, 503 and 504 with growing delays', async () => {
    const server = await serverAnswering('500 A', '502 B', 'reset', '503 C', '504 D');
    const { sockets, delays, retries, runtime } = timed(`${server.url.replace('//', '//user:secret@')}/?token=secret`);
    for await (const socket of sockets) {
      expect(socket.readyState).toBe(socket.OPEN);
      break;
    }
    expect(delays).toEqual(NEXT);
    expect(
      retries.map(({ retry, error }) => [
        retry,
        (error as { status?: number; code?: string }).status ?? (error as { code?: string }).code,
      ]),
    ).toEqual([
      [1, 500],
      [2, 502],
      [3, 'ECONNRESET'],
      [4, 503],
      [5, 504],
    ]);
    expect(JSON.stringify(retries)).not.toContain('secret');
    server.sockets.forEach((socket) => void socket.destroy());
    await server.quiet();
    await until(() => runtime.deadlines === 0, 'rest');
  });

  it('retries a refused connection and an open timeout', async () => {
    const server = await rawServer((socket, _request, key, count) => count > 1 && void socket.write(upgrade(key)));
    const { sockets, delays, clock, retries } = timed(server.url);
    const next = sockets.next();
    await until(() => server.requests.length === 1, 'a request');
    clock.pass(10_100);
    const socket = (await next).value as ClientSocket;
    expect(retries[0]?.error).toMatchObject({ name: 'OpenTimeoutError' });
    await server.close();
    const later = sockets.next();
    await until(() => delays.length > 3, 'retries');
    expect(await socket.closed).toMatchObject({ code: 1006 });
    expect(retries.at(-1)?.error).toMatchObject({ code: 'ECONNREFUSED' });
    const settled = later.catch(() => {});
    // A server listens on the same port again.
    const { createServer } = await import('node:net');
    const back = createServer((peer) =>
      peer
        .on('error', () => {})
        .resume()
        .end('HTTP/1.1 404 Gone\r\n\r\n'),
    );
    await new Promise<void>((resolve) => back.listen(server.port, '127.0.0.1', resolve));
    await expect(later).rejects.toMatchObject({ status: 404 });
    await settled;
    await new Promise((resolve) => back.close(resolve));
  });

  it.each([
    ['401 No', { status: 401 }],
    ['429 Slow', { status: 429 }],
    ['501 Never', { status: 501 }],
    ['302 Elsewhere\r\nLocation: file:///', { name: 'RedirectRefusedError' }],
    ['101 Wrong', { name: 'InvalidHandshakeError' }],
  ])('%s ends it with the error', async (answer, error) => {
    const server = await serverAnswering('503 Wait', answer);
    const { sockets, delays } = timed(server.url);
    expect(await rejection(sockets.next())).toMatchObject(error);
    expect(await sockets.next()).toEqual({ done: true, value: undefined });
    expect(delays).toHaveLength(1);
  });

  it('honours Retry-After up to the maximum delay', async () => {
    const server = await serverAnswering(
      '503 Wait\r\nRetry-After: 60',
      '503 Wait\r\nRetry-After: 86400',
      '503 Wait\r\nRetry-After: 1',
      '503 Wait\r\nRetry-After: x',
    );
    const { sockets, delays } = timed(server.url);
    await sockets.next();
    await sockets.return();
    expect(delays).toEqual([60_000, 90_000, 5016, 8116]);
    const date = await serverAnswering(`503 Wait\r\nRetry-After: ${new Date(Date.now() + 45_000).toUTCString()}`);
    const dated = timed(date.url);
    await dated.sockets.next();
    await dated.sockets.return();
    expect(dated.delays[0]).toBeGreaterThan(30_000);
    expect(dated.delays[0]).toBeLessThanOrEqual(45_000);
  });

  it('reconnects when a socket closes; a connection of ten seconds resets the delays', async () => {
    const server = await rawServer((socket, _request, key) => {
      socket.end(
        Buffer.concat([Buffer.from(upgrade(key)), frame('hello'), frame(Buffer.from([3, 233]), { opcode: 8 })]),
      );
    });
    const { sockets, delays, clock, retries } = timed(server.url);
    let count = 0;
    for await (const socket of sockets) {
      // The 4th connection lives longer: it ends after the others.
      if (++count === 4) {
        clock.pass(10_000);
      }
      for await (const message of socket) expect(message).toBe('hello');
      if (count === 6) break;
    }
    expect(delays).toEqual([2500, 3100, 5016, 2500, 3100]);
    expect(retries[0]).toMatchObject({ retry: 1, error: undefined, closed: { code: 1001, reason: '' } });
    expect(retries[3]).toMatchObject({ retry: 1 });
  });

  it('waits for the socket to close when the loop body does not', async () => {
    const server = await rawServer((socket, _request, key) => void socket.write(upgrade(key)));
    const { sockets } = timed(server.url);
    const first = (await sockets.next()).value as ClientSocket;
    const next = sockets.next();
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(server.connections).toBe(1);
    first.terminate();
    const second = (await next).value as ClientSocket;
    expect(second.readyState).toBe(second.OPEN);
    expect(first.readyState).toBe(first.CLOSED);
    await sockets.return();
    expect(second.readyState).toBe(second.CLOSING);
  });

  it('ends when its signal aborts: before, while connecting, while open, and while waiting', async () => {
    const url = (await serverAnswering()).url;
    const gone = reconnecting(url, { signal: AbortSignal.abort() });
    expect(await gone.next()).toEqual({ done: true, value: undefined });

    const silent = await rawServer(() => {});
    const connecting = new AbortController();
    const attempt = reconnecting(silent.url, { signal: connecting.signal }).next();
    await until(() => silent.requests.length === 1, 'a request');
    connecting.abort();
    expect(await attempt).toEqual({ done: true, value: undefined });
    await silent.quiet();

    const open = new AbortController();
    const codes: number[] = [];
    const polite = await rawServer((socket, _request, key) => {
      socket.write(upgrade(key));
      onFrame(socket, ({ payload }) => {
        codes.push(payload.length === 0 ? 1005 : payload.readUInt16BE(0));
        socket.end(frame(Buffer.from([3, 233]), { opcode: 8 }));
      });
    });
    for await (const socket of reconnecting(polite.url, { signal: open.signal })) {
      open.abort();
      for await (const message of socket) expect(message).toBe('none');
    }
    expect(codes).toEqual([1001]);

    const waiting = new AbortController();
    const refusing = await serverAnswering('503 Wait', '503 Wait', '503 Wait');
    const call = resolveCall(refusing.url, {
      signal: waiting.signal,
      backoffInitialDelay: '1h',
      backoffMinDelay: '1h',
      backoffMaxDelay: '1h',
    });
    const iterator = reconnect(call, new ClientRuntime(undefined, () => 0.5));
    const next = iterator.next();
    await until(() => refusing.requests.length === 1 && refusing.sockets.size === 0, 'a refusal');
    await new Promise((resolve) => setTimeout(resolve, 20));
    waiting.abort();
    expect(await next).toEqual({ done: true, value: undefined });
    expect(refusing.connections).toBe(1);
    await until(() => sharedRuntime.deadlines === 0, 'rest');
  });

  it('publishes retries on diagnostics_channel, and reports invalid options at once', async () => {
    const told: unknown[] = [];
    const listen = (event: unknown): void => void told.push(event);
    diagnostics_channel.subscribe('nest-secure-ws:retry', listen);
    const server = await serverAnswering('503 Wait');
    const sockets = reconnecting(server.url, { backoffInitialDelay: 0, backoffMinDelay: 0 });
    await sockets.next();
    await sockets.return();
    diagnostics_channel.unsubscribe('nest-secure-ws:retry', listen);
    expect(told).toEqual([expect.objectContaining({ url: `${server.url}/`, retry: 1, delay: 0 })]);
    expect(() => reconnecting('wss://h', { backoffFactor: 0.5 })).toThrow('backoffFactor');
  });
});

describe('SecureWsConnector', () => {
  const connector = (options = {}) => {
    const { settings } = resolveSettings(options, defaultEnvironment());
    const runtime = new ClientRuntime();
    return { connector: new SecureWsConnector(() => settings, undefined, runtime), runtime };
  };

  /** A server that answers a close frame or does not. */
  const server = (answers: boolean, codes: number[] = []) =>
    rawServer((socket, _request, key) => {
      socket.write(upgrade(key));
      onFrame(socket, ({ payload }) => {
        codes.push(payload.length === 0 ? 1005 : payload.readUInt16BE(0));
        if (answers) socket.end(frame(Buffer.from([3, 233]), { opcode: 8 }));
      });
    });

  it("connects with the module's settings", async () => {
    const { url, requests } = await server(true);
    const { connector: ws } = connector({ client: { userAgentHeader: 'module/1' }, compression: { mode: 'off' } });
    const socket = await ws.connect(url);
    expect(requests[0]).toContain('User-Agent: module/1\r\n');
    expect(requests[0]).not.toContain('Extensions');
    await expect(ws.connect(url, { nonsense: 1 } as never)).rejects.toThrow("unknown option 'nonsense'");
    expect(() => ws.reconnecting('nonsense')).toThrow('the URL is invalid');
    await ws.onModuleDestroy();
    expect(socket.readyState).toBe(socket.CLOSED);
  });

  it('closes its connections with 1001 at shutdown, ends loops and attempts, and refuses new ones', async () => {
    const codes: number[] = [];
    const polite = await server(true, codes);
    const silent = await rawServer(() => {});
    const { connector: ws, runtime } = connector();
    const abort = new AbortController();
    const [one, two] = [await ws.connect(polite.url), await ws.connect(polite.url, { signal: abort.signal })];
    const loop = (async () => {
      for await (const socket of ws.reconnecting(polite.url))
        for await (const message of socket) expect(message).toBe('none');
    })();
    await until(() => polite.sockets.size === 3, 'three connections');
    const attempt = rejection(ws.connect(silent.url));
    await until(() => silent.requests.length === 1, 'a request');
    await ws.onModuleDestroy();
    expect(codes).toEqual([1001, 1001, 1001]);
    expect([one.readyState, two.readyState]).toEqual([3, 3]);
    await loop;
    expect(await attempt).toMatchObject({ message: 'the application is shutting down' });
    expect(await rejection(ws.connect(polite.url))).toMatchObject({ message: 'the application is shutting down' });
    expect(await ws.reconnecting(polite.url).next()).toEqual({ done: true, value: undefined });
    await polite.quiet();
    await silent.quiet();
    expect(runtime.deadlines).toBe(0);
  });

  it('terminates unanswered connections after closeTimeout', async () => {
    const unresponsive = await server(false);
    const { connector: ws, runtime } = connector({ keepalive: { closeTimeout: 100 } });
    const socket = await ws.connect(unresponsive.url);
    await ws.onModuleDestroy();
    expect(await socket.closed).toMatchObject({ code: 1006 });
    await unresponsive.quiet();
    expect(runtime.deadlines).toBe(0);
  });

  it("forgets closed connections and removes its listener from the caller's signal", async () => {
    const polite = await server(true);
    const { connector: ws } = connector();
    const abort = new AbortController();
    let listeners = 0;
    const { addEventListener, removeEventListener } = abort.signal;
    abort.signal.addEventListener = function add(this: AbortSignal, ...args: never[]) {
      listeners++;
      return Reflect.apply(addEventListener, this, args);
    };
    abort.signal.removeEventListener = function remove(this: AbortSignal, ...args: never[]) {
      listeners--;
      return Reflect.apply(removeEventListener, this, args);
    };
    const socket = await ws.connect(polite.url, { signal: abort.signal });
    expect(listeners).toBe(0);
    (await connect(polite.url, { signal: abort.signal })).terminate();
    expect(listeners).toBe(0);
    socket.close();
    await socket.closed;
    await ws.onModuleDestroy();
  });
});
