import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { backoffDelay, retryAfter } from '../../../lib/client/backoff.js';
import { type ConnectOptions, resolveCall } from '../../../lib/client/call.js';
import { BodyTooLargeError, HandshakeError } from '../../../lib/client/errors.js';
import { isTemporary } from '../../../lib/client/reconnect.js';
import { headerLines, newKey, requestHead } from '../../../lib/client/request-head.js';
import { type Response, ResponseReader } from '../../../lib/client/response-reader.js';
import { parseUrl } from '../../../lib/client/target.js';
import { defaultEnvironment } from '../../../lib/config/environment.js';
import { ConfigurationError } from '../../../lib/config/problems.js';
import { resolveSettings } from '../../../lib/config/resolve.js';
import { acceptOf } from '../../../lib/http/upgrade-request.js';
import { VERSION } from '../../../lib/version.js';

const GREETING = {
  userAgent: undefined,
  origin: undefined,
  subprotocols: [],
  extensions: undefined,
  credentials: undefined,
  headers: [],
};

describe('parseUrl', () => {
  it.each([
    ['ws://h', { secure: false, host: 'h', port: 80, authority: 'h', path: '/' }],
    ['http://h:80/a%20b?c=d', { secure: false, port: 80, authority: 'h', path: '/a%20b?c=d' }],
    ['wss://H:443/x y', { secure: true, host: 'h', port: 443, authority: 'h', path: '/x%20y' }],
    ['https://h:8443', { secure: true, port: 8443, authority: 'h:8443', href: 'wss://h:8443/' }],
    ['wss://[2001:db8::1]:99/', { host: '2001:db8::1', authority: '[2001:db8::1]:99' }],
    ['ws://bücher.example/ü', { host: 'xn--bcher-kva.example', authority: 'xn--bcher-kva.example', path: '/%C3%BC' }],
    ['ws://u:p@h/', { authority: 'h', href: 'ws://h/' }],
  ])('parses %s', (url, expected) => {
    expect(parseUrl(url)).toMatchObject({ target: expected });
  });

  it.each([
    ['nothing', /is invalid/],
    ['ws://', /is invalid/],
    ['ftp://h/', /scheme 'ftp:'/],
    ['ws://h/#part', /fragment/],
    ['ws://h/#', /fragment/],
    ['ws://%ff:secret@h/', /UTF-8/],
    ['ws://a%3Ab:secret@h/', /colon/],
    ['ws://a:secret%0d%0aX: y@h/', /user and password/],
  ])('refuses %s without repeating its secrets', (url, problem) => {
    const result = parseUrl(url);
    expect(result).toMatch(problem);
    expect(result).not.toContain('secret');
  });

  it.each([
    ['ws://user:pass@h/', 'user:pass'],
    ['ws://us%C3%A9r@h/', 'usér:'],
    ['ws://:%70@h/', ':p'],
    ['ws://h/', undefined],
  ])('returns the credentials of %s', (url, credentials) => {
    expect(parseUrl(url)).toMatchObject({ credentials });
  });
});

describe('requestHead', () => {
  it('writes the request of RFC 6455, section 1.2', () => {
    const { target } = parseUrl('ws://server.example.com/chat') as Exclude<ReturnType<typeof parseUrl>, string>;
    const head = requestHead(target, 'dGhlIHNhbXBsZSBub25jZQ==', {
      ...GREETING,
      origin: 'http://example.com',
      subprotocols: ['chat', 'superchat'],
    });
    expect(head.toString()).toBe(
      [
        'GET /chat HTTP/1.1',
        'Host: server.example.com',
        'Upgrade: websocket',
        'Connection: Upgrade',
        'Sec-WebSocket-Version: 13',
        'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
        'Sec-WebSocket-Protocol: chat, superchat',
        'Origin: http://example.com',
        '\r\n',
      ].join('\r\n'),
    );
    expect(acceptOf('dGhlIHNhbXBsZSBub25jZQ==')).toBe('s3pPLMBiTxaQ9kYGzzhZRbK+xOo=');
    expect(Buffer.from(newKey(), 'base64')).toHaveLength(16);
    expect(newKey()).not.toBe(newKey());
  });

  it('headerLines() writes values byte for byte, and one line per list element', () => {
    const problems: string[] = [];
    expect(headerLines({ 'X-One': ' a\u00e9\u00a0', n: 5, list: ['a', 'b'], gone: undefined }, problems)).toEqual([
      ['X-One', 'a\u00e9\u00a0'],
      ['n', '5'],
      ['list', 'a'],
      ['list', 'b'],
    ]);
    expect(problems).toEqual([]);
  });

  it.each([
    { 'X-A': 'a\r\nInjected: yes' },
    { 'X-A': 'a\n' },
    { 'X-A': '\0' },
    { 'X-A': 'Ω' },
    { 'X-A': ['fine', 'b\r\n'] },
    { 'X-A': null },
    { 'X A': 'b' },
    { 'X:': 'b' },
    { '': 'b' },
    { Host: 'b' },
    { UPGRADE: 'b' },
    { connection: 'close' },
    { 'Content-Length': '5' },
    { 'Transfer-Encoding': 'chunked' },
    { 'Sec-WebSocket-Key': 'b' },
    { 'sec-websocket-extensions': 'b' },
    ['X-A', 'b'],
    'X-A: b',
  ])('headerLines() refuses %j', (headers) => {
    expect(() => resolveCall('ws://h', { headers } as ConnectOptions)).toThrow(ConfigurationError);
  });
});

describe('the options of connect()', () => {
  const problemsOf = (url: string, options: object): readonly string[] => {
    try {
      resolveCall(url, options);
    } catch (error) {
      return (error as ConfigurationError).problems;
    }
    return [];
  };

  it('reports all problems, with suggestions', () => {
    const problems = problemsOf('ftp://h', {
      maxPayload: 5,
      maxRedirect: 3,
      pingInterval: 5,
      backoffFactor: 0,
      userAgentHeader: 'a\r\nb',
      http: { openTimeout: 'soon', openTimout: 1 },
      messages: { maxSize: -1 },
      keepalive: 5,
      subprotocols: ['a', 'a'],
      origin: 'a\n',
      agent: {},
      signal: 5,
      tls: 5,
    });
    for (const expected of [
      /scheme 'ftp:'/,
      /unknown option 'maxPayload', did you mean 'messages.maxSize'/,
      /unknown option 'maxRedirect', did you mean 'maxRedirects'/,
      /unknown option 'pingInterval', did you mean 'keepalive.pingInterval'/,
      /^backoffFactor .*: 0 is not a number from 1 to 100$/,
      /^userAgentHeader/,
      /^http.openTimeout .*: "soon" is not a duration/,
      /unknown option 'http.openTimout', did you mean 'http.openTimeout'/,
      /^messages.maxSize/,
      /^keepalive: 5 is not an object/,
      /^subprotocols/,
      /^origin/,
      /^agent/,
      /^signal/,
      /^tls/,
    ]) {
      expect(problems).toContainEqual(expect.stringMatching(expected));
    }
    expect(problems).toHaveLength(15);
  });

  it('reports a misspelt client variable, and ignores server variables', () => {
    process.env['WEBSOCKETS_MAX_SIEZ'] = '1kb';
    process.env['WEBSOCKETS_MAX_CONECTIONS'] = '5';
    try {
      expect(problemsOf('ws://h', {})).toEqual([expect.stringMatching(/^WEBSOCKETS_MAX_SIEZ: .*WEBSOCKETS_MAX_SIZE/)]);
    } finally {
      delete process.env['WEBSOCKETS_MAX_SIEZ'];
      delete process.env['WEBSOCKETS_MAX_CONECTIONS'];
    }
  });

  it('refuses two options that set the same header', () => {
    expect(problemsOf('ws://a:b@h', { headers: { authorization: 'x' } })).toEqual([
      expect.stringContaining('only one of them'),
    ]);
    expect(problemsOf('ws://h', { origin: 'http://h', headers: { Origin: 'http://h' } })).toEqual([
      expect.stringContaining('only one of them'),
    ]);
  });

  it('takes an option before the environment, read at each call, and before the default', () => {
    process.env.WEBSOCKETS_OPEN_TIMEOUT = '7s';
    process.env.WEBSOCKETS_USER_AGENT = '';
    process.env.WEBSOCKETS_MAX_CONNECTIONS = 'not a number; only for servers';
    try {
      const { settings } = resolveCall('ws://h', { messages: { maxSize: '2mb' } });
      expect(settings.http.openTimeout).toBe(7000);
      expect(settings.client.userAgentHeader).toBeNull();
      expect(settings.messages.maxSize).toBe(2 * 1024 * 1024);
      expect(resolveCall('ws://h', { http: { openTimeout: 5 } }).settings.http.openTimeout).toBe(5);
      process.env.WEBSOCKETS_OPEN_TIMEOUT = 'soon';
      expect(() => resolveCall('ws://h', {})).toThrow('WEBSOCKETS_OPEN_TIMEOUT');
    } finally {
      for (const name of ['OPEN_TIMEOUT', 'USER_AGENT', 'MAX_CONNECTIONS']) delete process.env[`WEBSOCKETS_${name}`];
    }
    const { settings } = resolveCall('ws://h', {});
    expect(settings.http.openTimeout).toBe(10_000);
    expect(settings.client.userAgentHeader).toBe(
      `Node.js/${process.versions.node} nest-secure-ws/${VERSION.split('.').slice(0, 2).join('.')}`,
    );
  });

  it('takes the settings of a module before the defaults, and ignores the environment', () => {
    const written = {
      http: { openTimeout: '3s' },
      client: { allowPrivateRedirects: true, maxRedirects: 2 },
      keepalive: { pingTimeout: null },
    };
    const { settings: base } = resolveSettings(written, defaultEnvironment());
    process.env.WEBSOCKETS_OPEN_TIMEOUT = '7s';
    try {
      const { settings } = resolveCall(
        'ws://h',
        { maxRedirects: 0, keepalive: { idleTimeout: '1m', pingTimeout: undefined } },
        base,
      );
      expect(settings.http.openTimeout).toBe(3000);
      expect(settings.client).toMatchObject({ allowPrivateRedirects: true, maxRedirects: 0 });
      expect(settings.keepalive).toMatchObject({ pingTimeout: null, idleTimeout: 60_000 });
      expect(() => resolveCall('ws://h', { maxRedirects: -1 }, base)).toThrow('maxRedirects');
    } finally {
      delete process.env.WEBSOCKETS_OPEN_TIMEOUT;
    }
  });

  it('takes a User-Agent from the headers before the option', () => {
    const call = resolveCall('ws://h', { headers: { 'user-agent': 'mine', 'X-A': 'b' } });
    expect(call).toMatchObject({ userAgent: 'mine', headers: [['X-A', 'b']] });
  });
});

describe('ResponseReader', () => {
  const LIMITS = { maxLineLength: 100, maxNumHeaders: 5, maxBodySize: 1000 };
  type Outcome = Response | HandshakeError | undefined;
  const feed = (text: string, cuts: readonly number[] = [], limits = LIMITS): Outcome => {
    const reader = new ResponseReader(limits);
    const bytes = Buffer.from(text, 'latin1');
    const places = [...cuts.map((cut) => cut % (bytes.length + 1)), 0, bytes.length].sort((a, b) => a - b);
    for (let i = 1; i < places.length; i++) {
      const outcome = reader.push(bytes.subarray(places[i - 1], places[i]));
      if (outcome !== undefined) return outcome;
    }
    return undefined;
  };
  const show = (outcome: Outcome): unknown =>
    outcome instanceof HandshakeError || outcome === undefined
      ? outcome?.name
      : [outcome.head.status, outcome.body.toString()];

  const CHUNKED = 'HTTP/1.1 400 Bad\r\nTransfer-Encoding: Chunked\r\n\r\n';
  it.each([
    ['a body with Content-Length', 'HTTP/1.1 400 Bad\r\nContent-Length: 3\r\n\r\nabcdef', [400, 'abc']],
    ['an empty body', 'HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n', [400, '']],
    ['a 204 without a body', 'HTTP/1.1 204 None\r\n\r\nabc', [204, '']],
    [
      'a chunked body',
      `${CHUNKED}3\r\nabc\r\nA;x="y"\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n`,
      [400, 'abc0123456789'],
    ],
    ['an invalid chunked body', `${CHUNKED}3\r\nabc\r\nxyz\r\n`, [400, 'abc']],
    ['a chunk above the limit', `${CHUNKED}fffffffff\r\n${'a'.repeat(1001)}`, 'BodyTooLargeError'],
    ['chunks above the limit together', `${CHUNKED}${'2\r\nab\r\n'.repeat(501)}`, 'BodyTooLargeError'],
    ['a Content-Length above the limit', 'HTTP/1.1 400 Bad\r\nContent-Length: 1001\r\n\r\n', 'BodyTooLargeError'],
    ['a body that ends with the connection, still incomplete', 'HTTP/1.1 400 Bad\r\n\r\nabc', undefined],
    [
      'a response after 1xx responses',
      'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nA: b\r\n\r\nHTTP/1.1 400 Bad\r\nContent-Length: 1\r\n\r\na',
      [400, 'a'],
    ],
    [
      'a redirect, whose body is ignored',
      'HTTP/1.1 301 Moved\r\nLocation: /\r\nContent-Length: 9999\r\n\r\n',
      [301, ''],
    ],
    ['HTTP/2', 'HTTP/2 400 Bad\r\n\r\n', 'InvalidHandshakeError'],
    ['an invalid status line', 'HTTP/1.1 OK\r\n\r\n', 'InvalidHandshakeError'],
  ])('reads %s, for any chunking', (_, text, expected) => {
    expect(show(feed(text))).toEqual(expected);
    fc.assert(
      fc.property(fc.array(fc.nat(), { maxLength: 40 }), (cuts) => expect(show(feed(text, cuts))).toEqual(expected)),
      { numRuns: 30 },
    );
    expect(
      show(
        feed(
          text,
          [...text].map((_char, i) => i),
        ),
      ),
    ).toEqual(expected);
  });

  it('returns all bytes after a 101', () => {
    const outcome = feed('HTTP/1.1 100 Go\r\n\r\nHTTP/1.1 101 Yes\r\n\r\nframes') as Response;
    expect([outcome.head.status, outcome.rest.toString()]).toEqual([101, 'frames']);
  });

  it('never throws, and never holds more than its limit', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 20 }), (chunks) => {
        const reader = new ResponseReader(LIMITS);
        reader.push(Buffer.from('HTTP/1.1 400 Bad\r\nTransfer-Encoding: chunked\r\n\r\n'));
        for (const chunk of chunks) if (reader.push(Buffer.from(chunk)) !== undefined) return;
        expect(reader.end()!.body.length).toBeLessThanOrEqual(LIMITS.maxBodySize);
      }),
    );
    expect(feed(`HTTP/1.1 400 Bad\r\n\r\n${'a'.repeat(1001)}`)).toBeInstanceOf(BodyTooLargeError);
  });
});

describe('backoffDelay', () => {
  const DEFAULTS = { backoffInitialDelay: 5000, backoffMinDelay: 3100, backoffFactor: 1.618, backoffMaxDelay: 90_000 };

  it('takes the first delay between 0 and the initial delay', () => {
    expect([0, 0.5, 0.999].map((random) => backoffDelay(0, DEFAULTS, random))).toEqual([0, 2500, 4995]);
  });

  it('grows from the minimum by the factor to the maximum', () => {
    const middle = Array.from({ length: 12 }, (_, i) => Math.round(backoffDelay(i + 1, DEFAULTS, 0.5)));
    expect(middle.slice(0, 4)).toEqual([3100, 5016, 8116, 13_131]);
    expect(middle.at(-1)).toBe(Math.round(90_000 / 1.1));
  });

  it('varies by a tenth, and never exceeds the maximum', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 5000 }),
        fc.double({ min: 0, max: 0.999, noNaN: true }),
        fc.integer({ min: 0, max: 1e6 }),
        (retry, random, min) => {
          const delay = backoffDelay(retry, { ...DEFAULTS, backoffMinDelay: min }, random);
          expect(delay).toBeGreaterThanOrEqual(0);
          expect(delay).toBeLessThanOrEqual(90_000);
          const plain = Math.min(min * 1.618 ** Math.min(retry - 1, 500), 90_000 / 1.1);
          expect(Math.abs(delay - plain)).toBeLessThanOrEqual(plain * 0.1 + 0.001);
        },
      ),
    );
  });

  it.each([
    [undefined, 0],
    ['', 0],
    ['120', 120_000],
    ['0', 0],
    ['-5', 0],
    ['1e3', 0],
    ['soon', 0],
    ['99999999999', 0],
    ['Wed, 21 Oct 2015 07:28:00 GMT', 60_000],
    ['Wed, 21 Oct 2015 07:26:00 GMT', 0],
    ['2015-10-21', 0],
  ])('parses Retry-After: %s', (value, expected) => {
    expect(retryAfter(value, Date.parse('2015-10-21T07:27:00Z'))).toBe(expected);
  });

  it.each([
    [Object.assign(new Error(), { code: 'ECONNREFUSED' }), true],
    [Object.assign(new Error(), { code: 'ENOTFOUND' }), true],
    [Object.assign(new Error(), { code: 'EAI_AGAIN' }), true],
    [Object.assign(new Error(), { code: 'ERR_TLS_CERT_ALTNAME_INVALID' }), false],
    [Object.assign(new Error(), { code: 'CERT_HAS_EXPIRED' }), false],
    [new TypeError('bug'), false],
    [undefined, false],
    [new HandshakeError('no'), false],
  ])('%p is a temporary error: %s', (error, expected) => {
    expect(isTemporary(error)).toBe(expected);
  });
});
