import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { PATHS, VARIABLES } from '../../lib/config/rows.js';
import { codeBlocks, compileErrors, fileOf } from '../support/markdown-code.js';

const DOCS = readdirSync('docs')
  .filter((name) => name.endsWith('.md'))
  .map((name) => `docs/${name}`);
const ROOT = ['README.md', 'SECURITY.md', 'CONTRIBUTING.md', 'CHANGELOG.md'];
const PAGES = [...ROOT, ...DOCS];
const HOME = 'https://github.com/nest-secure-ws/nest-secure-ws/';

const read = (file: string): string => readFileSync(file, 'utf8');
const prose = (file: string): string => read(file).replace(/^```[\s\S]*?^```/gm, '');

/** Anchors of the headings, as GitHub and VitePress make them. */
const anchors = (file: string): string[] =>
  [...prose(file).matchAll(/^#+ (.+)$/gm)].map(([, text = '']) =>
    text
      .toLowerCase()
      .replace(/[`*:,.?()/“”’'"]/g, '')
      .trim()
      .replace(/\s/g, '-'),
  );

const links = (file: string): string[] => [...prose(file).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => target!);

describe.each(PAGES)('%s', (file) => {
  it('links to existing files and headings', () => {
    for (const link of links(file)) {
      const inRepository = link.replace(new RegExp(`^${HOME}(?:blob|tree)/main/`), '/');
      if (/^[a-z]+:/.test(inRepository)) continue;
      const [path = '', anchor] = inRepository.split('#');
      const target = path === '' ? file : path.startsWith('/') ? `.${path}` : normalize(join(dirname(file), path));
      expect([link, existsSync(target)]).toEqual([link, true]);
      if (anchor !== undefined && target.endsWith('.md')) expect(anchors(target)).toContain(anchor);
    }
  });

  it('names existing options, variables and scripts', () => {
    const groups = new Set(PATHS.filter((path) => path.includes('.')).map((path) => path.slice(0, path.indexOf('.'))));
    const text = read(file);
    for (const [, path = '', group = ''] of prose(file).matchAll(/`((\w+)\.\w+)`/g))
      if (groups.has(group)) expect(PATHS).toContain(path);
    for (const [name] of text.matchAll(/\bWEBSOCKETS_[A-Z0-9_]*[A-Z0-9]\b(?![_*])/g)) expect(VARIABLES).toContain(name);
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
    for (const [, name] of text.matchAll(/npm run ([\w:-]+)/g)) expect(Object.keys(scripts)).toContain(name);
    for (const [, name] of text.matchAll(/\bnode (?:--\S+ )*((?:scripts|bench|test)\/\S+\.mjs)/g))
      expect([name, existsSync(name!)]).toEqual([name, true]);
  });
});

it('the README, the index and the menu of the site link to every page', () => {
  const pages = DOCS.filter((name) => name !== 'docs/index.md').map((name) => name.slice('docs/'.length));
  const [index, readme] = [links('docs/index.md'), links('README.md')];
  const menu = read('docs/.vitepress/config.mjs');
  for (const page of pages) {
    expect(index).toContain(page);
    expect(readme).toContain(`docs/${page}`);
    expect(menu).toContain(`'/${page.replace('.md', '')}'`);
  }
});

describe('the code of README and docs', () => {
  // Other specs compile and run the recipes for guards and browsers.
  const elsewhere = ['docs/guards.md', 'docs/browser.md'];
  const withCode = ['README.md', ...DOCS.filter((name) => !elsewhere.includes(name))].map((file) => ({
    file,
    // The test of the README's gateway is in another file.
    blocks: [...(file === 'docs/testing.md' ? codeBlocks('README.md', 'ts') : []), ...codeBlocks(file, 'ts')],
  }));
  const isNamed = (blocks: readonly string[]): boolean => blocks.some((block) => fileOf(block) !== undefined);

  it.each(withCode.filter(({ blocks }) => isNamed(blocks)))('compiles: $file', ({ blocks }) => {
    expect(compileErrors(blocks)).toEqual([]);
  });

  it('compiles: all other pages', () => {
    const blocks = withCode.filter(({ blocks }) => !isNamed(blocks)).flatMap(({ blocks }) => blocks);
    expect(blocks.length).toBeGreaterThan(5);
    expect(compileErrors(blocks)).toEqual([]);
  });

  it('is really compiled: an error is found', () => {
    expect(
      compileErrors(["import { nothing } from 'nest-secure-ws';\nexport const x: number = nothing;\n"]),
    ).toHaveLength(1);
  });
});
