import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { parseSync } from '@swc/core';

interface Block {
  readonly name: string;
  readonly path: string;
  readonly first: number;
  readonly last: number;
}

// @ts-expect-error a script without types
const { markedProtections, textWithout } = (await import('../scripts/protections.mjs')) as {
  markedProtections: () => readonly Block[];
  textWithout: (path: string, blocks: readonly Block[]) => string;
};

interface Attack {
  readonly spec: string;
  readonly test: string;
}

const ATTACKS = JSON.parse(readFileSync('test/protections.json', 'utf8')) as Record<string, Attack>;
const BLOCKS = markedProtections();
const NAMES = [...new Set(BLOCKS.map(({ name }) => name))];
/** Jest joins the titles of `describe` and `it`, and fills in the rows of tables. */
const MOST_PARTS = 4;

const parses = (text: string): boolean => {
  try {
    parseSync(text, { syntax: 'typescript', decorators: true, target: 'es2022' });
    return true;
  } catch {
    return false;
  }
};

/** Whether a title can be composed of at most this many parts of the spec's text. */
function isMadeOf(words: readonly string[], source: string, parts = MOST_PARTS): boolean {
  if (words.length === 0) return true;
  if (parts === 0) return false;
  return words.some((_, i) => {
    const [head, rest] = [words.slice(0, i + 1), words.slice(i + 1)];
    return source.includes(head.join(' ')) && isMadeOf(rest, source, parts - 1);
  });
}

describe('marked protections', () => {
  it('have an attack each, and every attack its protection', () => {
    expect(Object.keys(ATTACKS).sort()).toEqual([...NAMES].sort());
  });

  it('name tests that exist', () => {
    const wrong = Object.entries(ATTACKS).filter(
      ([, { spec, test }]) =>
        !existsSync(spec) || !isMadeOf(test.split(' '), readFileSync(spec, 'utf8').replaceAll("\\'", "'")),
    );
    expect(wrong).toEqual([]);
  });

  it('can be dropped: the remaining text is valid code, and something is dropped', () => {
    for (const block of BLOCKS) expect([block, block.last - block.first > 1]).toEqual([block, true]);
    const broken = NAMES.filter((name) => {
      const own = BLOCKS.filter((block) => block.name === name);
      return !own.every(({ path }) => parses(textWithout(path, own)));
    });
    expect(broken).toEqual([]);
  });
});

it('parses() and isMadeOf() reject invalid input', () => {
  expect(parses('if (a) {\n')).toBe(false);
  expect(isMadeOf(['a', 'title', 'nowhere'], 'a title')).toBe(false);
});
