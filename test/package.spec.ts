import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';

interface FigureScript {
  readonly FIGURES: Record<string, unknown>;
  withFigures(name: string, text: string, results: unknown): string;
}
// @ts-expect-error a script without types
const { FIGURES, withFigures } = (await import('../scripts/figures.mjs')) as FigureScript;
type Convert = (text: string) => string;
// @ts-expect-error a script without types
const { absolute, relative } = (await import('../scripts/readme-for-npm.mjs')) as Record<
  'absolute' | 'relative',
  Convert
>;

const read = (path: string): Record<string, never> => JSON.parse(readFileSync(path, 'utf8')) as Record<string, never>;
const manifest = read('package.json') as unknown as {
  readonly dependencies: Record<string, string>;
  readonly peerDependencies: Record<string, string>;
  readonly repository: { readonly url: string };
  readonly homepage: string;
  readonly bugs: { readonly url: string };
};

interface Locked {
  readonly license?: string;
  readonly dev?: boolean;
  readonly devOptional?: boolean;
  readonly peer?: boolean;
}

describe('the package', () => {
  it('depends on packages with permissive licences only', () => {
    const { packages } = read('package-lock.json') as unknown as { packages: Record<string, Locked> };
    const ours = Object.entries(packages).filter(
      ([path, { dev, devOptional, peer }]) => path !== '' && !dev && !devOptional && !peer,
    );
    const names = ours.map(([path]) => path.replace('node_modules/', ''));
    expect(names).toEqual(expect.arrayContaining(Object.keys(manifest.dependencies)));
    for (const [path, { license }] of ours)
      expect([path, license]).toEqual([path, expect.stringMatching(/^(MIT|ISC|BSD-[23]-Clause|Apache-2\.0|0BSD)$/)]);
  });

  it('names each dependency in the README, with the licence of each installed one', () => {
    const [, section = ''] = readFileSync('README.md', 'utf8').split('\n## Dependencies\n');
    for (const name of Object.keys(manifest.dependencies)) {
      const { license } = read(`node_modules/${name}/package.json`) as unknown as { license: string };
      expect(section).toMatch(new RegExp(`^\\| \`${name}\`.*\\| ${license} \\|$`, 'm'));
    }
    for (const name of Object.keys(manifest.peerDependencies)) expect(section).toContain(name.replace('@nestjs/', ''));
  });

  it('names its repository', () => {
    const home = 'https://github.com/nest-secure-ws/nest-secure-ws';
    expect([manifest.repository.url, manifest.homepage, manifest.bugs.url]).toEqual([
      `git+${home}.git`,
      `${home}#readme`,
      `${home}/issues`,
    ]);
  });

  it('has relative links and images in the README, which are absolute in the package', () => {
    const readme = readFileSync('README.md', 'utf8');
    const targets = (text: string) => [...text.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = '']) => target);
    const packed = absolute(readme);
    expect(targets(packed).filter((target) => !target.startsWith('https://'))).toEqual([]);
    expect(relative(packed)).toBe(readme);
    expect(absolute(relative(packed))).toBe(packed);
    const pictures = [...packed.matchAll(/!\[[^\]]*\]\(([^)]+)\)/g)].map(([, target = '']) => target);
    expect(pictures).toHaveLength(2);
    for (const picture of pictures) {
      const [, path = ''] = /^https:\/\/raw\.githubusercontent\.com\/nest-secure-ws\/nest-secure-ws\/main\/(.+)$/.exec(
        picture,
      )!;
      expect([path, existsSync(path)]).toEqual([path, true]);
    }
    expect(absolute('![x](y.svg) [z](docs/z.md#part) [w](#w) [v](https://v.example) [u](sample/u)')).toBe(
      '![x](https://raw.githubusercontent.com/nest-secure-ws/nest-secure-ws/main/y.svg) ' +
        '[z](https://github.com/nest-secure-ws/nest-secure-ws/blob/main/docs/z.md#part) [w](#w) [v](https://v.example) ' +
        '[u](https://github.com/nest-secure-ws/nest-secure-ws/tree/main/sample/u)',
    );
  });

  it.each(Object.keys(FIGURES))(
    '%s has the figures of the benchmark (`node scripts/figures.mjs` writes them)',
    (name) => {
      const text = readFileSync(name, 'utf8');
      const results: unknown = JSON.parse(readFileSync('bench/results/results.json', 'utf8'));
      expect(text).toBe(withFigures(name, text, results));
      expect(() => withFigures(name, text, { ...(results as object), rows: [] })).toThrow(
        /has no row memory\.idle\.rss/,
      );
      expect(() => withFigures(name, 'nothing', results)).toThrow('needs the lines');
    },
  );

  it('proves each promise of docs/compatibility.md with something that CI runs', () => {
    const ci = readFileSync('.ci/run', 'utf8');
    const [, table = ''] = /\| proved by \|\n\|[-|]+\|\n((?:\|.*\|\n)+)/.exec(
      readFileSync('docs/compatibility.md', 'utf8'),
    )!;
    const rows = table.trim().split('\n');
    expect(rows.length).toBeGreaterThan(10);
    for (const row of rows) {
      const proofs = [
        ...row
          .split('|')
          .at(-2)!
          .matchAll(/`([^`]+)`/g),
      ].map(([, path = '']) => path);
      expect([row, proofs.length > 0]).toEqual([row, true]);
      for (const path of proofs) {
        expect([path, existsSync(path)]).toEqual([path, true]);
        // `npm cit` runs the specs.
        expect([path, path.startsWith('test/') || ci.includes(`node ${path}`)]).toEqual([path, true]);
      }
    }
  });
});
