import { createServer, type IncomingMessage, type Server } from 'node:http';
import { Duplex } from 'node:stream';
import { afterAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { listTokens } from '../../../lib/http/fields.js';
import { COMPLETE, FAULT, type RequestHead } from '../../../lib/http/head.js';
import { HeadMeter, measureHead } from '../../../lib/http/head-meter.js';
import { parseRequestHead, parseResponseHead } from '../../../lib/http/head-parser.js';
import { isRefusal, REFUSALS, refusalOf } from '../../../lib/http/refusal.js';
import { checkRequest } from '../../../lib/http/upgrade-request.js';
import { runs } from '../../support/runs.js';
import { headLike, latin1, nearlyValid } from './arbitraries.js';

const parse = (text: string): ReturnType<typeof parseRequestHead> => parseRequestHead(latin1(text));

/** RFC 9112, sections 3 and 5, and RFC 9110, section 5.6.2, as regular expressions. */
function readByPatterns(text: string): ReturnType<typeof parseRequestHead> {
  const start = /^([\w!#$%&'*+\-.^`|~]+) ([!-"$-~]+) HTTP\/(\d\.\d)\r\n/.exec(text);
  const lines = text.slice(start?.[0].length).split('\r\n');
  const fields = lines.slice(0, -2).map((line) => /^([\w!#$%&'*+\-.^`|~]+):([\t -~\x80-\xff]*)$/.exec(line));
  const isWhole = lines.length > 1 && lines.slice(-2).join('') === '';
  if (start === null || !isWhole || fields.includes(null)) return REFUSALS.malformedHead;
  const rawHeaders = fields.flatMap((field) => [field![1]!, field![2]!.replace(/^[\t ]+|[\t ]+$/g, '')]);
  return { method: start[1]!, target: start[2]!, version: start[3]!, rawHeaders };
}

describe('parseRequestHead', () => {
  it('reads method, target, version and headers unchanged (RFC 9112, 3 and 5)', () => {
    expect(parse('GET /a?b=%20 HTTP/1.1\r\nHost: x\r\nA:\t b \xe9\t c \t\r\na:\r\n__proto__: y\r\n\r\n')).toEqual({
      method: 'GET',
      target: '/a?b=%20',
      version: '1.1',
      rawHeaders: ['Host', 'x', 'A', 'b \xe9\t c', 'a', '', '__proto__', 'y'],
    });
    expect(parse('OPTIONS * HTTP/1.0\r\n\r\n')).toEqual({
      method: 'OPTIONS',
      target: '*',
      version: '1.0',
      rawHeaders: [],
    });
  });

  it.each(['Host', 'Sec-WebSocket-Key', 'Sec-WebSocket-Extensions', 'User-Agent'])(
    'keeps the letters of %s and of similar names as received',
    (name) => {
      const upper = name.toUpperCase();
      const names = [name, name.toLowerCase(), upper, `${name}x`, `x${name.slice(1)}`, `${name.slice(0, -1)}!`];
      const rawHeaders = names.flatMap((each) => [each, 'v']);
      const lines = names.map((each) => `${each}: v\r\n`).join('');
      expect(parse(`GET / HTTP/1.1\r\n${lines}\r\n`)).toMatchObject({ rawHeaders });
    },
  );

  it('trims SP and HTAB from values, and no other white space (RFC 9110, 5.5)', () => {
    expect(parse('GET / HTTP/1.1\r\nA: \xa0\x85 \r\n\r\n')).toMatchObject({ rawHeaders: ['A', '\xa0\x85'] });
  });

  const line = 'GET / HTTP/1.1\r\n';
  it.each([
    ['nothing', ''],
    ['an empty line before (HeadMeter removes it)', `\r\n${line}\r\n`],
    ['two spaces (3)', 'GET  / HTTP/1.1\r\n\r\n'],
    ['a space behind the version (3)', 'GET / HTTP/1.1 \r\n\r\n'],
    ['a tab for a space (3)', 'GET\t/ HTTP/1.1\r\n\r\n'],
    ['no target (3)', 'GET HTTP/1.1\r\n\r\n'],
    ['no version (3)', 'GET /\r\n\r\n'],
    ['a method that is not a token (3.1)', 'G(T / HTTP/1.1\r\n\r\n'],
    ['a fragment (3.2)', 'GET /#x HTTP/1.1\r\n\r\n'],
    ['an 8-bit target (3.2)', 'GET /\xe9 HTTP/1.1\r\n\r\n'],
    ['a version in lower case (2.3)', 'GET / http/1.1\r\n\r\n'],
    ['a version of two digits (2.3)', 'GET / HTTP/1.10\r\n\r\n'],
    ['another protocol (2.3)', 'SOURCE /x ICE/1.0\r\n\r\n'],
    ['a bare LF (2.2)', 'GET / HTTP/1.1\nHost: a\r\n\r\n'],
    ['a bare CR (2.2)', `${line}A: b\rc\r\n\r\n`],
    ['a folded line (5.2)', `${line}A: b\r\n c\r\n\r\n`],
    ['white space before a colon (5.1)', `${line}A : b\r\n\r\n`],
    ['an empty name (5.1)', `${line}: b\r\n\r\n`],
    ['no colon (5)', `${line}Ab\r\n\r\n`],
    ['a name that is not a token (5.1)', `${line}A\xe9: b\r\n\r\n`],
    ['NUL (5.5)', `${line}A: \0\r\n\r\n`],
    ['DEL (5.5)', `${line}A: \x7f\r\n\r\n`],
    ['no end', `${line}A: b\r\n`],
    ['half an end', `${line}A: b\r\n\r`],
    ['bytes after the end', `${line}A: b\r\n\r\nx`],
  ])('refuses %s', (_, text) => {
    expect(parse(text)).toBe(REFUSALS.malformedHead);
  });

  it('takes linear time over white space', () => {
    const blanks = ' '.repeat(1_000_000);
    expect(parse(`${line}A: ${blanks}x${blanks}\r\n\r\n`)).toMatchObject({ rawHeaders: ['A', `x`] });
    expect(parse(`${line}A: ${blanks}x${blanks}\0\r\n\r\n`)).toBe(REFUSALS.malformedHead);
  });

  it('agrees with regular expressions taken from the RFCs', () => {
    let accepted = 0;
    const whole = fc.oneof(headLike, nearlyValid).map((text) => text.replace(/^(?:\r\n)+/, ''));
    const large = fc.boolean().map((isLarge) => (isLarge ? `X: ${'x'.repeat(3000)}\r\n` : ''));
    fc.assert(
      fc.property(whole, large, (text, line) => {
        const head = text.replace(/\r\n/, `\r\n${line}`);
        const expected = readByPatterns(head);
        expect(parse(head)).toEqual(expected);
        if (!isRefusal(expected)) accepted++;
      }),
      { numRuns: runs(5000) },
    );
    expect(accepted).toBeGreaterThan(runs(300));
  });

  it('accepts only heads that HeadMeter calls complete', () => {
    fc.assert(
      fc.property(headLike, (text) => {
        if (isRefusal(parse(text))) return;
        const meter = new HeadMeter({ maxLineLength: 8192, maxNumHeaders: 128 });
        expect(meter.push(latin1(text))).toBe(COMPLETE);
        expect(meter.rest).toHaveLength(0);
      }),
      { numRuns: runs(1000) },
    );
  });
});

describe('parseResponseHead', () => {
  it.each([
    [
      'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n',
      101,
      'Switching Protocols',
      ['Upgrade', 'websocket'],
    ],
    ['HTTP/1.1 200 \r\n\r\n', 200, '', []],
    ['HTTP/1.0 503\r\nA:b\r\n\r\n', 503, '', ['A', 'b']],
    ['HTTP/1.1 404 Pas trouv\xe9\r\n\r\n', 404, 'Pas trouv\xe9', []],
  ])('reads %j (RFC 9112, 4)', (text, status, reason, rawHeaders) => {
    expect(parseResponseHead(latin1(text))).toMatchObject({ status, reason, rawHeaders });
  });

  it.each([
    '',
    'HTTP/2.0 200 OK\r\n\r\n',
    'HTTP/1.1 20 OK\r\n\r\n',
    'HTTP/1.1 2000 OK\r\n\r\n',
    'HTTP/1.1  200 OK\r\n\r\n',
    'HTTP/1.1 200 a\0\r\n\r\n',
    'ICY 200 OK\r\n\r\n',
    'HTTP/1.1 200 OK\r\nA : b\r\n\r\n',
    'HTTP/1.1 200 OK\nA: b\r\n\r\n',
  ])('refuses %j (RFC 9112, 4)', (text) => {
    expect(parseResponseHead(latin1(text))).toBe('malformed');
  });
});

describe('measureHead, for heads that Node has parsed', () => {
  const limits = { maxLineLength: 32, maxNumHeaders: 2 };
  const head = (target: string, rawHeaders: string[]): RequestHead => ({
    method: 'GET',
    target,
    version: '1.1',
    rawHeaders,
  });

  it('counts lines, and the bytes of each line with its CRLF', () => {
    expect(measureHead(head('x'.repeat(17), ['A', 'b'.repeat(27), 'C', '']), limits)).toBeUndefined();
    expect(measureHead(head('x'.repeat(18), []), limits)).toBe(REFUSALS.requestLineTooLong);
    expect(measureHead(head('/', ['A', 'b'.repeat(28)]), limits)).toBe(REFUSALS.headerLineTooLong);
    expect(measureHead(head('/', ['A', '', 'A', '', 'A', '']), limits)).toBe(REFUSALS.tooManyHeaders);
  });

  it('agrees with HeadMeter on every head written with single spaces', () => {
    const heads = fc.tuple(fc.nat({ max: 24 }), fc.array(fc.nat({ max: 34 }), { maxLength: 4 }));
    fc.assert(
      fc.property(heads, ([path, lines]) => {
        const text = `GET /${'x'.repeat(path)} HTTP/1.1\r\n${lines.map((n) => `A: ${'b'.repeat(n)}\r\n`).join('')}\r\n`;
        const meter = new HeadMeter(limits);
        meter.push(latin1(text));
        const fault = meter.fault;
        const measured = measureHead(parse(text) as RequestHead, limits);
        expect(measured === undefined).toBe(fault === undefined);
        if (fault === 'start-line-too-long') expect(measured).toBe(refusalOf(fault));
      }),
    );
  });
});

describe("against Node's parser", () => {
  const server = createServer({ maxHeaderSize: 1_000_000 });
  afterAll(() => {
    server.close();
  });

  const required = [
    ['Host', 'example.com'],
    ['Connection', 'Upgrade'],
    ['Upgrade', 'websocket'],
    ['Sec-WebSocket-Key', 'dGhlIHNhbXBsZSBub25jZQ=='],
    ['Sec-WebSocket-Version', '13'],
  ] as const;
  const char = (from: string): fc.Arbitrary<string> => fc.constantFrom(...from);
  const printable = Array.from({ length: 95 }, (_, i) => String.fromCharCode(32 + i)).join('');
  const token = fc.string({ unit: char("!#$%&'*+-.^_`|~09azAZ"), minLength: 1, maxLength: 12 });
  const text = fc.string({ unit: char(`${printable}\t\t\x80\xa0\xff`), maxLength: 20 });
  const known = fc.constantFrom(
    ['Connection', 'keep-alive, upgrade'],
    ['Connection', 'close ,\tUpgrade\t'],
    ['Connection', ', upgrade,'],
    ['Content-Length', '0'],
    ['Content-Length', '00'],
    ['Transfer-Encoding', 'chunked'],
    ['Expect', '100-continue'],
    ['Proxy-Connection', 'close'],
    ['Keep-Alive', 'x'],
    ['Origin', 'http://example.com'],
    ['Upgrade', 'h2c, websocket'],
    ['__proto__', 'x'],
    ['constructor', 'x'],
  );
  const extra = fc.array(fc.oneof(fc.tuple(token, text), known), { maxLength: 40 });
  const blanks = fc.constantFrom('', ' ', ' ', '\t ');
  const mutation = fc.option(
    fc.tuple(
      fc.nat(),
      fc.nat(2),
      fc.oneof(
        char('\r\n\0\t :/,;'),
        fc.nat(255).map((n) => String.fromCharCode(n)),
      ),
    ),
    { freq: 2 },
  );

  const heads = fc
    .tuple(fc.string({ unit: char(printable), maxLength: 20 }), extra, fc.nat(), blanks, mutation)
    .map(([target, headers, at, blank, change]) => {
      const lines = [
        ...headers.slice(0, at % (headers.length + 1)),
        ...required,
        ...headers.slice(at % (headers.length + 1)),
      ];
      const head = `GET /${target} HTTP/1.1\r\n${lines.map(([name, value]) => `${name}:${blank}${value}\r\n`).join('')}\r\n`;
      if (change === null) return head;
      const [place, removed, added] = change;
      return head.slice(0, place % head.length) + added + head.slice((place % head.length) + removed);
    });

  it('Node reads every accepted head as the same upgrade: method, target, headers (RFC 9112)', async () => {
    let accepted = 0;
    await fc.assert(
      fc.asyncProperty(heads, async (head) => {
        const ours = parse(head);
        if (isRefusal(ours) || isRefusal(checkRequest(ours))) return;
        // Node refuses a tab behind this value, which is legal (RFC 9112, section 5).
        if (/^Content-Length:[ \t]*\d+ *\t/im.test(head)) return;
        accepted++;
        const theirs = await readByNode(server, head);
        expect(theirs).toEqual({
          // Node ignores a connection option before a tab, which is legal, and reports a request instead of an upgrade.
          event: head.includes('\t') ? expect.any(String) : 'upgrade',
          method: ours.method,
          target: ours.target,
          version: ours.version,
          rawHeaders: ours.rawHeaders,
        });
      }),
      { numRuns: runs(4000) },
    );
    expect(accepted).toBeGreaterThan(runs(300));
  });

  it('HeadMeter of a shared port finds every upgrade that Node finds (RFC 9110, 7.8)', async () => {
    let seen = 0;
    await fc.assert(
      fc.asyncProperty(fc.oneof(heads, headLike), async (head) => {
        const theirs = await readByNode(server, head);
        if (typeof theirs === 'string' || theirs.event !== 'upgrade' || !asksForWebSocket(theirs.rawHeaders)) return;
        seen++;
        const meter = new HeadMeter({ maxLineLength: 8192, maxNumHeaders: 128 }, { ordinaryLimit: 16_384 });
        expect([COMPLETE, FAULT]).toContain(meter.push(latin1(head)));
      }),
      { numRuns: runs(1500) },
    );
    expect(seen).toBeGreaterThan(runs(300));
  });

  it('Node reads every parsed head that is not an upgrade identically', async () => {
    const lines = fc.array(fc.tuple(token, text), { maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(fc.constantFrom('GET', 'POST', 'M-SEARCH'), lines, async (method, extra) => {
        const head = `${method} /x HTTP/1.1\r\nHost: a\r\n${extra.map(([name, value]) => `X${name}: ${value}\r\n`).join('')}\r\n`;
        const { method: m, target, version, rawHeaders } = parse(head) as RequestHead;
        expect(await readByNode(server, head)).toEqual({ event: 'request', method: m, target, version, rawHeaders });
      }),
    );
  });
});

const asksForWebSocket = (rawHeaders: readonly string[]): boolean =>
  rawHeaders.some(
    (name, i) =>
      i % 2 === 0 && name.toLowerCase() === 'upgrade' && listTokens([rawHeaders[i + 1]!]).includes('websocket'),
  );

interface Reading extends RequestHead {
  readonly event: string;
}

/** The event and the head that an `http.Server` reports for these bytes. */
function readByNode(server: Server, head: string): Promise<Reading | string> {
  const socket = new Duplex({ read: () => {}, write: (_chunk, _encoding, done) => done() });
  const reading = new Promise<Reading | string>((resolve) => {
    const read = (event: string) => (request: IncomingMessage) => {
      const { method = '', url = '', httpVersion, rawHeaders } = request;
      resolve({ event, method, target: url, version: httpVersion, rawHeaders });
    };
    server
      .removeAllListeners('request')
      .removeAllListeners('upgrade')
      .removeAllListeners('clientError')
      .removeAllListeners('checkContinue');
    server.on('upgrade', read('upgrade')).on('request', read('request')).on('checkContinue', read('request'));
    socket.once('end', () => setImmediate(resolve, 'nothing complete'));
    server.on('clientError', (error: Error & { code?: string }) => resolve(`${error.code}: ${error.message}`));
  });
  server.emit('connection', socket);
  socket.push(latin1(head));
  socket.push(null);
  return reading.finally(() => socket.destroy());
}
