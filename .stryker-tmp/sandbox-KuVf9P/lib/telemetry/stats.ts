// @ts-nocheck
import type { SettingsReport } from '../config/report.js';
import type { RefusalReason } from '../http/refusal.js';
import type { ClosedEvent, FaultEvent, FaultPlace, RefusedEvent } from './events.js';

/** Figures as they are at the moment of asking. */
export interface Gauges {
  /** Live connections. */
  readonly connections: number;
  /** Connections between accept and 101, refusals that linger included. */
  readonly pending: number;
  /** Slots reserved: live connections and those about to be. */
  readonly slots: number;
  /** Bytes held for all peers. */
  readonly heldBytes: number;
  /** Addresses that are remembered. */
  readonly addresses: number;
  /** Deadlines on the wheel. */
  readonly deadlines: number;
  /** Bytes of dedicated compression contexts. */
  readonly contextBytes: number;
}

export interface StatsSnapshot extends Gauges {
  readonly opened: number;
  readonly closed: Readonly<Record<string, number>>;
  readonly refused: Readonly<Partial<Record<RefusalReason, number>>>;
  readonly faults: Readonly<Partial<Record<FaultPlace, number>>>;
}

/** Counters by bounded reason, and current figures. Injectable. */
export class SecureWsStats {
  private openedCount = 0;
  private readonly closedBy: Record<string, number> = {};
  private readonly refusedBy: Partial<Record<RefusalReason, number>> = {};
  private readonly faultsBy: Partial<Record<FaultPlace, number>> = {};
  /** @internal */ gauges: () => Gauges = () => NOTHING;

  /** @internal */ report: (() => SettingsReport) | undefined = undefined;

  /** Every setting with where it came from, and the memory that they allow peers to take. */
  settings(): SettingsReport {
    if (this.report === undefined) throw new Error('SecureWsStats belongs to no SecureWsModule');
    return this.report();
  }

  /** Counters since the start, and figures of now. */
  snapshot(): StatsSnapshot {
    return {
      ...this.gauges(),
      opened: this.openedCount,
      closed: { ...this.closedBy },
      refused: { ...this.refusedBy },
      faults: { ...this.faultsBy },
    };
  }

  /** @internal */ opened(): void {
    this.openedCount++;
  }

  /** @internal */ closed({ code }: ClosedEvent): void {
    // Codes come from peers too: only those that mean something are told apart.
    const key = code >= 1000 && code <= 1015 ? String(code) : code === 4401 ? '4401' : 'other';
    this.closedBy[key] = (this.closedBy[key] ?? 0) + 1;
  }

  /** @internal */ refused({ reason }: RefusedEvent): void {
    this.refusedBy[reason] = (this.refusedBy[reason] ?? 0) + 1;
  }

  /** @internal */ fault({ where }: FaultEvent): void {
    this.faultsBy[where] = (this.faultsBy[where] ?? 0) + 1;
  }
}

const NOTHING: Gauges = {
  connections: 0,
  pending: 0,
  slots: 0,
  heldBytes: 0,
  addresses: 0,
  deadlines: 0,
  contextBytes: 0,
};
