// Packs this package, installs it with the libraries of the recipes in docs/ into a new application (test/libraries/),
// extracts the recipes from the documentation unchanged, compiles them, and connects to each with the library's own
// client.
//
//     node scripts/try-libraries.mjs
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { install, run } from './node-versions.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

/** The libraries in exact versions, so that every machine gets the same. */
const LIBRARIES = {
  '@apollo/server': '5.5.1',
  '@as-integrations/express5': '1.1.2',
  '@nestjs/apollo': '14.0.3',
  '@nestjs/graphql': '14.0.3',
  '@nestjs/mercurius': '14.0.0',
  '@nestjs/passport': '12.0.0',
  '@types/express-session': '1.19.0',
  '@types/passport-jwt': '4.0.1',
  'express-session': '1.19.0',
  fastify: '5.12.8',
  graphql: '16.15.0',
  'graphql-ws': '6.4.2',
  jose: '6.2.18',
  mercurius: '16.10.1',
  passport: '0.7.0',
  'passport-jwt': '4.0.1',
  vite: '7.3.8',
  ws: '8.23.0',
};
/** Packages that every application needs, in the versions tested here. */
const COMMON = [
  ...Object.keys(manifest.peerDependencies).filter((name) => !manifest.peerDependenciesMeta?.[name]?.optional),
  // Optional peers of this package, which Nest's ValidationPipe needs.
  'class-validator',
  'class-transformer',
  '@nestjs/platform-express',
  '@nestjs/platform-fastify',
  '@types/node',
  'typescript',
];
/** Blocks whose first line names a file are recipes; those after "```ts [file]" need one of the libraries. */
const PAGES = ['docs/guards.md', 'docs/paths-and-other-libraries.md'];
const RECIPE = /^```ts(?: \[(\S+)\])?\n(\/\/ (\S+\.ts)\n[\s\S]*?)^```/gm;

const folder = mkdtempSync(join(tmpdir(), 'try-libraries-'));
try {
  const app = join(folder, 'app');
  cpSync(join(root, 'test', 'libraries'), app, { recursive: true });
  const recipes = PAGES.flatMap((page) => [...readFileSync(join(root, page), 'utf8').matchAll(RECIPE)]);
  mkdirSync(join(app, 'src', 'recipes'));
  for (const [, title, text, file] of recipes) {
    if (title !== undefined && title !== file) throw new Error(`the recipe ${file} is titled ${title}`);
    writeFileSync(join(app, 'src', 'recipes', file), text);
  }
  run('npm', ['pack', '--silent', '--pack-destination', folder], root, 120);
  const tarball = readdirSync(folder).find((name) => name.endsWith('.tgz'));
  const common = Object.fromEntries(COMMON.map((name) => [name, manifest.devDependencies[name]]));
  const dependencies = { ...common, ...LIBRARIES, [manifest.name]: `file:${join(folder, tarball)}` };
  writeFileSync(join(app, 'package.json'), JSON.stringify({ private: true, type: 'module', dependencies }));
  install(app);
  run(process.execPath, ['node_modules/typescript/bin/tsc', '-p', '.'], app, 120);
  // The environment of this process may contain settings.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('WEBSOCKETS_')));
  run(process.execPath, ['dist/try.js'], app, 120, {
    ...env,
    SESSION_SECRET: 'a secret of forty-eight bytes that nobody knows.',
  });
  console.log(`${recipes.length} recipes of ${PAGES.join(' and ')} compile and work with the packed package`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
