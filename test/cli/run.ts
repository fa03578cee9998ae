import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { main } from '../../lib/cli/index.js';

export interface CliRun {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

interface Options {
  readonly cwd?: string;
  readonly env?: Record<string, string>;
  /** In its own process: always with DIST=1, and for commands that start processes. */
  readonly asProcess?: boolean;
  /** Called with the process once it runs; a process is started for it. */
  readonly onStart?: (child: ChildProcess) => unknown;
}

/** The executable over the sources, or over the built package with DIST=1. */
const IS_DIST = process.env['DIST'] === '1';
const ENTRY = IS_DIST
  ? [resolve('bin/nest-secure-ws.js')]
  : ['--import', `file://${resolve('test/support/typescript.mjs')}`, resolve('bin/nest-secure-ws.js')];

/** Runs the command line without this process's settings, and returns its output and exit code. */
export function runCli(args: readonly string[], options: Options = {}): Promise<CliRun> {
  const { asProcess = false, onStart } = options;
  const starts = asProcess || args.includes('--app');
  return starts || onStart !== undefined || IS_DIST ? runProcess(args, options) : runHere(args, options);
}

const environment = (env: Record<string, string> = {}): Record<string, string | undefined> => ({
  ...Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(WEBSOCKETS_|NODE_OPTIONS|NODE_ENV)/.test(name)),
  ),
  ...env,
});

async function runProcess(args: readonly string[], { cwd, env, onStart }: Options): Promise<CliRun> {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', ...ENTRY, ...args], {
    cwd,
    env: environment(env) as NodeJS.ProcessEnv,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output.stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (output.stderr += text));
  onStart?.(child);
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, ...output };
}

/** Runs the executable's code in this process. */
async function runHere(args: readonly string[], { cwd = process.cwd(), env }: Options): Promise<CliRun> {
  const output = { stdout: '', stderr: '' };
  const writer = (to: keyof typeof output) => ({ write: (text: string) => (output[to] += text) });
  const code = await main(args, {
    stdout: writer('stdout'),
    stderr: writer('stderr'),
    env: environment(env),
    cwd,
    signal: new AbortController().signal,
    self: '',
  });
  return { code, ...output };
}

/** Like runCli(), with the parsed JSON output. */
export async function runJson<T>(args: readonly string[], options?: Options): Promise<CliRun & { readonly json: T }> {
  const run = await runCli([...args, '--json'], options);
  try {
    return { ...run, json: JSON.parse(run.stdout) as T };
  } catch {
    throw new Error(`no JSON, exit code ${run.code}: ${run.stdout}${run.stderr}`);
  }
}
