import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';

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
  it('brings along packages of permissive licences only', () => {
    const { packages } = read('package-lock.json') as unknown as { packages: Record<string, Locked> };
    const ours = Object.entries(packages).filter(
      ([path, { dev, devOptional, peer }]) => path !== '' && !dev && !devOptional && !peer,
    );
    const names = ours.map(([path]) => path.replace('node_modules/', ''));
    expect(names).toEqual(expect.arrayContaining(Object.keys(manifest.dependencies)));
    for (const [path, { license }] of ours)
      expect([path, license]).toEqual([path, expect.stringMatching(/^(MIT|ISC|BSD-[23]-Clause|Apache-2\.0|0BSD)$/)]);
  });

  it('names each dependency in the README, with its licence where it is brought along', () => {
    const [, section = ''] = readFileSync('README.md', 'utf8').split('\n## Dependencies\n');
    for (const name of Object.keys(manifest.dependencies)) {
      const { license } = read(`node_modules/${name}/package.json`) as unknown as { license: string };
      expect(section).toMatch(new RegExp(`^\\| \`${name}\`.*\\| ${license} \\|$`, 'm'));
    }
    for (const name of Object.keys(manifest.peerDependencies)) expect(section).toContain(name.replace('@nestjs/', ''));
  });

  it('says where it lives', () => {
    const home = 'https://github.com/nest-secure-ws/nest-secure-ws';
    expect([manifest.repository.url, manifest.homepage, manifest.bugs.url]).toEqual([
      `git+${home}.git`,
      `${home}#readme`,
      `${home}/issues`,
    ]);
  });
});
