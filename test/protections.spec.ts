import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, it } from '@jest/globals';

interface Protection {
  readonly name: string;
  readonly spec: string;
  readonly test: string;
  readonly edits: readonly (readonly [file: string, find: string, replace: string])[];
}
const { PROTECTIONS } = (await import(resolve('scripts/protections.mjs'))) as { PROTECTIONS: readonly Protection[] };
const PAGE = readFileSync('test/PROTECTIONS.md', 'utf8');
const rows = PAGE.split('\n').filter((line) => /^\| (?!protection )/.test(line));

/** What the change leaves of the files, each text found exactly once; else which was not. */
function stale({ edits }: Protection): string[] {
  const texts = new Map<string, string>();
  return edits.flatMap(([file, find, replace]) => {
    const text = texts.get(file) ?? readFileSync(file, 'utf8');
    texts.set(
      file,
      text.replace(find, () => replace),
    );
    return text.split(find).length === 2 && find !== replace ? [] : [`${file}: ${find}`];
  });
}

/** What keeps `scripts/without.mjs` able to take each protection out, without running it. */
describe('protections', () => {
  it.each(PROTECTIONS.map((each) => [each.name, each] as const))(
    '%s stands in the code as it is taken out',
    (_, each) => {
      expect(stale(each)).toEqual([]);
    },
  );

  it('have names of their own, and tests in files that are there', () => {
    expect(new Set(PROTECTIONS.map(({ name }) => name)).size).toBe(PROTECTIONS.length);
    for (const { spec } of PROTECTIONS) expect(readFileSync(spec, 'utf8')).toContain('describe');
  });

  it('are all in the table, each with the test that noticed: `node scripts/without.mjs --write` writes it', () => {
    const cell = (text: string) => text.replaceAll('|', '\\|');
    expect(rows.map((row) => row.slice(2, row.indexOf(' | ')))).toEqual(PROTECTIONS.map(({ name }) => cell(name)));
    expect(PAGE).toContain(`Tests noticed ${PROTECTIONS.length} of ${PROTECTIONS.length}.`);
  });
});
