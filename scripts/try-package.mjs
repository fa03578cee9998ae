// Packs this package, installs it into new Nest applications (test/package/) with npm, pnpm and Yarn Plug'n'Play, compiles
// them with the strictest settings and several versions of TypeScript, as ESM and as CommonJS, starts them, connects to
// them and ends them.
//
//     node scripts/try-package.mjs             with this Node
//     node scripts/try-package.mjs 20 22 24    with these; the npm package `node` provides them
import { execFileSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { install, installNode, run, versionOf } from './node-versions.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const read = (path, parse = JSON.parse) => parse(readFileSync(path, 'utf8'));
const manifest = read(join(root, 'package.json'));

/** The packages that an application with a gateway needs, in the versions tested here. */
const PACKAGES = [
  ...Object.keys(manifest.peerDependencies).filter((name) => !manifest.peerDependenciesMeta?.[name]?.optional),
  // Optional peers of this package, which Nest's ValidationPipe needs.
  'class-validator',
  'class-transformer',
  '@nestjs/platform-express',
  '@types/node',
  'typescript',
];
const SETTINGS = 'WEBSOCKETS_SERVER=from .env\nWEBSOCKETS_MAX_SIZE=1kb\n';
/** The oldest and newest supported compilers, beside this project's own. */
const COMPILERS = ['5.9', '7'];
/** The newest version that runs on every supported Node. */
const PNPM = 'pnpm@10';
const OLDEST_WS = '8.21.0';
const YARN = ['@yarnpkg/cli-dist', '4'];
/** The files that the package may contain. */
const ALLOWED =
  /^(LICENSE|package\.json|options\.schema\.json|grafana\.json|alerts\.yml|\.env\.example|.+\.(js|css|html|svg|d\.ts|md))$/;
/** The maximum size of the tarball and of its content in bytes. */
const BUDGET = { packed: 640 * 1024, unpacked: 2.5 * 1024 ** 2 };

const folder = mkdtempSync(join(tmpdir(), 'try-package-'));
try {
  const tarball = pack();
  const apps = { npm: createApp('npm', tarball, install), pnpm: createApp('pnpm', tarball, installWithPnpm) };
  checkContents(join(apps.npm, 'node_modules', manifest.name), tarball);
  for (const app of Object.values(apps)) for (const config of ['tsconfig.json', 'cjs']) compile(app, config);
  compile(apps.npm, 'tsconfig.bundler.json');
  for (const version of COMPILERS) compileWith(version, apps.npm);
  tryYarn(tarball);
  const wanted = process.argv.slice(2);
  for (const node of wanted.length === 0 ? [process.execPath] : wanted.map((major) => installNode(major, folder)))
    for (const [manager, app] of Object.entries(apps)) tryWith(node, app, manager);
  tryOldestWs(apps.npm);
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

function createApp(name, tarball, installInto) {
  const app = join(folder, name);
  cpSync(join(root, 'test', 'package'), app, { recursive: true });
  // The same sources as a CommonJS application, except for the client.
  mkdirSync(join(app, 'cjs', 'src'));
  for (const file of ['app.module.ts', 'main.ts']) cpSync(join(app, 'src', file), join(app, 'cjs', 'src', file));
  const versions = PACKAGES.map((each) => [each, manifest.devDependencies[each]]);
  const dependencies = { ...Object.fromEntries(versions), [manifest.name]: `file:${tarball}` };
  writeFileSync(join(app, 'package.json'), JSON.stringify({ private: true, type: 'module', dependencies }));
  writeFileSync(join(app, '.env'), SETTINGS);
  installInto(app);
  return app;
}

/** Nothing is hoisted, so an import of a package that is not a dependency fails. */
function installWithPnpm(app) {
  const options = [
    '--prefer-offline',
    '--ignore-scripts',
    '--config.strict-peer-dependencies=true',
    '--reporter=silent',
  ];
  run('npx', ['-y', PNPM, 'install', ...options], app, 300);
}

/**
 * Yarn Plug'n'Play: no `node_modules` at all. Nest's declarations import a package that is not its dependency, which
 * requires `skipLibCheck`; and `require()` of an ES module, such as Nest 12, does not use Plug'n'Play.
 */
function tryYarn(tarball) {
  const place = join(folder, 'yarn-cli');
  mkdirSync(place);
  writeFileSync(join(place, 'package.json'), JSON.stringify({ private: true, dependencies: { [YARN[0]]: YARN[1] } }));
  install(place);
  const registry = execFileSync('npm', ['config', 'get', 'registry'], { encoding: 'utf8' }).trim();
  const env = {
    ...process.env,
    YARN_NODE_LINKER: 'pnp',
    YARN_ENABLE_TELEMETRY: '0',
    YARN_ENABLE_GLOBAL_CACHE: '0',
    YARN_ENABLE_IMMUTABLE_INSTALLS: '0',
    YARN_NPM_REGISTRY_SERVER: registry,
    YARN_UNSAFE_HTTP_WHITELIST: new URL(registry).hostname,
  };
  const cli = join(place, 'node_modules', YARN[0], 'bin', 'yarn.js');
  const yarn = (app, ...args) => run(process.execPath, [cli, ...args], app, 300, env);
  const app = createApp('yarn', tarball, (app) => {
    writeFileSync(join(app, 'yarn.lock'), '');
    yarn(app, 'install');
  });
  yarn(app, 'tsc', '-p', 'tsconfig.json', '--skipLibCheck');
  yarn(app, 'node', 'dist/try.js');
  console.log(`${manifest.name} works in an ESM application with Yarn Plug'n'Play`);
}

/** The oldest supported version of `ws`, when an application requires it. */
function tryOldestWs(app) {
  const file = join(app, 'package.json');
  writeFileSync(file, JSON.stringify({ ...read(file), overrides: { ws: OLDEST_WS } }));
  rmSync(join(app, 'node_modules'), { recursive: true });
  rmSync(join(app, 'package-lock.json'));
  install(app);
  const { version } = read(join(app, 'node_modules/ws/package.json'));
  if (version !== OLDEST_WS) throw new Error(`installed ws ${version}`);
  run(process.execPath, ['dist/try.js'], app, 60);
  console.log(`${manifest.name} works with ws ${version}`);
}

/** Checks that the package contains only programs, types and documents, within the size budget. */
function checkContents(installed, tarball) {
  const files = readdirSync(installed, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => ({ name, path: join(parentPath, name) }))
    .filter(({ path }) => !relative(installed, path).startsWith('node_modules'));
  const odd = files.filter(({ name }) => !ALLOWED.test(name) || /\.spec\./.test(name));
  if (odd.length > 0) throw new Error(`not for publication: ${odd.map(({ name }) => name).join(', ')}`);
  const targets = Object.values(manifest.exports).flatMap((target) =>
    Object.values(typeof target === 'string' ? [target] : target),
  );
  const wanted = ['LICENSE', 'README.md', 'CHANGELOG.md', 'SECURITY.md', manifest.main, manifest.types, ...targets];
  const missing = wanted.filter((path) => !existsSync(join(installed, path)));
  if (missing.length > 0) throw new Error(`not in the package: ${missing.join(', ')}`);
  const links = read(join(installed, 'README.md'), String).match(/\]\((?!https:|#)[^)\s]+\)/g);
  if (links !== null) throw new Error(`links of the packed README lead nowhere: ${links.join(' ')}`);
  const sizes = {
    packed: statSync(tarball).size,
    unpacked: files.reduce((sum, { path }) => sum + statSync(path).size, 0),
  };
  for (const [what, size] of Object.entries(sizes))
    if (size > BUDGET[what]) throw new Error(`${what} it has ${size} bytes, above the budget of ${BUDGET[what]}`);
  console.log(`${files.length} files, ${kib(sizes.packed)} packed, ${kib(sizes.unpacked)} unpacked`);
}

function kib(bytes) {
  return `${Math.round(bytes / 1024)} KiB`;
}

function compile(app, config) {
  run(process.execPath, [join(app, 'node_modules/typescript/bin/tsc'), '-p', config], app, 120);
}

/** Another compiler accepts the declarations too. */
function compileWith(version, app) {
  const place = join(folder, `typescript-${version}`);
  mkdirSync(place);
  writeFileSync(join(place, 'package.json'), JSON.stringify({ private: true, dependencies: { typescript: version } }));
  install(place);
  const tsc = join(place, 'node_modules', '.bin', 'tsc');
  for (const config of ['tsconfig.json', 'cjs', 'tsconfig.bundler.json'])
    run(tsc, ['-p', config, '--noEmit'], app, 120);
  console.log(
    `TypeScript ${read(join(place, 'node_modules/typescript/package.json')).version} compiles the application`,
  );
}

function tryWith(node, app, manager) {
  for (const [kind, args] of Object.entries({ ESM: [], CommonJS: [join(app, 'cjs', 'dist', 'main.js')] })) {
    run(node, ['dist/try.js', ...args], app, 60);
    console.log(
      `${manifest.name} ${manifest.version} works in a fresh ${kind} application on Node ${versionOf(node)} (${manager})`,
    );
  }
}
