import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import type { RawClient } from '../support/raw-client.js';

interface Options {
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
}

/** A command that runs beside the test, with its output. */
export class Running {
  printed = '';
  private readonly child: ChildProcess;
  private readonly ended: Promise<number | null>;
  private readonly waiting = new Set<() => void>();

  constructor(command: string, args: readonly string[], { cwd, env }: Options = {}) {
    const options = { cwd, env: { ...process.env, NODE_OPTIONS: '', NO_COLOR: '1', ...env } };
    this.child = spawn(command, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [this.child.stdout!, this.child.stderr!])
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.printed += text;
        for (const look of [...this.waiting]) look();
      });
    this.ended = once(this.child, 'exit').then(([code]) => code as number | null);
    void this.ended.then(() => {
      for (const look of [...this.waiting]) look();
    });
  }

  /** Resolves when the output after `from` matches; rejects when the process has ended without it. */
  async prints(what: RegExp, { from = 0, timeout = 20_000 } = {}): Promise<RegExpExecArray> {
    return new Promise((resolve, reject) => {
      const settle = (action: () => void): void => {
        clearTimeout(timer);
        this.waiting.delete(look);
        action();
      };
      const fail = (why: string) => () => reject(new Error(`${why} and no ${what} in: ${this.printed}`));
      const timer = setTimeout(() => settle(fail(`${timeout} ms`)), timeout);
      const look = (): void => {
        const found = what.exec(this.printed.slice(from));
        if (found !== null) settle(() => resolve(found));
        else if (this.child.exitCode !== null || this.child.signalCode !== null) settle(fail('it has ended'));
      };
      this.waiting.add(look);
      look();
    });
  }

  /** The exit code, once it has ended by itself. */
  exit(): Promise<number | null> {
    return this.ended;
  }

  /** Asks it to end together with its children, and returns its exit code. */
  async stop(patience = 10_000): Promise<number | null> {
    this.child.kill('SIGTERM');
    const timer = setTimeout(() => this.child.kill('SIGKILL'), patience);
    const code = await this.ended;
    clearTimeout(timer);
    return code;
  }
}

/** Resolves when the port accepts connections. */
export async function accepts(port: number, timeout = 10_000): Promise<void> {
  for (const until = Date.now() + timeout; ; ) {
    const socket = connect(port, '127.0.0.1');
    const answer = await Promise.race([
      once(socket, 'connect').then(() => true),
      new Promise<false>((resolve) => socket.once('error', () => resolve(false))),
    ]).catch(() => false);
    socket.destroy();
    if (answer) return;
    if (Date.now() > until) throw new Error(`nothing listens on ${port}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** The next message, skipping pings; `undefined` when the connection has ended. */
export async function next(client: RawClient): Promise<unknown> {
  for (;;) {
    const frame = await client.frame();
    if (frame === undefined || frame.opcode === 8) return undefined;
    if (frame.opcode < 8) return JSON.parse(frame.payload.toString());
  }
}

/** The reply to a message. */
export function ask(client: RawClient, event: string, data?: unknown): Promise<unknown> {
  client.send(event, data);
  return next(client);
}
