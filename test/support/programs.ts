import { spawnSync } from 'node:child_process';

/** Whether this command succeeds. If not, its tests are skipped with a note. */
function succeeds(name: string, command: string, args: readonly string[]): boolean {
  const { status } = spawnSync(command, args, { stdio: 'ignore' });
  if (status !== 0) process.stderr.write(`${name} is not installed: its tests are skipped.\n`);
  return status === 0;
}

/** Whether a program is installed. */
export const has = (program: string): boolean => succeeds(program, 'sh', ['-c', `command -v ${program}`]);

export const PYTHON = '/usr/bin/python3';

/** Whether the package `websockets` of Python is installed (Debian: python3-websockets). */
export const hasPythonWebSockets = (): boolean => succeeds("Python's websockets", PYTHON, ['-c', 'import websockets']);
