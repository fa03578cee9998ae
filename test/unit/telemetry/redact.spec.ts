import { inspect } from 'node:util';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { errorText } from '../../../lib/telemetry/error-text.js';
import { NOT_SHOWN, withoutValues } from '../../../lib/telemetry/redact.js';
import { turn } from '../../support/time.js';

const SECRET = 'hunter2-Sésame/open?&=now';
const base64 = (text: string) => Buffer.from(text).toString('base64');
const jwt = (payload: object) =>
  ['{"alg":"HS256"}', JSON.stringify(payload), 'signature!']
    .map((part) => Buffer.from(part).toString('base64url'))
    .join('.');

/** Encodings in which a request carries a value. */
const CARRIERS: Record<string, (value: string) => { rawHeaders: string[]; rawQuery: string }> = {
  'a header': (value) => ({ rawHeaders: ['X-Api-Key', Buffer.from(value).toString('latin1')], rawQuery: '' }),
  'a bearer token': (value) => ({ rawHeaders: ['authorization', `Bearer ${encodeURIComponent(value)}`], rawQuery: '' }),
  'Basic credentials': (value) => ({ rawHeaders: ['Authorization', `Basic ${base64(`ada:${value}`)}`], rawQuery: '' }),
  'a cookie': (value) => ({ rawHeaders: ['Cookie', `a=1; sid=${encodeURIComponent(value)}; b=2`], rawQuery: '' }),
  'a JSON cookie': (value) => ({
    rawHeaders: ['Cookie', `sid=${encodeURIComponent(`j:${JSON.stringify({ token: value })}`)}`],
    rawQuery: '',
  }),
  'a query': (value) => ({ rawHeaders: [], rawQuery: `a=1&ticket=${encodeURIComponent(value)}` }),
  'a query encoded twice': (value) => ({
    rawHeaders: [],
    rawQuery: `t=${encodeURIComponent(encodeURIComponent(value))}`,
  }),
  'a form': (value) => ({ rawHeaders: [], rawQuery: new URLSearchParams({ t: value }).toString() }),
  'a base64 query': (value) => ({ rawHeaders: [], rawQuery: `t=${encodeURIComponent(base64(value))}` }),
  'a subprotocol': (value) => ({
    rawHeaders: ['Sec-WebSocket-Protocol', `chat, bearer.${Buffer.from(value).toString('base64url')}`],
    rawQuery: '',
  }),
  'a JSON Web Token': (value) => ({ rawHeaders: ['Authorization', `Bearer ${jwt({ sub: value })}`], rawQuery: '' }),
  'a hexadecimal header': (value) => ({ rawHeaders: ['X-Key', Buffer.from(value).toString('hex')], rawQuery: '' }),
};

/** Encodings in which an error message repeats the value. */
const FORMS: Record<string, (value: string) => string> = {
  raw: (value) => value,
  'percent-encoded': encodeURIComponent,
  base64,
  base64url: (value) => Buffer.from(value).toString('base64url'),
  'base64 of a longer text': (value) => base64(`user:${value}`),
  hexadecimal: (value) => Buffer.from(value).toString('hex'),
  'JSON escapes': (value) =>
    [...value].map((char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`).join(''),
  'percent-encoding of every byte': (value) => [...Buffer.from(value)].map((byte) => `%${byte.toString(16)}`).join(''),
  'HTML entities': (value) => [...value].map((char) => `&#${char.charCodeAt(0)};`).join(''),
  'a Buffer': (value) => inspect(Buffer.from(value)),
  'character codes': (value) => [...value].map((char) => char.charCodeAt(0)).join(','),
  JSON: (value) => JSON.stringify({ value }),
  backwards: (value) => [...value].reverse().join(''),
  'upper case': (value) => value.toUpperCase(),
  'lower case': (value) => value.toLowerCase(),
  'its beginning': (value) => value.slice(0, 9),
  'its end': (value) => value.slice(-8),
  reformatted: (value) => value.replace(/[-/?&=]/g, '_'),
};

/** Every part of the secret that would help a reader. */
const PARTS = ['hunter2', 'sésame', 'open', '2retnuh', 'emasés'];

describe('withoutValues', () => {
  for (const [where, carry] of Object.entries(CARRIERS))
    it.each(Object.keys(FORMS))(`redacts ${where}: %s`, (form) => {
      const request = carry(SECRET);
      const said = withoutValues(`the token ${FORMS[form]!(SECRET)} is not known`, request);
      expect(said).toMatch(/^the (?:token )?.*…"?\}? is not known$/);
      const lower = said.toLowerCase();
      for (const part of PARTS) expect(lower).not.toContain(part.toLowerCase());
      for (const encoded of [base64(SECRET), Buffer.from(SECRET).toString('hex')])
        for (let at = 0; at + 8 <= encoded.length; at++) expect(said).not.toContain(encoded.slice(at, at + 8));
    });

  it('redacts the raw value of every header', () => {
    const request = {
      rawHeaders: ['X-Key', 'k9!', 'User-Agent', 'curl/8.1', 'Host', 'app.example'],
      rawQuery: 'pin=4711',
    };
    expect(withoutValues('key k9! of curl/8.1 at app.example, pin 4711, pins 47111', request)).toBe(
      'key … of … at …, pin …, pins 47111',
    );
  });

  it('redacts values of two characters, and parameter names that may be tokens', () => {
    const request = {
      rawHeaders: ['X-Pin', 'k9', 'Cookie', 'a=1; pin=42; b=xy'],
      rawQuery: 'code=77&room=lobby&3f9ac2=1&letmeinplease=&averyverylongtokenname=x',
    };
    expect(withoutValues('number 42, xy and k9, code 77 of 4242 in room lobby', request)).toBe(
      'number …, … and …, code … of 4242 in room …',
    );
    expect(withoutValues('3f9ac2 letmeinplease averyverylongtokenname', request)).toBe('…');
  });

  it('keeps words that are not values of the request', () => {
    const request = { rawHeaders: ['Upgrade', 'websocket', 'Authorization', 'Bearer canary-token-1'], rawQuery: 'q=x' };
    for (const words of [
      'no such token',
      'the websocket upgrade failed',
      'Bearer is missing',
      'connect ECONNREFUSED 10.0.0.1:5432',
    ])
      expect(withoutValues(words, request)).toBe(words);
  });

  it('redacts any value', () => {
    const value = fc.string({ minLength: 8, maxLength: 40, unit: 'grapheme' }).filter((each) => /\p{L}{4}/u.test(each));
    fc.assert(
      fc.property(value, (each) => {
        const rawQuery = `t=${encodeURIComponent(Buffer.from(each).toString())}`;
        expect(withoutValues(`no ${each} here`, { rawHeaders: [], rawQuery })).not.toContain(each);
      }),
    );
  });

  it('hides the whole message, quickly, when the request carries more than can be searched', () => {
    const cookie = Array.from({ length: 2000 }, (_, at) => `c${at}=${at * 7919}`).join('; ');
    expect(withoutValues('x', { rawHeaders: ['Cookie', cookie], rawQuery: '' })).toBe(NOT_SHOWN);
    const rawQuery = `t=${Buffer.alloc(5000, 'QUJD').toString()}`;
    expect(withoutValues('QUJDQUJD', { rawHeaders: [], rawQuery })).not.toContain('QUJD');
  });
});

it('hides a value that repeats one character in linear time', async () => {
  const value = 'a'.repeat(8000);
  const request = { rawHeaders: ['X-Token', value], rawQuery: '' };
  // If each repetition was compared with each, the time limit of the test would pass: a round takes a hundred times as long.
  for (let round = 0; round < 1500; round++) {
    expect(withoutValues(`no ${value.slice(1, 2000)}`, request)).toBe('no …');
    await turn();
  }
});

describe('errorText', () => {
  it('does not take a line of the message for the stack frame', () => {
    const error = new Error('first\n    at evil (secret-1:1:1)');
    expect(errorText(error).split(' at ').slice(2).join()).not.toContain('secret');
    error.message = 'changed';
    expect(errorText(error)).toBe('Error: changed');
  });

  it('omits the stack frame of an error that cannot be read', () => {
    const hostile = Object.defineProperty(new Error('x'), 'stack', {
      get() {
        throw new Error('no');
      },
    });
    expect(errorText(hostile)).toBe('Error: x');
    expect(errorText(Object.create(null))).toBe('a thrown value without a text');
  });
});
