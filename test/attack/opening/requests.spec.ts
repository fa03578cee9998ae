import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { VERSION } from 'nest-secure-ws';
import { eventually } from '../../support/app.js';
import { frame, upgradeHead } from '../../support/raw-client.js';
import { open, type RunningSetup, SETUPS } from './setups.js';

const SERVER = `Node.js/${process.versions.node} nest-secure-ws/${VERSION.split('.', 2).join('.')}`;
const ANSWER = /^HTTP\/1\.1 \d{3} [A-Z][A-Za-z ]*\r\nConnection: (?:Upgrade, )?close\r\n/;
const line = (name: string, length: number): string => `${name}: `.padEnd(length - 2, 'v').concat('\r\n');
/** A target for a request line of this many bytes. */
const target = (length: number): string => `/?${'x'.repeat(length - 'GET /? HTTP/1.1\r\n'.length)}`;

interface Ask {
  /** The request line. */
  readonly start?: string;
  readonly headers?: Record<string, string | readonly string[] | undefined>;
  /** After the request line, before the other headers. */
  readonly raw?: string;
  /** Before the request line. */
  readonly before?: string;
}

type Case = readonly [name: string, ask: Ask, status: number, headers?: Record<string, string>];

const START = 'GET / HTTP/1.1';
const NO_UPGRADE = { Upgrade: undefined, Connection: undefined };

/** Every head requests an upgrade, so it is checked on every port. */
const CASES: readonly Case[] = [
  ['a good request', {}, 101],
  ['POST', { start: 'POST / HTTP/1.1' }, 405, { allow: 'GET' }],
  ['an unknown method', { start: 'SOURCE / HTTP/1.1' }, 405, { allow: 'GET' }],
  ['HTTP/1.0', { start: 'GET / HTTP/1.0' }, 505],
  ['HTTP/2.0', { start: 'GET / HTTP/2.0' }, 505],
  ['another protocol', { start: 'GET / ICE/1.0' }, 400],
  ['two spaces', { start: 'GET  / HTTP/1.1' }, 400],
  ['an absolute target', { start: 'GET http://127.0.0.1/ HTTP/1.1' }, 101],
  ['an absolute target of another host', { start: 'GET http://elsewhere.example/ HTTP/1.1' }, 400],
  ['an asterisk', { start: 'GET * HTTP/1.1' }, 400],
  ['//evil/', { start: 'GET //evil/ HTTP/1.1' }, 404],
  ['/%2e/', { start: 'GET /%2e/ HTTP/1.1' }, 404],
  ['/./', { start: 'GET /./ HTTP/1.1' }, 404],
  ['/#x', { start: 'GET /#x HTTP/1.1' }, 400],
  ['an unknown path', { start: 'GET /elsewhere HTTP/1.1' }, 404],
  ['no Host', { headers: { Host: undefined } }, 400],
  ['two Hosts', { headers: { Host: ['127.0.0.1', '127.0.0.1'] } }, 400],
  ['an empty Host', { headers: { Host: '' } }, 400],
  ['an invalid Host', { headers: { Host: 'a b' } }, 400],
  ['a Host with userinfo', { headers: { Host: 'me@127.0.0.1' } }, 400],
  ['no upgrade in Connection: missing', { headers: { Connection: undefined } }, 400],
  ['no upgrade in Connection: another option', { headers: { Connection: 'keep-alive' } }, 400],
  ['Connection that names another header', { headers: { Connection: 'Upgrade, X-Forwarded-For' } }, 400],
  ['Connection over two lines', { headers: { Connection: ['keep-alive', 'upgrade'] } }, 101],
  ['Upgrade over two lines', { headers: { Upgrade: ['h2c', 'WebSocket'] } }, 101],
  ['no key', { headers: { 'Sec-WebSocket-Key': undefined } }, 400],
  ['a short key', { headers: { 'Sec-WebSocket-Key': 'c2hvcnQ=' } }, 400],
  ['two keys', { headers: { 'Sec-WebSocket-Key': ['dGhlIHNhbXBsZSBub25jZQ==', 'dGhlIHNhbXBsZSBub25jZQ=='] } }, 400],
  ['no version', { headers: { 'Sec-WebSocket-Version': undefined } }, 400],
  [
    'version 8',
    { headers: { 'Sec-WebSocket-Version': '8' } },
    426,
    { upgrade: 'websocket', 'sec-websocket-version': '13' },
  ],
  ['a body', { headers: { 'Content-Length': '5' } }, 400],
  ['Content-Length: 0', { headers: { 'Content-Length': '0' } }, 101],
  ['two Content-Lengths', { headers: { 'Content-Length': ['0', '0'] } }, 400],
  ['Transfer-Encoding', { headers: { 'Transfer-Encoding': 'chunked' } }, 400],
  ['two Origins', { headers: { Origin: ['http://127.0.0.1', 'http://127.0.0.1'] } }, 400],
  ['NUL in a value', { headers: { Cookie: 'a=\0' } }, 400],
  ['ESC in a value', { headers: { Cookie: '\x1b[2J' } }, 400],
  ['a bare LF', { raw: 'X-A: 1\n' }, 400],
  ['a bare CR', { raw: 'X-A: 1\r2\r\n' }, 400],
  ['a folded header', { raw: 'X-A: 1\r\n 2\r\n' }, 400],
  ['a space before a colon', { raw: 'X-A : 1\r\n' }, 400],
  ['a header without a name', { raw: ': 1\r\n' }, 400],
  ['two empty lines before', { before: '\r\n\r\n' }, 101],
  ['three empty lines before', { before: '\r\n\r\n\r\n' }, 400],
  ['a protocol with a space', { headers: { 'Sec-WebSocket-Protocol': 'a b' } }, 400],
  ['an empty protocol', { headers: { 'Sec-WebSocket-Protocol': 'a,,b' } }, 400],
  ['a protocol twice', { headers: { 'Sec-WebSocket-Protocol': 'a, a' } }, 400],
  [
    '16 protocols',
    { headers: { 'Sec-WebSocket-Protocol': Array.from({ length: 16 }, (_, i) => `p${i}`).join() } },
    101,
  ],
  [
    '17 protocols',
    { headers: { 'Sec-WebSocket-Protocol': Array.from({ length: 17 }, (_, i) => `p${i}`).join() } },
    400,
  ],
  ['8 KiB of spaces as protocol', { headers: { 'Sec-WebSocket-Protocol': ' '.repeat(8100) } }, 400],
  ['8000 commas as protocols', { headers: { 'Sec-WebSocket-Protocol': ','.repeat(8000) } }, 400],
  ['a broken extension', { headers: { 'Sec-WebSocket-Extensions': 'permessage-deflate; =1' } }, 400],
  [
    'extensions named like members of Object.prototype',
    { headers: { 'Sec-WebSocket-Extensions': '__proto__, constructor; toString' } },
    101,
  ],
  ['9 extensions', { headers: { 'Sec-WebSocket-Extensions': 'a,b,c,d,e,f,g,h,i' } }, 400],
  ['an unknown extension', { headers: { 'Sec-WebSocket-Extensions': 'x-mux; n=1' } }, 101],
  ['a request line of 8192 bytes', { start: `GET ${target(8192)} HTTP/1.1` }, 101],
  ['a request line of 8193 bytes', { start: `GET ${target(8193)} HTTP/1.1` }, 414],
  ['a header line of 8192 bytes', { raw: line('X-A', 8192) }, 101],
  ['a header line of 8193 bytes', { raw: line('X-A', 8193) }, 431],
  ['128 header lines', { raw: 'a: 1\r\n'.repeat(123) }, 101],
  ['129 header lines', { raw: 'a: 1\r\n'.repeat(124) }, 431],
  ['2100 header lines', { raw: 'a: 1\r\n'.repeat(2095) }, 431],
];

/** Upgrade is the first header, so that a shared port sees it before any fault. */
function head({ start = START, headers = {}, raw = '', before = '' }: Ask): string {
  const [, ...lines] = upgradeHead(1, { headers: { Host: '127.0.0.1', ...headers } }).split('\r\n');
  const [upgrade] = lines.filter((each) => each.startsWith('Upgrade'));
  const others = lines.filter((each) => each !== upgrade);
  return `${before}${start}\r\n${upgrade}\r\n${raw}${others.join('\r\n')}`;
}

const canary = 'CANARY-7f3a';

describe.each(SETUPS)('$name', (setup) => {
  let place: RunningSetup;
  beforeAll(async () => {
    place = await open(setup);
  });
  afterAll(() => place.close());

  it.each(CASES)('answers %s', async (name, ask, status, headers = {}) => {
    const response = await place.ask(head(ask));
    // Without `Connection: upgrade` it is an ordinary request (RFC 9110, section 7.8).
    if (!setup.own && name.startsWith('no upgrade in Connection')) return expect(response.status).toBe(404);
    expect(response.status).toBe(status);
    expect(response.headers).toMatchObject(headers);
    expect(response.headers['server']).toBe(SERVER);
    if (status === 101) return;
    expect(response.raw).toMatch(ANSWER);
    expect(response.headers['content-length']).toBe(String(response.body.length));
  });

  it('accepts 128 lines of 8000 bytes, in chunks', async () => {
    const client = await place.connect();
    const text = head({ raw: Array.from({ length: 123 }, (_, i) => line(`x${i}`, 8000)).join('') });
    for (let at = 0; at < text.length; at += 50_000) client.write(text.slice(at, at + 50_000));
    expect((await client.response()).status).toBe(101);
    client.send('echo', 1);
    expect(await client.json()).toEqual({ event: 'echo', data: 1 });
    client.destroy();
  });

  it.each([
    ['a request line', `GET /${'x'.repeat(8192 - 'GET /'.length)}`, 414],
    ['a header line', `${START}\r\nUpgrade: websocket\r\nX-A: ${'x'.repeat(8192 - 'X-A: '.length)}`, 431],
    ['a header name', `${START}\r\nUpgrade: websocket\r\n${'x'.repeat(8192)}`, 431],
    ['the lines', `${START}\r\nUpgrade: websocket\r\n${'a: 1\r\n'.repeat(127)}`, 431],
  ] as const)('refuses %s at the first byte above the limit, before its end', async (what, bytes, status) => {
    const client = await place.connect();
    client.write(bytes);
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect({ received: client.received.toString(), closed: client.closed }).toEqual({ received: '', closed: false });
    client.write('x');
    // On a shared port it is not an upgrade yet: Node’s own limit applies.
    if (what === 'a request line' && !setup.own) client.write(' HTTP/1.1\r\nUpgrade: websocket\r\n');
    expect((await client.response()).status).toBe(status);
    await client.untilClosed();
    client.destroy();
  });

  it('repeats nothing of a request in a refusal', async () => {
    const headers = {
      'X-Canary': canary,
      'Sec-WebSocket-Protocol': canary,
      Origin: `http://${canary}.example`,
      Cookie: canary,
    };
    const response = await place.ask(head({ start: `GET /${canary}?${canary} HTTP/1.1`, headers }));
    expect(response.raw.toLowerCase()).not.toContain(canary.toLowerCase());
    const names = ['connection', 'content-length', 'content-type', 'server'];
    expect(Object.keys(response.headers).sort()).toEqual(names);
  });

  it('does not repeat an offered subprotocol or extension', async () => {
    const headers = { 'Sec-WebSocket-Protocol': 'chat, graphql-ws', 'Sec-WebSocket-Extensions': 'x-mux' };
    const { status, headers: answered } = await place.ask(head({ headers }));
    expect(status).toBe(101);
    expect(Object.keys(answered).sort()).toEqual(['connection', 'sec-websocket-accept', 'server', 'upgrade']);
    expect(answered['sec-websocket-accept']).toBe('s3pPLMBiTxaQ9kYGzzhZRbK+xOo=');
  });

  it('serves frames that came with the head, in order', async () => {
    const client = await place.connect();
    const frames = [1, 2, 3].map((data) => frame(JSON.stringify({ event: 'echo', data })));
    const half = frame(JSON.stringify({ event: 'echo', data: 4 }));
    client.write(Buffer.concat([Buffer.from(head({})), ...frames, half.subarray(0, 9)]));
    expect((await client.response()).status).toBe(101);
    client.write(half.subarray(9));
    for (const data of [1, 2, 3, 4]) expect(await client.json()).toEqual({ event: 'echo', data });
    client.destroy();
  });

  it('answers a plain request on a dedicated port with 426, and leaves it to Node on a shared port', async () => {
    const response = await place.ask(upgradeHead(place.port, { headers: { ...NO_UPGRADE, Connection: 'close' } }));
    expect(response.status).toBe(setup.own ? 426 : 404);
    if (setup.own) expect(response.headers).toMatchObject({ upgrade: 'websocket', 'sec-websocket-version': '13' });
    else expect(response.headers['server']).toBeUndefined();
  });

  it('leaves nothing behind', async () => {
    await eventually(() => place.isEmpty);
    expect(place.test.stats().faults).toEqual({});
  });
});
