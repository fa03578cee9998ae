// Follows the README in a new application, as a new user does: `nest new`, the README's command with the packed package,
// its files and its `.env`, and the test of docs/testing.md. Then it builds, tests (with the Vitest of `nest new`), starts,
// connects to the gateway, and runs the command line.
//
//     node scripts/try-newcomer.mjs
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { WebSocket } from 'ws';
import { install, run } from './node-versions.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const read = (...path) => readFileSync(join(...path), 'utf8');
const { name } = JSON.parse(read(root, 'package.json'));

/** Packages that `nest new` installs and that neither the build nor the tests need. */
const UNUSED =
  /^(@nestjs\/mau|@vitest\/coverage-v8|@types\/(express|supertest)|oxlint|oxlint-tsgolint|prettier|source-map-support|supertest)$/;

const blocks = (file, language) =>
  [...read(root, file).matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, 'gm'))].map(([, text]) => text);

const folder = mkdtempSync(join(tmpdir(), 'try-newcomer-'));
try {
  const app = createApp();
  addPackage(app, pack());
  writeFiles(app);
  for (const script of ['build', 'test']) run('npm', ['run', '--silent', script], app, 120);
  await talk(app);
  mkdirSync(join(app, 'messages'));
  for (let number = 0; number < 20; number++)
    writeFileSync(
      join(app, 'messages', `${number}.json`),
      JSON.stringify({ event: 'said', data: { by: 'ada', text: `text ${number}` } }),
    );
  commandLine(app, 0, 'tune', 'messages/');
  console.log(`The README's gateway works in an application that nest new has made, and its test passes in Vitest`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}

function createApp() {
  const app = join(folder, 'app');
  const nest = join(root, 'node_modules/@nestjs/cli/bin/nest.js');
  run(process.execPath, [nest, 'new', 'app', '--skip-git', '--skip-install', '-p', 'npm'], folder, 60);
  const manifest = JSON.parse(read(app, 'package.json'));
  for (const each of Object.keys(manifest.devDependencies))
    if (UNUSED.test(each)) delete manifest.devDependencies[each];
  writeFileSync(join(app, 'package.json'), JSON.stringify(manifest));
  rmSync(join(app, 'test'), { recursive: true });
  install(app);
  return app;
}

function pack() {
  run('npm', ['pack', '--silent', '--pack-destination', folder], root, 120);
  return join(
    folder,
    readdirSync(folder).find((file) => file.endsWith('.tgz')),
  );
}

/** The README's `npm install` with the packed package in place of its name. */
function addPackage(app, tarball) {
  const command = blocks('README.md', 'sh')
    .flatMap((block) => block.split('\n'))
    .find((line) => line.startsWith(`npm install ${name} `));
  const [, ...args] = command.split(' ').map((word) => (word === name ? tarball : word));
  run('npm', [...args, '--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error'], app, 300);
}

function writeFiles(app) {
  for (const block of [...blocks('README.md', 'ts'), ...blocks('docs/testing.md', 'ts')]) {
    const [, file] = /^\/\/ (src\/\S+)\n/.exec(block) ?? [];
    if (file === undefined) continue;
    mkdirSync(dirname(join(app, file)), { recursive: true });
    writeFileSync(join(app, file), block.replace("'@jest/globals'", "'vitest'"));
  }
  writeFileSync(join(app, '.env'), blocks('README.md', 'ini')[0]);
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

/** Starts the built application, connects as the README's browser code does, and runs the command line beside it. */
async function talk(app) {
  const port = await freePort();
  const env = { ...process.env, PORT: String(port) };
  const child = spawn(process.execPath, ['dist/main.js'], { cwd: app, env, stdio: 'inherit' });
  const exited = once(child, 'exit');
  try {
    for (let tries = 0; !(await answers(port)); tries++) {
      if (tries > 300 || child.exitCode !== null) throw new Error('the application does not start');
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    const url = `ws://localhost:${port}`;
    const socket = new WebSocket(`${url}/chat`, { headers: { Cookie: 'session=secret' } });
    await once(socket, 'open');
    socket.send(JSON.stringify({ event: 'say', data: { text: 'hello' } }));
    const [message] = await once(socket, 'message');
    if (String(message) !== '{"event":"said","data":{"by":"ada","text":"hello"}}') throw new Error(`got ${message}`);
    socket.terminate();
    commandLine(app, 1, 'doctor'); // Findings depend on the machine; only a failure to run counts.
    commandLine(app, 0, 'probe', `${url}/chat`, '--quick', '--header', 'Cookie: session=secret');
  } finally {
    child.kill('SIGTERM');
    await exited;
  }
}

async function answers(port) {
  try {
    return (await fetch(`http://localhost:${port}/`)).status > 0;
  } catch {
    return false;
  }
}

/** Runs the command line of the installed package; fails when its exit code is above `highest`. */
function commandLine(app, highest, ...args) {
  const options = { cwd: app, encoding: 'utf8', timeout: 120_000 };
  const { status, stdout, stderr } = spawnSync('npx', ['--no-install', name, ...args], options);
  if (status === null || status > highest)
    throw new Error(`${args.join(' ')} ended with ${status}: ${stdout}${stderr}`);
  console.log(`${name} ${args[0]} ended with ${status}`);
}
