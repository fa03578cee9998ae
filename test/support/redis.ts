import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import type { Pair } from './certificates.js';
import { unusedPort } from './ports.js';
import { has } from './programs.js';

/** Whether `redis-server` (Debian package of that name) is installed. */
export const HAS_REDIS = has('redis-server');

/** A real Redis on a free loopback port, without persistence. */
export class RedisServer {
  #process: ChildProcess | undefined;
  #output = '';
  readonly #folder = mkdtempSync(join(tmpdir(), 'nsw-redis-'));

  private constructor(
    readonly port: number,
    private readonly args: readonly string[],
    private readonly isTls = false,
  ) {}

  static async start(...args: string[]): Promise<RedisServer> {
    const server = new RedisServer(await unusedPort(), args);
    await server.restart();
    return server;
  }

  /** One that accepts only TLS, with `pair`. */
  static async overTls(pair: Pair, ...args: string[]): Promise<RedisServer> {
    const port = await unusedPort();
    const server = new RedisServer(port, args, true);
    const file = (name: string): string => join(server.#folder, name);
    writeFileSync(file('cert.pem'), pair.cert);
    writeFileSync(file('key.pem'), pair.key);
    await server.restart();
    return server;
  }

  /** A Sentinel, which writes its state into its configuration. */
  static async sentinel(port: number, lines: readonly string[]): Promise<RedisServer> {
    const server = new RedisServer(port, []);
    const file = join(server.#folder, 'sentinel.conf');
    writeFileSync(file, [`port ${port}`, 'bind 127.0.0.1', `dir ${server.#folder}`, ...lines, ''].join('\n'));
    await server.#spawn([file, '--sentinel'], /Sentinel ID is/);
    return server;
  }

  get url(): string {
    return `${this.isTls ? 'rediss' : 'redis'}://127.0.0.1:${this.port}`;
  }

  /** Starts it again after it has ended. */
  async restart(): Promise<void> {
    const tls = ['--tls-cert-file', join(this.#folder, 'cert.pem'), '--tls-key-file', join(this.#folder, 'key.pem')];
    const listen = this.isTls
      ? ['--port', '0', '--tls-port', String(this.port), ...tls, '--tls-auth-clients', 'no']
      : ['--port', String(this.port)];
    const args = [...listen, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'];
    await this.#spawn([...args, '--dir', this.#folder, ...this.args], /Ready to accept connections/);
  }

  async #spawn(args: readonly string[], ready: RegExp): Promise<void> {
    const child = spawn('redis-server', args, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#process = child;
    this.#output = '';
    child.stdout!.on('data', (chunk: Buffer) => (this.#output += chunk.toString()));
    child.stderr!.on('data', (chunk: Buffer) => (this.#output += chunk.toString()));
    const ended = once(child, 'exit').then(([code]) => {
      throw new Error(`redis-server ended with ${code}: ${this.#output}`);
    });
    ended.catch(() => undefined);
    while (!ready.test(this.#output)) await Promise.race([new Promise((resolve) => setTimeout(resolve, 10)), ended]);
  }

  signal(signal: NodeJS.Signals): void {
    this.#process!.kill(signal);
  }

  /** Kills it, as a crash does. */
  async kill(): Promise<void> {
    const child = this.#process;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGCONT');
    child.kill('SIGKILL');
    await once(child, 'exit');
  }

  async stop(): Promise<void> {
    await this.kill();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** Runs commands over a new connection. */
  async ask<T>(question: (redis: Redis) => Promise<T>): Promise<T> {
    const redis = new Redis(this.port, '127.0.0.1', {
      maxRetriesPerRequest: 0,
      retryStrategy: () => null,
      ...(this.isTls && { tls: { rejectUnauthorized: false } }),
    });
    redis.on('error', () => undefined);
    try {
      return await question(redis);
    } finally {
      redis.disconnect();
    }
  }
}
