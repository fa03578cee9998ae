// Packs this package, installs it into a CommonJS application of Nest 11 as created by `nest new` (test/nest-11/), compiles
// that with both configurations of its templates, starts it with Express and with Fastify, connects to it, and runs its Jest.
//
//     node scripts/try-nest-11.mjs             with this Node
//     node scripts/try-nest-11.mjs 20 22 24    with these; the npm package `node` provides them
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { install, installNode, run, versionOf } from './node-versions.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

/** The packages that `nest new` of Nest 11 installs, as far as the application needs them. */
const PACKAGES = {
  '@nestjs/common': '^11.1.0',
  '@nestjs/config': '^4.0.0',
  '@nestjs/core': '^11.1.0',
  '@nestjs/platform-express': '^11.1.0',
  '@nestjs/platform-fastify': '^11.1.0',
  '@nestjs/testing': '^11.1.0',
  '@nestjs/websockets': '^11.1.0',
  '@types/jest': '^30.0.0',
  '@types/node': manifest.devDependencies['@types/node'],
  'class-transformer': manifest.devDependencies['class-transformer'],
  'class-validator': manifest.devDependencies['class-validator'],
  jest: manifest.devDependencies.jest,
  'reflect-metadata': manifest.devDependencies['reflect-metadata'],
  rxjs: manifest.devDependencies.rxjs,
  'ts-jest': '^29.4.0',
  typescript: '~5.9.0',
};

const JEST = 'node_modules/jest/bin/jest.js';

const folder = mkdtempSync(join(tmpdir(), 'try-nest-11-'));
try {
  const app = join(folder, 'app');
  cpSync(join(root, 'test', 'nest-11'), app, { recursive: true });
  run('npm', ['pack', '--silent', '--pack-destination', folder], root, 120);
  const tarball = readdirSync(folder).find((name) => name.endsWith('.tgz'));
  const dependencies = { ...PACKAGES, [manifest.name]: `file:${join(folder, tarball)}` };
  writeFileSync(join(app, 'package.json'), JSON.stringify({ private: true, dependencies }));
  const configuration = readFileSync(join(app, 'jest.config.js'), 'utf8');
  writeFileSync(join(app, 'jest.plain.config.js'), configuration.replace(/^ *transformIgnorePatterns: .*\n/m, ''));
  install(app);
  for (const config of ['tsconfig.json', 'tsconfig.nodenext.json'])
    run(process.execPath, ['node_modules/typescript/bin/tsc', '-p', config], app, 120);
  const wanted = process.argv.slice(2);
  for (const node of wanted.length === 0 ? [process.execPath] : wanted.map((major) => installNode(major, folder)))
    tryWith(node, app);
} finally {
  rmSync(folder, { recursive: true, force: true });
}

function tryWith(node, app) {
  for (const built of ['dist', 'dist-nodenext']) run(node, [`${built}/try.js`], app, 60);
  run(node, [JEST], app, 120);
  // As `nest new` configures it: since Node 24.9 Jest can require() ES modules.
  const [major] = versionOf(node).slice(1).split('.').map(Number);
  if (major >= 24) run(node, ['--experimental-vm-modules', JEST, '--config', 'jest.plain.config.js'], app, 120);
  console.log(`${manifest.name} ${manifest.version} works in an application of Nest 11 on Node ${versionOf(node)}`);
}
