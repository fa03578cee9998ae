// @ts-nocheck
import { describe, expect, it } from '@jest/globals';
import { negotiate } from '../../../lib/compression/negotiate.js';
import { acceptResponse, offer } from '../../../lib/compression/offer.js';
import { type ExtensionOffer, headerValue } from '../../../lib/compression/parameters.js';
import type { CompressionMode } from '../../../lib/compression/settings.js';

/** `a; b=1, c` as the header's parser gives it. */
function elements(header: string): ExtensionOffer[] {
  return header.split(',').map((element) => {
    const [name = '', ...params] = element.split(';').map((part) => part.trim());
    return {
      name,
      params: params.map((param): [string, string | true] => {
        const [key = '', ...value] = param.split('=');
        return [key, value.length === 0 ? true : value.join('=')];
      }),
    };
  });
}

function answerTo(header: string, mode: CompressionMode = 'shared', windowBits = 12): string | undefined {
  const agreed = negotiate(elements(header), { mode, windowBits });
  return agreed && headerValue(agreed.params);
}

const SHARED = 'permessage-deflate; server_no_context_takeover; client_no_context_takeover';

describe('the server answers an offer (RFC 7692, 5.1 and 7.1)', () => {
  it.each([
    // what browsers send
    ['permessage-deflate; client_max_window_bits', `${SHARED}; server_max_window_bits=12; client_max_window_bits=12`],
    ['permessage-deflate', `${SHARED}; server_max_window_bits=12`],
    // 7.1.1: asked or not
    ['permessage-deflate; server_no_context_takeover', `${SHARED}; server_max_window_bits=12`],
    ['permessage-deflate; client_no_context_takeover', `${SHARED}; server_max_window_bits=12`],
    // 7.1.2.1: the same or smaller
    ['permessage-deflate; server_max_window_bits=15', `${SHARED}; server_max_window_bits=12`],
    ['permessage-deflate; server_max_window_bits=12', `${SHARED}; server_max_window_bits=12`],
    ['permessage-deflate; server_max_window_bits=9', `${SHARED}; server_max_window_bits=9`],
    // 7.1.2.2
    [
      'permessage-deflate; client_max_window_bits=15',
      `${SHARED}; server_max_window_bits=12; client_max_window_bits=12`,
    ],
    ['permessage-deflate; client_max_window_bits=8', `${SHARED}; server_max_window_bits=12; client_max_window_bits=8`],
    [
      'permessage-deflate; server_max_window_bits=10; client_max_window_bits=10; server_no_context_takeover; client_no_context_takeover',
      `${SHARED}; server_max_window_bits=10; client_max_window_bits=10`,
    ],
    // the first acceptable one
    ['x-webkit-deflate-frame, permessage-deflate', `${SHARED}; server_max_window_bits=12`],
    ['permessage-deflate; server_max_window_bits=8, permessage-deflate', `${SHARED}; server_max_window_bits=12`],
    [
      'permessage-deflate; unknown, permessage-deflate; server_max_window_bits=9',
      `${SHARED}; server_max_window_bits=9`,
    ],
  ])('%s', (header, expected) => {
    expect(answerTo(header)).toBe(expected);
  });

  it.each([
    ['permessage-deflate', 'permessage-deflate; server_max_window_bits=12'],
    [
      'permessage-deflate; client_max_window_bits',
      'permessage-deflate; server_max_window_bits=12; client_max_window_bits=12',
    ],
    [
      'permessage-deflate; server_no_context_takeover',
      'permessage-deflate; server_no_context_takeover; server_max_window_bits=12',
    ],
    [
      'permessage-deflate; client_no_context_takeover',
      'permessage-deflate; client_no_context_takeover; server_max_window_bits=12',
    ],
  ])('with contexts of its own: %s', (header, expected) => {
    expect(answerTo(header, 'dedicated')).toBe(expected);
  });

  it('says nothing of the largest window unless asked', () => {
    expect(answerTo('permessage-deflate', 'shared', 15)).toBe(SHARED);
    expect(answerTo('permessage-deflate; server_max_window_bits=15', 'shared', 15)).toBe(
      `${SHARED}; server_max_window_bits=15`,
    );
    expect(answerTo('permessage-deflate; client_max_window_bits', 'shared', 15)).toBe(
      `${SHARED}; client_max_window_bits=15`,
    );
  });

  it.each([
    'permessage-deflate; unknown',
    'permessage-deflate; __proto__',
    'permessage-deflate; constructor=1',
    'permessage-deflate; toString',
    'permessage-deflate; server_no_context_takeover=true',
    'permessage-deflate; client_no_context_takeover=1',
    'permessage-deflate; server_no_context_takeover; server_no_context_takeover',
    'permessage-deflate; client_no_context_takeover; client_no_context_takeover',
    'permessage-deflate; client_max_window_bits; client_max_window_bits=10',
    'permessage-deflate; server_max_window_bits=10; server_max_window_bits=10',
    'permessage-deflate; server_max_window_bits',
    ...['8', '7', '16', '09', '+9', '9.0', '1e1', '0x9', '', ' 9', 'x', '-9', '150', '١٢'].map(
      (bits) => `permessage-deflate; server_max_window_bits=${bits === ' 9' ? '9 9' : bits}`,
    ),
    ...['7', '16', '08', '', 'x'].map((bits) => `permessage-deflate; client_max_window_bits=${bits}`),
    'PerMessage-Deflate',
    'permessage-bzip2',
    'constructor',
  ])('declines: %s', (header) => {
    expect(answerTo(header)).toBeUndefined();
    expect(answerTo(header, 'dedicated')).toBeUndefined();
  });

  it('answers nothing when off, or when nothing was offered', () => {
    expect(answerTo('permessage-deflate', 'off')).toBeUndefined();
    expect(negotiate([], { mode: 'shared', windowBits: 12 })).toBeUndefined();
  });

  it('agrees on the windows and contexts that the answer names', () => {
    const [agreed, free] = ['permessage-deflate; server_max_window_bits=10; client_max_window_bits=9', ''].map(
      (header) =>
        negotiate(elements(header || 'permessage-deflate'), { mode: header ? 'shared' : 'dedicated', windowBits: 15 }),
    );
    expect(agreed).toMatchObject({ serverBits: 10, clientBits: 9, serverTakeover: false, clientTakeover: false });
    expect(free).toMatchObject({ serverBits: 15, clientBits: 15, serverTakeover: true, clientTakeover: true });
    expect(Object.isFrozen(agreed) && Object.isFrozen(agreed?.params)).toBe(true);
  });
});

describe('the client offers, and judges the answer (RFC 7692, 5.1)', () => {
  it('offers', () => {
    expect(offer({ mode: 'off', windowBits: 12 })).toBeUndefined();
    expect(offer({ mode: 'shared', windowBits: 12 })).toBe(`${SHARED}; client_max_window_bits=12`);
    expect(offer({ mode: 'shared', windowBits: 15 })).toBe(`${SHARED}; client_max_window_bits`);
    expect(offer({ mode: 'dedicated', windowBits: 15 })).toBe('permessage-deflate; client_max_window_bits');
    expect(offer({ mode: 'dedicated', windowBits: 10 })).toBe(
      'permessage-deflate; server_max_window_bits=10; client_max_window_bits=10, ' +
        'permessage-deflate; client_max_window_bits=10',
    );
  });

  const judge = (header: string, mode: CompressionMode = 'shared') =>
    acceptResponse(header === '' ? [] : elements(header), { mode, windowBits: 12 });

  it('takes what it offered', () => {
    expect(judge('')).toBeUndefined();
    expect(judge('', 'off')).toBeUndefined();
    expect(judge('permessage-deflate; server_no_context_takeover')).toMatchObject({
      serverTakeover: false,
      clientTakeover: false,
      clientBits: 15,
      serverBits: 15,
    });
    expect(judge(`${SHARED}; server_max_window_bits=8; client_max_window_bits=8`)).toMatchObject({
      serverBits: 8,
      clientBits: 8,
    });
    expect(judge('permessage-deflate', 'dedicated')).toMatchObject({ serverTakeover: true, clientTakeover: true });
    expect(judge('permessage-deflate; client_no_context_takeover', 'dedicated')).toMatchObject({
      clientTakeover: false,
    });
  });

  it.each([
    ['permessage-deflate', 'context-not-dropped'],
    ['permessage-deflate; client_no_context_takeover', 'context-not-dropped'],
    [`${SHARED}; client_max_window_bits=13`, 'window-too-large'],
    [`${SHARED}; client_max_window_bits`, 'bad-parameters'],
    [`${SHARED}; client_max_window_bits=7`, 'bad-parameters'],
    [`${SHARED}; server_max_window_bits`, 'bad-parameters'],
    [`${SHARED}; server_max_window_bits=16`, 'bad-parameters'],
    [`${SHARED}; server_no_context_takeover`, 'bad-parameters'],
    [`${SHARED}; unknown`, 'bad-parameters'],
    [`${SHARED}, ${SHARED}`, 'repeated'],
    ['x-other', 'not-offered'],
    [`${SHARED}, x-other`, 'not-offered'],
  ])('refuses %s', (header, problem) => {
    expect(judge(header)).toBe(problem);
  });

  it('refuses an answer to no offer', () => {
    expect(judge(SHARED, 'off')).toBe('not-offered');
  });
});
