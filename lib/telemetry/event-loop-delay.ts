import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';
import type { Figure } from './metrics.js';

/** Milliseconds between the samples of the event loop's delay. */
const RESOLUTION = 10;
/** Milliseconds for which the percentiles stand, at least: two scrapers must not take them from each other. */
const WINDOW = 5000;
const QUANTILES = [0.5, 0.99, 1];

/** How late the event loop is, for the charts and the metrics. Samples only between `start` and `stop`. */
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

  /** The worst delay since the last call, in milliseconds. */
  takeWorst(): number {
    const worst = delayOf(this.histogram.max);
    this.histogram.reset();
    return worst;
  }

  /** Median, 99th percentile and worst, in seconds, of the last window. */
  figures(now: number): readonly Figure[] {
    if (now - this.since >= WINDOW) {
      this.since = now;
      this.last = QUANTILES.map((quantile) => delayOf(this.histogram.percentile(quantile * 100)) / 1000);
      this.histogram.reset();
    }
    return QUANTILES.map((quantile, index) => ({
      name: 'event_loop_delay_seconds',
      type: 'gauge',
      help: 'Delay of the event loop: median, 99th percentile and worst of the last seconds.',
      labels: { quantile: String(quantile) },
      value: this.last[index]!,
    }));
  }
}

/** From nanoseconds; what is measured includes the interval of the samples themselves. */
const delayOf = (nanoseconds: number): number =>
  Number.isFinite(nanoseconds) ? Math.max(0, nanoseconds / 1e6 - RESOLUTION) : 0;
