// Installs and compiles what is missing or older than its sources. Uses only Node until that is done.
import { spawn } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = dirname(dirname(fileURLToPath(import.meta.url)));
const TSC = 'node_modules/typescript/bin/tsc';
const stamps = join(root, 'node_modules/.cache/nest-secure-ws');

/** `npm ci`, unless every locked package is installed in its version. */
export async function install() {
  if (isInstalled()) return;
  console.error('Installing what is missing …');
  // npm's output goes to stderr: the one line on stdout is the sample's.
  await run('npm', ['ci', '--include=dev', '--no-audit', '--no-fund'], { shell: process.platform === 'win32' });
}

/** Compiles the library and these samples (all by default) when their sources are newer. */
export async function build(samples = allSamples()) {
  await compile(['lib'], () => [[TSC, '-p', 'lib/tsconfig.lib.json'], ['scripts/bundle.mjs']]);
  // In one process, so that they share the files that the compiler has read.
  const projects = (folders) => folders.map((folder) => `${folder}/tsconfig.app.json`);
  await compile(
    samples.map((name) => `sample/${name}`),
    (folders) => [[TSC, '-b', '--force', ...projects(folders)]],
  );
}

export const allSamples = () => readdirSync(join(root, 'sample')).filter((name) => /^\d\d-/.test(name));

function isInstalled() {
  const wanted = packagesOf('package-lock.json');
  const present = packagesOf('node_modules/.package-lock.json');
  return Object.entries(wanted).every(
    ([path, { version, optional, link }]) =>
      path === '' || link || (present[path] === undefined ? optional : present[path].version === version),
  );
}

function packagesOf(lock) {
  try {
    return JSON.parse(readFileSync(join(root, lock), 'utf8')).packages;
  } catch {
    return {};
  }
}

/** Runs the scripts for the outdated folders one after the other, and records the time. */
async function compile(folders, scripts) {
  const outdated = folders.filter((folder) => !isBuilt(folder));
  if (outdated.length === 0) return;
  console.error(`Building ${outdated.join(', ')} …`);
  const begun = new Date();
  for (const script of scripts(outdated)) await run(process.execPath, script);
  mkdirSync(stamps, { recursive: true });
  for (const folder of outdated) {
    writeFileSync(stampOf(folder), '');
    // A file changed during the compilation is newer than this.
    utimesSync(stampOf(folder), begun, begun);
  }
}

function isBuilt(folder) {
  const output = folder === 'lib' ? 'dist/index.js' : `${folder}/dist/main.js`;
  return modified(join(root, output)) > 0 && modified(stampOf(folder)) >= newest(join(root, folder));
}

const stampOf = (folder) => join(stamps, folder.replaceAll('/', '-'));
const modified = (path) => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;

/** The modification time of the newest source in a folder. */
function newest(folder) {
  const sources = readdirSync(folder, { withFileTypes: true, recursive: true }).filter(
    ({ name, parentPath }) => /\.(ts|json)$/.test(name) && !/^dist\b/.test(relative(folder, parentPath)),
  );
  return Math.max(...sources.map(({ name, parentPath }) => modified(join(parentPath, name))));
}

/** Runs a command to its end, and ends it when this process is told to stop. */
function run(command, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, stdio: ['ignore', 2, 2], ...options });
    const stop = (signal) => child.kill(signal);
    const signals = ['SIGINT', 'SIGTERM'];
    for (const signal of signals) process.on(signal, stop);
    const done = () => {
      for (const signal of signals) process.off(signal, stop);
    };
    child.on('error', (error) => {
      done();
      reject(error);
    });
    child.on('close', (code, signal) => {
      done();
      if (signal !== null) process.kill(process.pid, signal);
      else if (code === 0) resolve();
      else reject(new Error(`${command} ${args.join(' ')} ended with ${code}`));
    });
  });
}
