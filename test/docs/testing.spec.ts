import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, describe, expect, it } from '@jest/globals';
import { codeBlocks, compileErrors, fileOf } from '../support/markdown-code.js';
import 'reflect-metadata';

/** The README's first gateway, and its test in docs/testing.md, which runs as part of this file. */
const FOLDER = join(import.meta.dirname, '.recipes/testing');
const README = codeBlocks('README.md', 'ts');
const EXAMPLE = codeBlocks('docs/testing.md', 'ts').find((block) => fileOf(block) === 'src/chat.gateway.spec.ts')!;

for (const block of [...README, EXAMPLE]) {
  const file = join(FOLDER, fileOf(block)!);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, block);
}
afterAll(() => rmSync(FOLDER, { recursive: true, force: true }));

await import(join(FOLDER, fileOf(EXAMPLE)!));

describe('the example of docs/testing.md', () => {
  it('has types for the events: another name or other data is an error', () => {
    const wrong = EXAMPLE.replace("nextEvent('said'))", "nextEvent('sad'))").replace(
      "send('say', { text: 'hello' }",
      "send('say', { txt: 1 }",
    );
    const errors = compileErrors([...README, wrong]);
    expect(errors).toHaveLength(2);
    expect(errors.join()).toMatch(/'txt' does not exist.*"sad"/);
  }, 180_000);
});
