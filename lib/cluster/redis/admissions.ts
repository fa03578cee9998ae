import type { Claim, ClaimAnswer } from '../contract.js';
import type { Attempt, Part, RedisCounters, Use } from './counters.js';
import { FOREIGN, type RedisLink, UNAVAILABLE } from './link.js';
import { ADMIT } from './scripts.js';

/** Maximum number of attempts of one command: Redis does nothing else while it checks them, for about 0.5 ms. */
export const MOST_ATTEMPTS = 64;
/** Milliseconds for which attempts wait for others. */
export const LONGEST_WAIT = 1;

const ADMITTED: ClaimAnswer = Object.freeze({ outcome: 'admitted' });
const NOT_AVAILABLE: ClaimAnswer = Object.freeze({ outcome: 'unavailable' });
const ADMITTED_PROMISE = Promise.resolve(ADMITTED);
const NOT_AVAILABLE_PROMISE = Promise.resolve(NOT_AVAILABLE);

/** The attempts that are asked of one shard. */
interface Queue {
  readonly tag: string;
  /** Those that have not been sent. */
  waiting: Part[];
  /** When the first of them was made. */
  since: number;
  /** When the last command was sent. */
  sentAt: number;
  /** Number of commands without an answer. */
  unanswered: number;
  /** It is sent at the end of this turn of the event loop. */
  isDue: boolean;
}

/**
 * Asks Redis about attempts. The attempts that one turn of the event loop asks of one shard are one command: a command
 * costs this process more than an attempt in it. Node accepts one connection in each turn, so an attempt that is made
 * while a command is unanswered, or others wait, waits for others, too, for `LONGEST_WAIT` at most.
 */
export class RedisAdmissions {
  readonly #queues = new Map<string, Queue>();
  #due: Queue[] = NONE;
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
    if (claims.length === 0) return ADMITTED_PROMISE;
    return new Promise((resolve) => {
      const attempt = this.counters.hold(claims, resolve);
      attempt.parts = this.isSharded
        ? partsByShard(attempt)
        : [{ attempt, tag: '', indexes: allIndexes(claims.length), answer: undefined }];
      attempt.unanswered = attempt.parts.length;
      for (const part of attempt.parts) this.#add(part);
    });
  }

  /** Counts an attempt about which Redis cannot be asked now. */
  count(claims: readonly Claim[]): Promise<ClaimAnswer> {
    this.counters.unasked(claims);
    return NOT_AVAILABLE_PROMISE;
  }

  #add(part: Part): void {
    const { tag } = part;
    let queue = this.#queues.get(tag);
    if (queue === undefined) {
      queue = { tag, waiting: NONE, since: 0, sentAt: 0, unanswered: 0, isDue: false };
      this.#queues.set(tag, queue);
    }
    const now = this.now();
    if (queue.waiting.length > 0) queue.waiting.push(part);
    else {
      // An array that begins empty would have room for 17.
      queue.waiting = [part];
      queue.since = now;
    }
    if (queue.isDue) return;
    const { unanswered, waiting, sentAt } = queue;
    const isFree = (unanswered === 0 && waiting.length === 1) || now - sentAt >= LONGEST_WAIT;
    if (isFree || waiting.length >= MOST_ATTEMPTS) this.#plan(queue);
    else this.#late ??= setTimeout(this.#sendLate, LONGEST_WAIT).unref();
  }

  /** Sends what is waiting at the end of this turn of the event loop. */
  #plan(queue: Queue): void {
    if (queue.isDue) return;
    queue.isDue = true;
    if (this.#due.length > 0) this.#due.push(queue);
    else {
      this.#due = [queue];
      this.link.atEndOfTurn(this.#sendDue);
    }
  }

  readonly #sendDue = (): void => {
    const due = this.#due;
    this.#due = NONE;
    for (const queue of due) {
      queue.isDue = false;
      const { waiting, since } = queue;
      queue.waiting = NONE;
      queue.sentAt = this.now();
      for (let from = 0; from < waiting.length; from += MOST_ATTEMPTS)
        this.#send(queue, waiting.length <= MOST_ATTEMPTS ? waiting : waiting.slice(from, from + MOST_ATTEMPTS), since);
    }
  };

  readonly #sendLate = (): void => {
    this.#late = undefined;
    for (const queue of this.#queues.values()) if (queue.waiting.length > 0) this.#plan(queue);
  };

  #send(queue: Queue, parts: readonly Part[], since: number): void {
    const uses: Use[] = [];
    // The names of one attempt differ.
    const positions = parts.length === 1 ? undefined : new Map<string, number>();
    let text = '';
    for (const { attempt, indexes } of parts) {
      text += `,${indexes.length}`;
      for (const index of indexes) {
        const { name, max = 0, rate } = attempt.claims[index]!;
        const counter = attempt.counters[index];
        let position = positions?.get(name);
        if (position === undefined) {
          position = uses.push({ name, counter: undefined, attempts: 0 });
          positions?.set(name, position);
        }
        text += `,${position}`;
        if (counter === undefined) text += ',-1';
        else {
          const use = uses[position - 1]!;
          use.counter = counter;
          use.attempts++;
          counter.unsent--;
          text += `,${Math.min(max, Number.MAX_SAFE_INTEGER)}`;
        }
        text += rate === undefined ? ',0,0' : `,${(rate.window * 1000) / rate.limit},${rate.window * 1000}`;
      }
    }
    text += ']';
    queue.unanswered++;
    const keys = uses.map(({ name }) => `${this.prefix}:${name}`);
    const args = (): [string] => [this.counters.argumentOf(uses) + text];
    void this.link
      .run(ADMIT, keys, args, 'limits', { since, callers: parts.length })
      .then((answers) => this.#answered(queue, parts, answers));
  }

  #answered(queue: Queue, parts: readonly Part[], answers: unknown): void {
    queue.unanswered--;
    if (queue.unanswered === 0 && queue.waiting.length === 0 && this.isSharded) this.#queues.delete(queue.tag);
    for (let at = 0; at < parts.length; at++) {
      const part = parts[at]!;
      part.answer = this.#understood(Array.isArray(answers) ? answers[at] : UNAVAILABLE);
      if (--part.attempt.unanswered === 0) this.#settle(part.attempt);
    }
  }

  #understood(answer: unknown): unknown {
    if (typeof answer === 'number') return answer;
    if (typeof answer !== 'string') return UNAVAILABLE;
    if (answer.startsWith('s ') || answer.startsWith('r ')) return answer;
    // An error of one key concerns the attempts that have this key.
    this.link.noteFailure(answer.startsWith('e ') ? answer.slice(2) : answer);
    return FOREIGN;
  }

  #settle(attempt: Attempt): void {
    const { parts, resolve } = attempt;
    const refusing = parts.find(({ answer }) => typeof answer === 'string');
    if (refusing !== undefined) {
      this.counters.refused(attempt);
      return resolve(refusalOf(refusing));
    }
    const isCertain = parts.every(({ answer }) => typeof answer === 'number');
    this.counters.admitted(attempt, !isCertain);
    if (parts.some(({ answer }) => answer === 1)) this.onLost();
    resolve(isCertain ? ADMITTED : NOT_AVAILABLE);
  }
}

function refusalOf({ answer, indexes }: Part): ClaimAnswer {
  const [kind, at, wait] = (answer as string).split(' ');
  const claim = indexes[Number(at) - 1]!;
  return { outcome: 'refused', claim, wait: kind === 'r' ? Number(wait) : undefined };
}

/** An empty list, to which nothing is added. */
const NONE: never[] = [];

function partsByShard(attempt: Attempt): Part[] {
  const parts: (Part & { readonly indexes: number[] })[] = [];
  attempt.claims.forEach(({ name }, index) => {
    const tag = shardOf(name);
    const part = parts.find((each) => each.tag === tag);
    if (part === undefined) parts.push({ attempt, tag, indexes: [index], answer: undefined });
    else part.indexes.push(index);
  });
  return parts;
}

/** By number of claims: the indices of all of them, which all attempts share. */
const ALL_INDEXES: (readonly number[])[] = [];

function allIndexes(count: number): readonly number[] {
  return (ALL_INDEXES[count] ??= Array.from({ length: count }, (_, index) => index));
}

/** The text between the first braces, as in Redis Cluster; without braces, the whole name. */
function shardOf(name: string): string {
  const start = name.indexOf('{');
  const end = name.indexOf('}', start + 1);
  return start < 0 || end <= start + 1 ? name : name.slice(start + 1, end);
}
