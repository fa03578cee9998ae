import { describe, expect, it } from '@jest/globals';
import { Compression } from '../../../../lib/protocol/deflate/compression.js';
import { acceptResponse, headerValue, negotiate, offer } from '../../../../lib/protocol/deflate/negotiation.js';
import type { CompressionMode } from '../../../../lib/protocol/deflate/settings.js';
import { budgetOf, DEFAULTS, type Offer } from './support.js';

/** Parses `a; b=1, c` as the extension header's parser does. */
function elements(header: string): Offer[] {
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

describe('negotiate() on the server (RFC 7692, 5.1 and 7.1)', () => {
  it.each([
    // what browsers send
    ['permessage-deflate; client_max_window_bits', `${SHARED}; server_max_window_bits=12; client_max_window_bits=12`],
    ['permessage-deflate', `${SHARED}; server_max_window_bits=12`],
    // 7.1.1: no_context_takeover, asked for or not
    ['permessage-deflate; server_no_context_takeover', `${SHARED}; server_max_window_bits=12`],
    ['permessage-deflate; client_no_context_takeover', `${SHARED}; server_max_window_bits=12`],
    // 7.1.2.1: the same window or a smaller one
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
    // the first acceptable offer
    ['x-webkit-deflate-frame, permessage-deflate', `${SHARED}; server_max_window_bits=12`],
    ['permessage-deflate; server_max_window_bits=8, permessage-deflate', `${SHARED}; server_max_window_bits=12`],
    [
      'permessage-deflate; unknown, permessage-deflate; server_max_window_bits=9',
      `${SHARED}; server_max_window_bits=9`,
    ],
  ])('answers: %s', (header, expected) => {
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
  ])('answers with context takeover in dedicated mode: %s', (header, expected) => {
    expect(answerTo(header, 'dedicated')).toBe(expected);
  });

  it('omits the largest window unless the offer asks for it', () => {
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

  it('answers nothing when compression is off or not offered', () => {
    expect(answerTo('permessage-deflate', 'off')).toBeUndefined();
    expect(negotiate([], { mode: 'shared', windowBits: 12 })).toBeUndefined();
  });

  it('returns the windows and contexts that the answer names', () => {
    const [agreed, free] = ['permessage-deflate; server_max_window_bits=10; client_max_window_bits=9', ''].map(
      (header) =>
        negotiate(elements(header || 'permessage-deflate'), { mode: header ? 'shared' : 'dedicated', windowBits: 15 }),
    );
    expect(agreed).toMatchObject({ serverBits: 10, clientBits: 9, serverTakeover: false, clientTakeover: false });
    expect(free).toMatchObject({ serverBits: 15, clientBits: 15, serverTakeover: true, clientTakeover: true });
    expect(Object.isFrozen(agreed) && Object.isFrozen(agreed?.params)).toBe(true);
  });
});

describe("the client's offer and its check of the answer (RFC 7692, 5.1)", () => {
  it('offers what its mode and window need', () => {
    expect(offer({ mode: 'off', windowBits: 12 })).toBeUndefined();
    expect(offer({ mode: 'shared', windowBits: 12 })).toBe(`${SHARED}; client_max_window_bits`);
    expect(offer({ mode: 'shared', windowBits: 15 })).toBe(`${SHARED}; client_max_window_bits`);
    expect(offer({ mode: 'dedicated', windowBits: 15 })).toBe('permessage-deflate; client_max_window_bits');
    expect(offer({ mode: 'dedicated', windowBits: 10 })).toBe(
      'permessage-deflate; server_max_window_bits=10; client_max_window_bits, ' +
        'permessage-deflate; client_max_window_bits',
    );
  });

  const judge = (header: string, mode: CompressionMode = 'shared') =>
    acceptResponse(header === '' ? [] : elements(header), { mode, windowBits: 12 });

  it('accepts what it offered', () => {
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

  it.each([
    ['', 12],
    ['; client_max_window_bits=15', 12],
    ['; client_max_window_bits=13', 12],
    ['; client_max_window_bits=12', 12],
    ['; client_max_window_bits=9', 9],
    ['; client_max_window_bits=8', 8],
  ])("compresses with the smaller of its own window and the answer's: %s", (parameter, bits) => {
    for (const mode of ['shared', 'dedicated'] as const) {
      const client = new Compression({ ...DEFAULTS, mode, windowBits: 12 }, budgetOf(64), 'client');
      const deflate = client.offer().accept(elements(`${SHARED}${parameter}`));
      if (deflate === undefined || typeof deflate === 'string') throw new Error(deflate);
      expect(deflate.profile.outgoing.windowBits).toBe(bits);
      deflate.close();
    }
  });

  it('refuses an answer without an offer', () => {
    expect(judge(SHARED, 'off')).toBe('not-offered');
  });
});
