import { request as httpRequest } from 'node:http';
import type { Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Controller, Get, type INestApplication, Module, Post, Req } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { WebSocket, WebSocketServer } from 'ws';
import { eventually, type Platform } from '../../support/app.js';
import { selfSigned } from '../../support/certificates.js';
import { frame, RawClient, upgradeHead } from '../../support/raw-client.js';
import { open, type RunningSetup, SETUPS, type Setup } from './setups.js';

let answerSlow: () => void = () => undefined;

@Controller()
class PagesController {
  @Get('seen')
  seen(@Req() { headers }: { headers: Record<string, string> }) {
    return { cookie: headers['cookie']?.length, upgrade: headers['upgrade'] };
  }

  @Post('upload')
  upload(@Req() { body, headers }: { body: { text: string }; headers: Record<string, string> }) {
    return { length: body.text.length, upgrade: headers['upgrade'] };
  }

  @Get('slow')
  slow() {
    return new Promise((resolve) => {
      answerSlow = () => resolve({ slow: true });
    });
  }
}

/** The same application without the module. */
async function plainly({ platform, tls }: Setup): Promise<INestApplication> {
  class Plain {}
  Module({ controllers: [PagesController] })(Plain);
  const pair = tls ? { https: selfSigned() } : {};
  const app =
    platform === 'fastify'
      ? await NestFactory.create(Plain, new FastifyAdapter(pair as object), { logger: false })
      : await NestFactory.create(Plain, { logger: false, ...(tls ? { httpsOptions: selfSigned() } : {}) });
  await app.listen(0, '127.0.0.1');
  return app;
}

const get = (path: string, headers = '', version = '1.1') => `GET ${path} HTTP/${version}\r\nHost: a\r\n${headers}\r\n`;
const body = JSON.stringify({ text: 'x'.repeat(3000) });
const post = (headers: string) =>
  `POST /upload HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n${headers}\r\n`;
const sized = `Content-Length: ${body.length}\r\n`;
const chunked = `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`;
const H2C = 'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n';
const CLOSE = 'Connection: close\r\n';

/** Chunks to write, with a pause between them. */
const TALKS: readonly (readonly [name: string, ...pieces: string[]])[] = [
  ['a page', get('/seen', CLOSE)],
  ['a missing page', get('/nowhere', CLOSE)],
  ['a cookie of 9 KiB', get('/seen', `Cookie: a=${'x'.repeat(9 * 1024)}\r\n${CLOSE}`)],
  ['a head just under 16 KiB', get('/seen', `Cookie: ${'x'.repeat(16_200)}\r\n${CLOSE}`)],
  ['a head over 16 KiB', get('/seen', `Cookie: ${'x'.repeat(17_000)}\r\n${CLOSE}`)],
  ['a target of 12 KiB', get(`/seen?${'x'.repeat(12_000)}`, CLOSE)],
  ['200 headers', get('/seen', `${'a: 1\r\n'.repeat(200)}${CLOSE}`)],
  ['a head byte for byte', ...get('/seen', CLOSE)],
  ['two requests on one connection', get('/seen', 'Cookie: 1\r\n'), get('/seen', `Cookie: 22\r\n${CLOSE}`)],
  ['two requests at once', `${get('/seen', 'Cookie: 1\r\n')}${get('/seen', `Cookie: 22\r\n${CLOSE}`)}`],
  ['an upload', `${post(sized + CLOSE)}${body}`],
  ['an upload slower than the open timeout', post(sized + CLOSE), ...(body.match(/.{1,300}/gs) ?? [])],
  ['a chunked upload', `${post(`Transfer-Encoding: chunked\r\n${CLOSE}`)}${chunked}`],
  ['an upload that asks first', post(`${sized}Expect: 100-continue\r\n${CLOSE}`), body],
  ['h2c', get('/seen', H2C), get('/seen', CLOSE)],
  ['h2c with a body', `${post(sized + H2C)}${body}`, get('/seen', CLOSE)],
  ['h2c with a chunked body', `${post(`Transfer-Encoding: chunked\r\n${H2C}`)}${chunked}`, get('/seen', CLOSE)],
  ['h2c as a second request', get('/seen'), `${post(sized + H2C)}${body}`, get('/seen', CLOSE)],
  ['an upgrade to TLS', get('/seen', 'Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n'), get('/seen', CLOSE)],
  ['HTTP/1.0', get('/seen', '', '1.0')],
  ['a request without Host', 'GET /seen HTTP/1.1\r\nConnection: close\r\n\r\n'],
  ['CONNECT', 'CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['OPTIONS *', `OPTIONS * HTTP/1.1\r\nHost: a\r\n${CLOSE}\r\n`],
  ['garbage', 'garbage\r\n\r\n'],
  ['a TLS hello', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'],
  ['a bare LF', 'GET /seen HTTP/1.1\nHost: a\n\n'],
  ['the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
];

/** The whole response, without its variable headers. */
async function talk(port: number, tls: boolean, pieces: readonly string[]): Promise<string> {
  const client = await RawClient.connect({ port, ...(tls ? { tls: {} } : {}) });
  for (const [index, piece] of pieces.entries()) {
    if (index > 0) await new Promise((resolve) => setTimeout(resolve, pieces.length > 20 ? 1 : 30));
    client.write(piece);
  }
  await client.untilClosed();
  const text = client.received.toString('latin1').replace(/^(Date|ETag):.*$/gim, '$1');
  client.destroy();
  return text;
}

const OPEN_TIMEOUT = 1500;

describe.each(SETUPS.filter(({ own }) => !own))('$name', (setup) => {
  let place: RunningSetup;
  let plain: INestApplication;
  let plainPort: number;
  beforeAll(async () => {
    place = await open(setup, {
      options: { http: { openTimeout: OPEN_TIMEOUT } },
      metadata: { controllers: [PagesController] },
    });
    plain = await plainly(setup);
    plainPort = (plain.getHttpServer().address() as { port: number }).port;
  });
  afterAll(async () => {
    await place.close();
    await plain.close();
  });

  it.each(TALKS)('answers %s as without the module', async (_, ...pieces) => {
    const [without, withUs] = await Promise.all([plainPort, place.port].map((port) => talk(port, setup.tls, pieces)));
    expect(withUs).toBe(without);
    expect(place.isEmpty).toBe(true);
  });

  it('accepts an upgrade as a later request of a connection', async () => {
    const client = await place.connect();
    expect((await client.upgrade(get('/seen', 'Cookie: 1\r\n'))).body).toBe('{"cookie":1}');
    expect((await client.upgrade(upgradeHead(place.port))).status).toBe(101);
    client.send('echo', 1);
    expect(await client.json()).toEqual({ event: 'echo', data: 1 });
    client.destroy();
  });

  it.each([
    ['a line that is too long', { headers: { 'X-A': 'x'.repeat(8192) } }, 431],
    ['a target that is too long', { path: `/?${'x'.repeat(8192)}` }, 414],
    ['too many lines', { headers: { a: Array.from({ length: 124 }, () => '1') } }, 431],
    ['a body', { headers: { 'Content-Length': '3' } }, 400],
    ['an unknown path', { path: '/nowhere' }, 404],
    ['an absolute target', { path: 'http://a/' }, 400],
  ] as const)('refuses %s in a later request and closes the connection', async (_, head, status) => {
    const client = await place.connect();
    await client.upgrade(get('/seen'));
    const { status: answered } = await client.upgrade(`${upgradeHead(place.port, head)}${get('/seen')}`);
    expect(answered).toBe(status);
    await client.untilClosed();
    expect(client.received.length).toBe(0);
    client.destroy();
  });

  it('refuses an upgrade after an unanswered request, once that is answered', async () => {
    const client = await place.connect();
    client.write(`${get('/slow')}${upgradeHead(place.port)}`);
    await eventually(() => place.test.stats().pending === 1);
    // The open timeout has passed: the application may respond at any time.
    await new Promise((resolve) => setTimeout(resolve, OPEN_TIMEOUT + 250));
    expect(client.total).toBe(0);
    answerSlow();
    expect((await client.response()).body).toBe('{"slow":true}');
    expect((await client.response()).status).toBe(400);
    client.write(get('/seen'));
    await client.untilClosed();
    expect(client.received.length).toBe(0);
    client.destroy();
    await eventually(() => place.isEmpty);
  });

  it('answers an upgrade whose Upgrade header is beyond the limit with 431, once', async () => {
    for (const size of [15_900, 16_250, 16_384, 20_000]) {
      const lines = `${'a: '.padEnd(98, 'v')}\r\n`.repeat(size / 100);
      const response = await place.ask(
        `GET / HTTP/1.1\r\n${lines}${upgradeHead(1).split('\r\n').slice(1).join('\r\n')}`,
      );
      expect(response.status).toBe(431);
    }
  });

  it("refuses an upgrade whose limits only the module's own parser enforces", async () => {
    // Node ignores white space before a value: it considers this head small, with few lines.
    const blanks = `a:${' '.repeat(7900)}v\r\n`.repeat(3);
    const rest = upgradeHead(1).split('\r\n').slice(1).join('\r\n');
    expect((await place.ask(`GET / HTTP/1.1\r\n${blanks}${rest}`)).status).toBe(431);
  });

  it('closes idle connections that only made ordinary requests', async () => {
    const other = await open(setup, { metadata: { controllers: [PagesController] } });
    const clients = await Promise.all([1, 2, 3].map(() => other.connect()));
    for (const client of clients) await client.upgrade(get('/seen'));
    await other.close();
    for (const client of clients) {
      await client.untilClosed();
      client.destroy();
    }
  });
});

describe('upgrades for other listeners of the server', () => {
  async function openBoth(platform: Platform, foreignUpgrades: 'auto' | 'refuse') {
    const setup = SETUPS.find((each) => each.platform === platform && !each.own && !each.tls)!;
    const place = await open(setup, { options: { foreignUpgrades }, metadata: { controllers: [PagesController] } });
    const foreign = new WebSocketServer({ noServer: true });
    const seen: (string | undefined)[] = [];
    place.test.app.getHttpServer().on('upgrade', (request: never, socket: never, head: never) => {
      // No other listener ends unanswered upgrades.
      if ((request as { headers: { upgrade?: string } }).headers.upgrade === 'h2c') (socket as Socket).destroy();
      // Without an error listener a reset would end the process.
      expect((socket as Socket).listenerCount('error')).toBeGreaterThan(0);
      const { url, headers } = request as { url?: string; headers: { upgrade?: string } };
      seen.push(`${url} ${headers.upgrade}`);
      if (url !== '/foreign') return;
      foreign.handleUpgrade(request, socket, head, (peer) =>
        peer.on('message', (data) => peer.send(`foreign ${data}`)),
      );
    });
    return { place, seen };
  }

  it.each(['express', 'fastify'] as const)('are left to them: %s', async (platform) => {
    const { place, seen } = await openBoth(platform, 'auto');
    const peer = new WebSocket(`ws://127.0.0.1:${place.port}/foreign`);
    const answer = new Promise((resolve) => peer.once('message', (data) => resolve(String(data))));
    peer.once('open', () => peer.send('hello'));
    expect(await answer).toBe('foreign hello');
    peer.terminate();
    const ours = await RawClient.open({ port: place.port });
    ours.send('echo', 1);
    expect(await ours.json()).toEqual({ event: 'echo', data: 1 });
    ours.destroy();
    const h2c = httpRequest({ port: place.port, path: '/seen', headers: { Connection: 'Upgrade', Upgrade: 'h2c' } });
    h2c.on('error', () => undefined).end();
    await eventually(() => seen.length === 2);
    expect(seen).toEqual(['/foreign websocket', '/seen h2c']);
    h2c.destroy();
    await place.close();
  });

  it("are refused with foreignUpgrades 'refuse'", async () => {
    const { place, seen } = await openBoth('express', 'refuse');
    expect((await place.ask(upgradeHead(place.port, { path: '/foreign' }))).status).toBe(404);
    const client = await place.connect();
    await client.upgrade(get('/seen'));
    expect((await client.upgrade(upgradeHead(place.port, { path: '/nowhere' }))).status).toBe(404);
    client.destroy();
    expect(seen).toEqual([]);
    await place.close();
  });

  it('do not include those of gateways, even in a later request of a connection', async () => {
    const { place, seen } = await openBoth('express', 'auto');
    const server = place.test.app.getHttpServer();
    // A server that answers 400 to every upgrade for another path.
    const other = new WebSocketServer({ server, path: '/foreign' });
    other.on('connection', (peer) => peer.on('message', (data) => peer.send(`other ${data}`)));
    const kept = await place.connect();
    await kept.upgrade(get('/seen'));
    expect((await kept.upgrade(upgradeHead(place.port))).status).toBe(101);
    kept.send('echo', 1);
    expect(await kept.json()).toEqual({ event: 'echo', data: 1 });
    kept.destroy();
    const pipelining = await place.connect();
    expect((await pipelining.upgrade(`${get('/seen')}${upgradeHead(place.port)}`)).status).toBe(200);
    expect((await pipelining.response()).status).toBe(400);
    pipelining.destroy();
    expect(seen).toEqual([]);
    await place.close();
  });

  it('are left to them in a later request of a connection', async () => {
    const setup = SETUPS.find((each) => each.platform === 'express' && !each.own && !each.tls)!;
    const place = await open(setup, { metadata: { controllers: [PagesController] } });
    const other = new WebSocketServer({ server: place.test.app.getHttpServer(), path: '/other' });
    other.on('connection', (peer) => peer.on('message', (data) => peer.send(JSON.stringify(`other ${data}`))));
    const client = await place.connect();
    await client.upgrade(get('/seen'));
    expect((await client.upgrade(upgradeHead(place.port, { path: '/other' }))).status).toBe(101);
    client.write(frame('x'));
    expect(await client.json()).toBe('other x');
    client.destroy();
    const lost = await place.connect();
    await lost.upgrade(get('/seen'));
    expect((await lost.upgrade(upgradeHead(place.port, { path: '/nowhere' }))).status).toBe(400);
    lost.destroy();
    await eventually(() => place.isEmpty);
    await place.close();
  });
});
