// Other versions of Node, which the npm package `node` provides, and commands with a time limit.
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Installs the newest Node of this major version into a folder, and returns the path of its executable. */
export function installNode(major, folder) {
  const place = join(folder, `node-${major}`);
  mkdirSync(place);
  writeFileSync(join(place, 'package.json'), JSON.stringify({ private: true, dependencies: { node: major } }));
  install(place);
  return join(place, 'node_modules', 'node', 'bin', 'node');
}

/** Installs the packages in the `package.json` of a folder. */
export function install(place) {
  run('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error'], place, 300);
}

export const versionOf = (node) => spawnSync(node, ['-v'], { encoding: 'utf8' }).stdout.trim();

/** Runs a command, and ends it after this many seconds. */
export function run(command, args, cwd, seconds, env = process.env) {
  const shell = process.platform === 'win32' && command === 'npm';
  const { status, signal, error } = spawnSync(command, args, {
    cwd,
    env,
    shell,
    stdio: 'inherit',
    timeout: seconds * 1000,
  });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${error ?? signal ?? status}`);
}
