import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { parseExtensions } from '../../../lib/http/extensions.js';
import type { RequestHead } from '../../../lib/http/head.js';
import { parseRequestHead } from '../../../lib/http/head-parser.js';
import { parseHost } from '../../../lib/http/host.js';
import { isRefusal, REFUSALS, type Refusal } from '../../../lib/http/refusal.js';
import { checkRequest, originForm, type UpgradeRequest } from '../../../lib/http/upgrade-request.js';
import { collectGarbage } from '../../support/garbage.js';
import { runs } from '../../support/runs.js';

type Lines = Record<string, string | readonly string[] | undefined>;

const USUAL: Lines = {
  Host: 'example.com',
  Upgrade: 'websocket',
  Connection: 'Upgrade',
  'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
  'Sec-WebSocket-Version': '13',
};

/** The usual head with some lines changed, repeated (a list) or removed (undefined). */
function headWith(lines: Lines = {}, rest: Partial<RequestHead> = {}): RequestHead {
  const rawHeaders = Object.entries({ ...USUAL, ...lines }).flatMap(([name, values]) =>
    values === undefined ? [] : [values].flat().flatMap((value) => [name, value as string]),
  );
  return { method: 'GET', target: '/', version: '1.1', rawHeaders, ...rest };
}

function accepted(lines: Lines = {}, rest: Partial<RequestHead> = {}): UpgradeRequest {
  const result = checkRequest(headWith(lines, rest));
  if (isRefusal(result)) throw new Error(`${result.status} ${result.detail ?? result.reason}`);
  return result;
}

const refused = (lines: Lines, rest: Partial<RequestHead> = {}): Refusal => {
  const result = checkRequest(headWith(lines, rest));
  if (!isRefusal(result)) throw new Error('accepted');
  return result;
};

const list = (n: number, of: (i: number) => string): string => Array.from({ length: n }, (_, i) => of(i)).join(', ');

describe('checkRequest', () => {
  it('reads the handshake of a browser (RFC 6455, 4.2.1)', () => {
    const head = headWith({
      Host: 'Example.COM:8080',
      Origin: 'https://example.com',
      'Sec-WebSocket-Protocol': 'a, b',
      'Sec-WebSocket-Extensions': 'permessage-deflate; client_max_window_bits',
    });
    expect(checkRequest({ ...head, target: '/chat/%2e?a=b?c' })).toEqual({
      head: { ...head, target: '/chat/%2e?a=b?c' },
      path: '/chat/%2e',
      rawQuery: 'a=b?c',
      host: { name: 'example.com', port: 8080 },
      origin: 'https://example.com',
      key: 'dGhlIHNhbXBsZSBub25jZQ==',
      protocols: ['a', 'b'],
      extensions: [{ name: 'permessage-deflate', params: [['client_max_window_bits', true]] }],
    });
    expect(accepted()).toMatchObject({ rawQuery: '', origin: undefined, protocols: [], extensions: [] });
  });

  it.each<[string, Lines]>([
    ['header names in any case', { Host: undefined, hOST: 'a' }],
    ['Upgrade in any case, in a list (RFC 9110, 7.8)', { Upgrade: 'h2c, WebSocket' }],
    ['Upgrade over two lines (RFC 9110, 5.3)', { Upgrade: ['h2c', 'websocket'] }],
    ['Connection with keep-alive (RFC 9110, 7.6.1)', { Connection: 'keep-alive, Upgrade' }],
    ['Connection with close and tabs', { Connection: 'close\t,\tupgrade' }],
    ['Connection over two lines (RFC 9110, 5.3)', { Connection: ['keep-alive', 'upgrade'] }],
    ['empty list elements in Connection (RFC 9110, 5.6.1.2)', { Connection: ', ,upgrade,' }],
    ['Content-Length: 0', { 'Content-Length': '0' }],
    [
      'header names that are members of Object.prototype',
      { __proto__x: 'a', constructor: 'b', toString: 'c', ['__proto__']: 'd' },
    ],
    ['an Origin of null', { Origin: 'null' }],
    ['sixteen protocols', { 'Sec-WebSocket-Protocol': list(16, (i) => `p${i}`) }],
    ['protocols over two lines', { 'Sec-WebSocket-Protocol': ['a', 'b,c'] }],
    ['an empty list of extensions', { 'Sec-WebSocket-Extensions': '' }],
    ['eight extensions', { 'Sec-WebSocket-Extensions': [list(7, (i) => `x${i}`), 'constructor; __proto__'] }],
  ])('accepts %s', (_, lines) => {
    expect(isRefusal(checkRequest(headWith(lines)))).toBe(false);
  });

  it.each(['/', '//evil/', '/%2e/', '/a?b', '/?/../', '/a/../b'])(
    'does not normalise the path %s (RFC 9112, 3.2.1)',
    (target) => {
      expect(accepted({}, { target }).path).toBe(target.split('?')[0]);
    },
  );

  it.each(['POST', 'get', 'HEAD', 'CONNECT', 'OPTIONS'])(
    'refuses method %s with 405 and Allow (4.2.1, item 1)',
    (method) => {
      expect(refused({}, { method })).toMatchObject({ status: 405, headers: [['Allow', 'GET']] });
    },
  );

  it.each(['1.0', '0.9', '1.2', '2.0'])('refuses HTTP/%s with 505 (4.2.1, item 1)', (version) => {
    expect(refused({}, { version })).toBe(REFUSALS.httpVersion);
  });

  it.each([
    '*',
    'example.com:80',
    'chat',
    '?',
    'http://other.example/',
    'http://example.com:81/',
    'https://example.com:80/',
    'http://user@example.com/',
    'http:///',
    'http:/example.com/',
    'file://example.com/',
    'http://example.com\\@other.example/',
  ])('refuses target %s with 400 (RFC 9112, 3.2)', (target) => {
    expect(refused({}, { target })).toMatchObject({ status: 400, reason: 'malformed-request' });
  });

  it.each([
    ['http://example.com/ws?a=b', '/ws', 'a=b'],
    ['HTTP://EXAMPLE.com:80/ws', '/ws', ''],
    ['wss://example.com:443/a//b?http://x/', '/a//b', 'http://x/'],
    ['ws://example.com', '/', ''],
    ['https://example.com?a', '/', 'a'],
  ])('accepts the absolute form %s when its authority equals Host (RFC 9112, 3.2.2)', (target, path, rawQuery) => {
    expect(accepted({}, { target })).toMatchObject({ path, rawQuery });
    expect(originForm(target)).toBe(rawQuery === '' ? path : `${path}?${rawQuery}`);
    expect(refused({ Host: 'example.com:8080' }, { target }).status).toBe(400);
  });

  it.each(['Upgrade, TE', 'upgrade, close, HTTP2-Settings', 'keep-alive, Upgrade, Priority', 'upgrade, DNT'])(
    'accepts Connection: %s (RFC 9110, 7.6.1)',
    (Connection) => expect(accepted({ Connection }).path).toBe('/'),
  );

  it.each([
    'Host',
    'Origin',
    'Cookie',
    'Authorization',
    'Forwarded',
    'X-Forwarded-Proto',
    'X-Real-IP',
    'CF-Connecting-IP',
    'Sec-WebSocket-Key',
    'Sec-Fetch-Site',
    'Content-Length',
    'Transfer-Encoding',
    'Proxy-Authorization',
  ])('refuses a Connection option that makes a proxy remove %s (RFC 9110, 7.6.1)', (name) => {
    for (const Connection of [`upgrade, ${name}`, `${name.toUpperCase()}\t,upgrade`, [name.toLowerCase(), 'upgrade']])
      expect(refused({ Connection })).toMatchObject({ status: 400, reason: 'malformed-request' });
  });

  it.each<[string, Lines]>([
    ['no Host (RFC 9112, 3.2)', { Host: undefined }],
    ['two Hosts (RFC 9112, 3.2)', { Host: ['a', 'a'] }],
    ['an invalid Host (RFC 9112, 3.2)', { Host: 'user@a' }],
    ['no Connection (4.2.1, item 4)', { Connection: undefined }],
    ['Connection without upgrade (4.2.1, item 4)', { Connection: 'keep-alive' }],
    ['Connection that names another header (RFC 9110, 7.6.1)', { Connection: 'upgrade, X-Forwarded-For' }],
    ['Connection that names another header on another line', { Connection: ['upgrade', 'x-forwarded-for'] }],
    ['Connection that names another header behind 8000 commas', { Connection: `upgrade${','.repeat(8000)}cookie` }],
    ['Connection: upgrade;x', { Connection: 'upgrade;x' }],
    ['no key (4.2.1, item 5)', { 'Sec-WebSocket-Key': undefined }],
    ['two keys (11.3.1)', { 'Sec-WebSocket-Key': ['dGhlIHNhbXBsZSBub25jZQ==', 'dGhlIHNhbXBsZSBub25jZQ=='] }],
    ['a key of fifteen bytes', { 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25j' }],
    ['a key of seventeen bytes', { 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZWU=' }],
    ['a key with non-zero bits after its sixteen bytes', { 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZR==' }],
    ['a key in the base64url alphabet', { 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25j_Q==' }],
    ['an empty key', { 'Sec-WebSocket-Key': '' }],
    ['no version (4.2.1, item 6)', { 'Sec-WebSocket-Version': undefined }],
    ['two versions (11.3.5)', { 'Sec-WebSocket-Version': ['13', '13'] }],
    ['a body (RFC 9112, 6.3)', { 'Content-Length': '1' }],
    ['Content-Length: 00', { 'Content-Length': '00' }],
    ['Content-Length: +0', { 'Content-Length': '+0' }],
    ['Content-Length twice', { 'Content-Length': ['0', '0'] }],
    ['Content-Length: 0, 0', { 'Content-Length': '0, 0' }],
    ['Transfer-Encoding (RFC 9112, 6.1)', { 'Transfer-Encoding': 'chunked' }],
    ['Transfer-Encoding: identity', { 'Transfer-Encoding': 'identity' }],
    ['two Origins (RFC 6454, 7.3)', { Origin: ['https://a', 'https://a'] }],
    ['an empty protocol list (4.1, item 10)', { 'Sec-WebSocket-Protocol': '' }],
    ['an empty protocol (4.1, item 10)', { 'Sec-WebSocket-Protocol': 'a,,b' }],
    ['a protocol that is not a token', { 'Sec-WebSocket-Protocol': 'a b' }],
    ['an 8-bit protocol', { 'Sec-WebSocket-Protocol': '\xe9' }],
    ['a repeated protocol, over two lines', { 'Sec-WebSocket-Protocol': ['a', 'b, a'] }],
    ['seventeen protocols', { 'Sec-WebSocket-Protocol': list(17, (i) => `p${i}`) }],
    ['eight thousand commas', { 'Sec-WebSocket-Protocol': ','.repeat(8000) }],
    ['extensions with broken grammar (9.1)', { 'Sec-WebSocket-Extensions': 'a; ; b' }],
    ['nine extensions', { 'Sec-WebSocket-Extensions': list(9, (i) => `x${i}`) }],
  ])('refuses %s with 400', (_, lines) => {
    const refusal = refused(lines);
    expect(refusal).toMatchObject({ status: 400, reason: 'malformed-request' });
    expect(refusal.detail).toBeTruthy();
  });

  it.each(['8', '12', '14', '013', '13, 8', 'x', ''])(
    'refuses version %j with 426 naming 13 (4.2.2, item 4)',
    (version) => {
      const refusal = refused({ 'Sec-WebSocket-Version': version });
      expect(refusal).toMatchObject({ status: 426, reason: 'websocket-version' });
      expect(refusal.headers).toEqual([
        ['Upgrade', 'websocket'],
        ['Sec-WebSocket-Version', '13'],
      ]);
    },
  );

  it.each([undefined, 'h2c', 'websocket2', 'websocket/13', 'web socket', ''])(
    'refuses Upgrade %j with 426 (RFC 9110, 15.5.22)',
    (Upgrade) => {
      expect(refused({ Upgrade })).toBe(REFUSALS.notAnUpgrade);
    },
  );

  it('reports the first fault in the order of the RFC', () => {
    const wrong: [Lines, Partial<RequestHead>, number][] = [
      [{ Host: undefined }, { method: 'POST', version: '1.0', target: '*' }, 405],
      [{ Host: undefined }, { version: '1.0', target: '*' }, 505],
      [{ Host: undefined, Upgrade: 'h2c' }, {}, 400],
      [{ Upgrade: 'h2c', Connection: 'x' }, {}, 426],
      [{ Connection: 'x', 'Sec-WebSocket-Version': '8' }, {}, 400],
      [{ 'Sec-WebSocket-Version': '8', 'Content-Length': '5' }, {}, 426],
    ];
    for (const [lines, rest, status] of wrong) expect(refused(lines, rest).status).toBe(status);
    expect(refused({ Connection: 'x', 'Sec-WebSocket-Key': '' }).detail).toContain('Connection');
    expect(refused({ 'Sec-WebSocket-Key': '', 'Content-Length': '5' }).detail).toContain('Key');
  });

  it('returns strings that do not keep the whole head in memory', () => {
    const held = (): number => {
      collectGarbage();
      const { heapUsed, external } = process.memoryUsage();
      return heapUsed + external;
    };
    const text = `GET /a-path-that-is-not-short?a-query-that-is-not-either HTTP/1.1\r\n${Object.entries(USUAL)
      .map(([name, value]) => `${name}: ${value}\r\n`)
      .join(
        '',
      )}Origin: https://origin.example\r\nSec-WebSocket-Protocol: a-protocol-with-a-long-name\r\nAuthorization: a-secret-that-is-long\r\n`;
    const bytes = Buffer.from(`${text}${`X: ${'x'.repeat(8000)}\r\n`.repeat(60)}\r\n`);
    const keep = (): unknown => {
      const head = parseRequestHead(bytes) as RequestHead;
      const { path, rawQuery, host, origin, key, protocols } = checkRequest(head) as UpgradeRequest;
      return {
        path,
        rawQuery,
        host,
        origin,
        key,
        protocols,
        token: head.rawHeaders[head.rawHeaders.indexOf('Authorization') + 1],
      };
    };
    const before = held();
    const kept = Array.from({ length: 40 }, keep);
    expect(held() - before).toBeLessThan((kept.length * bytes.length) / 4);
  });

  it('never throws, and accepts only requests that obey every rule', () => {
    const names = fc.constantFrom(
      ...Object.keys(USUAL),
      'Origin',
      'Content-Length',
      'Transfer-Encoding',
      'Sec-WebSocket-Protocol',
      '__proto__',
    );
    const values = fc.constantFrom(
      ...Object.values(USUAL).map(String),
      'upgrade, close',
      'a',
      'a, b',
      '',
      '0',
      'x y',
      '[::1]:80',
    );
    const extra = fc.array(fc.tuple(names, values), { maxLength: 3 });
    fc.assert(
      fc.property(extra, fc.boolean(), fc.constantFrom('/', '/a?b', '*'), (lines, first, target) => {
        const usual = headWith().rawHeaders;
        const rawHeaders = first ? [...lines.flat(), ...usual] : [...usual, ...lines.flat()];
        const result = checkRequest(headWith({}, { rawHeaders, target }));
        if (isRefusal(result)) return;
        const count = (name: string): number => rawHeaders.filter((text, i) => i % 2 === 0 && text === name).length;
        expect([
          count('Host'),
          count('Sec-WebSocket-Key'),
          count('Sec-WebSocket-Version'),
          count('Transfer-Encoding'),
        ]).toEqual([1, 1, 1, 0]);
        expect(count('Origin')).toBeLessThanOrEqual(1);
        expect(result.path + (target.includes('?') ? `?${result.rawQuery}` : '')).toBe(target);
      }),
      { numRuns: runs(1000) },
    );
  });
});

describe('parseHost (RFC 9110, 7.2)', () => {
  it.each<[string, string, number | undefined]>([
    ['example.com', 'example.com', undefined],
    ['EXAMPLE.com:8080', 'example.com', 8080],
    ['a_b-c.~d', 'a_b-c.~d', undefined],
    ['xn--bcher-kva.example:0', 'xn--bcher-kva.example', 0],
    ['127.0.0.1:65535', '127.0.0.1', 65535],
    ['[::1]', '[::1]', undefined],
    ['[::FFFF:1.2.3.4]:443', '[::ffff:1.2.3.4]', 443],
    ['localhost:', 'localhost', undefined],
    ['%41', '%41', undefined],
  ])('parses %s', (value, name, port) => {
    expect(parseHost(value)).toEqual({ name, port });
  });

  it.each([
    '',
    ':80',
    'a:b',
    'a:65536',
    'a:123456',
    'a:1:2',
    'a b',
    'a,b',
    'u@a',
    'a/b',
    'a?b',
    'a#b',
    'http://a',
    '[::1',
    '::1',
    '[::1]x',
    '[]',
    '[g::]',
    '[1.2.3.4]',
    '[fe80::1%25lo]',
    '%4',
    '%zz',
    '\xe9',
    'a\\b',
    'a;b',
    '"a"',
    '<a>',
  ])('refuses %j', (value) => {
    expect(parseHost(value)).toBeUndefined();
  });

  it('takes linear time', () => {
    expect(parseHost(`${'a%41'.repeat(100_000)}/`)).toBeUndefined();
  });
});

describe('parseExtensions (RFC 6455, 9.1)', () => {
  it.each<[string, string[], unknown]>([
    ['no header line', [], []],
    ['one extension', ['a'], [{ name: 'a', params: [] }]],
    [
      'white space around names and values',
      [' \ta ;\tb=1 ,c; d '],
      [
        { name: 'a', params: [['b', '1']] },
        { name: 'c', params: [['d', true]] },
      ],
    ],
    [
      'two header lines',
      ['a', 'a'],
      [
        { name: 'a', params: [] },
        { name: 'a', params: [] },
      ],
    ],
    [
      'repeated parameters, kept',
      ['a; b; b=1; b=2'],
      [
        {
          name: 'a',
          params: [
            ['b', true],
            ['b', '1'],
            ['b', '2'],
          ],
        },
      ],
    ],
    ['a quoted token', ['a; b="1\\2"'], [{ name: 'a', params: [['b', '12']] }]],
    [
      'names that are members of Object.prototype',
      ['constructor; __proto__="x"'],
      [{ name: 'constructor', params: [['__proto__', 'x']] }],
    ],
  ])('parses %s', (_, lines, offers) => {
    expect(parseExtensions(lines)).toEqual(offers);
  });

  it.each(['', ' ', '\t', ',', ' , ,', 'a,', ',a', 'a, ,', ',,,a', ',,,,,,,,a'])(
    'ignores empty list elements: %j',
    (line) => {
      const offers = line.includes('a') ? [{ name: 'a', params: [] }] : [];
      expect(parseExtensions(line)).toEqual(offers);
      expect(parseExtensions([line, 'b'])).toEqual([...offers, { name: 'b', params: [] }]);
    },
  );

  it.each([
    ',,,,,,,,,a',
    'a;',
    'a;;b',
    'a;=1',
    'a;b=',
    'a;b="',
    'a;b=""',
    'a;b="x y"',
    'a;b="x',
    'a;b="1"2',
    'a b',
    'a;b c',
    'a; b = 1',
    'a=1',
    'a;b=1=2',
    'a\0',
    '\xe9',
    'a;b="\\"',
  ])('refuses %j', (line) => {
    expect(parseExtensions([line])).toBeUndefined();
    expect(parseExtensions(['x', line])).toBeUndefined();
  });

  it('takes linear time', () => {
    const many = 100_000;
    expect(parseExtensions([`a${' '.repeat(many)}x`])).toBeUndefined();
    expect(parseExtensions([`a;b="${'\\x'.repeat(many)}`])).toBeUndefined();
    expect(parseExtensions([`a${'; b'.repeat(many)};`])).toBeUndefined();
    expect(parseExtensions([`${' ,'.repeat(many)}a`])).toBeUndefined();
    expect(parseExtensions([`${' '.repeat(many)};`])).toBeUndefined();
  });

  it('parses every list that the grammar allows', () => {
    const token = fc.string({ unit: fc.constantFrom(...'abzAZ09-_.!'), minLength: 1, maxLength: 5 });
    const value = fc.oneof(fc.constant<true>(true), token);
    const offer = fc.record({ name: token, params: fc.array(fc.tuple(token, value), { maxLength: 3 }) });
    fc.assert(
      fc.property(
        fc.array(offer, { minLength: 1, maxLength: 8 }),
        fc.boolean(),
        fc.constantFrom('', ' ', '\t '),
        (offers, quote, blank) => {
          const param = ([name, v]: readonly [string, string | true]): string =>
            v === true ? name : `${name}=${quote ? `"${v}"` : v}`;
          const written = offers.map(({ name, params }) => [name, ...params.map(param)].join(`${blank};${blank}`));
          expect(parseExtensions([written.join(`${blank},${blank}`)])).toEqual(offers);
          expect(parseExtensions(written)).toEqual(offers);
        },
      ),
    );
  });
});
