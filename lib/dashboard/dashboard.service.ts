import { channel } from 'node:diagnostics_channel';
import type { Ban, BanList } from '../admission/bans.js';
import type { SettingsReport } from '../config/report.js';
import { REFUSAL_REASONS } from '../http/refusal.js';
import { errorWords } from '../telemetry/error-text.js';
import { EventLoopDelay } from '../telemetry/event-loop-delay.js';
import type { FaultEvent, NoticeEvent, OpenedEvent, RefusedEvent, Subscriber } from '../telemetry/events.js';
import { line } from '../telemetry/log.js';
import type { StatsSnapshot } from '../telemetry/stats.js';
import { History, type HistoryAnswer } from './history.js';
import { type Counted, TopCounters } from './top-counters.js';

/** A live connection as the table shows it: nothing of its messages, cookies, tokens or query. */
export interface ConnectionRow {
  readonly id: string;
  readonly address: string;
  readonly user: string | undefined;
  readonly gateway: string;
  /** Milliseconds. */
  readonly age: number;
  readonly latency: number | undefined;
  readonly messagesIn: number;
  readonly messagesOut: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** Bytes that wait in both directions. */
  readonly queued: number;
  readonly compressed: boolean;
}

/** The properties of a connection for filtering, so that no object is created for connections that are not shown. */
export interface ListedConnection {
  /** Milliseconds of a monotonic clock. */
  readonly openedAt: number;
  readonly peer: { readonly ip: string; readonly userKey: string | undefined };
  readonly context: { readonly path: string };
}

/** Another process of the cluster, as the page shows it. */
export interface NodeRow {
  readonly id: string;
  readonly self: boolean;
  readonly connections: number | undefined;
}

/** The values and actions that the dashboard needs. */
export interface DashboardSource<C extends ListedConnection = ListedConnection> {
  stats(): StatsSnapshot;
  settings(): SettingsReport;
  readonly bans: BanList;
  /** Oldest first. */
  connections(): Iterable<C>;
  row(connection: C, now: number): ConnectionRow;
  nodes(): readonly NodeRow[];
  now(): number;
}

export interface OverviewAnswer {
  readonly time: number;
  readonly state: 'well' | 'pressed' | 'draining';
  readonly stats: StatsSnapshot;
  readonly history: HistoryAnswer;
  readonly topAddresses: readonly Counted[];
  readonly topUsers: readonly Counted[];
  readonly bans: readonly Ban[];
  readonly nodes: readonly NodeRow[];
  readonly remarks: readonly Remark[];
  readonly readonly: boolean;
}

/** A fault or a notice with its time. */
export interface Remark {
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly kind: 'fault' | 'notice';
  readonly text: string;
}

export interface ConnectionsAnswer {
  readonly rows: readonly ConnectionRow[];
  /** The start of the next page; `undefined` if this is the last. */
  readonly cursor: number | undefined;
}

export const MAX_ROWS = 200;
/**
 * Maximum number of connections that one request examines, so that a filter without matches does not block the process.
 */
const MAX_SCANNED = 20_000;
const MAX_REMARKS = 50;
const TOP_KEYS = 256;
const SHOWN_TOP = 10;
const MAX_BANS_SHOWN = 500;
/** Half-life in seconds of the counters of the busiest addresses and users. */
const FADE_AFTER = 60;
/** From this many refusals within ten seconds, the state is `pressed`. */
const PRESSED_REFUSALS = 20;

const AUDIT = channel('nest-secure-ws:audit');

/** An operator's action; published on `nest-secure-ws:audit` and written to the log. */
export interface AuditEvent {
  readonly action: 'login' | 'login-failed' | 'logout' | 'disconnect' | 'ban' | 'unban' | 'drain';
  /** The operator's address. */
  readonly ip: string;
  readonly target: string | undefined;
}

export const publishAudit = (event: AuditEvent): void => {
  if (AUDIT.hasSubscribers) AUDIT.publish(event);
};

/** Records the history for the page, and answers its polls. Exists only if the module is imported. */
export class Dashboard<C extends ListedConnection = ListedConnection> implements Partial<Subscriber> {
  private readonly history = new History(REFUSAL_REASONS);
  private readonly refusedNow = new Array<number>(REFUSAL_REASONS.length).fill(0);
  private acceptedNow = 0;
  private readonly recentRefusals: number[] = [];
  private readonly addresses = new TopCounters(TOP_KEYS);
  private readonly users = new TopCounters(TOP_KEYS);
  private readonly remarks: Remark[] = [];
  private readonly delay = new EventLoopDelay();
  private seconds = 0;
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly source: DashboardSource<C>,
    private readonly isReadonly: boolean,
  ) {}

  start(): void {
    this.delay.start();
    this.timer = setInterval(() => this.tick(), 1000);
    this.timer.unref();
  }

  stop(): void {
    clearInterval(this.timer);
    this.delay.stop();
  }

  opened({ ip, userKey }: OpenedEvent): void {
    this.acceptedNow++;
    this.addresses.add(ip);
    if (userKey !== undefined) this.users.add(userKey);
  }

  refused({ reason, ip }: RefusedEvent): void {
    const index = REFUSAL_REASONS.indexOf(reason);
    if (index >= 0) this.refusedNow[index]!++;
    this.addresses.add(ip);
  }

  fault({ where, error, path, request }: FaultEvent): void {
    this.remark('fault', `${where} failed${path === undefined ? '' : ` at ${path}`}: ${errorWords(error, request)}`);
  }

  notice({ message }: NoticeEvent): void {
    this.remark('notice', message);
  }

  overview(since: number): OverviewAnswer {
    const stats = this.source.stats();
    return {
      time: Date.now(),
      state: stats.draining ? 'draining' : this.isPressed(stats) ? 'pressed' : 'well',
      stats,
      history: this.history.after(since),
      topAddresses: this.addresses.top(SHOWN_TOP),
      topUsers: this.users.top(SHOWN_TOP),
      bans: this.source.bans.list().slice(0, MAX_BANS_SHOWN),
      nodes: this.source.nodes(),
      remarks: this.remarks,
      readonly: this.isReadonly,
    };
  }

  settings(): SettingsReport {
    return this.source.settings();
  }

  /**
   * Returns a page of live connections opened after `cursor`, oldest first. `filter`: part of an address, user or
   * gateway.
   */
  connections(filter: string, cursor: number, limit: number): ConnectionsAnswer {
    const now = this.source.now();
    const words = filter.trim().toLowerCase();
    const rows: ConnectionRow[] = [];
    let scanned = 0;
    let last = cursor;
    for (const each of this.source.connections()) {
      if (each.openedAt <= cursor) continue;
      if (rows.length === limit || scanned++ === MAX_SCANNED) return { rows, cursor: last };
      last = each.openedAt;
      if (words === '' || matches(each, words)) rows.push(this.source.row(each, now));
    }
    return { rows, cursor: undefined };
  }

  private isPressed({ budgets }: StatsSnapshot): boolean {
    const refusals = this.recentRefusals.reduce((sum, each) => sum + each, 0);
    return refusals >= PRESSED_REFUSALS || budgets.some(({ held, limit }) => held > 0.9 * limit);
  }

  private tick(): void {
    const { connections, heldBytes } = this.source.stats();
    const refused = this.refusedNow;
    this.recentRefusals.push(refused.reduce((sum, each) => sum + each, 0));
    if (this.recentRefusals.length > 10) this.recentRefusals.shift();
    this.history.push(Math.floor(Date.now() / 1000), {
      connections,
      heldBytes,
      loopDelay: this.delay.takeWorst(),
      accepted: this.acceptedNow,
      refused,
    });
    this.acceptedNow = 0;
    refused.fill(0);
    if (++this.seconds % FADE_AFTER !== 0) return;
    this.addresses.fade();
    this.users.fade();
  }

  private remark(kind: Remark['kind'], text: string): void {
    this.remarks.push({ at: Date.now(), kind, text: line(text).slice(0, 300) });
    if (this.remarks.length > MAX_REMARKS) this.remarks.shift();
  }
}

const matches = ({ peer: { ip, userKey }, context: { path } }: ListedConnection, words: string): boolean =>
  ip.includes(words) || path.toLowerCase().includes(words) || (userKey?.toLowerCase().includes(words) ?? false);
