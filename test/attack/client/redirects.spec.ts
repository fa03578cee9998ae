import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { connect as connectTcp, type Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import {
  connect,
  InvalidHandshakeError,
  RedirectRefusedError,
  TooManyRedirectsError,
  UnexpectedStatusError,
} from '../../../lib/client/index.js';
import { lookupWithin, Reach, reachOf } from '../../../lib/client/open-socket.js';
import { sharedRuntime } from '../../../lib/client/runtime.js';
import { issue, type Pair } from '../../support/certificates.js';
import { closeAll, rawServer, rejection, upgrade } from './support.js';

afterEach(closeAll);

const redirect = (location: string, status = 302): string =>
  `HTTP/1.1 ${status} Elsewhere\r\nLocation: ${location}\r\nContent-Length: 0\r\n\r\n`;

/** A server that upgrades every request. */
const upgradingServer = (options = {}) =>
  rawServer((socket, _request, key) => void socket.write(upgrade(key)), options);

/** Resolves every name to this machine; the certificates distinguish the servers. */
const lookup = ((
  _host: string,
  options: { all?: boolean },
  callback: (error: null, address: unknown, family?: number) => void,
) => (options.all ? callback(null, [{ address: '127.0.0.1', family: 4 }]) : callback(null, '127.0.0.1', 4))) as never;

async function end(socket: { terminate(): void; closed: Promise<unknown> }): Promise<void> {
  socket.terminate();
  await socket.closed;
}

describe('redirects', () => {
  it.each([301, 302, 303, 307, 308])('%i is followed, with all headers on the same origin', async (status) => {
    const server = await rawServer((socket, request, key) => {
      if (request.startsWith('GET /old?q ')) socket.write(redirect('/new', status));
      else socket.write(upgrade(key, 'Sec-WebSocket-Protocol: chat'));
    });
    const url = server.url.replace('//', '//us%C3%A9r:p%40ss@');
    const socket = await connect(`${url}/old?q`, {
      headers: { 'X-Api-Key': 'secret' },
      origin: 'https://a.example',
      subprotocols: ['chat'],
    });
    expect(socket.url).toBe(`${server.url}/new`);
    const [first, second] = server.requests;
    expect(second).toMatch(/^GET \/new HTTP\/1.1\r\n/);
    for (const request of [first, second]) {
      expect(request).toContain('X-Api-Key: secret\r\n');
      expect(request).toContain('Origin: https://a.example\r\n');
      expect(request).toContain(`Authorization: Basic ${Buffer.from('usér:p@ss').toString('base64')}\r\n`);
      expect(request).not.toContain('@ss@');
    }
    await end(socket);
    await server.quiet();
  });

  it.each([300, 304, 305, 306])('%i is not followed', async (status) => {
    const server = await rawServer((socket) => void socket.end(redirect('/new', status)));
    expect(await rejection(connect(server.url))).toMatchObject({ name: 'UnexpectedStatusError', status });
    expect(server.connections).toBe(1);
  });

  it('a redirect without Location is an unexpected status', async () => {
    const server = await rawServer((socket) => void socket.end('HTTP/1.1 302 Found\r\n\r\nhere?'));
    await expect(connect(server.url)).rejects.toBeInstanceOf(UnexpectedStatusError);
  });

  it('a loop ends after maxRedirects', async () => {
    const server = await rawServer((socket) => void socket.write(redirect('/again')));
    expect(await rejection(connect(server.url))).toMatchObject({ name: 'TooManyRedirectsError', limit: 10 });
    expect(server.connections).toBe(11);
    await expect(connect(server.url, { maxRedirects: 0 })).rejects.toBeInstanceOf(TooManyRedirectsError);
    expect(server.connections).toBe(12);
    await server.quiet();
    expect(sharedRuntime.deadlines).toBe(0);
  });

  it.each([
    'file:///etc/passwd',
    'ftp://example.com/',
    'javascript:alert(1)',
    'data:text/plain,x',
    'unix:/run/docker.sock',
    'ws://user:secret@127.0.0.1/',
    'http://user@127.0.0.1/',
    'ws://[::',
    'ws://127.0.0.1:99999/',
  ])('a redirect to %s is refused', async (location) => {
    const server = await rawServer((socket) => void socket.write(redirect(location)));
    const error = await rejection(connect(server.url));
    expect(error).toBeInstanceOf(RedirectRefusedError);
    expect((error as Error).message).not.toContain('secret');
    await server.quiet();
  });

  it.each(['http', 'ws'])(
    'a redirect to %s of another origin sends only the handshake and the User-Agent',
    async (scheme) => {
      const other = await upgradingServer();
      const server = await rawServer(
        (socket) => void socket.write(redirect(`${scheme}://127.0.0.1:${other.port}/there#part`)),
      );
      let opened = 0;
      class Counting extends HttpAgent {
        createConnection(options: object): Socket {
          opened++;
          return connectTcp(options as never);
        }
      }
      const url = server.url.replace('//', '//user:secret@');
      const socket = await connect(url, {
        headers: { Authorization2: 'secret', Cookie: 'secret', 'X-Api-Key': 'secret' },
        userAgentHeader: 'tester/1',
        origin: 'https://secret.example',
        subprotocols: ['secret'],
        agent: new Counting(),
        allowPrivateRedirects: true,
      });
      expect(server.requests[0]?.match(/secret/g)).toHaveLength(5);
      expect(server.requests[0]).toContain('Authorization: Basic ');
      expect(other.requests[0]?.split('\r\n').map((line) => line.split(':')[0])).toEqual([
        'GET /there HTTP/1.1',
        'Host',
        'Upgrade',
        'Connection',
        'Sec-WebSocket-Version',
        'Sec-WebSocket-Key',
        'Sec-WebSocket-Extensions',
        'User-Agent',
        '',
        '',
      ]);
      expect(other.requests[0]).toContain('User-Agent: tester/1\r\n');
      expect(other.requests[0]).toContain(`Host: 127.0.0.1:${other.port}\r\n`);
      expect(opened).toBe(1);
      await end(socket);
    },
  );

  it('headers withheld from another origin are not sent after a redirect back', async () => {
    let back = '';
    const other = await rawServer((socket) => void socket.write(redirect(back)));
    const server = await rawServer(
      (socket, request, key) => void socket.write(request.startsWith('GET /home') ? upgrade(key) : redirect(other.url)),
    );
    back = `${server.url}/home`;
    const socket = await connect(server.url, { headers: { 'X-Api-Key': 'secret' } });
    expect(server.requests[1]).not.toContain('secret');
    await end(socket);
  });
});

describe('a redirect into the private network', () => {
  /** An agent whose connections seem to go to a public address. */
  class Public extends HttpAgent {
    createConnection(options: object): Socket {
      const socket = connectTcp(options as never);
      Object.defineProperty(socket, 'remoteAddress', { value: '8.8.8.8' });
      return socket;
    }
  }

  it('from a public address is refused before anything is sent, unless allowed', async () => {
    const inner = await upgradingServer();
    for (const host of [
      '127.0.0.1',
      'localhost',
      '[::ffff:127.0.0.1]',
      '[::ffff:0:127.0.0.1]',
      '2130706433',
      '0x7f.1',
    ]) {
      const server = await rawServer((socket) => void socket.write(redirect(`ws://${host}:${inner.port}/`)));
      expect(await rejection(connect(server.url, { agent: new Public() }))).toBeInstanceOf(RedirectRefusedError);
      expect(inner.connections).toBe(0);
      await server.quiet();
    }
    const server = await rawServer((socket) => void socket.write(redirect(`ws://127.0.0.1:${inner.port}/`)));
    await end(await connect(server.url, { agent: new Public(), allowPrivateRedirects: true }));
    expect(inner.requests).toHaveLength(1);
  });

  it.each<[unknown, boolean, unknown]>([
    ['127.0.0.1', false, RedirectRefusedError],
    [[{ address: '127.0.0.1', family: 4 }], true, RedirectRefusedError],
    [
      [
        { address: '10.0.0.1', family: 4 },
        { address: '::1', family: 6 },
      ],
      true,
      RedirectRefusedError,
    ],
    [
      [
        { address: '10.0.0.1', family: 4 },
        { address: '8.8.8.8', family: 4 },
      ],
      true,
      [{ address: '8.8.8.8', family: 4 }],
    ],
    [[{ address: '8.8.8.8', family: 4 }], false, '8.8.8.8'],
    ['8.8.8.8', false, '8.8.8.8'],
    [undefined, false, undefined],
  ])('is detected within the name lookup: %j', (answer, all, expected) => {
    const resolver = (_: string, __: object, done: (error: null, found: unknown, family: number) => void) =>
      done(null, answer, 4);
    let told: unknown;
    lookupWithin(resolver as never, Reach.PUBLIC)('inner.test', { all }, (error, found) => {
      told = error ?? found;
    });
    if (expected === RedirectRefusedError) expect(told).toBeInstanceOf(RedirectRefusedError);
    else expect(told).toEqual(expected);
  });

  it.each(['127.0.0.1', 'localhost'])(
    'is detected on the same origin at %s after its address became private; a plain agent does not connect',
    async (host) => {
      const server = await rawServer((socket, request, key) => {
        if (request.startsWith('GET /new ')) socket.write(upgrade(key));
        else socket.write(redirect('/new'));
      });
      let calls = 0;
      const agent = Object.assign(new HttpAgent(), {
        createConnection(options: object) {
          const socket = connectTcp(options as never);
          if (calls++ === 0) Object.defineProperty(socket, 'remoteAddress', { value: '8.8.8.8' });
          return socket;
        },
      });
      const url = `ws://${host}:${server.port}/old`;
      expect(await rejection(connect(url, { agent }))).toBeInstanceOf(RedirectRefusedError);
      expect(server.connections).toBe(1);
      calls = 0;
      await end(await connect(url, { agent, allowPrivateRedirects: true }));
      await server.quiet();
    },
  );

  it.each([
    ['10.0.0.1', '127.0.0.1', true],
    ['10.0.0.1', '::1', true],
    ['127.0.0.1', '169.254.169.254', true],
    ['10.0.0.1', '169.254.169.254', true],
    ['10.0.0.1', '192.168.0.1', false],
    ['127.0.0.1', '10.0.0.1', false],
    ['169.254.0.1', '169.254.169.254', false],
    ['fd00::1', '8.8.8.8', false],
  ])('from %s to %s is one to an address that is not as widely reachable: %s', (from, to, isLess) => {
    expect(reachOf(to) < reachOf(from)).toBe(isLess);
  });

  it('from a loopback address to a link-local one is refused before anything is sent', async () => {
    const server = await rawServer((socket) => void socket.write(redirect('ws://169.254.169.254/')));
    expect(await rejection(connect(server.url))).toMatchObject({
      name: 'RedirectRefusedError',
      message: expect.stringContaining('redirect from a loopback address'),
    });
  });

  it('with two locations is an invalid response', async () => {
    const server = await rawServer(
      (socket) => void socket.write('HTTP/1.1 302 Found\r\nLocation: /a\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n'),
    );
    expect(await rejection(connect(server.url))).toBeInstanceOf(InvalidHandshakeError);
  });

  it('between private addresses is followed', async () => {
    const inner = await upgradingServer();
    const server = await rawServer((socket) => void socket.write(redirect(inner.url)));
    await end(await connect(server.url));
    await end(await connect(server.url, { agent: new HttpAgent() }));
  });

  it.each([
    ['127.1.2.3', false],
    ['10.0.0.1', false],
    ['172.31.255.255', false],
    ['192.168.1.1', false],
    ['169.254.169.254', false],
    ['100.64.0.1', false],
    ['0.0.0.0', false],
    ['::', false],
    ['::1', false],
    ['fe80::1%eth0', false],
    ['fd00::1', false],
    ['::ffff:10.0.0.1', false],
    ['64:ff9b::a00:1', false],
    ['64:ff9b::7f00:1', false],
    ['64:ff9b:1::a00:1', false],
    ['::127.0.0.1', false],
    ['2002:7f00:1::', false],
    ['2002:a00:1::', false],
    ['::ffff:0:127.0.0.1', false],
    ['::ffff:0:8.8.8.8', false],
    ['2001:0:4136:e378:8000:63bf:3fff:fdd2', false],
    ['239.255.255.250', false],
    ['ff02::1', false],
    ['192.0.0.192', false],
    ['198.19.0.1', false],
    ['255.255.255.255', false],
    ['192.0.2.1', false],
    ['198.51.100.255', false],
    ['203.0.113.7', false],
    ['192.88.99.1', false],
    ['2001:db8::1', false],
    ['3fff:fff::1', false],
    ['2001:2::1', false],
    ['2001:10::1', false],
    ['100::1', false],
    ['100:0:0:1::1', false],
    ['5f00::1', false],
    ['64:ff9b::1', false],
    ['64:ff9b::808:808', true],
    ['2001:4860:4860::8888', true],
    ['2001:4:112::1', true],
    ['192.0.3.1', true],
    ['198.51.101.1', true],
    ['', false],
    [undefined, false],
    ['172.32.0.1', true],
    ['8.8.8.8', true],
    ['2606:4700::1111', true],
  ])('%s is public: %s', (address, isPublic) => {
    expect(reachOf(address) === Reach.PUBLIC).toBe(isPublic);
  });
});

describe('TLS', () => {
  let ca: string;
  let feed: Pair;
  let client: Pair;
  beforeAll(() => {
    const authority = issue('Test authority', { isCa: true });
    ca = authority.cert;
    feed = issue('feed.test', { ca: authority, names: 'DNS:feed.test,DNS:other.test,IP:127.0.0.1' });
    client = issue('client.test', { ca: authority });
  });
  const requesting = () => ({ tls: { ...feed, ca, requestCert: true, rejectUnauthorized: false } });
  const peerOf = (socket: Socket): string | undefined =>
    (socket as TLSSocket).getPeerCertificate().subject?.CN as string | undefined;

  it('verifies the server, sends its name, and presents the configured client certificate', async () => {
    const seen: unknown[] = [];
    const server = await rawServer((socket, _request, key) => {
      seen.push((socket as TLSSocket & { servername: unknown }).servername, peerOf(socket));
      socket.write(upgrade(key));
    }, requesting());
    expect(await rejection(connect(server.url))).toMatchObject({
      code: expect.stringMatching(/SELF_SIGNED|UNABLE_TO/),
    });
    expect(await rejection(connect(`wss://wrong.test:${server.port}`, { tls: { ca, lookup } }))).toMatchObject({
      code: 'ERR_TLS_CERT_ALTNAME_INVALID',
    });
    await end(await connect(`wss://feed.test:${server.port}`, { tls: { ca, lookup, ...client } }));
    await end(await connect(server.url, { tls: { ca } }));
    await end(await connect(server.url, { tls: { ca }, agent: new HttpsAgent() }));
    expect(seen).toEqual(['feed.test', 'client.test', false, undefined, false, undefined]);
    await server.quiet();
    expect(sharedRuntime.deadlines).toBe(0);
  });

  it("leaves no socket behind when the client's certificate is invalid", async () => {
    const server = await rawServer(() => {}, requesting());
    expect(String(await rejection(connect(server.url, { tls: { ca, cert: 'nonsense', key: 'nonsense' } })))).toMatch(
      /PEM/,
    );
    await server.quiet();
    expect(sharedRuntime.deadlines).toBe(0);
  });

  it('is never given up by a redirect', async () => {
    const plain = await upgradingServer();
    for (const scheme of ['ws', 'http']) {
      const server = await rawServer(
        (socket) => void socket.write(redirect(`${scheme}://127.0.0.1:${plain.port}`)),
        requesting(),
      );
      expect(await rejection(connect(server.url, { tls: { ca } }))).toBeInstanceOf(RedirectRefusedError);
    }
    expect(plain.connections).toBe(0);
  });

  it('keeps the authorities at a redirect to another origin, not the client certificate or rejectUnauthorized: false', async () => {
    const seen: unknown[] = [];
    const other = await rawServer((socket, _request, key) => {
      seen.push(peerOf(socket));
      socket.write(upgrade(key));
    }, requesting());
    const server = await rawServer((socket) => {
      seen.push(peerOf(socket));
      socket.write(redirect(`https://127.0.0.1:${other.port}/`));
    }, requesting());
    await end(await connect(server.url, { tls: { ca, ...client } }));
    expect(seen).toEqual(['client.test', undefined]);
    expect(await rejection(connect(server.url, { tls: { rejectUnauthorized: false } }))).toMatchObject({
      code: expect.stringMatching(/SELF_SIGNED|UNABLE_TO/),
    });
  });

  it('refuses an agent without TLS for wss:', async () => {
    const server = await upgradingServer(requesting());
    await expect(connect(server.url, { agent: new HttpAgent() })).rejects.toThrow('the agent is for http:');
    const plain = { createConnection: (options: object) => connectTcp(options as never) };
    await expect(connect(server.url, { agent: plain })).rejects.toThrow('without TLS');
    const late = {
      createConnection: (_: object, callback: unknown) =>
        void setTimeout(callback as (error: Error) => void, 5, new Error('no proxy')),
    };
    await expect(connect(server.url, { agent: late as never })).rejects.toThrow('no proxy');
    await server.quiet();
    expect(sharedRuntime.deadlines).toBe(0);
  });

  it('closes the socket of an agent that answers too late', async () => {
    const server = await upgradingServer();
    const slow = {
      createConnection: (options: object, callback: (error: null, socket: Socket) => void) =>
        void setTimeout(() => callback(null, connectTcp(options as never)), 400),
    };
    await expect(connect(server.url, { agent: slow as never, http: { openTimeout: 50 } })).rejects.toThrow(
      'within 50 ms',
    );
    await new Promise((resolve) => setTimeout(resolve, 450));
    await server.quiet();
    expect(server.requests).toHaveLength(0);
  });
});
