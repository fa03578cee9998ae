import type { BatchObservableResult, Meter, Observable } from '@opentelemetry/api';
import { VERSION } from '../version.js';
import type { Family, HistogramSample, MetricsCollector } from './metrics.js';
import { PREFIX } from './prometheus.js';

/**
 * Registers the metrics with OpenTelemetry's global meter provider, if the application has registered one: counters and
 * gauges by one batch callback, latencies as histograms. Does nothing without `@opentelemetry/api` or without a
 * provider.
 *
 * @returns a function that removes the callback, or `undefined` if there is no provider.
 */
export async function registerOpenTelemetry(collector: MetricsCollector): Promise<(() => void) | undefined> {
  const api = await import('@opentelemetry/api').catch(() => undefined);
  if (api === undefined) return undefined;
  const meter = api.metrics.getMeter('nest-secure-ws', VERSION);
  // The provider that the API returns if none is registered.
  if (meter === api.createNoopMeter()) return undefined;
  return register(meter, collector);
}

function register(meter: Meter, collector: MetricsCollector): () => void {
  const observables = new Map<string, Observable>();
  for (const family of collector.collect()) addObservable(meter, observables, family);
  collector.onHistogram = (name, sample) => mirror(meter, name, sample);
  for (const family of collector.collect())
    if (family.type === 'histogram') for (const sample of family.samples) mirror(meter, family.name, sample);
  const observe = (result: BatchObservableResult): void => {
    for (const family of collector.collect()) {
      const observable = observables.get(family.name);
      if (family.type === 'histogram' || observable === undefined) continue;
      for (const { labels, value } of family.samples) result.observe(observable, value, labels);
    }
  };
  const all = [...observables.values()];
  meter.addBatchObservableCallback(observe, all);
  return () => {
    meter.removeBatchObservableCallback(observe, all);
    collector.onHistogram = undefined;
  };
}

function addObservable(meter: Meter, observables: Map<string, Observable>, { name, type, help }: Family): void {
  if (type === 'histogram') return;
  const create = type === 'counter' ? 'createObservableCounter' : 'createObservableGauge';
  observables.set(name, meter[create](PREFIX + name, { description: help }));
}

function mirror(meter: Meter, name: string, { labels, histogram }: HistogramSample): void {
  const instrument = meter.createHistogram(PREFIX + name, {
    unit: 's',
    advice: { explicitBucketBoundaries: [...histogram.bounds] },
  });
  histogram.mirror = (value) => instrument.record(value, labels);
}
