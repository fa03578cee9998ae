import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';

export interface CliRun {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

interface Options {
  readonly cwd?: string;
  readonly env?: Record<string, string>;
  /** Told of the process once it runs. */
  readonly onStart?: (child: ChildProcess) => unknown;
}

/** The executable: over the sources, or with DIST=1 the one of the built package. */
const ENTRY =
  process.env['DIST'] === '1'
    ? [resolve('bin/nest-secure-ws.js')]
    : ['--import', `file://${resolve('test/support/typescript.mjs')}`, resolve('test/cli/binary.ts')];

/** Runs the command line as a process of its own, without the settings of this one, and tells how it ended. */
export async function runCli(args: readonly string[], { cwd, env = {}, onStart }: Options = {}): Promise<CliRun> {
  const inherited = Object.entries(process.env).filter(([name]) => !/^(WEBSOCKETS_|NODE_OPTIONS|NODE_ENV)/.test(name));
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', ...ENTRY, ...args], {
    cwd,
    env: { ...Object.fromEntries(inherited), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output.stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (output.stderr += text));
  onStart?.(child);
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, ...output };
}

/** The same, with the JSON that it printed. */
export async function runJson<T>(args: readonly string[], options?: Options): Promise<CliRun & { readonly json: T }> {
  const run = await runCli([...args, '--json'], options);
  try {
    return { ...run, json: JSON.parse(run.stdout) as T };
  } catch {
    throw new Error(`no JSON, exit code ${run.code}: ${run.stdout}${run.stderr}`);
  }
}
