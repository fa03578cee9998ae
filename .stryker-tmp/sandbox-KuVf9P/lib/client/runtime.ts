// @ts-nocheck
import { setTimeout as sleep } from 'node:timers/promises';
import { Compression } from '../compression/compression.js';
import { ContextBudget } from '../compression/context-budget.js';
import type { CompressionSettings } from '../compression/settings.js';
import { type Clock, systemClock, type Timed, TimerWheel } from '../net/timer-wheel.js';

/** The longest that a timer of Node's can wait; longer ones fire at once. */
const LONGEST_TIMER = 2 ** 31 - 1;
/** Milliseconds between two looks at the deadlines, and so their precision. */
const TICK = 50;
/** Configurations of compression that are remembered; applications have one or two. */
const MAX_CODECS = 32;

/** What all connections of the outbound client share; tests bring their own clock. */
export class ClientRuntime {
  private readonly wheel: TimerWheel;
  private readonly codecs = new Map<string, Compression>();
  private readonly budgets = new Map<number, ContextBudget>();

  constructor(
    readonly clock: Clock = systemClock,
    readonly random: () => number = Math.random,
    private readonly wait: (delay: number, signal: AbortSignal) => Promise<unknown> = waitFor,
  ) {
    this.wheel = new TimerWheel(clock, TICK);
  }

  /** How many deadlines are waited for. */
  get deadlines(): number {
    return this.wheel.size;
  }

  schedule(timed: Timed, at: number): void {
    // A wheel that stood still does not know the time.
    if (this.wheel.size === 0) this.wheel.advance();
    this.wheel.schedule(timed, at);
  }

  cancel(timed: Timed): void {
    this.wheel.cancel(timed);
  }

  /** Waits, and keeps the process alive meanwhile; rejects when `signal` aborts. */
  async sleep(delay: number, signal: AbortSignal): Promise<void> {
    await this.wait(Math.min(delay, LONGEST_TIMER), signal);
  }

  /** One for all connections with equal settings; `budget`: bytes for the contexts of `dedicated` mode. */
  compression(settings: CompressionSettings, budget: number): Compression {
    const key = JSON.stringify([settings, budget]);
    let compression = this.codecs.get(key);
    if (compression === undefined) {
      if (this.codecs.size === MAX_CODECS) this.codecs.clear();
      this.codecs.set(key, (compression = new Compression(settings, this.budget(budget), false)));
    }
    return compression;
  }

  private budget(bytes: number): ContextBudget {
    let budget = this.budgets.get(bytes);
    if (budget === undefined) this.budgets.set(bytes, (budget = new ContextBudget(bytes)));
    return budget;
  }
}

const waitFor = (delay: number, signal: AbortSignal): Promise<unknown> => sleep(delay, undefined, { signal });

/** The process's own, for `connect` and `reconnecting`. */
export const sharedRuntime = new ClientRuntime();
