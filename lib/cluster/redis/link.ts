import { Breaker } from '../breaker.js';
import { type Corkable, keepConnected, type RedisClient } from './client.js';
import { PUBLISH, type Script } from './scripts.js';

/** The result if Redis did not answer in time, answered with an error, or was not asked. */
export const UNAVAILABLE = Symbol('unavailable');
/** The result if a key of a script has a type or content that another program has written. */
export const FOREIGN = Symbol('foreign');

/**
 * What an error reply to a command says about Redis:
 * - `lease`: nothing works without this command; any error is a failure of Redis.
 * - `limits`: the same, except for an error of one key.
 * - `other`: nothing, because the limits do not need the command. Otherwise peers could open the breaker, for instance
 *   with tickets where the Redis user may not use `GETDEL`.
 *
 * A command that is not answered is a failure of Redis in any case.
 */
export type Purpose = 'lease' | 'limits' | 'other';

export type Argument = string | number;

/** For whom a command is sent. */
export interface Callers {
  /** When the first of them began to wait. */
  readonly since: number;
  /** Their number: a failure of the command is one of each of them. */
  readonly callers: number;
}

interface Waiting {
  readonly deadline: number;
  readonly purpose: Purpose;
  readonly callers: number;
  settle(answer: unknown): void;
}

/**
 * Milliseconds before the end of the timeout at which a command counts as late: a timer of Node is late by up to one,
 * and the caller must have its answer in time.
 */
const TIMER_SLACK = 2;

/** Maximum bytes of messages that are being sent. */
const MOST_BYTES = 16 * 1024 * 1024;
const MAX_ERROR = 200;

/** Errors of a script because of what one of its keys contains: its type, or a value that is not a number. */
const OF_ONE_KEY = /WRONGTYPE|user_script:\s?\d+: (?:attempt to|bad argument)/;

/**
 * The connection for commands. Every command is answered within `timeout` milliseconds or counts as failed, none
 * rejects, and none is sent while the breaker is open or the connection is down.
 */
export class RedisLink {
  readonly breaker: Breaker;
  failures = 0;
  lastError: string | undefined = undefined;
  /** When Redis last answered, by the monotonic clock. */
  lastAnswer: number;
  #timeout = 100;
  #wait = 100 - TIMER_SLACK;
  readonly #connection: ReturnType<typeof keepConnected>;
  /** The pending commands. */
  readonly #waiting = new Set<Waiting>();
  #timer: NodeJS.Timeout | undefined;
  #bytes = 0;
  /** Whether the last renewal of the lease succeeded: while it fails, the success of other commands says nothing. */
  #isRenewed = true;
  /** The end of this turn of the event loop. */
  #turn: NodeJS.Immediate | undefined;
  /** The connection on which the commands of this turn are held back until its end. */
  #corked: Corkable | undefined;
  #lastOfTurn: (() => void)[] | undefined;

  constructor(
    private readonly client: RedisClient,
    onBreaker: () => void,
    private readonly now: () => number,
  ) {
    this.breaker = new Breaker(now, onBreaker);
    this.lastAnswer = now();
    client.on('error', (error: Error) => this.note(error));
    this.#connection = keepConnected(client);
  }

  set timeout(timeout: number) {
    this.#timeout = timeout;
    this.#wait = Math.max(timeout - TIMER_SLACK, timeout / 2);
  }

  get isReady(): boolean {
    return this.client.status === 'ready';
  }

  /**
   * Connects. Resolves when there is a connection, when it was refused, or after the given milliseconds; continues to
   * try.
   */
  connect(wait: number): Promise<void> {
    return new Promise((resolve) => {
      for (const event of ['ready', 'close', 'end']) this.client.on(event, () => resolve());
      setTimeout(resolve, wait).unref();
      this.#connection.connect();
    });
  }

  /**
   * Runs a script; all `keys` of a call are of one shard. If Redis does not know the script, it is sent again, after
   * commands that were sent in between; `args` is therefore called again.
   */
  run(
    script: Script,
    keys: readonly string[],
    args: () => readonly Argument[],
    purpose: Purpose = 'limits',
    callers?: Callers,
  ): Promise<unknown> {
    return this.ask(
      () => this.client.evalsha(script.sha, keys.length, ...keys, ...args()),
      purpose,
      () => this.client.eval(script.lua, keys.length, ...keys, ...args()),
      callers,
    );
  }

  /** Calls `send` at the end of this turn of the event loop; the commands that it sends are in the write of this turn. */
  atEndOfTurn(send: () => void): void {
    if (this.#lastOfTurn === undefined) this.#lastOfTurn = [send];
    else this.#lastOfTurn.push(send);
    this.#turn ??= setImmediate(this.#endTurn);
  }

  /** Publishes a message; returns false at once if too many bytes are being sent. */
  async publish(channel: string, message: string): Promise<boolean> {
    const size = channel.length + message.length;
    if (this.#bytes + size > MOST_BYTES) return false;
    this.#bytes += size;
    // The nodes of a Redis Cluster deliver messages in any order, so one channel always uses the same node.
    const send = this.client.isCluster
      ? () => this.client.eval(PUBLISH, 1, channel, message)
      : () => this.client.publish(channel, message);
    const answer = await this.ask(send);
    this.#bytes -= size;
    return typeof answer !== 'symbol';
  }

  /**
   * Sends one command. Resolves to its answer, to `UNAVAILABLE`, or to `FOREIGN`. `again` is sent if Redis does not know
   * the script.
   */
  ask(
    send: () => Promise<unknown>,
    purpose: Purpose = 'other',
    again: (() => Promise<unknown>) | undefined = undefined,
    { since, callers }: Callers = { since: this.now(), callers: 1 },
  ): Promise<unknown> {
    if (!this.breaker.allows(purpose === 'lease')) return UNAVAILABLE_PROMISE;
    if (!this.isReady) {
      this.#failed(`not connected (${this.client.status})`, purpose, callers);
      return UNAVAILABLE_PROMISE;
    }
    return new Promise((resolve) => {
      const waiting: Waiting = { deadline: since + this.#wait, purpose, callers, settle: resolve };
      this.#waiting.add(waiting);
      this.#timer ??= setTimeout(this.#look, this.#wait).unref();
      this.#cork();
      this.#send(send, again, waiting);
    });
  }

  /** Records an error that no answer of this class shows. */
  note(error: unknown): void {
    const { message, code } = (error ?? {}) as NodeJS.ErrnoException;
    this.lastError = String(message || code || error).slice(0, MAX_ERROR);
  }

  /** Counts a failure that says nothing about Redis. */
  noteFailure(why: string, callers = 1): void {
    this.failures += callers;
    this.lastError = why.slice(0, MAX_ERROR);
  }

  /** Fails all pending commands. */
  close(): void {
    clearTimeout(this.#timer);
    for (const { settle } of this.#waiting) settle(UNAVAILABLE);
    this.#waiting.clear();
    this.#connection.close();
  }

  /** Answers that arrived while this process was busy are read before a command counts as late. */
  readonly #look = (): void => {
    setImmediate(() => {
      this.#timer = undefined;
      const now = this.now();
      let next = Number.POSITIVE_INFINITY;
      for (const waiting of this.#waiting) {
        const { deadline, purpose, callers } = waiting;
        if (deadline - now >= 1) {
          next = Math.min(next, deadline);
          continue;
        }
        this.#waiting.delete(waiting);
        this.#failed(`no answer within ${this.#timeout} ms`, purpose, callers);
        waiting.settle(UNAVAILABLE);
      }
      if (this.#waiting.size > 0) this.#timer ??= setTimeout(this.#look, next - now).unref();
    });
  };

  /** All commands of one turn of the event loop are one write. */
  #cork(): void {
    const { stream } = this.client;
    if (this.#corked !== undefined || stream?.cork === undefined) return;
    this.#corked = stream as Corkable;
    this.#corked.cork();
    this.#turn ??= setImmediate(this.#endTurn);
  }

  readonly #endTurn = (): void => {
    const last = this.#lastOfTurn;
    this.#lastOfTurn = undefined;
    if (last !== undefined) for (const send of last) send();
    this.#turn = undefined;
    this.#corked?.uncork();
    this.#corked = undefined;
  };

  #send(send: () => Promise<unknown>, again: (() => Promise<unknown>) | undefined, waiting: Waiting): void {
    const { purpose, callers } = waiting;
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
        this.#isRenewed ||= purpose === 'lease';
        if (purpose !== 'other' && this.#isRenewed) this.breaker.succeeded();
        waiting.settle(answer);
      },
      (error: unknown) => {
        const why = String((error as Error)?.message ?? error);
        const isReply = (error as Error)?.name === 'ReplyError';
        if (isReply) this.lastAnswer = this.now();
        if (!this.#waiting.has(waiting)) return;
        if (again !== undefined && why.startsWith('NOSCRIPT')) return this.#send(again, undefined, waiting);
        this.#waiting.delete(waiting);
        const isForeign = isReply && OF_ONE_KEY.test(why);
        let isOfRedis = true;
        // protection: cluster: an error of one key or of one kind of command does not open the breaker
        if (isReply) isOfRedis = purpose === 'lease' || (purpose === 'limits' && !isForeign);
        // end protection
        if (isOfRedis) this.#failed(why, purpose, callers);
        else this.noteFailure(why, callers);
        waiting.settle(isForeign ? FOREIGN : UNAVAILABLE);
      },
    );
  }

  #failed(why: string, purpose: Purpose, callers: number): void {
    if (purpose === 'lease') this.#isRenewed = false;
    this.noteFailure(why, callers);
    this.breaker.failed(callers);
  }
}

const UNAVAILABLE_PROMISE: Promise<unknown> = Promise.resolve(UNAVAILABLE);
