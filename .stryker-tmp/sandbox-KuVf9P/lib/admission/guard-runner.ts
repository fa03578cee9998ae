// @ts-nocheck
import { STATUS_CODES } from 'node:http';
import { REFUSALS, type Refusal, withDetail } from '../http/refusal.js';
import { errorPlace, errorWords, MAX_WORDS } from '../telemetry/error-text.js';
import { type Awaitable, isThenable } from './admission-store.js';
import { type AttemptInit, abortAttempt, factsOf, onAttemptEnd, setPrincipal, type UpgradeAttempt } from './attempt.js';
import type { Admission, AdmissionGuardFunction } from './guard.js';
import { type Admitted, checkAnswer } from './guard-answer.js';

/**
 * The refusal for what a guard threw: 500, or the status of what looks like an `HttpException`, and of that nothing
 * but the status. The words are for the log.
 */
export function refusalOfThrown(error: unknown, facts: Pick<AttemptInit, 'rawHeaders' | 'rawQuery'>): Refusal {
  const words = withoutSecrets(errorWords(error, MAX_READ), facts).slice(0, MAX_WORDS);
  const status = statusOf(error);
  if (status === undefined) return withDetail(REFUSALS.guardFailed, `${words} ${errorPlace(error)}`.trimEnd());
  return { reason: 'guard', status, text: STATUS_CODES[status] ?? 'Refused', detail: words };
}

function statusOf(error: unknown): number | undefined {
  try {
    const getStatus = (error as { getStatus?: unknown } | null | undefined)?.getStatus;
    const status: unknown = typeof getStatus === 'function' ? getStatus.call(error) : undefined;
    return Number.isInteger(status) && (status as number) >= 400 && (status as number) < 600
      ? (status as number)
      : undefined;
  } catch {
    return undefined;
  }
}

/** Cut only after the secrets are out: half of one is one too. */
const MAX_READ = 16 * 1024;
const SECRET_HEADERS = /^(?:authorization|proxy-authorization|cookie|sec-websocket-protocol)$/i;
/** Shorter words are no secrets, and stand in every sentence. */
const SHORTEST_SECRET = 6;
/** Bytes that are searched for secrets: a megabyte of cookies would hold the event loop for a tenth of a second. */
const MOST_CARRIED = 32 * 1024;
const NOT_SHOWN = '(its words are not shown: the request carries too much that they might repeat)';

/** An error often repeats what it was about: a token, a cookie, a value of the query. */
function withoutSecrets(words: string, { rawHeaders, rawQuery }: Pick<AttemptInit, 'rawHeaders' | 'rawQuery'>): string {
  const carriers = rawHeaders.filter((_, index) => index % 2 === 1 && SECRET_HEADERS.test(rawHeaders[index - 1]!));
  if (carriers.reduce((sum, { length }) => sum + length, rawQuery.length) > MOST_CARRIED) return NOT_SHOWN;
  const secrets = [...carriers, rawQuery, decoded(rawQuery)]
    .flatMap((carrier) => [carrier, ...carrier.split(/[\s;,&=]+/)])
    .filter((secret) => secret.length >= SHORTEST_SECRET);
  return secrets.reduce((text, secret) => text.replaceAll(secret, '…'), words);
}

function decoded(query: string): string {
  try {
    return decodeURIComponent(query);
  } catch {
    return '';
  }
}

/** The peer left, or the attempt ended otherwise, before the guards had decided: there is nobody to answer. */
export const ABANDONED = Object.freeze({ reason: 'abandoned' as const });

/** Told apart by `reason`: none, `'abandoned'`, or that of the refusal. */
export type GuardOutcome = Admitted | Refusal | typeof ABANDONED;

export interface GuardContext {
  /** Milliseconds for all asynchronous guards together, from the first promise on. */
  readonly timeout: number;
  /** Calls `expire` after `timeout` milliseconds unless the returned function was called. */
  readonly schedule: (expire: () => void, timeout: number) => () => void;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** What earlier guards of the same attempt have said. */
  readonly said?: Admitted;
  /** Told what a guard threw, `HttpException`s apart. */
  readonly onThrown?: (error: unknown) => void;
}

type Answer = Admission | boolean;

/** What is known where no guard has said anything. */
export const NOTHING_SAID: Admitted = Object.freeze({
  principal: undefined,
  userKey: undefined,
  expiresAt: Infinity,
  headers: Object.freeze([]),
  subprotocol: undefined,
});

/**
 * Asks the guards one after the other until one refuses. As long as they answer at once there is no promise and no
 * timer; the first promise starts the clock for it and all that follow. Never throws, never rejects.
 */
export function runGuards(
  guards: readonly AdmissionGuardFunction[],
  attempt: UpgradeAttempt,
  context: GuardContext,
): Awaitable<GuardOutcome> {
  return new GuardRun(guards, attempt, context).start();
}

class GuardRun {
  #next = 0;
  #merged: Admitted;
  #settle: ((outcome: GuardOutcome) => void) | undefined;
  #stopClock: (() => void) | undefined;

  constructor(
    private readonly guards: readonly AdmissionGuardFunction[],
    private readonly attempt: UpgradeAttempt,
    private readonly context: GuardContext,
  ) {
    this.#merged = context.said ?? NOTHING_SAID;
  }

  start(): Awaitable<GuardOutcome> {
    const first = this.#advance();
    return isThenable(first) ? this.#wait(first) : first;
  }

  /** Runs guards until one must be waited for, one refuses, or all have been heard. */
  #advance(): GuardOutcome | PromiseLike<Answer> {
    for (let guard = this.guards[this.#next]; guard !== undefined; guard = this.guards[++this.#next]) {
      try {
        const answer = guard(this.attempt);
        if (isThenable(answer)) return answer;
        const refusal = this.#hear(answer);
        if (refusal !== undefined) return refusal;
      } catch (error) {
        return this.#thrown(error);
      }
    }
    return this.#merged;
  }

  #hear(answer: Answer): Refusal | undefined {
    if (answer === true) return undefined;
    const checked = checkAnswer(answer, factsOf(this.attempt).protocols, this.context.now());
    if (checked.reason !== undefined) return this.#signed(checked);
    this.#merged = merge(this.#merged, checked);
    setPrincipal(this.attempt, this.#merged.principal);
    return undefined;
  }

  #thrown(error: unknown): Refusal {
    const refusal = refusalOfThrown(error, factsOf(this.attempt));
    if (refusal.reason === 'guard-failed') this.context.onThrown?.(error);
    return this.#signed(refusal);
  }

  /** Says in the detail whose refusal it is. */
  #signed(refusal: Refusal): Refusal {
    const name = this.guards[this.#next]?.name || 'a guard';
    return withDetail(refusal, refusal.detail === undefined ? name : `${name}: ${refusal.detail}`);
  }

  #wait(first: PromiseLike<Answer>): Promise<GuardOutcome> {
    return new Promise((resolve) => {
      this.#settle = resolve;
      this.#stopClock = this.context.schedule(() => this.#expire(), this.context.timeout);
      onAttemptEnd(this.attempt, () => this.#finish(ABANDONED));
      this.#follow(first);
    });
  }

  /** Its handlers stay even when nobody waits any more: a late rejection is nobody's uncaught one. */
  #follow(promise: PromiseLike<Answer>): void {
    Promise.resolve(promise).then(
      (answer) => this.#resume(answer),
      (error) => {
        // What an aborted guard throws is of no interest.
        if (this.#settle !== undefined) this.#finish(this.#thrown(error));
      },
    );
  }

  #resume(answer: Answer): void {
    if (this.#settle === undefined) return;
    const refusal = this.#hear(answer);
    this.#next++;
    const next = refusal ?? this.#advance();
    if (isThenable(next)) this.#follow(next);
    else this.#finish(next);
  }

  #expire(): void {
    this.#finish(this.#signed(REFUSALS.guardTimeout));
    abortAttempt(this.attempt, new DOMException('the guards took too long', 'TimeoutError'));
  }

  #finish(outcome: GuardOutcome): void {
    this.#stopClock?.();
    this.#settle?.(outcome);
    this.#settle = this.#stopClock = undefined;
  }
}

const merge = (before: Admitted, said: Admitted): Admitted => ({
  principal: said.principal ?? before.principal,
  // A key belongs to the principal it came with.
  userKey: said.principal === undefined ? (said.userKey ?? before.userKey) : said.userKey,
  expiresAt: Math.min(said.expiresAt ?? Infinity, before.expiresAt ?? Infinity),
  headers: [...before.headers, ...said.headers],
  subprotocol: said.subprotocol ?? before.subprotocol,
});
