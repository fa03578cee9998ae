import { describe, expect, it } from '@jest/globals';
import { Child } from '../../support/child.js';

interface Found {
  readonly name: string;
  readonly bytes: number;
  readonly taken: number;
  readonly counted: number;
}

/** The limits are calculated before a message is parsed: this shows that V8 takes no more than they say. */
describe('the memory that V8 takes for a message', () => {
  it('is at most 4 KiB plus 20 bytes for each byte of the text, and at most 4 KiB plus 1.4 times the calculated size', async () => {
    const child = await Child.start('test/attack/memory/structures-heap.mjs');
    const found = child.ready as readonly Found[];
    await child.end();
    expect(found.length).toBeGreaterThan(300);
    expect(found.filter(({ taken, bytes }) => taken > 4096 + 20 * bytes)).toEqual([]);
    expect(found.filter(({ taken, counted }) => taken > 4096 + 1.4 * counted)).toEqual([]);
    // The measurement works: some of the structures come close to the limit.
    expect(found.filter(({ taken, bytes }) => taken > 15 * bytes).length).toBeGreaterThan(20);
  }, 300_000);
});
