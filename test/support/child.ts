import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';

/**
 * A child process, for what a spec's own process cannot show: memory, exit codes, whether it survives.
 * `file` is a `.ts` file, relative to the repository; it calls `process.send({ ready: … })` when it is ready.
 */
export class Child {
  private constructor(
    readonly process: ChildProcess,
    /** The value of `ready`. */
    readonly ready: unknown,
    private readonly output: string[],
  ) {}

  static async start(file: string, args: readonly string[] = [], env: NodeJS.ProcessEnv = {}): Promise<Child> {
    const output: string[] = [];
    const child = fork(resolve(file), args, {
      execArgv: ['--expose-gc', '--import', `file://${resolve('test/support/typescript.mjs')}`],
      env: { ...process.env, NODE_OPTIONS: '', ...env },
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    child.stdout?.on('data', (chunk: Buffer) => output.push(chunk.toString()));
    child.stderr?.on('data', (chunk: Buffer) => output.push(chunk.toString()));
    const ended = once(child, 'exit').then(([code]) => {
      throw new Error(`${file} ended with ${code}: ${output.join('')}`);
    });
    const [message] = (await Promise.race([once(child, 'message'), ended])) as [{ ready: unknown }];
    ended.catch(() => undefined);
    return new Child(child, message.ready, output);
  }

  /** Everything it has printed. */
  get printed(): string {
    return this.output.join('');
  }

  get isAlive(): boolean {
    return this.process.exitCode === null && this.process.signalCode === null;
  }

  /** Sends a request and waits for the reply: the child answers each message with one. */
  async ask<T>(request: unknown): Promise<T> {
    this.process.send(request as object);
    const [answer] = await once(this.process, 'message');
    return answer as T;
  }

  /** Sends a signal and waits for the end; returns the exit code. */
  async end(signal: NodeJS.Signals = 'SIGKILL'): Promise<number | null> {
    if (!this.isAlive) return this.process.exitCode;
    this.process.kill(signal);
    const [code] = await once(this.process, 'exit');
    return code as number | null;
  }
}
