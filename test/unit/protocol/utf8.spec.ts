import { isUtf8 } from 'node:buffer';
import { describe, expect, it } from '@jest/globals';
import { COMPLETE, checkUtf8, INVALID } from '../../../lib/protocol/utf8.js';
import { Random } from '../../support/random.js';

/** The length of the longest valid prefix, found by trying every length: slow and simple. */
function validPrefix(bytes: Buffer): number {
  for (let length = bytes.length; length > 0; length--) {
    const part = bytes.subarray(0, length);
    if (isUtf8(part)) return length;
    // A truncated character is one that some continuation completes.
    for (let missing = 1; missing <= 3; missing++)
      for (const second of [0x80, 0x90, 0xa0])
        if (isUtf8(Buffer.concat([part, Buffer.from([second, 0x80, 0x80]).subarray(0, missing)]))) return length;
  }
  return 0;
}

/** The length of the valid prefix according to checkUtf8(), fed byte by byte. */
function acceptedPrefix(bytes: Buffer): number {
  let state = COMPLETE;
  for (let at = 0; at < bytes.length; at++) {
    state = checkUtf8(state, bytes, at, at + 1);
    if (state === INVALID) return at;
  }
  return bytes.length;
}

describe('UTF-8 (RFC 3629)', () => {
  it('checkUtf8() agrees with Node on every sequence of two bytes, and on every lead byte with edge cases after it', () => {
    const edges = [0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xff];
    const wrong: string[] = [];
    const judge = (bytes: number[]): void => {
      const buffer = Buffer.from(bytes);
      if ((checkUtf8(COMPLETE, buffer, 0, buffer.length) === COMPLETE) !== isUtf8(buffer))
        wrong.push(buffer.toString('hex'));
    };
    for (let first = 0; first < 256; first++) {
      judge([first]);
      for (let second = 0; second < 256; second++) judge([first, second]);
      for (const second of edges)
        for (const third of edges) {
          judge([first, second, third]);
          for (const fourth of edges) judge([first, second, third, fourth]);
        }
    }
    expect(wrong).toEqual([]);
  });

  it('checkUtf8() fails at the first byte that no text can have there', () => {
    for (let seed = 1; seed <= 3000; seed++) {
      const random = new Random(seed);
      const bytes = Buffer.from(
        Array.from({ length: 1 + random.below(6) }, () =>
          random.pick([0x61, 0x80, 0x9f, 0xa0, 0xbf, 0xc2, 0xe0, 0xe2, 0xed, 0xf0, 0xf4, 0xff]),
        ),
      );
      expect([bytes.toString('hex'), acceptedPrefix(bytes)]).toEqual([bytes.toString('hex'), validPrefix(bytes)]);
    }
  });

  it('checkUtf8() gives the same result for any split, short and long', () => {
    const texts = ['aé€🦊\u{10ffff}', 'x'.repeat(70), `${'é'.repeat(40)}🦊${'€'.repeat(30)}`].map((text) =>
      Buffer.from(text),
    );
    for (const text of texts) {
      for (const bytes of [text, Buffer.concat([text, Buffer.from([0xed, 0xa0]), text])]) {
        const whole = checkUtf8(COMPLETE, bytes, 0, bytes.length);
        expect(whole === COMPLETE).toBe(isUtf8(bytes));
        for (let cut = 0; cut <= bytes.length; cut++) {
          const state = checkUtf8(COMPLETE, bytes, 0, cut);
          const then = state === INVALID ? INVALID : checkUtf8(state, bytes, cut, bytes.length);
          expect([cut, then]).toEqual([cut, whole]);
        }
      }
    }
  });

  it('checkUtf8() keeps the state of a truncated character, also after a long text', () => {
    for (const lead of ['', 'x'.repeat(100)]) {
      for (const character of ['é', '€', '🦊']) {
        const bytes = Buffer.from(lead + character);
        for (let missing = 1; missing < Buffer.byteLength(character); missing++) {
          const state = checkUtf8(COMPLETE, bytes, 0, bytes.length - missing);
          expect([INVALID, COMPLETE]).not.toContain(state);
          expect(checkUtf8(state, bytes, bytes.length - missing, bytes.length)).toBe(COMPLETE);
          expect(checkUtf8(state, Buffer.from('x'), 0, 1)).toBe(INVALID);
          expect(checkUtf8(state, Buffer.from('x'.repeat(100)), 0, 100)).toBe(INVALID);
        }
      }
    }
  });
});
