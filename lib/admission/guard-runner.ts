import { STATUS_CODES } from 'node:http';
import { REFUSALS, type Refusal, withDetail } from '../http/refusal.js';
import { type AsyncContext, enterContext, runInFork } from '../net/async-context.js';
import { errorText, errorWords } from '../telemetry/error-text.js';
import type { RequestValues } from '../telemetry/redact.js';
import { abortAttempt, factsOf, onAttemptEnd, setPrincipal, type UpgradeAttempt } from './attempt.js';
import { type Awaitable, isThenable } from './awaitable.js';
import type { Admission, AdmissionGuardFunction } from './guard.js';
import { type Admitted, checkAnswer } from './guard-answer.js';

/**
 * The refusal for an error that a guard threw: 500, or the status of an `HttpException`, whose message is not sent. The
 * text for the log contains no value of the request, and is only created if it is logged.
 */
export function refusalOfThrown(error: unknown, request: RequestValues, guard?: string): Refusal {
  const status = statusOf(error);
  return new ThrownRefusal(status, () => {
    const text = status === undefined ? errorText(error, request) : errorWords(error, request);
    return guard === undefined ? text : `${guard}: ${text}`;
  });
}

class ThrownRefusal implements Refusal {
  readonly reason: 'guard' | 'guard-failed';
  readonly status: number;
  readonly text: string;
  #detail: string | undefined;
  readonly #makeDetail: () => string;

  constructor(status: number | undefined, makeDetail: () => string) {
    this.reason = status === undefined ? 'guard-failed' : 'guard';
    this.status = status ?? REFUSALS.guardFailed.status;
    this.text = status === undefined ? REFUSALS.guardFailed.text : (STATUS_CODES[status] ?? 'Refused');
    this.#makeDetail = makeDetail;
  }

  get detail(): string {
    return (this.#detail ??= this.#makeDetail());
  }
}

/** Whether the detail of a refusal is created when it is first read. */
export const isDetailLazy = (refusal: Refusal): boolean => refusal instanceof ThrownRefusal;

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

/** The result if the peer left, or the attempt ended otherwise, before the guards had decided. */
export const ABANDONED = Object.freeze({ reason: 'abandoned' as const });

/** Distinguished by `reason`: none, `'abandoned'`, or that of the refusal. */
export type GuardOutcome = Admitted | Refusal | typeof ABANDONED;

export interface GuardContext {
  /** Milliseconds for all asynchronous guards together, counted from the first promise. */
  readonly timeout: number;
  /** Calls `expire` after `timeout` milliseconds, unless the returned function is called before. */
  readonly schedule: (expire: () => void, timeout: number) => () => void;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** The combined result of earlier guards of the same attempt. */
  readonly admitted?: Admitted;
  /** The async context that earlier guards of the same attempt have entered. */
  readonly asyncContext?: AsyncContext;
  /** Called with the async context that the guards of this run have entered. */
  readonly onContext?: (asyncContext: AsyncContext) => void;
  /** Called with an error that a guard threw, except `HttpException`s. */
  readonly onThrown?: (error: unknown) => void;
}

type Answer = Admission | boolean;

/** The result before any guard has run. */
export const NO_ADMISSION: Admitted = Object.freeze({
  principal: undefined,
  userKey: undefined,
  expiresAt: Infinity,
  headers: Object.freeze([]),
  subprotocol: undefined,
});

/**
 * Runs the guards in order until one refuses. While they answer synchronously, there is no promise and no timer; the
 * timeout starts with the first promise. Never throws, never rejects.
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
  #resolve: ((outcome: GuardOutcome) => void) | undefined;
  #stopClock: (() => void) | undefined;
  #asyncContext: AsyncContext;

  constructor(
    private readonly guards: readonly AdmissionGuardFunction[],
    private readonly attempt: UpgradeAttempt,
    private readonly context: GuardContext,
  ) {
    this.#merged = context.admitted ?? NO_ADMISSION;
    this.#asyncContext = context.asyncContext;
  }

  start(): Awaitable<GuardOutcome> {
    const first = this.#advance();
    return isThenable(first) ? this.#wait(first) : first;
  }

  /** Runs guards until one is asynchronous, one refuses, or all have run. */
  #advance(): GuardOutcome | PromiseLike<Answer> {
    for (let guard = this.guards[this.#next]; guard !== undefined; guard = this.guards[++this.#next]) {
      try {
        const answer = this.#ask(guard);
        if (isThenable(answer)) return answer;
        const refusal = this.#applyAnswer(answer);
        if (refusal !== undefined) return refusal;
      } catch (error) {
        return this.#thrown(error);
      }
    }
    return this.#merged;
  }

  /** Each guard runs in the async context that the guards before it have entered. */
  #ask(guard: AdmissionGuardFunction): ReturnType<AdmissionGuardFunction> {
    return enterContext(
      this.#asyncContext,
      () => guard(this.attempt),
      (asyncContext) => {
        this.#asyncContext = asyncContext;
        this.context.onContext?.(asyncContext);
      },
    );
  }

  #applyAnswer(answer: Answer): Refusal | undefined {
    if (answer === true) return undefined;
    const checked = checkAnswer(answer, factsOf(this.attempt).protocols, this.context.now());
    if (checked.reason !== undefined) return this.#withName(checked);
    this.#merged = merge(this.#merged, checked);
    setPrincipal(this.attempt, this.#merged.principal);
    return undefined;
  }

  #thrown(error: unknown): Refusal {
    const refusal = refusalOfThrown(error, factsOf(this.attempt), this.#name);
    if (refusal.reason === 'guard-failed') this.context.onThrown?.(error);
    return refusal;
  }

  /** Adds the name of the guard to the detail of its refusal. */
  #withName(refusal: Refusal): Refusal {
    const name = this.#name;
    return withDetail(refusal, refusal.detail === undefined ? name : `${name}: ${refusal.detail}`);
  }

  /** The name of a function can be any string. */
  get #name(): string {
    try {
      return String(this.guards[this.#next]?.name || 'a guard');
    } catch {
      return 'a guard';
    }
  }

  #wait(first: PromiseLike<Answer>): Promise<GuardOutcome> {
    return new Promise((resolve) => {
      this.#resolve = resolve;
      // protection: guards must answer in time
      this.#stopClock = this.context.schedule(() => this.#expire(), this.context.timeout);
      // end protection
      onAttemptEnd(this.attempt, () => this.#finish(ABANDONED));
      this.#follow(first);
    });
  }

  /** The handlers stay attached even if the result is no longer needed, so that a late rejection is not uncaught. */
  #follow(promise: PromiseLike<Answer>): void {
    Promise.resolve(promise).then(
      (answer) => this.#resume(answer),
      (error) => {
        // Errors of a guard after the attempt has ended are ignored.
        if (this.#resolve !== undefined) this.#finish(this.#thrown(error));
      },
    );
  }

  #resume(answer: Answer): void {
    if (this.#resolve === undefined) return;
    const refusal = this.#applyAnswer(answer);
    this.#next++;
    const next = refusal ?? this.#advance();
    if (isThenable(next)) this.#follow(next);
    else this.#finish(next);
  }

  #expire(): void {
    this.#finish(this.#withName(REFUSALS.guardTimeout));
    const reason = new DOMException('the guards took too long', 'TimeoutError');
    // protection: guards that take too long are told
    runInFork(this.#asyncContext, abortAttempt, undefined, this.attempt, reason);
    // end protection
  }

  #finish(outcome: GuardOutcome): void {
    this.#stopClock?.();
    this.#resolve?.(outcome);
    this.#resolve = this.#stopClock = undefined;
  }
}

const merge = (before: Admitted, said: Admitted): Admitted => ({
  principal: said.principal ?? before.principal,
  // The key belongs to the principal that it was returned with.
  userKey: said.principal === undefined ? (said.userKey ?? before.userKey) : said.userKey,
  expiresAt: Math.min(said.expiresAt ?? Infinity, before.expiresAt ?? Infinity),
  headers: [...before.headers, ...said.headers],
  subprotocol: said.subprotocol ?? before.subprotocol,
});
