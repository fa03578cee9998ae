import { Breaker } from '../breaker.js';
import { keepConnected, type RedisClient } from './client.js';
import { PUBLISH, type Script } from './scripts.js';

/** Redis did not answer in time, answered with an error, or was not asked. */
export const UNAVAILABLE = Symbol('unavailable');

export type Argument = string | number;

interface Waiting {
  readonly deadline: number;
  settle(answer: unknown): void;
}

/** Bytes of messages that may be under way. */
const MOST_BYTES = 16 * 1024 * 1024;
const MAX_ERROR = 200;

/**
 * The connection for commands: every one is answered within `timeout` milliseconds or counts as failed, none rejects,
 * and none is sent while the breaker is open or the connection is down.
 */
export class RedisLink {
  readonly breaker: Breaker;
  failures = 0;
  lastError: string | undefined = undefined;
  /** When Redis answered last, by the monotonic clock. */
  lastAnswer: number;
  #timeout = 100;
  /** In the order in which they were sent: the first is the first to be overdue. */
  readonly #connection: ReturnType<typeof keepConnected>;
  readonly #waiting = new Set<Waiting>();
  #timer: NodeJS.Timeout | undefined;
  #bytes = 0;

  constructor(
    private readonly client: RedisClient,
    onBreaker: () => void,
    private readonly now: () => number,
  ) {
    this.breaker = new Breaker(now, onBreaker);
    this.lastAnswer = now();
    client.on('error', (error: Error) => this.#note(error));
    this.#connection = keepConnected(client);
  }

  set timeout(timeout: number) {
    this.#timeout = timeout;
  }

  get isReady(): boolean {
    return this.client.status === 'ready';
  }

  /** Resolves when there is a connection, when it was refused, or after so many milliseconds; goes on trying. */
  connect(wait: number): Promise<void> {
    return new Promise((resolve) => {
      for (const event of ['ready', 'close', 'end']) this.client.on(event, () => resolve());
      setTimeout(resolve, wait).unref();
      this.#connection.connect();
    });
  }

  /**
   * Runs a script; `keys` of one call are of one shard. Where Redis does not know it yet it is sent once more, behind
   * others that were sent later: the arguments are asked for anew then.
   */
  run(script: Script, keys: readonly string[], args: () => readonly Argument[], isProbe = false): Promise<unknown> {
    return this.ask(
      () =>
        this.client.evalsha(script.sha, keys.length, ...keys, ...args()).catch((error: unknown) => {
          if (!String((error as Error)?.message).startsWith('NOSCRIPT')) throw error;
          return this.client.eval(script.lua, keys.length, ...keys, ...args());
        }),
      isProbe,
    );
  }

  /** False at once where too much is under way already. */
  async publish(channel: string, message: string): Promise<boolean> {
    const size = channel.length + message.length;
    if (this.#bytes + size > MOST_BYTES) return false;
    this.#bytes += size;
    // Machines of a Redis Cluster take messages in any order: one channel is always told the same of them.
    const send = this.client.isCluster
      ? () => this.client.eval(PUBLISH, 1, channel, message)
      : () => this.client.publish(channel, message);
    const answer = await this.ask(send);
    this.#bytes -= size;
    return answer !== UNAVAILABLE;
  }

  /** Sends one command. Resolves to its answer, or to `UNAVAILABLE`. */
  ask(send: () => Promise<unknown>, isProbe = false): Promise<unknown> {
    if (!this.breaker.allows(isProbe)) return UNAVAILABLE_PROMISE;
    if (!this.isReady) {
      this.#failed(`not connected (${this.client.status})`);
      return UNAVAILABLE_PROMISE;
    }
    return new Promise((resolve) => {
      const waiting: Waiting = { deadline: this.now() + this.#timeout, settle: resolve };
      this.#waiting.add(waiting);
      this.#timer ??= setTimeout(this.#look, this.#timeout).unref();
      let sent: Promise<unknown>;
      try {
        sent = send();
      } catch (error) {
        sent = Promise.reject(error as Error);
      }
      sent.then(
        (answer) => {
          this.lastAnswer = this.now();
          if (!this.#waiting.delete(waiting)) return;
          this.breaker.succeeded();
          resolve(answer);
        },
        (error: unknown) => {
          if (!this.#waiting.delete(waiting)) return;
          this.#failed(String((error as Error)?.message ?? error));
          resolve(UNAVAILABLE);
        },
      );
    });
  }

  /** Everything that still waits is answered. */
  close(): void {
    clearTimeout(this.#timer);
    for (const { settle } of this.#waiting) settle(UNAVAILABLE);
    this.#waiting.clear();
    this.#connection.close();
  }

  /** What has arrived while this process was busy is read before anything counts as late. */
  readonly #look = (): void => {
    setImmediate(() => {
      this.#timer = undefined;
      const now = this.now();
      for (const waiting of this.#waiting) {
        if (waiting.deadline > now) {
          this.#timer = setTimeout(this.#look, waiting.deadline - now).unref();
          return;
        }
        this.#waiting.delete(waiting);
        this.#failed(`no answer within ${this.#timeout} ms`);
        waiting.settle(UNAVAILABLE);
      }
    });
  };

  #failed(why: string): void {
    this.failures++;
    this.lastError = why.slice(0, MAX_ERROR);
    this.breaker.failed();
  }

  #note(error: Error): void {
    this.lastError = String(error?.message || (error as NodeJS.ErrnoException)?.code || error).slice(0, MAX_ERROR);
  }
}

const UNAVAILABLE_PROMISE: Promise<unknown> = Promise.resolve(UNAVAILABLE);
