// @ts-nocheck
import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { optionTable, tableIn, withTable } from './support/option-table.js';

describe('the README', () => {
  it('has the table of options that the code has: `node scripts/option-table.mjs` writes it', () => {
    expect(tableIn(readFileSync('README.md', 'utf8'))).toBe(optionTable());
  });

  it('keeps what stands around the table', () => {
    const text = 'before\n<!-- options -->\nold\n<!-- /options -->\nafter\n';
    const written = withTable(text);
    expect(written.startsWith('before\n<!-- options -->\n|')).toBe(true);
    expect(written.endsWith('|\n<!-- /options -->\nafter\n')).toBe(true);
    expect(withTable(written)).toBe(written);
    expect(() => withTable('nothing')).toThrow('the README needs a line <!-- options -->');
  });
});
