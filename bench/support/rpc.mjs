import { fork } from 'node:child_process';
import { dirname } from 'node:path';

/** Answers `{ id, method, params }` over IPC; ends the process with its parent. */
export function answer(handlers) {
  process.on('message', async ({ id, method, params }) => {
    try {
      reply({ id, result: (await handlers[method](params ?? {})) ?? null });
    } catch (error) {
      reply({ id, error: error?.stack ?? String(error) });
    }
  });
  process.on('disconnect', () => process.exit(0));
}

// A parent that has exited is not an error.
const reply = (message) => process.connected && process.send(message, () => {});

// Defaults are measured: neither a setting of the shell nor a `.env` of the working directory may change them.
function plainEnvironment() {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(WEBSOCKETS_|NODE_ENV$)/.test(name)));
}

/** A child process that answers questions over IPC. Every question has a deadline (ms). */
export class Child {
  #pending = new Map();
  #lastId = 0;

  constructor(file, config = {}, execArgv = ['--expose-gc']) {
    const stdio = ['ignore', 'ignore', 'inherit', 'ipc'];
    this.process = fork(file, [JSON.stringify(config)], {
      execArgv,
      stdio,
      env: plainEnvironment(),
      cwd: dirname(file),
    });
    this.process.on('message', (message) => this.#settle(message));
    this.process.once('exit', (code, signal) => this.#fail(new Error(`${file} ended (${signal ?? code})`)));
    this.process.on('error', (error) => this.#fail(error));
  }

  call(method, params, timeout = 60_000) {
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#settle({ id, error: `${method}: no answer in ${timeout} ms` }), timeout);
      this.#pending.set(id, { resolve, reject, timer });
      this.process.send({ id, method, params }, (error) => error && this.#settle({ id, error: error.message }));
    });
  }

  /** Ends the child by its pid; resolves when it has exited. */
  stop() {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return Promise.resolve();
    return new Promise((resolve) => {
      this.process.once('exit', resolve);
      this.process.kill('SIGKILL');
    });
  }

  #settle({ id, result, error }) {
    const waiting = this.#pending.get(id);
    if (!waiting) return;
    this.#pending.delete(id);
    clearTimeout(waiting.timer);
    if (error) waiting.reject(new Error(error));
    else waiting.resolve(result);
  }

  #fail(error) {
    for (const id of [...this.#pending.keys()]) this.#settle({ id, error: error.message });
  }
}
