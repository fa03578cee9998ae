// Bundles a sample with esbuild (ESM and CommonJS) and webpack, starts each bundle in a folder with only its file and a
// package.json of another version, connects to it, and ends it.
//
//     node scripts/try-bundles.mjs
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as esbuild from 'esbuild';
import webpack from 'webpack';
import WebSocket from 'ws';
import { build, root } from './build.mjs';

const SAMPLE = '02-guards-and-env';
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const IDENTITY = `nest-secure-ws/${version.split('.').slice(0, 2).join('.')}`;
const ENVIRONMENT = { TOKENS: 'blue-sky:anna', PORT: '0', WEBSOCKETS_MAX_SIZE: '1kb' };

/** Packages that Nest and its platforms load only when an application has them. */
const OPTIONAL = [
  '@nestjs/microservices',
  '@nestjs/microservices/microservices-module.js',
  '@nestjs/platform-fastify',
  '@fastify/static',
  '@fastify/view',
  'class-transformer/storage',
];

const folder = mkdtempSync(join(tmpdir(), 'try-bundles-'));
try {
  await build([SAMPLE]);
  const entry = writeEntry();
  for (const [name, bundle] of Object.entries({ 'esbuild ESM': esm, 'esbuild CommonJS': cjs, webpack: packed })) {
    const place = join(folder, name.replaceAll(' ', '-'));
    mkdirSync(place);
    writeFileSync(join(place, 'package.json'), '{ "name": "application", "version": "9.8.7" }');
    await tryBundle(name, await bundle(entry, place), place);
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}

/** The sample's module with a start without top-level await, which CommonJS does not have. */
function writeEntry() {
  const dist = join(root, 'sample', SAMPLE, 'dist');
  const entry = join(dist, 'bundle-entry.js');
  writeFileSync(
    entry,
    `import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import { VERSION } from 'nest-secure-ws';
import { AppModule } from './app.module.js';

async function start() {
  const app = await NestFactory.create(AppModule, { logger: ['error', 'warn'] });
  app.enableShutdownHooks(undefined, { useProcessExit: true });
  await app.listen(Number(process.env.PORT), '127.0.0.1');
  console.log(VERSION + ' ' + (await app.getUrl()));
}
start();
`,
  );
  return entry;
}

async function esm(entry, place) {
  const outfile = join(place, 'main.mjs');
  await bundleWithEsbuild(entry, outfile, {
    format: 'esm',
    // CommonJS packages call require().
    banner: {
      js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);",
    },
  });
  return outfile;
}

async function cjs(entry, place) {
  const outfile = join(place, 'main.cjs');
  await bundleWithEsbuild(entry, outfile, {
    format: 'cjs',
    // Nest itself uses import.meta.url, which CommonJS does not have.
    banner: { js: "const __url = require('node:url').pathToFileURL(__filename).href;" },
    define: { 'import.meta.url': '__url' },
  });
  return outfile;
}

function bundleWithEsbuild(entry, outfile, options) {
  return esbuild.build({
    entryPoints: [entry],
    outfile,
    bundle: true,
    platform: 'node',
    target: 'node20',
    minify: true,
    // Nest identifies providers by their class names.
    keepNames: true,
    external: OPTIONAL,
    logLevel: 'error',
    absWorkingDir: root,
    ...options,
  });
}

async function packed(entry, place) {
  const compiler = webpack({
    mode: 'production',
    target: 'node20',
    context: root,
    entry,
    output: { path: place, filename: 'main.cjs', clean: false },
    externals: Object.fromEntries(OPTIONAL.map((name) => [name, `commonjs ${name}`])),
    optimization: { minimize: false },
    performance: { hints: false },
    // express loads view engines by name.
    module: { exprContextCritical: false, unknownContextCritical: false },
    stats: 'errors-warnings',
  });
  const stats = await new Promise((resolve, reject) => {
    compiler.run((error, result) => compiler.close(() => (error ? reject(error) : resolve(result))));
  });
  if (stats.hasErrors()) throw new Error(stats.toString({ colors: false, all: false, errors: true }));
  return join(place, 'main.cjs');
}

/** Starts a bundle as an operator would, and connects to it as a peer would. */
async function tryBundle(name, file, place) {
  const child = spawn(process.execPath, [file], {
    cwd: place,
    env: { PATH: process.env.PATH, ...ENVIRONMENT },
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: 30_000,
    killSignal: 'SIGKILL',
  });
  const exited = once(child, 'exit');
  const [line = ''] = await Promise.race([once(child.stdout, 'data'), exited.then(() => [])]);
  const [said, url = ''] = String(line).trim().split(' ');
  check(said, version, `${name}: VERSION`);
  const ws = `${url.replace('http:', 'ws:')}/chat`;

  const refused = new WebSocket(ws);
  const [, response] = await once(refused, 'unexpected-response');
  refused.on('error', () => undefined).terminate();
  check(response.statusCode, 401, `${name}: status without a token`);
  check(String(response.headers.server).endsWith(IDENTITY), true, `${name}: Server is ${response.headers.server}`);

  const socket = new WebSocket(ws, { headers: { Authorization: 'Bearer blue-sky' }, perMessageDeflate: true });
  await once(socket, 'open');
  check(socket.extensions.startsWith('permessage-deflate'), true, `${name}: compression`);
  socket.send(JSON.stringify({ event: 'say', data: 'hello '.repeat(100) }));
  const [message] = await once(socket, 'message');
  check(JSON.parse(String(message)).data.by, 'anna', `${name}: the answer`);
  const closed = once(socket, 'close');
  socket.send('x'.repeat(2000));
  check((await closed)[0], 1009, `${name}: close code of a large message`);

  child.kill('SIGTERM');
  check((await exited)[0], 0, `${name}: exit code`);
  console.log(`A bundle of ${name} (${Math.round(statSync(file).size / 1024)} KiB) starts, serves and ends.`);
}

function check(actual, expected, what) {
  if (actual !== expected) throw new Error(`${what}: ${actual} is not ${expected}`);
}
