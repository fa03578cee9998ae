import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { listTokens, lowerCaseHeaders, parseCookies } from '../../../lib/http/fields.js';

describe('lowerCaseHeaders', () => {
  it('joins repeated lines, joins cookies with semicolons, and keeps the first of a singleton header (RFC 9110, 5.3)', () => {
    const raw = [
      'A',
      '1',
      'a',
      '2',
      'Cookie',
      'x=1',
      'COOKIE',
      'y=2',
      'Authorization',
      'p',
      'authorization',
      'q',
      'Host',
      'h',
      'host',
      'i',
    ];
    expect({ ...lowerCaseHeaders(raw) }).toEqual({ a: '1, 2', cookie: 'x=1; y=2', authorization: 'p', host: 'h' });
  });

  it('joins empty values too', () => {
    expect({ ...lowerCaseHeaders(['a', '', 'a', 'x']) }).toEqual({ a: ', x' });
  });

  it('returns a record without a prototype that may hold the names of Object.prototype', () => {
    const record = lowerCaseHeaders(['__proto__', 'x', 'constructor', 'y']);
    expect(Object.getPrototypeOf(record)).toBeNull();
    expect(Object.entries(record)).toEqual([
      ['__proto__', 'x'],
      ['constructor', 'y'],
    ]);
    expect(record['toString']).toBeUndefined();
  });
});

describe('parseCookies (RFC 6265, 4.2.1)', () => {
  it.each<[string, string | undefined, Record<string, string>]>([
    ['no header', undefined, {}],
    ['an empty header', '', {}],
    ['two cookies', 'a=1; b=2', { a: '1', b: '2' }],
    ['a repeated name, of which the first counts', 'a=1; a=2', { a: '1' }],
    ['a repeated name, of which the first is empty', 'a=; a=2', { a: '' }],
    ['an equals sign in a value', 'a=b=c', { a: 'b=c' }],
    ['quotes', 'a="b c"; d="; e="', { a: 'b c', d: '"', e: '"' }],
    ['percent encoding', 'a=%20%C3%A9', { a: ' é' }],
    ['broken percent encoding', 'a=%; b=%zz; c=%FF', { a: '%', b: '%zz', c: '%FF' }],
    ['white space', '\ta = b ;c=d', { a: 'b', c: 'd' }],
    ['no name, no equals sign', '=a; b; ;c=d', { c: 'd' }],
  ])('parses %s', (_, header, cookies) => {
    expect({ ...parseCookies(header) }).toEqual(cookies);
  });

  it('returns a record without a prototype', () => {
    const cookies = parseCookies('__proto__=x; constructor=y');
    expect(Object.getPrototypeOf(cookies)).toBeNull();
    expect(Object.entries(cookies)).toEqual([
      ['__proto__', 'x'],
      ['constructor', 'y'],
    ]);
  });

  it('parses at most 1024 cookies', () => {
    const header = Array.from({ length: 3000 }, (_, i) => `c${i}=`).join(';');
    expect(Object.keys(parseCookies(header))).toHaveLength(1024);
  });

  it('never throws', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...'ab=;%"2 \t\xe9') }), (header) => void parseCookies(header)),
    );
  });
});

describe('listTokens (RFC 9110, 5.6.1)', () => {
  it('reads one list from all lines, in lower case, without empty elements', () => {
    expect(listTokens(['A, b\t,', ' ,c', ''])).toEqual(['a', 'b', 'c']);
  });
});
