// @ts-nocheck
// Packs this package, installs it into a fresh Nest application (test/package/), compiles that as strictly as a user may,
// starts it, talks to it and ends it.
//
//     node scripts/try-package.mjs             with this Node
//     node scripts/try-package.mjs 20 22 24    with these; the npm package `node` brings them
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { install, installNode, run, versionOf } from './node-versions.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const read = (path) => JSON.parse(readFileSync(path, 'utf8'));
const manifest = read(join(root, 'package.json'));

/** What an application with a gateway needs beside this package, in the versions that are tested here. */
const PACKAGES = [...Object.keys(manifest.peerDependencies), '@nestjs/platform-express', '@types/node', 'typescript'];
const SETTINGS = 'WEBSOCKETS_SERVER=from .env\nWEBSOCKETS_MAX_SIZE=1kb\n';

const folder = mkdtempSync(join(tmpdir(), 'try-package-'));
try {
  const app = join(folder, 'app');
  createApp(app, pack());
  checkContents(join(app, 'node_modules', manifest.name));
  for (const config of ['tsconfig.bundler.json', 'tsconfig.json']) compile(app, config);
  const wanted = process.argv.slice(2);
  for (const node of wanted.length === 0 ? [process.execPath] : wanted.map((major) => installNode(major, folder)))
    tryWith(node, app);
} finally {
  rmSync(folder, { recursive: true, force: true });
}

/** The tarball as it would be published, freshly built. */
function pack() {
  run('npm', ['pack', '--silent', '--pack-destination', folder], root, 120);
  return join(
    folder,
    readdirSync(folder).find((name) => name.endsWith('.tgz')),
  );
}

function createApp(app, tarball) {
  cpSync(join(root, 'test', 'package'), app, { recursive: true });
  const versions = PACKAGES.map((name) => [name, manifest.devDependencies[name]]);
  const dependencies = { ...Object.fromEntries(versions), [manifest.name]: `file:${tarball}` };
  writeFileSync(join(app, 'package.json'), JSON.stringify({ private: true, type: 'module', dependencies }));
  writeFileSync(join(app, '.env'), SETTINGS);
  install(app);
}

/** Programs, types and words about them; no sources, maps or tests. */
function checkContents(installed) {
  const files = readdirSync(installed, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const odd = files.filter(
    ({ name }) => !/^(LICENSE|package\.json|.+\.(js|d\.ts|md))$/.test(name) || /\.spec\./.test(name),
  );
  if (odd.length > 0) throw new Error(`not for publication: ${odd.map(({ name }) => name).join(', ')}`);
  const targets = Object.values(manifest.exports).flatMap((target) =>
    Object.values(typeof target === 'string' ? [target] : target),
  );
  const wanted = ['LICENSE', 'README.md', 'CHANGELOG.md', 'SECURITY.md', manifest.main, manifest.types, ...targets];
  const missing = wanted.filter((path) => !existsSync(join(installed, path)));
  if (missing.length > 0) throw new Error(`not in the package: ${missing.join(', ')}`);
}

function compile(app, config) {
  run(process.execPath, ['node_modules/typescript/bin/tsc', '-p', config], app, 120);
}

function tryWith(node, app) {
  run(node, ['dist/try.js'], app, 60);
  console.log(`${manifest.name} ${manifest.version} works in a fresh application on Node ${versionOf(node)}`);
}
