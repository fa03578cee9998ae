import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { COMPLETE, FAULT, type HeadFault, type HeadMeterOptions, MORE, ORDINARY } from '../../../lib/http/head.js';
import { HeadMeter } from '../../../lib/http/head-meter.js';
import { PartialHead } from '../../../lib/http/partial-head.js';
import { endOfWholeHead, NOT_AN_UPGRADE, UNUSUAL } from '../../../lib/http/whole-head.js';
import { runs } from '../../support/runs.js';
import { cut, cuts, headLike, latin1, nearlyValid } from './arbitraries.js';

const LIMITS = { maxLineLength: 32, maxNumHeaders: 4 };
const WIDE = { maxLineLength: 8192, maxNumHeaders: 128 };
const SHARED = { ordinaryLimit: 16_384 };
const UPGRADE = 'Upgrade: websocket\r\n';

interface Outcome {
  verdict: 'more' | 'complete' | 'ordinary' | HeadFault;
  /** Bytes pushed, one at a time, when the verdict was reached. */
  at: number;
  head?: string;
}

/** Pushes one byte at a time, so that the verdict's place is exact, or `step` bytes. */
function drip(text: string, options: HeadMeterOptions = {}, limits = LIMITS, step = 1): Outcome {
  const meter = new HeadMeter(limits, options);
  const bytes = latin1(text);
  for (let at = 0; at < bytes.length; at += step) {
    const verdict = meter.push(bytes.subarray(at, at + step));
    if (verdict !== MORE) return { ...outcome(meter, verdict), at: at + step };
  }
  return { verdict: 'more', at: bytes.length };
}

function outcome(meter: HeadMeter, verdict: number): Omit<Outcome, 'at'> {
  if (verdict === COMPLETE) return { verdict: 'complete', head: meter.head.toString('latin1') };
  if (verdict === FAULT) return { verdict: meter.fault! };
  return { verdict: verdict === ORDINARY ? 'ordinary' : 'more' };
}

/** The expected verdict of a whole text, computed differently: lines first, then rules. */
function expected(text: string): string {
  let rest = text.replace(/^(?:\r\n){0,2}/, '');
  for (let number = 0; ; number++) {
    const end = rest.indexOf('\r\n');
    const line = end < 0 ? rest : rest.slice(0, end + 2);
    if (number > 0 && line === '\r\n') return 'complete';
    const shape =
      number === 0 ? /^[\w!#$%&'*+.^`|~-]+(?: [ -~]*\r?\n?)?$/ : /^[\w!#$%&'*+.^`|~-]+(?::[\t -~\x80-\xff]*\r?\n?)?$/;
    const bad = badAt(line, (part) =>
      part === '\r' && number > 0 ? true : shape.test(part) && !/(?<!\r)\n/.test(part),
    );
    const cutAt = LIMITS.maxLineLength + 1;
    if (number > LIMITS.maxNumHeaders && bad !== 1 && /^[^\r]/.test(line)) return 'too-many-lines';
    if (bad !== undefined && bad < cutAt) return 'malformed';
    if (line.length >= cutAt) return number === 0 ? 'start-line-too-long' : 'line-too-long';
    if (end < 0) return 'more';
    rest = rest.slice(end + 2);
  }
}

const badAt = (line: string, good: (part: string) => boolean): number | undefined => {
  for (let length = 1; length <= line.length; length++) if (!good(line.slice(0, length))) return length;
  return undefined;
};

describe('HeadMeter, dedicated port', () => {
  const head = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';

  it('takes a whole head without copying it, and returns the bytes after it (RFC 9112, 2.1)', () => {
    const chunk = latin1(`${head}frames`);
    const meter = new HeadMeter(LIMITS);
    expect(meter.push(chunk)).toBe(COMPLETE);
    expect(meter.head.toString('latin1')).toBe(head);
    expect(meter.head.buffer).toBe(chunk.buffer);
    expect(meter.rest.toString('latin1')).toBe('frames');
    expect(meter.bytes).toBe(0);
    expect(meter.push(latin1('\0'))).toBe(COMPLETE);
  });

  it('skips up to two empty lines before the start line (RFC 9112, 2.2)', () => {
    expect(drip(`\r\n${head}`)).toEqual({ verdict: 'complete', at: head.length + 2, head });
    expect(drip(`\r\n\r\n${head}`)).toEqual({ verdict: 'complete', at: head.length + 4, head });
    const meter = new HeadMeter(LIMITS);
    expect(meter.push(latin1(`\r\n\r\n${head}x`))).toBe(COMPLETE);
    expect([meter.head.toString('latin1'), meter.rest.toString('latin1')]).toEqual([head, 'x']);
  });

  it('starts over for the next head', () => {
    const meter = new HeadMeter(LIMITS);
    meter.push(latin1(`\r\n\r\n${head}`));
    meter.next();
    expect(meter.push(latin1(`${head}x`))).toBe(COMPLETE);
    expect([meter.head.toString('latin1'), meter.rest.toString('latin1')]).toEqual([head, 'x']);
  });

  const start = 'GET / HTTP/1.1\r\n';
  const many = (n: number): string => 'a:b\r\n'.repeat(n);
  it.each<[string, string, HeadFault | 'complete' | 'more', number]>([
    ['third empty line (2.2)', '\r\n\r\n\r\n', 'malformed', 5],
    ['empty line with a bare LF (2.2)', '\n', 'malformed', 1],
    ['CR without LF before the start line (2.2)', '\rG', 'malformed', 2],
    ['TLS hello', '\x16\x03\x01', 'malformed', 1],
    ['start line of exactly the limit', `GET /${'x'.repeat(16)} HTTP/1.1\r\n`, 'more', 32],
    ['start line of one byte more', `GET /${'x'.repeat(17)} HTTP/1.1\r\n`, 'start-line-too-long', 33],
    ['start line without an end', `GET /${'x'.repeat(100)}`, 'start-line-too-long', 33],
    ['method without an end', 'G'.repeat(100), 'start-line-too-long', 33],
    ['method with a forbidden byte (3.1)', 'GE(', 'malformed', 3],
    ['start line of a method alone', 'GET\r\n', 'malformed', 4],
    ['NUL in the start line', 'GET /\0', 'malformed', 6],
    ['8-bit byte in the start line', 'GET /\xe9', 'malformed', 6],
    ['tab in the start line', 'GET\t/', 'malformed', 4],
    ['bare LF after the start line (2.2)', 'GET / HTTP/1.1\n', 'malformed', 15],
    ['bare CR in the start line (2.2)', 'GET / HTTP/1.1\rX', 'malformed', 16],
    ['header line of exactly the limit', `${start}a:${'b'.repeat(28)}\r\n`, 'more', 48],
    ['header line of one byte more', `${start}a:${'b'.repeat(29)}\r\n`, 'line-too-long', 49],
    ['header line without an end', `${start}a:${'b'.repeat(99)}`, 'line-too-long', 49],
    ['name without an end', `${start}${'a'.repeat(99)}`, 'line-too-long', 49],
    ['blanks without an end', `${start}a:${' '.repeat(99)}`, 'line-too-long', 49],
    ['as many header lines as the limit', `${start}${many(4)}\r\n`, 'complete', 38],
    ['one header line more than the limit, at its first byte', `${start}${many(4)}a`, 'too-many-lines', 37],
    ['folded line (5.2)', `${start}a:b\r\n c`, 'malformed', 22],
    ['folded line with a tab (5.2)', `${start}a:b\r\n\tc`, 'malformed', 22],
    ['white space before the first header (2.2)', `${start} a:b`, 'malformed', 17],
    ['white space before the colon (5.1)', `${start}a :b`, 'malformed', 18],
    ['empty name (5.1)', `${start}:b`, 'malformed', 17],
    ['forbidden byte in a name (5.1)', `${start}a\xe9:b`, 'malformed', 18],
    ['no colon (5)', `${start}ab\r\n`, 'malformed', 19],
    ['bare LF after a header (2.2)', `${start}a:b\n`, 'malformed', 20],
    ['bare CR in a header (2.2)', `${start}a:b\rc`, 'malformed', 21],
    ['bare LF as the end (2.2)', `${start}\n`, 'malformed', 17],
    ['CR without LF at the end (2.2)', `${start}\ra`, 'malformed', 18],
    ['NUL in a value (5.5)', `${start}a:\0`, 'malformed', 19],
    ['DEL in a value (5.5)', `${start}a:\x7f`, 'malformed', 19],
    ['ESC in a value (5.5)', `${start}a:\x1b[2J`, 'malformed', 19],
    ['obs-text and tabs in a value (5.5)', `${start}a:\t\xff\x80 ~\r\n\r\n`, 'complete', 27],
    ['empty value', `${start}a:\r\n\r\n`, 'complete', 22],
    ['no header at all', `${start}\r\n`, 'complete', 18],
  ])('measures byte by byte: %s', (_, text, verdict, at) => {
    expect(drip(text)).toMatchObject({ verdict, at });
  });

  it('accepts 128 lines of 8000 bytes and no line more', () => {
    const line = (i: number): string => `x${i}: `.padEnd(7998, 'v').concat('\r\n');
    const lines = Array.from({ length: 128 }, (_, i) => line(i)).join('');
    const head = `${start}${lines}\r\n`;
    for (const step of [head.length, 1400])
      expect(drip(head, {}, WIDE, step)).toMatchObject({ verdict: 'complete', head });
    expect(drip(`${start}${lines}a`, {}, WIDE, 1400).verdict).toBe('too-many-lines');
  });

  it('holds memory in proportion to the bytes, not to the chunks, and none after a fault', () => {
    const meter = new HeadMeter(WIDE);
    meter.push(latin1(`${start}a:`));
    expect(meter.bytes).toBeLessThanOrEqual(512);
    const sizes = new Set<number>();
    for (let i = 0; i < 8000; i++) {
      meter.push(latin1('b'));
      sizes.add(meter.bytes);
    }
    expect(Math.max(...sizes)).toBeLessThanOrEqual(16_384);
    // Reallocated a few times in all, not for every byte.
    expect(sizes.size).toBeLessThanOrEqual(6);
    expect(meter.push(latin1('b'.repeat(400)))).toBe(FAULT);
    expect(meter.bytes).toBe(0);
  });

  it('keeps a copy of an incomplete head, not the slab of the read', () => {
    const slab = Buffer.alloc(65_536, 'x');
    const part = slab.subarray(0, slab.write(start));
    const meter = new HeadMeter(WIDE);
    meter.push(part);
    slab.fill('!');
    meter.push(latin1('\r\n'));
    expect(meter.head.toString('latin1')).toBe(`${start}\r\n`);
    expect(meter.head.buffer.byteLength).toBeLessThan(1024);
  });

  it('agrees on every text with a line-based implementation', () => {
    fc.assert(
      fc.property(headLike, (text) => {
        expect(drip(text).verdict).toBe(expected(text));
      }),
      { numRuns: runs(3000) },
    );
  });
});

describe('HeadMeter, shared port', () => {
  const start = 'GET / HTTP/1.1\r\n';
  const CONNECTION = 'Connection: Upgrade\r\n';
  const long = `a:${'b'.repeat(99)}\r\n`;

  it.each<[string, string, Outcome['verdict'], number]>([
    ['an ordinary head', `${start}a:b\r\n\r\n`, 'ordinary', 22],
    ['an ordinary head with long lines', `${start}${long}\r`, 'ordinary', 120],
    ['an ordinary head with many lines', `${start}${'a:b\r\n'.repeat(50)}\r\n`, 'ordinary', 267],
    ['Upgrade: h2c', `${start}Upgrade: h2c\r\n\r\n`, 'ordinary', 31],
    [
      'Upgrade: websocket/13 is another protocol (RFC 9110, 7.8)',
      `${start}Upgrade: websocket/13\r\n\r\n`,
      'ordinary',
      40,
    ],
    ['Upgrade: websocke', `${start}Upgrade: websocke\r\n\r`, 'ordinary', 36],
    ['a folded line behind another header', `${start}Upgrade: h2c\r\nA: b\r\n websocket\r\n\r`, 'ordinary', 49],
    ['Upgrade: xwebsocket', `${start}Upgrade: xwebsocket\r\n\r\n`, 'ordinary', 38],
    ['a header whose name starts with Upgrade', `${start}Upgrade: web socket\r\n\r\n`, 'ordinary', 38],
    ['a header whose name ends with Upgrade', `${start}Upgrade-Insecure-Requests: websocket\r\n\r`, 'ordinary', 55],
    ['a header whose name ends alike', `${start}X-Upgrade: websocket\r\n\r`, 'ordinary', 39],
    ['a header without a colon', `${start}Upgrade websocket\r\nupgrade\r\nupgr\r\n\r`, 'ordinary', 51],
    ['a header whose value contains an Upgrade line', `${start}X: Upgrade: websocket\r\n\r`, 'ordinary', 40],
    ['bare LF as line ends', 'GET / HTTP/1.1\n\n', 'ordinary', 16],
    ['bare CR as line ends', 'GET / HTTP/1.1\r\r', 'ordinary', 16],
    ['a TLS hello', '\x16\x03\x01', 'ordinary', 1],
    ['an invalid method', 'GE(', 'ordinary', 3],
    ['a method alone', 'GET\r\n', 'ordinary', 4],
    ['a tunnel (RFC 9110, 9.3.6)', `CONNECT a:80 HTTP/1.1\r\n${UPGRADE}${CONNECTION}\r\n`, 'ordinary', 8],
    ['a tunnel behind empty lines', `\r\n\r\nCONNECT a:80 HTTP/1.1\r\n${UPGRADE}${CONNECTION}\r\n`, 'ordinary', 12],
    ['a method that starts with CONNECT', `CONNECTX / HTTP/1.1\r\n${UPGRADE}${CONNECTION}\r\n`, 'complete', 64],
    ['connect in lower case', `connect / HTTP/1.1\r\n${UPGRADE}${CONNECTION}\r\n`, 'complete', 63],
    ['HTTP/2 preface', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'ordinary', 17],
    ['an upgrade within the limit', `${start}${UPGRADE}${CONNECTION}\r\n`, 'complete', 59],
    ['an upgrade without Connection (RFC 9110, 7.8)', `${start}${UPGRADE}\r\n`, 'ordinary', 38],
    ['an upgrade that Connection does not name', `${start}${UPGRADE}Connection: x, upgraded\r\n\r\n`, 'ordinary', 63],
    ['a connection option before a tab', `${start}${UPGRADE}Connection: upgrade\t\r\n\r\n`, 'complete', 60],
    ['connection options in a list', `${start}Connection: x,\tUPGRADE ,y\r\n${UPGRADE}\r\n`, 'complete', 65],
    [
      'an upgrade in any case, in a list, with tabs',
      `${start}UPGRADE:\th2c ,\tWebSocket\t\r\n${CONNECTION}\r\n`,
      'complete',
      66,
    ],
    ['an upgrade in a second line', `${start}Upgrade: h2c\r\n${UPGRADE}${CONNECTION}\r\n`, 'complete', 73],
    ['a line too long before Upgrade, reported at Upgrade', `${start}${long}${UPGRADE}`, 'line-too-long', 138],
    ['a start line too long', `GET /${'x'.repeat(99)} HTTP/1.1\r\n${UPGRADE}`, 'start-line-too-long', 134],
    ['too many lines', `${start}${'a:b\r\n'.repeat(5)}${UPGRADE}`, 'too-many-lines', 60],
    ['a line too long after Upgrade, reported at once', `${start}${UPGRADE}${long}`, 'line-too-long', 36 + 33],
    ['an Upgrade line too long after its token', `${start}Upgrade: websocket, ${'x'.repeat(50)}`, 'line-too-long', 49],
    ['the first of several faults', `${start}${long}a b\r\n${UPGRADE}`, 'line-too-long', 143],
    ['an upgrade with bare LF (2.2)', 'GET / HTTP/1.1\nUpgrade: websocket\n', 'malformed', 34],
    ['an upgrade after a folded line (5.2)', `${start}a:b\r\n c\r\n${UPGRADE}`, 'malformed', 44],
    ['Upgrade in a folded line (5.2)', `${start}Upgrade:\r\n websocket\r\n`, 'malformed', 37],
    ['white space before the colon of Upgrade (5.1)', `${start}Upgrade : websocket\r\n`, 'malformed', 36],
    ['three empty lines before an upgrade (2.2)', `\r\n\r\n\r\n${start}${UPGRADE}`, 'malformed', 41],
  ])('measures byte by byte: %s', (_, text, verdict, at) => {
    expect(drip(text, SHARED)).toMatchObject({ verdict, at });
  });

  it('gives Node a head whose Upgrade is beyond the limit, exact to the byte', () => {
    const before = `${start}a:b\r\n`;
    const exact = { ordinaryLimit: before.length + UPGRADE.length - 1 };
    expect(drip(`${before}${UPGRADE}${CONNECTION}\r\n`, exact).verdict).toBe('complete');
    expect(drip(`${before}${UPGRADE}${CONNECTION}\r\n`, { ordinaryLimit: exact.ordinaryLimit - 1 }).verdict).toBe(
      'ordinary',
    );
    expect(drip('x'.repeat(20_000), SHARED)).toMatchObject({ verdict: 'ordinary', at: 16_385 });
  });

  it('accepts a long head that starts with Upgrade', () => {
    const lines = Array.from({ length: 127 }, (_, i) => `x${i}: `.padEnd(7998, 'v').concat('\r\n')).join('');
    expect(
      drip(`${start}${UPGRADE}${lines.slice(lines.indexOf('\n') + 1)}${CONNECTION}\r\n`, SHARED, WIDE, 1400).verdict,
    ).toBe('complete');
  });

  it('returns every byte of an ordinary head', () => {
    fc.assert(
      fc.property(headLike, cuts, (text, places) => {
        const meter = new HeadMeter(LIMITS, { ordinaryLimit: 60 });
        let fed = '';
        for (const chunk of cut(latin1(text), places)) {
          fed += chunk.toString('latin1');
          const verdict = meter.push(chunk);
          if (verdict === ORDINARY) expect(meter.bytesSoFar.toString('latin1')).toBe(fed);
          if (verdict !== MORE) return;
        }
      }),
    );
  });

  it('accepts exactly the upgrades that a dedicated port accepts', () => {
    fc.assert(
      fc.property(headLike, (text) => {
        const own = drip(text);
        const shared = drip(text, SHARED);
        if (shared.verdict === 'complete') expect(own).toEqual(shared);
        else if (shared.verdict !== 'ordinary' && shared.verdict !== 'more') expect(own.verdict).toBe(shared.verdict);
        else if (own.verdict === 'complete') {
          if (own.head!.startsWith('CONNECT ')) return;
          const asks = /^upgrade:(?:.*,)?[\t ]*websocket[\t ]*(?:,.*)?\r$/im.test(own.head!);
          expect(asks && /^connection:(?:.*,)?[\t ]*upgrade[\t ]*(?:,.*)?\r$/im.test(own.head!)).toBe(false);
        }
      }),
      { numRuns: runs(2000) },
    );
  });
});

describe('endOfWholeHead', () => {
  const start = 'GET / HTTP/1.1\r\n';
  const upgrade = `${start}Host: a\r\n${UPGRADE}Connection: Upgrade\r\n\r\n`;
  const shared = SHARED.ordinaryLimit;

  it.each<[string, string, number | undefined, number]>([
    ['a dedicated port', `${start}Host: a\r\n\r\n`, undefined, 27],
    ['a dedicated port, with frames after the head', `${start}\r\nframes`, undefined, 18],
    ['two empty lines before it', `\r\n\r\n${start}\r\n`, undefined, 22],
    ['an upgrade', upgrade, shared, upgrade.length],
    ['an upgrade with other letter case', upgrade.replace('Upgrade: websocket', 'UPGRADE:\tWebSocket '), shared, 69],
    ['an upgrade that Connection does not name', upgrade.replace('Connection', 'Konnection'), shared, UNUSUAL],
    [
      'an upgrade that Connection names before a tab',
      upgrade.replace('Upgrade\r\n\r', 'Upgrade\t\r\n\r'),
      shared,
      UNUSUAL,
    ],
    ['an upgrade within the limit', upgrade, 44, upgrade.length],
    ['an upgrade beyond the limit', upgrade, 43, UNUSUAL],
    ['an upgrade in a list of protocols', upgrade.replace('websocket', 'h2c, websocket'), shared, UNUSUAL],
    ['an upgrade to another protocol', upgrade.replace('websocket', 'h2c'), shared, UNUSUAL],
    ['an upgrade after the end of the head', `${start}\r\n${upgrade}`, shared, NOT_AN_UPGRADE],
    ['an ordinary request', `${start}Host: a\r\nUpgrade-Insecure-Requests: 1\r\n\r\n`, shared, NOT_AN_UPGRADE],
    ['an incomplete head', upgrade.slice(0, -1), shared, UNUSUAL],
    ['a head with a fault', upgrade.replace('Host:', 'Host :'), shared, UNUSUAL],
    ['no bytes', '', undefined, UNUSUAL],
  ])('classifies in one pass: %s', (_, text, ordinaryLimit, end) => {
    expect(endOfWholeHead(latin1(text), WIDE, ordinaryLimit)).toBe(end);
  });
});

describe('HeadMeter, any port', () => {
  const modes: readonly HeadMeterOptions[] = [{}, SHARED, { ordinaryLimit: 60 }, { kind: 'response' }];

  it('gives a head that arrives in one chunk the verdict of its bytes one by one', () => {
    const limits = [LIMITS, WIDE, { maxLineLength: 48, maxNumHeaders: 8 }];
    const seen = new Set<number>();
    fc.assert(
      fc.property(
        fc.oneof(headLike, nearlyValid),
        fc.constantFrom(...modes, { ordinaryLimit: 105 }, { ordinaryLimit: 106 }),
        fc.constantFrom(...limits),
        (text, options, lengths) => {
          const meter = new HeadMeter(lengths, options);
          const pieces = new PartialHead(lengths, options);
          const verdict = meter.push(latin1(text));
          seen.add(verdict);
          expect(verdict).toBe(pieces.push(latin1(text)));
          for (const member of ['head', 'rest', 'bytesSoFar'] as const)
            expect(meter[member].toString('latin1')).toBe(pieces[member].toString('latin1'));
          expect([meter.fault, meter.isUpgrade, meter.bytes]).toEqual([pieces.fault, pieces.isUpgrade, pieces.bytes]);
        },
      ),
      { numRuns: runs(4000) },
    );
    expect(seen).toEqual(new Set([MORE, COMPLETE, FAULT, ORDINARY]));
  });

  it('adds the lines of a head in one chunk to the count for the next head', () => {
    fc.assert(
      fc.property(fc.nat(5), fc.nat(5), (before, after) => {
        const head = (lines: number): Buffer => latin1(`GET / HTTP/1.1\r\n${'a:b\r\n'.repeat(lines)}\r\n`);
        const meter = new HeadMeter(LIMITS);
        expect(meter.push(head(before))).toBe(before > 4 ? FAULT : COMPLETE);
        if (before > 4) return;
        meter.next();
        expect(meter.push(head(after))).toBe(before + after > 4 ? FAULT : COMPLETE);
      }),
    );
  });

  it('gives the same verdict for any chunking of the bytes', () => {
    fc.assert(
      fc.property(fc.oneof(headLike, nearlyValid), cuts, fc.constantFrom(...modes), (text, places, options) => {
        const meter = new HeadMeter(LIMITS, options);
        let verdict: number = MORE;
        let left = '';
        for (const chunk of cut(latin1(text), places)) {
          if (verdict === MORE) verdict = meter.push(chunk);
          else left += chunk.toString('latin1');
        }
        const { at, ...dripped } = drip(text, options);
        expect(outcome(meter, verdict)).toEqual(dripped);
        if (verdict === COMPLETE) expect(meter.rest.toString('latin1') + left).toBe(text.slice(at));
      }),
      { numRuns: runs(2000) },
    );
  });

  it('never throws, and holds at most twice the bytes pushed', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 700 })), fc.constantFrom(...modes), (chunks, options) => {
        const meter = new HeadMeter(WIDE, options);
        let given = 0;
        for (const chunk of chunks) {
          given += chunk.length;
          meter.push(Buffer.from(chunk));
          expect(meter.bytes).toBeLessThanOrEqual(Math.max(512, 2 * given));
        }
      }),
    );
  });
});

describe('HeadMeter, responses', () => {
  const response = (): HeadMeter => new HeadMeter(LIMITS, { kind: 'response' });

  it.each<[string, string, Outcome['verdict']]>([
    ['a 101', 'HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n', 'complete'],
    ['a reason in latin1 (4)', 'HTTP/1.1 404 Pas trouv\xe9\r\n\r\n', 'complete'],
    ['a status line too long', `HTTP/1.1 200 ${'x'.repeat(99)}`, 'start-line-too-long'],
    ['a bare LF (2.2)', 'HTTP/1.1 200 OK\n', 'malformed'],
    ['a folded header (5.2)', 'HTTP/1.1 200 OK\r\na: b\r\n c', 'malformed'],
  ])('measures byte by byte: %s', (_, text, verdict) => {
    expect(drip(text, { kind: 'response' }).verdict).toBe(verdict);
  });

  it('limits the header lines of all heads of a connection together', () => {
    const early = latin1('HTTP/1.1 103 Early\r\na:b\r\na:b\r\n\r\n');
    const last = (lines: number): Buffer => latin1(`HTTP/1.1 101 S\r\n${'a:b\r\n'.repeat(lines)}\r\n`);
    for (const [lines, verdict] of [
      [2, COMPLETE],
      [3, FAULT],
    ] as const) {
      const meter = response();
      expect(meter.push(Buffer.concat([early, last(lines)]))).toBe(COMPLETE);
      const rest = meter.rest;
      meter.next();
      expect(meter.push(rest)).toBe(verdict);
    }
  });

  it('limits the heads without header lines', () => {
    const meter = response();
    const verdicts = Array.from({ length: 6 }, () => {
      const verdict = meter.push(latin1('HTTP/1.1 100 C\r\n\r\n'));
      if (verdict === COMPLETE) meter.next();
      return verdict;
    });
    expect(verdicts).toEqual([COMPLETE, COMPLETE, COMPLETE, COMPLETE, COMPLETE, FAULT]);
  });
});
