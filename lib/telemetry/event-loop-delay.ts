import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';
import type { Figure } from './metrics.js';

/** Milliseconds between samples of the event-loop delay. */
const RESOLUTION = 10;
/**
 * Minimum length in milliseconds of the window for percentiles, so that two scrapers do not reset each other's window.
 */
const WINDOW = 5000;
const QUANTILES = [0.5, 0.99, 1];

/** Measures the event-loop delay for charts and metrics. It samples only between `start` and `stop`. */
export class EventLoopDelay {
  private readonly histogram: IntervalHistogram = monitorEventLoopDelay({ resolution: RESOLUTION });
  private since = 0;
  private last: readonly number[] = QUANTILES.map(() => 0);

  start(): void {
    this.histogram.enable();
  }

  stop(): void {
    this.histogram.disable();
  }

  /** The maximum delay since the last call, in milliseconds. */
  takeWorst(): number {
    const worst = delayOf(this.histogram.max);
    this.histogram.reset();
    return worst;
  }

  /** Median, 99th percentile and maximum of the last window, in seconds. */
  figures(now: number): readonly Figure[] {
    if (now - this.since >= WINDOW) {
      this.since = now;
      this.last = QUANTILES.map((quantile) => delayOf(this.histogram.percentile(quantile * 100)) / 1000);
      this.histogram.reset();
    }
    return QUANTILES.map((quantile, index) => ({
      name: 'event_loop_delay_seconds',
      type: 'gauge',
      help: 'Event-loop delay: median, 99th percentile and maximum of the last seconds.',
      labels: { quantile: String(quantile) },
      value: this.last[index]!,
    }));
  }
}

/** Converts from nanoseconds; the measured value includes the sampling interval. */
const delayOf = (nanoseconds: number): number =>
  Number.isFinite(nanoseconds) ? Math.max(0, nanoseconds / 1e6 - RESOLUTION) : 0;
