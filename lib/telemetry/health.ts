import { Injectable } from '@nestjs/common';
import type { Gauges } from './stats.js';
import { SecureWsStats } from './stats.js';

/** The part of a budget above which its use is reported as degraded. */
const NEARLY_FULL = 0.9;

export type HealthState = 'up' | 'degraded' | 'down';

/** The result of the indicator, in the form that `@nestjs/terminus` expects. */
export type SecureWsHealth<Key extends string = string> = Record<
  Key,
  { readonly status: 'up' | 'down'; readonly state: HealthState; readonly reasons: readonly string[] }
>;

/**
 * A health indicator for `@nestjs/terminus`: `() => indicator.check('websockets')`. It reports `down` while the
 * application shuts down, and `up` with `state: 'degraded'` while the cluster is unreachable or peers hold more than 90
 * % of a memory budget.
 */
@Injectable()
export class SecureWsHealthIndicator {
  constructor(private readonly stats: SecureWsStats) {}

  check<const Key extends string = 'websockets'>(key?: Key): SecureWsHealth<Key> {
    const gauges = this.stats.snapshot();
    const reasons = degradations(gauges);
    const state: HealthState = gauges.draining ? 'down' : reasons.length > 0 ? 'degraded' : 'up';
    const answer = {
      status: state === 'down' ? ('down' as const) : ('up' as const),
      state,
      reasons: gauges.draining ? ['the application is shutting down', ...reasons] : reasons,
    };
    return { [key ?? 'websockets']: answer } as unknown as SecureWsHealth<Key>;
  }
}

function degradations({ budgets, clusterUp }: Gauges): string[] {
  const full = budgets
    .filter(({ held, limit }) => held > limit * NEARLY_FULL)
    .map(({ kind, held, limit }) => `${kind}: ${held} of ${limit} bytes are held`);
  return clusterUp === false ? ['the cluster is unreachable: cluster.onFailure applies', ...full] : full;
}
