export type BreakerState = 'closed' | 'open' | 'probing';

/** Consecutive failures that open it. */
const FAILURES = 5;
const FIRST_PAUSE = 1000;
const LONGEST_PAUSE = 30_000;

/**
 * Keeps everybody from waiting for something that does not answer. Five failures in a row open it for 1 s, each failed
 * probe doubles that up to 30 s; one success closes it. Only whoever says so is the probe: the others never wait.
 */
export class Breaker {
  #state: BreakerState = 'closed';
  #failures = 0;
  #pause = FIRST_PAUSE;
  #until = 0;

  constructor(
    /** Milliseconds of a monotonic clock. */
    private readonly now: () => number,
    private readonly onChange: (state: BreakerState) => void = () => undefined,
  ) {}

  get state(): BreakerState {
    return this.#state;
  }

  /** Milliseconds until a probe may be made; 0 where one may now. */
  get remaining(): number {
    return this.#state === 'open' ? Math.max(0, this.#until - this.now()) : 0;
  }

  /** Whether to ask at all. A probe is let through once each pause. */
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
    // What was asked before it opened says nothing of now.
    // protection: cluster: an old answer does not close the breaker
    if (this.#state === 'open') return;
    // end protection
    this.#pause = FIRST_PAUSE;
    this.#set('closed');
  }

  failed(): void {
    this.#failures++;
    if (this.#state === 'closed') {
      // protection: cluster: the breaker opens
      if (this.#failures >= FAILURES) this.#open();
      // end protection
    } else if (this.#state === 'probing') {
      this.#pause = Math.min(this.#pause * 2, LONGEST_PAUSE);
      this.#open();
    }
  }

  /** There is a reason to believe that it answers again: the next probe need not wait. */
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
