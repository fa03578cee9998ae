import type { Claim, ClaimAnswer } from '../contract.js';
import type { HeldAttempt, RedisCounters } from './counters.js';
import { type RedisLink, UNAVAILABLE } from './link.js';
import { ADMIT } from './scripts.js';

/** Maximum number of attempts of one script, which Redis executes without a pause. */
const MOST_ATTEMPTS = 64;
/** Maximum milliseconds for which attempts wait for the answer to the script before them. */
const LONGEST_WAIT = 2;
/** Maximum characters of an error that is kept. */
const MAX_ERROR = 200;

const ADMITTED: ClaimAnswer = Object.freeze({ outcome: 'admitted' });
export const NOT_AVAILABLE = Object.freeze({ outcome: 'unavailable' as const });

/** An attempt, until every shard has answered. */
interface Asked {
  readonly attempt: HeldAttempt;
  readonly parts: Part[];
  unanswered: number;
  resolve(answer: ClaimAnswer): void;
}

/** The claims of an attempt that belong to one shard. */
interface Part {
  readonly asked: Asked;
  /** Indices into the claims. */
  readonly indexes: number[];
  answer: string | undefined;
}

interface Queue {
  waiting: Part[];
  /** When the first of these was asked, by the monotonic clock. */
  since: number;
  /** When the script that has not been answered was sent. */
  sentAt: number | undefined;
}

/**
 * Asks Redis about attempts. Attempts of one turn of the event loop, and those that arrive while the script before them
 * is unanswered, but for at most 2 ms, are one script: a command costs a write and a read, which are most of what an
 * attempt costs this process.
 */
export class RedisAdmissions {
  /** By shard. */
  readonly #queues = new Map<string, Queue>();
  #turn: NodeJS.Immediate | undefined;
  #late: NodeJS.Timeout | undefined;

  constructor(
    private readonly link: RedisLink,
    private readonly counters: RedisCounters,
    private readonly prefix: string,
    /** For Redis Cluster: names of different shards are on different nodes. */
    private readonly isSharded: boolean,
    private readonly now: () => number,
    /** Called when Redis has lost a count. */
    private readonly onLost: () => void,
  ) {}

  /** Counts an attempt, and asks Redis about it. */
  ask(claims: readonly Claim[]): Promise<ClaimAnswer> {
    const attempt = this.counters.hold(claims);
    return new Promise((resolve) => {
      const asked: Asked = { attempt, parts: [], unanswered: 0, resolve };
      claims.forEach(({ name }, index) => {
        const queue = this.#queue(this.isSharded ? shardOf(name) : '');
        const last = queue.waiting.at(-1);
        if (last?.asked === asked) last.indexes.push(index);
        else {
          const part: Part = { asked, indexes: [index], answer: undefined };
          asked.parts.push(part);
          if (queue.waiting.push(part) === 1) queue.since = this.now();
        }
      });
      asked.unanswered = asked.parts.length;
      this.#turn ??= setImmediate(this.#sendTurn);
    });
  }

  #queue(shard: string): Queue {
    let queue = this.#queues.get(shard);
    if (queue === undefined) this.#queues.set(shard, (queue = { waiting: [], since: 0, sentAt: undefined }));
    return queue;
  }

  readonly #sendTurn = (): void => {
    this.#turn = undefined;
    this.#sendDue();
  };

  readonly #sendDue = (): void => {
    const now = this.now();
    let mustWait = false;
    for (const [shard, queue] of this.#queues) {
      if (queue.waiting.length === 0) continue;
      if (queue.sentAt === undefined || now - queue.sentAt >= LONGEST_WAIT) this.#send(shard, queue, now);
      else mustWait = true;
    }
    if (mustWait) this.#late ??= setTimeout(this.#sendLate, LONGEST_WAIT).unref();
  };

  readonly #sendLate = (): void => {
    this.#late = undefined;
    this.#sendDue();
  };

  #send(shard: string, queue: Queue, now: number): void {
    const { waiting, since } = queue;
    queue.waiting = [];
    queue.sentAt = now;
    const scripts: Promise<void>[] = [];
    for (let from = 0; from < waiting.length; from += MOST_ATTEMPTS)
      scripts.push(this.#run(waiting.slice(from, from + MOST_ATTEMPTS), since));
    void Promise.all(scripts).then(() => {
      // Another script was sent meanwhile, because this one took long.
      if (queue.sentAt !== now) return;
      queue.sentAt = undefined;
      if (queue.waiting.length === 0) this.#queues.delete(shard);
      else this.#turn ??= setImmediate(this.#sendTurn);
    });
  }

  async #run(parts: readonly Part[], since: number): Promise<void> {
    const indexOf = new Map<string, number>();
    const texts = parts.map((part) => textOf(part, indexOf));
    const names = [...indexOf.keys()];
    const answers = await this.link.run(
      ADMIT,
      names.map((name) => `${this.prefix}:${name}`),
      () => [...this.counters.identity, names.map((name) => this.counters.bounds(name)).join(' '), ...texts],
      { since, callers: parts.length },
    );
    for (let at = 0; at < parts.length; at++) {
      const part = parts[at]!;
      if (answers !== UNAVAILABLE) part.answer = (answers as string[])[at];
      if (part.answer?.startsWith('e ')) this.link.lastError = part.answer.slice(2, MAX_ERROR);
      if (--part.asked.unanswered === 0) this.#settle(part.asked);
    }
  }

  #settle({ attempt, parts, resolve }: Asked): void {
    const refusing = parts.find(({ answer }) => isRefusal(answer));
    if (refusing !== undefined) {
      // The shards that admitted the attempt have counted it.
      this.counters.refused(attempt, (index) =>
        parts.some(({ indexes, answer }) => !isRefusal(answer) && indexes.includes(index)),
      );
      return resolve(refusalOf(refusing));
    }
    const isCertain = parts.every(({ answer }) => answer === '0' || answer === '1');
    this.counters.admitted(attempt, !isCertain);
    if (parts.some(({ answer }) => answer === '1')) this.onLost();
    resolve(isCertain ? ADMITTED : NOT_AVAILABLE);
  }
}

/** The claims of an attempt as ADMIT reads them. `indexOf`: the keys of the script, in their order. */
function textOf({ asked, indexes }: Part, indexOf: Map<string, number>): string {
  let text = '';
  for (const index of indexes) {
    const { name, max, rate } = asked.attempt.claims[index]!;
    let key = indexOf.get(name);
    if (key === undefined) indexOf.set(name, (key = indexOf.size + 1));
    const pace = rate === undefined ? '0 0' : `${(rate.window * 1000) / rate.limit} ${rate.window * 1000}`;
    text += `${key} ${max ?? -1} ${pace} `;
  }
  return text;
}

const isRefusal = (answer: string | undefined): boolean =>
  answer !== undefined && (answer.startsWith('s ') || answer.startsWith('r '));

function refusalOf({ answer, indexes }: Part): ClaimAnswer {
  const [kind, at, wait] = answer!.split(' ');
  return { outcome: 'refused', claim: indexes[Number(at) - 1]!, wait: kind === 'r' ? Number(wait) : undefined };
}

/** The text between the first braces, as in Redis Cluster; without braces, the whole name. */
function shardOf(name: string): string {
  const start = name.indexOf('{');
  const end = name.indexOf('}', start + 1);
  return start < 0 || end <= start + 1 ? name : name.slice(start + 1, end);
}
