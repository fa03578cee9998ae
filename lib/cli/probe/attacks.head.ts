import { type Arena, describeResponse, type HeadOptions } from './arena.js';
import type { Attack } from './attack.js';
import { accepted, held, type Outcome } from './outcome.js';

const PATIENCE = 4000;

type Basics = Pick<Attack, 'id' | 'title' | 'severity' | 'setting'>;

/** A request that must not be upgraded. */
function refusal(group: Attack['group'], basics: Basics, head: (arena: Arena) => string): Attack {
  return {
    ...basics,
    group,
    patience: PATIENCE,
    run: (arena, patience) => arena.refuses(head(arena), patience),
  };
}

const request = (id: string, title: string, options: HeadOptions, severity: Attack['severity'] = 'warning'): Attack =>
  refusal('request', { id, title, severity }, (arena) => arena.head(options));

const short = (count: number): string => Array.from({ length: count }, (_, i) => `x${i}:1\r\n`).join('');

/** Limits of the head: line length and number of headers. */
const HEAD: readonly Attack[] = [
  refusal(
    'head',
    { id: 'request-line', title: 'a request line of 12 KiB', severity: 'note', setting: 'http.maxLineLength' },
    (arena) => arena.head({ path: `/${'a'.repeat(12 * 1024)}` }),
  ),
  refusal(
    'head',
    { id: 'header-line', title: 'a header line of 12 KiB', severity: 'note', setting: 'http.maxLineLength' },
    (arena) => arena.head({ headers: { 'X-Long': 'a'.repeat(12 * 1024) } }),
  ),
  refusal(
    'head',
    { id: 'header-line-huge', title: 'a header line of 1 MiB', severity: 'error', setting: 'http.maxLineLength' },
    (arena) => arena.head({ headers: { 'X-Long': 'a'.repeat(1024 * 1024) } }),
  ),
  refusal(
    'head',
    { id: 'header-count', title: '1000 header lines', severity: 'warning', setting: 'http.maxNumHeaders' },
    (arena) => arena.head({ raw: short(1000) }),
  ),
  refusal(
    'head',
    { id: 'header-repeated', title: 'one header 300 times', severity: 'warning', setting: 'http.maxNumHeaders' },
    (arena) => arena.head({ raw: 'x:1\r\n'.repeat(300) }),
  ),
  {
    id: 'endless-head',
    group: 'head',
    title: '4 MiB of header lines, never completed',
    severity: 'error',
    setting: 'http.maxNumHeaders',
    patience: PATIENCE,
    async run(arena, patience) {
      const peer = await arena.open();
      const head = arena.head();
      peer.write(head.slice(0, -2));
      const chunk = `${'x: 1\r\n'.repeat(10_000)}`;
      for (let i = 0; i < 70 && peer.isOpen && peer.response === undefined; i++) {
        peer.write(chunk);
        if (!(await peer.until(() => peer.unsent < chunk.length || !peer.isOpen, patience))) break;
      }
      await peer.until(() => peer.response !== undefined || !peer.isOpen, patience);
      const { response } = peer;
      const open = peer.isOpen;
      peer.destroy();
      if (response !== undefined) return held(describeResponse(response));
      return open
        ? accepted('4 MiB were read, and the connection is still open')
        : held('closed without an answer', true);
    },
  },
];

/** Requests that RFC 6455 and RFC 9112 require to be refused. Other hosts are named under .invalid (RFC 2606). */
const REQUEST: readonly Attack[] = [
  request('no-host', 'no Host', { headers: { Host: undefined } }),
  request('two-hosts', 'two Host lines', { raw: 'Host: other.invalid\r\n' }),
  request('two-origins', 'two Origin lines', { headers: { Origin: ['https://a.invalid', 'https://b.invalid'] } }),
  request('method', 'POST', { method: 'POST' }),
  request('http-1.0', 'HTTP/1.0', { version: 'HTTP/1.0' }),
  request('version', 'version 8 of the protocol', { headers: { 'Sec-WebSocket-Version': '8' } }, 'note'),
  request('no-key', 'no key', { headers: { 'Sec-WebSocket-Key': undefined } }),
  request('two-keys', 'two keys', { raw: 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n' }),
  request('short-key', 'a key of 8 bytes', { headers: { 'Sec-WebSocket-Key': 'c2hvcnQga2U=' } }),
  request('no-upgrade', 'Connection without upgrade', { headers: { Connection: 'keep-alive' } }),
  request('body', 'a body of 5 bytes', { raw: 'Content-Length: 5\r\n' }),
  request('chunked', 'a chunked body', { raw: 'Transfer-Encoding: chunked\r\n' }),
  request('absolute-form', 'an absolute target with another host', { path: 'http://other.invalid/' }),
  request('space-before-colon', 'a space before a colon', { raw: 'X-Test : 1\r\n' }, 'error'),
  request('folding', 'a folded header line', { raw: 'X-Test: 1\r\n 2\r\n' }),
  request('nul', 'NUL in a header value', { raw: 'X-Test: a\0b\r\n' }, 'error'),
  request('bare-lf', 'a header line that ends with LF alone', { raw: 'X-Test: 1\nX-More: 2\r\n' }),
  request('target-control', 'a control character in the target', { path: '/a\x01b' }),
  request('protocol-grammar', 'a malformed Sec-WebSocket-Protocol', {
    headers: { 'Sec-WebSocket-Protocol': 'a b, "c' },
  }),
  request('extension-grammar', 'a malformed Sec-WebSocket-Extensions', {
    headers: { 'Sec-WebSocket-Extensions': '=;;,' },
  }),
  {
    id: 'pipelined',
    group: 'request',
    title: 'a request pipelined behind a refused upgrade',
    severity: 'error',
    patience: 1500,
    async run(arena, patience) {
      const peer = await arena.open();
      const second = `GET /nest-secure-ws-probe HTTP/1.1\r\nHost: ${arena.target.authority}\r\n\r\n`;
      peer.write(arena.head({ headers: { 'Sec-WebSocket-Key': undefined } }) + second);
      await peer.until(() => !peer.isOpen, patience);
      peer.destroy();
      const answers = peer.plain.split(/^HTTP\/1\.[01] \d{3}/m).length - 1;
      if (answers > 1) return accepted('both were answered: request smuggling through proxies');
      return held(
        peer.response === undefined ? 'closed without an answer' : `${describeResponse(peer.response)}, and no more`,
      );
    },
  },
  {
    id: 'resets',
    group: 'request',
    title: '20 connections reset during the handshake',
    severity: 'error',
    patience: PATIENCE,
    async run(arena) {
      for (let i = 0; i < 20; i++) {
        const peer = await arena.open();
        const head = arena.head();
        peer.write(i % 2 === 0 ? head : head.slice(0, -10));
        if (i % 4 < 2) await arena.pause(2);
        peer.reset();
      }
      return held('the server is still up', true);
    },
  },
];

/** Origins of other sites, and other host names. */
const ORIGIN: readonly Attack[] = [
  origin('origin', 'Origin of another site', 'https://evil.invalid'),
  origin('origin-null', 'Origin: null', 'null'),
  {
    id: 'origin-suffix',
    group: 'origin',
    title: 'Origin of a host that begins with yours',
    severity: 'warning',
    setting: 'connections.allowedOrigins',
    patience: PATIENCE,
    run: (arena, patience) => fromSite(arena, `https://${arena.target.host}.evil.invalid`, patience),
  },
  {
    id: 'rebinding',
    group: 'origin',
    title: 'DNS rebinding: another name in Host and Origin',
    severity: 'note',
    setting: 'connections.allowedHosts',
    patience: PATIENCE,
    run: (arena, patience) =>
      arena.refuses(
        arena.head({
          headers: { Host: 'rebound.invalid', Origin: `http${arena.target.tls ? 's' : ''}://rebound.invalid` },
        }),
        patience,
      ),
  },
];

function origin(id: string, title: string, value: string): Attack {
  return {
    id,
    group: 'origin',
    title,
    severity: 'warning',
    setting: 'connections.allowedOrigins',
    patience: PATIENCE,
    run: (arena, patience) => fromSite(arena, value, patience),
  };
}

const fromSite = (arena: Arena, value: string, patience: number): Promise<Outcome> =>
  arena.refuses(arena.head({ headers: { Origin: value } }), patience);

export const HEAD_ATTACKS: readonly Attack[] = [...HEAD, ...REQUEST, ...ORIGIN];
