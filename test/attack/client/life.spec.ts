import { getEventListeners, getMaxListeners, once } from 'node:events';
import { connect as connectTcp, Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { ClientSocket, connect, reconnecting, SecureWsConnector } from '../../../lib/client/index.js';
import { sharedRuntime } from '../../../lib/client/runtime.js';
import { resolveSettings } from '../../../lib/config/resolve.js';
import { issue, type Pair } from '../../support/certificates.js';
import { until } from '../../unit/client/support.js';
import { type Answer, closeAll, closeFrame, frame, onFrame, rawServer, rejection, upgrade } from './support.js';

const opened: ClientSocket[] = [];
afterEach(async () => {
  for (const socket of opened.splice(0)) socket.terminate();
  await closeAll();
});

const accepts: Answer = (socket, _request, key) => void socket.write(upgrade(key));
const OFF = { compression: { mode: 'off' } } as const;

async function open(answer: Answer = accepts): Promise<ClientSocket> {
  const server = await rawServer(answer);
  const socket = await connect(server.url, OFF);
  opened.push(socket);
  return socket;
}

describe('an end directly after the 101', () => {
  let ca: string;
  let local: Pair;
  beforeAll(() => {
    const authority = issue('Test authority', { isCa: true });
    ca = authority.cert;
    local = issue('localhost', { ca: authority });
  });

  const ends: [string, Answer, string[]][] = [
    [
      'messages and a close frame',
      (socket, _request, key) =>
        void socket.end(Buffer.concat([Buffer.from(upgrade(key)), frame('a'), closeFrame(1000)])),
      ['a'],
    ],
    [
      'a message',
      (socket, _request, key) => void socket.end(Buffer.concat([Buffer.from(upgrade(key)), frame('a')])),
      ['a'],
    ],
    ['nothing', (socket, _request, key) => void socket.end(upgrade(key)), []],
  ];

  describe.each([false, true])('TLS: %s', (secure) => {
    it.each(ends)('by %s: every message is read', async (_, answer, messages) => {
      const server = await rawServer(answer, secure ? { tls: local } : {});
      for (let i = 0; i < 10; i++) {
        const socket = await connect(server.url, { ...OFF, tls: { ca } });
        const received: unknown[] = [];
        for await (const message of socket) received.push(message);
        expect(received).toEqual(messages);
        await socket.closed;
      }
      await server.quiet();
      expect(sharedRuntime.deadlines).toBe(0);
    });

    it('by a reset: connect rejects with ECONNRESET or the socket closes with 1006', async () => {
      const server = await rawServer(
        (socket, _request, key) => {
          socket.write(upgrade(key), () => socket.destroy());
        },
        secure ? { tls: local } : {},
      );
      for (let i = 0; i < 20; i++) {
        const outcome = await connect(server.url, { ...OFF, tls: { ca } }).catch((error: unknown) => error);
        if (!(outcome instanceof ClientSocket)) expect(outcome).toMatchObject({ code: 'ECONNRESET' });
        else expect((await outcome.closed).code).toBe(1006);
      }
      await server.quiet();
      expect(sharedRuntime.deadlines).toBe(0);
    });
  });

  it('TLS options set to undefined are ignored', async () => {
    const server = await rawServer(accepts, { tls: local });
    const tls = { ca, checkServerIdentity: undefined, rejectUnauthorized: undefined, servername: undefined };
    opened.push(await connect(server.url, { tls: tls as object }));
    expect(await rejection(connect(server.url, { tls: { ...tls, ca: undefined } as object }))).toMatchObject({
      code: expect.stringMatching(/CERT|SIGN/),
    });
  });

  it('an error of checkServerIdentity refuses the server', async () => {
    const server = await rawServer(accepts, { tls: local });
    const wrong = new Error('not pinned');
    const checkServerIdentity = (): never => {
      throw wrong;
    };
    expect(await rejection(connect(server.url, { tls: { ca, checkServerIdentity } }))).toBe(wrong);
    expect(await rejection(connect(server.url, { tls: { ca, checkServerIdentity: () => wrong } }))).toBe(wrong);
    await server.quiet();
  });

  it.each([
    ['minVersion', { minVersion: 'TLSv9' }],
    ['ca', { ca: 5 }],
    ['ciphers', { ciphers: 'none such' }],
    ['key', { key: 'no key', cert: 'no certificate' }],
  ])('TLS options that Node refuses (%s) leave nothing behind', async (_, tls) => {
    const server = await rawServer(accepts, { tls: local });
    expect(await rejection(connect(server.url, { tls: tls as object }))).toHaveProperty('message');
    await server.quiet();
    expect(sharedRuntime.deadlines).toBe(0);
  });
});

describe('the agent option', () => {
  const through = (socket: Socket) => ({
    createConnection: () => socket,
    connect: async () => socket,
  });

  it('accepts an agent that returns a plain duplex stream', async () => {
    const server = await rawServer((socket, _request, key) => {
      socket.write(upgrade(key));
      onFrame(socket, () => socket.write(frame('answer')));
    });
    const tcp = connectTcp(server.port, '127.0.0.1');
    await once(tcp, 'connect');
    const socket = await connect('ws://far.test/', { ...OFF, agent: through(Duplex.from(tcp) as Socket) });
    opened.push(socket);
    socket.send('question');
    for await (const message of socket) {
      expect(message).toBe('answer');
      break;
    }
    socket.terminate();
    expect((await socket.closed).code).toBe(1006);
  });

  /** As the agents of `https-proxy-agent`: a fake socket that holds the proxy's response. */
  const refusing = (answer: string) => ({
    createConnection: () => undefined,
    connect: async (request: NodeJS.EventEmitter) => {
      const fake = new Socket({ writable: false });
      fake.readable = true;
      request.once('socket', (socket: Socket) => {
        expect(socket.listenerCount('data')).toBe(1);
        socket.push(answer);
        socket.push(null);
      });
      return fake;
    },
  });

  it("fails with a network error when the agent's socket has already ended", async () => {
    const server = await rawServer(accepts);
    const socket = connectTcp(server.port, '127.0.0.1');
    await once(socket, 'connect');
    socket.destroy();
    await once(socket, 'close');
    expect(
      await rejection(connect('ws://far.test/', { agent: through(socket), http: { openTimeout: '3s' } })),
    ).toMatchObject({ code: 'ECONNRESET' });
    expect(sharedRuntime.deadlines).toBe(0);
  });

  it("fails with a network error when the agent's socket ends in the turn of the 101", async () => {
    const server = await rawServer((socket, ...rest) => void setTimeout(() => accepts(socket, ...rest), 100));
    const agent = {
      createConnection() {
        const socket = connectTcp(server.port, '127.0.0.1');
        // Registered after the reader of the response.
        setTimeout(() => socket.once('data', () => socket.destroy()), 30);
        return socket;
      },
    };
    expect(await rejection(connect('ws://far.test/', { agent }))).toMatchObject({ code: 'ECONNRESET' });
    await server.quiet();
    expect(sharedRuntime.deadlines).toBe(0);
  });

  it.each(['ws', 'wss'])('reports the response of a proxy that refuses (%s)', async (scheme) => {
    const agent = refusing('HTTP/1.1 407 Proxy Authentication Required\r\n\r\nwho?');
    expect(await rejection(connect(`${scheme}://far.test/`, { agent, http: { openTimeout: '3s' } }))).toMatchObject({
      name: 'UnexpectedStatusError',
      status: 407,
      body: Buffer.from('who?'),
    });
    expect(sharedRuntime.deadlines).toBe(0);
  });

  it('does not follow a redirect by a proxy, nor accept its 101 for a TLS server', async () => {
    const evil = await rawServer(accepts);
    const agent = refusing(`HTTP/1.1 302 Found\r\nLocation: ${evil.url}\r\n\r\n`);
    expect(await rejection(connect('ws://far.test/', { agent }))).toMatchObject({ status: 302 });
    expect(await rejection(connect('wss://far.test/', { agent: refusing(upgrade('AAAA')) }))).toMatchObject({
      status: 101,
    });
    expect(evil.connections).toBe(0);
  });

  it.each([
    [
      'throws',
      {
        createConnection: () => {
          throw new Error('no way');
        },
      },
    ],
    [
      'calls back with an error',
      { createConnection: (_: object, done: (error: Error) => void) => void setImmediate(done, new Error('no way')) },
    ],
    [
      'rejects',
      {
        createConnection: () => undefined,
        connect: async () => {
          throw new Error('no way');
        },
      },
    ],
  ])('fails with the error of an agent that %s', async (_, agent) => {
    expect(await rejection(connect('ws://far.test/', { agent: agent as never }))).toMatchObject({ message: 'no way' });
    expect(sharedRuntime.deadlines).toBe(0);
  });
});

describe('resources after the end', () => {
  it('signals have no listeners left, however the connection ended', async () => {
    const { signal } = new AbortController();
    const server = await rawServer((socket, _request, key, count) => {
      if (count === 1) socket.end('HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n');
      else if (count === 2) socket.resetAndDestroy();
      else if (count === 3) socket.end('nonsense\r\n\r\n');
      else if (count === 4) socket.end('HTTP/1.1 302 Found\r\nLocation: ftp://x/\r\n\r\n');
      else socket.write(upgrade(key));
    });
    for (let i = 0; i < 4; i++) await rejection(connect(server.url, { signal }));
    await rejection(connect('ws://127.0.0.1:1', { signal }));
    await rejection(connect('wss://127.0.0.1:1', { signal, tls: { minVersion: 'x' as never } }));
    const socket = await connect(server.url, { signal });
    expect(getEventListeners(signal, 'abort')).toEqual([]);
    socket.terminate();
    await socket.closed;
    for await (const one of reconnecting(server.url, { signal })) {
      one.terminate();
      await one.closed;
      break;
    }
    await turn();
    expect(getEventListeners(signal, 'abort')).toEqual([]);
    await server.quiet();
    expect(sharedRuntime.deadlines).toBe(0);
  });

  it('many concurrent attempts cause no leak warning, and a shutdown ends them', async () => {
    const silent = await rawServer(() => {});
    const { settings } = resolveSettings({}, { get: () => undefined, names: [] });
    const connector = new SecureWsConnector(() => settings);
    const { signal } = new AbortController();
    const attempts = Array.from({ length: 40 }, () => rejection(connector.connect(silent.url, { signal })));
    await until(() => silent.requests.length === 40, 'forty requests');
    for (const each of [signal, (connector as unknown as { shutdown: AbortController }).shutdown.signal])
      expect(getMaxListeners(each)).toBeGreaterThanOrEqual(getEventListeners(each, 'abort').length);
    await connector.onModuleDestroy();
    for (const error of await Promise.all(attempts)) expect(error).toMatchObject({ message: /shutting down/ });
    await silent.quiet();
    await turn();
    expect(getEventListeners(signal, 'abort')).toEqual([]);
    expect(sharedRuntime.deadlines).toBe(0);
  });

  it('leaving the loop of reconnecting() closes the socket', async () => {
    const server = await rawServer((socket, _request, key) => {
      socket.write(upgrade(key));
      onFrame(socket, () => socket.end(closeFrame(1000)));
    });
    let last: ClientSocket | undefined;
    for await (const socket of reconnecting(server.url, OFF)) {
      last = socket;
      break;
    }
    expect((await last!.closed).code).toBe(1000);
    await server.quiet();
    expect(sharedRuntime.deadlines).toBe(0);
  });
});

describe('close()', () => {
  const answers: Answer = (socket, _request, key) => {
    socket.write(upgrade(key));
    onFrame(socket, () => socket.end(closeFrame(1000)));
  };

  it('may be called repeatedly, and after the end', async () => {
    const socket = await open(answers);
    for (let i = 0; i < 5; i++) socket.close();
    expect(await socket.closed).toMatchObject({ code: 1000 });
    for (let i = 0; i < 5; i++) socket.close(1000);
    socket.terminate();
    socket.pause();
    socket.resume();
    socket.send('nobody', () => {});
    expect(socket.readyState).toBe(socket.CLOSED);
    expect(sharedRuntime.deadlines).toBe(0);
  });

  it.each([
    ['an invalid code', [99]],
    ['a code that may not be sent', [1006]],
    ['a reason that is too long', [1000, 'x'.repeat(124)]],
  ])('throws with %s, and leaves the socket open', async (_, args) => {
    const socket = await open((raw, _request, key) => {
      raw.write(upgrade(key));
      onFrame(raw, () => raw.write(frame('still here')));
    });
    expect(() => socket.close(...(args as [number, string]))).toThrow();
    expect(socket.readyState).toBe(socket.OPEN);
    socket.send('?');
    for await (const message of socket) {
      expect(message).toBe('still here');
      break;
    }
  });

  it('may be called in a listener of any event', async () => {
    for (const event of ['message', 'ping', 'pong', 'close']) {
      const socket = await open((raw, _request, key) => {
        raw.write(
          Buffer.concat([Buffer.from(upgrade(key)), frame('', { opcode: 9 }), frame('', { opcode: 10 }), frame('a')]),
        );
        onFrame(raw, () => raw.end(closeFrame(1000)));
      });
      socket.on(event, () => socket.close());
      if (event === 'close') socket.close();
      expect((await socket.closed).code).toBe(1000);
    }
    expect(sharedRuntime.deadlines).toBe(0);
  });

  it('works while messages of each binaryType wait, which count by their bytes', async () => {
    for (const binaryType of ['nodebuffer', 'arraybuffer', 'fragments', 'blob'] as const) {
      const socket = await open((raw, _request, key) => {
        raw.write(upgrade(key));
        raw.once('data', () => {
          for (let i = 0; i < 40; i++) raw.write(frame(Buffer.alloc(200_000), { opcode: 2 }));
        });
      });
      socket.binaryType = binaryType as 'nodebuffer';
      socket.ping();
      await until(() => socket.isPaused, 'a pause');
      await new Promise((resolve) => setTimeout(resolve, 50));
      expect([binaryType, socket.connection.input.waiting]).toEqual([binaryType, 6]);
    }
  });
});
