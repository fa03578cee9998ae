import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from '@jest/globals';
import { lookAtRedis, type RedisClient } from '../../lib/cli/doctor/redis.js';
import { jsonText, safeText } from '../../lib/cli/terminal.js';
import { acceptanceText } from '../../lib/http/response.js';
import { runCli } from './run.js';

/** Escape sequences of one byte (CSI in C1) and of two, a line break, and text that is shown backwards. */
const HOSTILE = '\x1b[2J\x9b31m\r\u2028\u202egnp.exe\u200b';
const UNPRINTABLE = /[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]/;

let server: Server | undefined;
const sockets = new Set<Socket>();

afterEach(() => {
  for (const socket of sockets) socket.destroy();
  server?.close();
  server = undefined;
});

/** A server on a free port that runs `answer` for each connection. */
async function hostile(answer: (socket: Socket, head: string) => void): Promise<string> {
  server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => sockets.delete(socket));
    socket.once('data', (head: Buffer) => answer(socket, head.toString('latin1')));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return `ws://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}

const accept = (head: string): string =>
  acceptanceText({
    key: /^sec-websocket-key: (.*)$/im.exec(head)?.[1]?.trim() ?? '',
    server: null,
    subprotocol: undefined,
    extensions: undefined,
    headers: [],
  });

describe('text from an untrusted peer', () => {
  it('is printed with control and invisible characters escaped', () => {
    expect(safeText(HOSTILE)).toBe('\\u001b[2J\\u009b31m\\u000d\\u2028\\u202egnp.exe\\u200b');
    const text = jsonText({ seen: HOSTILE });
    expect(text).not.toMatch(UNPRINTABLE);
    expect(JSON.parse(text)).toEqual({ seen: HOSTILE });
  });

  it.each([[[]], [['--json']]])('is escaped in the report of a probe (%j)', async (format) => {
    const url = await hostile((socket, head) => {
      socket.write(accept(head).replace('\r\n\r\n', `\r\nServer: ${HOSTILE.slice(0, 6)}\r\n\r\n`), 'latin1');
      const reason = Buffer.from(HOSTILE);
      const close = Buffer.concat([Buffer.from([0x88, reason.length + 2, 0x03, 0xf0]), reason]);
      socket.on('data', () => socket.end(close));
    });
    const { stdout, code } = await runCli(['probe', url, '--only', 'frames', '--time', '5', ...format]);
    expect([code === 0 || code === 1, UNPRINTABLE.test(stdout)]).toEqual([true, false]);
    expect(stdout).toContain('u202egnp');
  });

  it('is escaped in the reason why a probe cannot run', async () => {
    const url = await hostile((socket) => socket.end(`HTTP/1.1 404 \x1b]0;owned\x07\x9b2J\r\n\r\n`, 'latin1'));
    const { stderr, code } = await runCli(['probe', `${url}#`, '--quick']);
    expect([code, UNPRINTABLE.test(stderr)]).toEqual([2, false]);
    expect(stderr).toContain('404');
  });

  it('is escaped in the findings of doctor about Redis', async () => {
    const client = (info: string): RedisClient => ({
      connect: () => Promise.resolve(),
      info: () => Promise.resolve(info),
      time: () => Promise.resolve([0, 0]),
      call: () => Promise.reject(new Error(HOSTILE)),
      disconnect: () => undefined,
      on: () => undefined,
    });
    const info = `redis_version:${HOSTILE}\nrole:${HOSTILE}\nmaxmemory_policy:${HOSTILE}\nmaxmemory:1`;
    const look = await lookAtRedis('redis://127.0.0.1:1', () => Promise.resolve(client(info)));
    expect(jsonText(look)).not.toMatch(UNPRINTABLE);
  });
});

describe('a hostile server', () => {
  it.each<[string, (socket: Socket, head: string) => void]>([
    ['does not answer', () => undefined],
    ['accepts only the first connection', takeOnce()],
    ['sends a head without an end', (socket) => flood(socket, Buffer.alloc(64 * 1024, 'a'))],
    [
      'sends only interim responses',
      (socket) => flood(socket, Buffer.from('HTTP/1.1 100 Continue\r\n\r\n'.repeat(2000))),
    ],
    [
      'sends pings and reads nothing',
      (socket, head) => {
        socket.write(accept(head));
        socket.pause();
        flood(socket, Buffer.from('\x89\x7d'.padEnd(127, 'p').repeat(500), 'latin1'));
      },
    ],
    [
      'announces a frame of 2^63 bytes',
      (socket, head) => {
        socket.write(accept(head));
        socket.write(Buffer.from([0x82, 0x7f, 0x80, 0, 0, 0, 0, 0, 0, 0]));
        flood(socket, Buffer.alloc(64 * 1024));
      },
    ],
  ])(
    'that %s cannot delay a probe beyond its time limit, nor fill its memory',
    async (_, answer) => {
      const url = await hostile(answer);
      const before = process.memoryUsage().rss;
      const { code } = await runCli(['probe', url, '--only', 'frames,request', '--time', '2']);
      expect([0, 1, 2]).toContain(code);
      expect(process.memoryUsage().rss - before).toBeLessThan(256 * 1024 * 1024);
    },
    // These servers never end a connection: without the time limit of the probe it would not return.
    60_000,
  );
});

function takeOnce() {
  let taken = 0;
  return (socket: Socket, head: string): void => {
    if (taken++ === 0) socket.write(accept(head));
    else socket.resetAndDestroy();
  };
}

/** Writes the same bytes as long as they are taken, up to 256 MiB. */
function flood(socket: Socket, bytes: Buffer): void {
  let left = 256 * 1024 * 1024;
  const more = (): void => {
    while (left > 0 && socket.writable) {
      left -= bytes.length;
      if (!socket.write(bytes)) return void socket.once('drain', more);
    }
  };
  more();
}
