import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { OPTION_FILES, withTable } from './support/option-files.js';

describe('files written from the option table', () => {
  it.each(Object.keys(OPTION_FILES))('%s is up to date (`node scripts/option-table.mjs` writes it)', (name) => {
    const text = readFileSync(name, 'utf8');
    expect(text).toBe(OPTION_FILES[name]!(text));
  });

  it('keep the text around the table', () => {
    const text = 'before\n<!-- options -->\nold\n<!-- /options -->\nafter\n';
    const written = withTable(text);
    expect(written.startsWith('before\n<!-- options -->\n|')).toBe(true);
    expect(written.endsWith('|\n<!-- /options -->\nafter\n')).toBe(true);
    expect(withTable(written)).toBe(written);
    expect(() => withTable('nothing')).toThrow('the text needs a line <!-- options -->');
  });
});
