export type BreakerState = 'closed' | 'open' | 'probing';

/** Number of consecutive failures that open the breaker. */
const FAILURES = 5;
const FIRST_PAUSE = 1000;
const LONGEST_PAUSE = 30_000;

/**
 * A circuit breaker, so that callers do not wait for a service that does not answer. Five failures in a row open it for
 * 1 s; each failed probe doubles this up to 30 s; one success closes it. If it opens again soon after that, because only
 * the probe succeeds, the pause continues to double. Only callers that declare a call as a probe may probe; others never
 * wait.
 */
export class Breaker {
  #state: BreakerState = 'closed';
  #failures = 0;
  #pause = FIRST_PAUSE;
  #until = 0;
  #closedAt = Number.NEGATIVE_INFINITY;

  constructor(
    /** Milliseconds of a monotonic clock. */
    private readonly now: () => number,
    private readonly onChange: (state: BreakerState) => void = () => undefined,
  ) {}

  get state(): BreakerState {
    return this.#state;
  }

  /** Milliseconds until a probe is allowed; 0 if one is allowed now. */
  get remaining(): number {
    return this.#state === 'open' ? Math.max(0, this.#until - this.now()) : 0;
  }

  /** Whether a call may be made. One probe is allowed after each pause. */
  allows(isProbe: boolean): boolean {
    if (this.#state === 'closed') return true;
    // protection: cluster: one probe at a time
    if (!isProbe || this.#state === 'probing' || this.now() < this.#until) return false;
    // end protection
    this.#set('probing');
    return true;
  }

  succeeded(): void {
    this.#failures = 0;
    if (this.#state === 'closed') return;
    // A call that was made before the breaker opened says nothing about the current state.
    // protection: cluster: an old answer does not close the breaker
    if (this.#state === 'open') return;
    // end protection
    this.#closedAt = this.now();
    this.#set('closed');
  }

  /** `calls`: the number of calls that failed together. */
  failed(calls = 1): void {
    this.#failures += calls;
    if (this.#state === 'closed') {
      // protection: cluster: the breaker opens
      if (this.#failures >= FAILURES) {
        const isSoon = this.now() - this.#closedAt < this.#pause;
        this.#pause = isSoon ? Math.min(this.#pause * 2, LONGEST_PAUSE) : FIRST_PAUSE;
        this.#open();
      }
      // end protection
    } else if (this.#state === 'probing') {
      this.#pause = Math.min(this.#pause * 2, LONGEST_PAUSE);
      this.#open();
    }
  }

  /** Allows the next probe at once, because the service probably answers again. */
  hurry(): void {
    if (this.#state === 'open') this.#until = this.now();
  }

  #open(): void {
    this.#until = this.now() + this.#pause;
    this.#set('open');
  }

  #set(state: BreakerState): void {
    this.#state = state;
    this.onChange(state);
  }
}
