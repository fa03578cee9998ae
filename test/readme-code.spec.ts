import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { codeBlocks, compileErrors } from './support/markdown-code.js';

const README = readFileSync('README.md', 'utf8');

describe('the code of the README', () => {
  it('compiles', () => {
    const texts = codeBlocks('README.md', 'ts');
    expect(texts.length).toBeGreaterThan(2);
    expect(compileErrors(texts)).toEqual([]);
  }, 60_000);

  it('would be found out if it did not', () => {
    expect(
      compileErrors(["import { nothing } from 'nest-secure-ws';\nexport const x: number = nothing;\n"]),
    ).toHaveLength(1);
  }, 60_000);

  it('names scripts that there are', () => {
    const { scripts } = JSON.parse(readFileSync('package.json', 'utf8')) as { scripts: Record<string, string> };
    for (const [, name] of README.matchAll(/npm run ([\w:-]+)/g)) expect(Object.keys(scripts)).toContain(name);
  });
});
