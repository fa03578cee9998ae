/** Upper limits of one run, whatever the attacks need. */
export const LIMITS = Object.freeze({
  /** Milliseconds. */
  time: 60_000,
  /** Connections opened, over the whole run. */
  connections: 500,
  /** Bytes written, over the whole run. */
  bytes: 128 * 1024 * 1024,
});

/** Milliseconds of a run that are reserved for its report. */
export const MARGIN = 2000;

/** The run has used up its budget: the current attack and all others end. */
export class BudgetExceeded extends Error {
  override readonly name = 'BudgetExceeded';
}

/** Counts what a run has used. All code that opens a connection or writes checks it first. */
export class Budget {
  connections = 0;
  bytes = 0;
  private readonly end: number;

  constructor(
    /** Milliseconds, at most `LIMITS.time`. */
    time: number,
    private readonly signal: AbortSignal,
    private readonly now: () => number = () => performance.now(),
  ) {
    this.end = now() + Math.min(time, LIMITS.time);
  }

  /** Remaining milliseconds. */
  get left(): number {
    return this.signal.aborted ? 0 : Math.max(0, this.end - this.now());
  }

  connection(): void {
    this.check();
    if (this.connections >= LIMITS.connections)
      throw new BudgetExceeded(`${LIMITS.connections} connections were opened`);
    this.connections++;
  }

  /** Whether the given number of bytes may be written. */
  spend(bytes: number): boolean {
    if (this.left === 0 || this.bytes + bytes > LIMITS.bytes) return false;
    this.bytes += bytes;
    return true;
  }

  check(): void {
    if (this.signal.aborted) throw new BudgetExceeded('stopped');
    if (this.left === 0) throw new BudgetExceeded('the time is over');
  }
}
