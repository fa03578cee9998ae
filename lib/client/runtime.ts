import { setTimeout as sleep } from 'node:timers/promises';
import type { ConnectionContext } from '../connection/context.js';
import { clientLimitsOf } from '../connection/limits.js';
import { MemoryBudget } from '../connection/memory-budget.js';
import { FairScheduler } from '../net/fair-scheduler.js';
import { type Clock, systemClock, type Timed, TimerWheel } from '../net/timer-wheel.js';
import { Compression, ContextBudget } from '../protocol/deflate/compression.js';
import type { CompressionSettings } from '../protocol/deflate/settings.js';
import { GatewayCounters } from '../telemetry/metrics.js';
import type { Call } from './call.js';

/** The maximum delay of Node's timers; longer timers fire at once. */
const LONGEST_TIMER = 2 ** 31 - 1;
/** Milliseconds between two checks of deadlines, and therefore their precision. */
const TICK = 50;
/** Maximum number of compression configurations that are cached; applications have one or two. */
const MAX_CODECS = 32;

/** State that all connections of the outbound client share; tests pass their own clock. */
export class ClientRuntime {
  private readonly wheel: TimerWheel;
  private readonly scheduler = new FairScheduler();
  /**
   * There is no total limit for client connections, because the application chooses how many it opens; each one is
   * limited.
   */
  private readonly memory = new MemoryBudget(Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY);
  private readonly counters = new GatewayCounters();
  private readonly codecs = new Map<string, Compression>();
  private readonly budgets = new Map<number, ContextBudget>();

  constructor(
    readonly clock: Clock = systemClock,
    readonly random: () => number = Math.random,
    private readonly wait: (delay: number, signal: AbortSignal) => Promise<unknown> = waitFor,
  ) {
    this.wheel = new TimerWheel(clock, TICK);
  }

  /** Number of pending deadlines. */
  get deadlines(): number {
    return this.wheel.size;
  }

  schedule(timed: Timed, at: number): void {
    // A wheel that was stopped does not know the time.
    if (this.wheel.size === 0) this.wheel.advance();
    this.wheel.schedule(timed, at);
  }

  cancel(timed: Timed): void {
    this.wheel.cancel(timed);
  }

  /** The shared state for the connection of a call. */
  contextOf({ settings, named }: Call): ConnectionContext {
    const { clock, random, wheel, scheduler, memory } = this;
    const limits = clientLimitsOf(settings, named);
    return { role: 'client', limits, budget: memory, clock, wheel, scheduler, counters: this.counters, random };
  }

  /** Waits, keeping the process alive; rejects when `signal` aborts. */
  async sleep(delay: number, signal: AbortSignal): Promise<void> {
    await this.wait(Math.min(delay, LONGEST_TIMER), signal);
  }

  /**
   * Returns one object for all connections with equal settings; `budget`: bytes for the contexts of `dedicated` mode.
   */
  compression(settings: CompressionSettings, budget: number): Compression {
    const key = JSON.stringify([settings, budget]);
    let compression = this.codecs.get(key);
    if (compression === undefined) {
      if (this.codecs.size === MAX_CODECS) this.codecs.clear();
      this.codecs.set(key, (compression = new Compression(settings, this.contextBudget(budget), 'client')));
    }
    return compression;
  }

  private contextBudget(bytes: number): ContextBudget {
    let budget = this.budgets.get(bytes);
    if (budget === undefined) this.budgets.set(bytes, (budget = new ContextBudget(bytes)));
    return budget;
  }
}

const waitFor = (delay: number, signal: AbortSignal): Promise<unknown> => sleep(delay, undefined, { signal });

/** The runtime of the process, for `connect` and `reconnecting`. */
export const sharedRuntime = new ClientRuntime();
