import { describe, expect, it } from '@jest/globals';
import { applyMask, newMask, turnMask } from '../../../lib/protocol/mask.js';

describe('masking (RFC 6455, 5.3)', () => {
  it('XORs byte by byte as the section says, at any alignment, short and long', () => {
    const key = [0x37, 0xfa, 0x21, 0x3d];
    const mask = 0x37fa213d;
    for (const length of [0, 1, 2, 3, 4, 5, 7, 63, 255, 256, 257, 258, 259, 1000]) {
      for (let start = 0; start < 6; start++) {
        const bytes = Buffer.from(Array.from({ length: start + length + 3 }, (_, i) => (i * 7 + 3) & 0xff));
        const expected = Buffer.from(bytes);
        for (let i = 0; i < length; i++) expected[start + i]! ^= key[i & 3]!;
        applyMask(bytes, start, start + length, mask);
        expect(bytes).toEqual(expected);
      }
    }
  });

  it('reports whether the unmasked bytes are ASCII', () => {
    for (const length of [1, 2, 3, 4, 60, 300]) {
      for (let at = -1; at < length; at++) {
        const bytes = Buffer.alloc(length, 'a');
        if (at >= 0) bytes[at] = 0xe9;
        applyMask(bytes, 0, length, 0x89abcdef);
        expect([at, applyMask(bytes, 0, length, 0x89abcdef)]).toEqual([at, at < 0]);
      }
    }
  });

  it('continues within a payload with a rotated key', () => {
    const whole = Buffer.alloc(900, 'x');
    applyMask(whole, 0, 900, 0xdeadbeef | 0);
    for (const cut of [1, 2, 3, 4, 5, 299, 300, 301]) {
      const parts = Buffer.alloc(900, 'x');
      applyMask(parts, 0, cut, 0xdeadbeef | 0);
      applyMask(parts, cut, 900, turnMask(0xdeadbeef | 0, cut));
      expect(parts.equals(whole)).toBe(true);
    }
  });

  it('uses a new random key each time', () => {
    const keys = new Set(Array.from({ length: 5000 }, newMask));
    expect(keys.size).toBeGreaterThan(4990);
    for (const shift of [0, 8, 16, 24]) expect(new Set([...keys].map((key) => (key >>> shift) & 0xff)).size).toBe(256);
  });
});
