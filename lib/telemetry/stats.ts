import type { ClusterState } from '../cluster/node.js';
import type { SettingsReport } from '../config/report.js';
import type { RefusalReason } from '../http/refusal.js';
import { type ClosedEvent, FAULT_PLACES, type FaultEvent, type FaultPlace, type RefusedEvent } from './events.js';
import {
  codeLabel,
  type Figure,
  type GatewayGauges,
  type Labels,
  type MetricsCollector,
  type MetricsSource,
} from './metrics.js';

/** Current values. */
export interface Gauges {
  /** Live connections. */
  readonly connections: number;
  /** Connections between accept and the 101, including refusals that are still being written. */
  readonly pending: number;
  /** Reserved slots: live connections and upgrades that have passed the capacity stage. */
  readonly slots: number;
  /** Bytes held for all peers. */
  readonly heldBytes: number;
  /** Number of addresses with state. */
  readonly addresses: number;
  /** Pending deadlines. */
  readonly deadlines: number;
  /** Bytes of dedicated compression contexts. */
  readonly contextBytes: number;
  /** Held bytes and their limit, by kind. */
  readonly budgets: readonly BudgetGauge[];
  /** Number of bans. */
  readonly bans: number;
  /** The application is shutting down: new connections are refused. */
  readonly draining: boolean;
  /** Whether the cluster is reachable; `undefined` if none is configured. */
  readonly clusterUp: boolean | undefined;
}

/** Queued messages and unsent bytes. */
export interface Queues {
  readonly messages: number;
  readonly bytes: number;
  readonly paused: number;
  readonly slow: number;
  readonly unsent: number;
}
const NO_QUEUES: Queues = Object.freeze({ messages: 0, bytes: 0, paused: 0, slow: 0, unsent: 0 });

/** The use of a memory budget. */
export interface BudgetGauge {
  readonly kind: 'buffers' | 'heads' | 'compression';
  readonly held: number;
  readonly limit: number;
}

export interface StatsSnapshot extends Gauges {
  readonly opened: number;
  readonly closed: Readonly<Record<string, number>>;
  readonly refused: Readonly<Partial<Record<RefusalReason, number>>>;
  readonly faults: Readonly<Partial<Record<FaultPlace, number>>>;
  /** The state of the cluster; `undefined` without `cluster`. */
  readonly cluster?: ClusterState;
}

/** Counters with bounded labels, and current values. Injectable. */
export class SecureWsStats implements MetricsSource {
  private openedCount = 0;
  private readonly closedBy: Record<string, number> = {};
  private readonly refusedBy: Partial<Record<RefusalReason, number>> = {};
  private readonly faultsBy: Partial<Record<FaultPlace, number>> = {};
  /** @internal */ gauges: () => Gauges = () => NOTHING;

  /** @internal What waits, over all connections; asked for by a scrape alone. */ queues: () => Queues = () =>
    NO_QUEUES;
  /** @internal The gateways, for metrics. */ gatewayGauges: () => Iterable<GatewayGauges> = () => [];
  /** @internal Where metrics are switched on. */ collector: MetricsCollector | undefined = undefined;
  /** @internal */ cluster: (() => ClusterState) | undefined = undefined;

  /** @internal */ report: (() => SettingsReport) | undefined = undefined;

  /** Every setting with its source, and the most memory that the settings allow peers to take. */
  settings(): SettingsReport {
    if (this.report === undefined) throw new Error('SecureWsStats is not provided by a SecureWsModule');
    return this.report();
  }

  /** Counters since the start, and current values. */
  snapshot(): StatsSnapshot {
    return {
      ...this.gauges(),
      opened: this.openedCount,
      closed: { ...this.closedBy },
      refused: { ...this.refusedBy },
      faults: { ...this.faultsBy },
      ...(this.cluster === undefined ? {} : { cluster: this.cluster() }),
    };
  }

  /** @internal */ gateways(): Iterable<GatewayGauges> {
    return this.gatewayGauges();
  }

  /** @internal Current values for metrics. */
  figures(): readonly Figure[] {
    const { pending, slots, addresses, budgets, bans, draining, clusterUp } = this.gauges();
    const queues = this.queues();
    const gauge = (name: string, help: string, value: number, labels?: Labels): Figure => ({
      name,
      type: 'gauge',
      help,
      value,
      ...(labels && { labels }),
    });
    return [
      gauge(
        'pending',
        'Connections between accept and the 101, including refusals that are still being written.',
        pending,
      ),
      gauge('slots', 'Reserved slots: live connections, and upgrades after the capacity stage.', slots),
      gauge('addresses', 'Addresses whose connections and attempts are counted.', addresses),
      gauge('bans', 'Addresses and users that are banned.', bans),
      gauge('queued_messages', 'Messages that wait for their handler.', queues.messages),
      gauge('queued_bytes', 'Bytes of messages that wait for their handler.', queues.bytes),
      gauge('paused_connections', 'Connections whose reading is paused.', queues.paused),
      gauge('slow_connections', 'Connections with unsent bytes.', queues.slow),
      gauge('unsent_bytes', 'Unsent bytes.', queues.unsent),
      gauge('draining', '1 while the application shuts down.', Number(draining)),
      ...budgets.map(({ kind, held }) => gauge('held_bytes', 'Bytes held for peers.', held, { kind })),
      ...budgets.map(({ kind, limit }) => gauge('budget_bytes', 'Limit of the bytes held for peers.', limit, { kind })),
      ...(clusterUp === undefined ? [] : [gauge('cluster_up', '1 while the cluster is reachable.', Number(clusterUp))]),
      ...clusterFigures(this.cluster?.(), gauge),
      // Every place from the start: OpenTelemetry asks only for the metrics that existed when they were registered.
      ...FAULT_PLACES.map(
        (where): Figure => ({
          name: 'faults_total',
          type: 'counter',
          help: 'Errors of handlers, hooks, filters and guards.',
          labels: { where },
          value: this.faultsBy[where] ?? 0,
        }),
      ),
    ];
  }

  /** @internal */ opened(): void {
    this.openedCount++;
  }

  /** @internal */ closed(event: ClosedEvent): void {
    const key = codeLabel(event.code);
    this.closedBy[key] = (this.closedBy[key] ?? 0) + 1;
    this.collector?.closed(event);
  }

  /** @internal */ refused(event: RefusedEvent): void {
    const { reason } = event;
    this.refusedBy[reason] = (this.refusedBy[reason] ?? 0) + 1;
    this.collector?.refused(event);
  }

  /** @internal */ fault({ where }: FaultEvent): void {
    this.faultsBy[where] = (this.faultsBy[where] ?? 0) + 1;
  }
}

function clusterFigures(
  state: ClusterState | undefined,
  gauge: (name: string, help: string, value: number) => Figure,
): Figure[] {
  if (state === undefined) return [];
  const counter = (name: string, help: string, value: number, labels?: Labels): Figure => ({
    name,
    type: 'counter',
    help,
    value,
    ...(labels && { labels }),
  });
  const { messages } = state;
  const dropped = (reason: string, value: number): Figure =>
    counter('cluster_dropped_total', 'Messages of other processes that were dropped.', value, { reason });
  return [
    gauge('cluster_nodes', 'Processes that hold a lease, this one included.', state.nodes.length),
    counter('cluster_fallback_total', 'Attempts that were decided without the other processes.', state.fallbacks),
    counter('cluster_gaps_total', 'Messages of other processes that were lost.', messages.gaps),
    counter('cluster_unsent_total', 'Messages to other processes that could not be sent.', messages.unsent),
    dropped('malformed', messages.malformed),
    dropped('unsigned', messages.unsigned),
    dropped('replayed', messages.replayed),
  ];
}

const NOTHING: Gauges = {
  connections: 0,
  pending: 0,
  slots: 0,
  heldBytes: 0,
  addresses: 0,
  deadlines: 0,
  contextBytes: 0,
  budgets: [],
  bans: 0,
  draining: false,
  clusterUp: undefined,
};
