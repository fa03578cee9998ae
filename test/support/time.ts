import type { Clock } from '../../lib/net/timer-wheel.js';

interface Timer {
  readonly interval: number;
  readonly callback: (now?: number) => void;
  at: number;
}

/** A clock that the test advances; with `step`, each call of `now()` advances it too. */
export class ManualClock implements Clock {
  step = 0;
  private readonly timers = new Set<Timer>();

  constructor(public time = 10_000) {}

  now = (): number => {
    this.time += this.step;
    return this.time;
  };

  every(interval: number, callback: (now?: number) => void): () => void {
    const timer = { interval, callback, at: this.time + interval };
    this.timers.add(timer);
    return () => void this.timers.delete(timer);
  }

  /** Number of running timers. */
  get running(): number {
    return this.timers.size;
  }

  /** Advances the time; every timer fires at its interval. */
  pass(ms: number): void {
    const end = this.time + ms;
    for (;;) {
      const [next] = [...this.timers].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at);
      if (next === undefined) break;
      this.time = Math.max(this.time, next.at);
      next.at += next.interval;
      next.callback();
    }
    this.time = Math.max(this.time, end);
  }

  /** Advances the time in steps of `ms`; every timer fires once per step, late if the step is longer than its interval. */
  tick(ms: number, total = ms): void {
    for (const end = this.time + total; this.time < end; ) {
      this.time = Math.min(end, this.time + ms);
      for (const timer of [...this.timers]) {
        if (!this.timers.has(timer)) continue;
        timer.at = this.time + timer.interval;
        timer.callback();
      }
    }
  }
}

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * Waits until the condition holds, or `ms` have passed in turns of the event loop of 5 ms each: a process that was stopped for
 * longer has read what arrived meanwhile before it gives up.
 */
export async function calm(ms: number, condition: () => boolean): Promise<void> {
  for (let left = ms / 5; left > 0 && !condition(); left--) await sleep(5);
}

/** Runs `what`, and measures by how many milliseconds the event loop was late at most meanwhile. */
export async function withLag<T>(what: () => Promise<T>): Promise<{ result: T; lag: number }> {
  let last = performance.now();
  let lag = 0;
  const look = (): void => {
    const now = performance.now();
    lag = Math.max(lag, now - last - 20);
    last = now;
  };
  const timer = setInterval(look, 20);
  try {
    const result = await what();
    look();
    return { result, lag };
  } finally {
    clearInterval(timer);
  }
}

/** One turn of the event loop, with the ticks and immediates that were due. */
export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
