import { describe, expect, it } from '@jest/globals';
import { copied, grown, own } from '../../../lib/protocol/kept.js';

describe('own', () => {
  it('copies a small view of a large memory, and returns any other unchanged', () => {
    const read = Buffer.alloc(65_536, 'x');
    for (const length of [0, 1, 1000, 32_000]) {
      const kept = own(read.subarray(7, 7 + length));
      expect([kept.length, kept.buffer.byteLength]).toEqual([length, length]);
      expect(kept.equals(read.subarray(7, 7 + length))).toBe(true);
    }
    for (const whole of [read, read.subarray(0, 32_512), Buffer.from(new ArrayBuffer(512), 0, 1)])
      expect(own(whole)).toBe(whole);
  });
});

describe('copied', () => {
  it('returns a copy whose memory has its exact size', () => {
    const bytes = Buffer.from('hello');
    const copy = copied(bytes);
    expect([copy.toString(), copy.buffer.byteLength, copy.buffer === bytes.buffer]).toEqual(['hello', 5, false]);
  });
});

describe('grown', () => {
  it('returns the same buffer while it is large enough, and doubles it otherwise', () => {
    const first = grown(undefined, 0, 1, 1000);
    expect(first.length).toBe(64);
    first.write('abc');
    expect(grown(first, 3, 64, 1000)).toBe(first);
    const second = grown(first, 3, 65, 1000);
    expect([second.length, second.toString('latin1', 0, 3)]).toEqual([130, 'abc']);
    expect(grown(second, 3, 600, 1000).length).toBe(1000);
    expect(grown(undefined, 0, 1, 10).length).toBe(10);
  });

  it('copies each byte only a few times, however small the parts', () => {
    let buffer: Buffer | undefined;
    let allocated = 0;
    for (let kept = 0; kept < 100_000; kept++) {
      const next = grown(buffer, kept, kept + 1, Number.POSITIVE_INFINITY);
      if (next !== buffer) allocated += next.length;
      buffer = next;
    }
    expect(allocated).toBeLessThan(4 * 100_000);
  });
});
