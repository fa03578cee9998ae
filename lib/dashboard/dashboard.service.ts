import { channel } from 'node:diagnostics_channel';
import type { Ban, BanList } from '../admission/bans.js';
import type { SettingsReport } from '../config/report.js';
import { REFUSAL_REASONS } from '../http/refusal.js';
import { errorWords } from '../telemetry/error-text.js';
import { EventLoopDelay } from '../telemetry/event-loop-delay.js';
import type { FaultEvent, NoticeEvent, OpenedEvent, RefusedEvent, Subscriber } from '../telemetry/events.js';
import { line } from '../telemetry/log.js';
import type { StatsSnapshot } from '../telemetry/stats.js';
import { History, type HistoryAnswer, SLOTS } from './history.js';
import {
  type Brief,
  briefOf,
  type ConnectionRow,
  type ConnectionsAnswer,
  heaviest,
  type NodeRow,
  type ProcessState,
  pageOf,
} from './nodes.js';
import { type Counted, TopCounters } from './top-counters.js';

/** The properties of a connection for filtering, so that no object is created for connections that are not shown. */
export interface ListedConnection {
  /** Milliseconds of a monotonic clock. */
  readonly openedAt: number;
  readonly peer: { readonly ip: string; readonly userKey: string | undefined };
  readonly context: { readonly path: string };
}

/** The values and actions that the dashboard needs. */
export interface DashboardSource<C extends ListedConnection = ListedConnection> {
  stats(): StatsSnapshot;
  settings(): SettingsReport;
  readonly bans: BanList;
  /** Oldest first. */
  connections(): Iterable<C>;
  row(connection: C, now: number): ConnectionRow;
  /** The processes of the cluster, this one among them; none without a cluster. */
  nodes(): readonly Omit<NodeRow, 'brief'>[];
  /** What the dashboards of the other processes, or of one, answer in time, by the id of the process. */
  ask(question: DashboardQuestion, node?: string): Promise<ReadonlyMap<string, unknown>>;
  now(): number;
}

/** What the dashboard of one process asks that of another. */
export interface DashboardQuestion {
  readonly view: 'brief' | 'connections';
  readonly filter?: string;
  readonly cursor?: number;
  readonly limit?: number;
}

export interface OverviewAnswer {
  readonly time: number;
  readonly state: ProcessState;
  readonly stats: StatsSnapshot;
  readonly history: HistoryAnswer;
  /** Of all processes together, as the refused upgrades of the last ten minutes are. */
  readonly topAddresses: readonly Counted[];
  readonly topUsers: readonly Counted[];
  readonly bans: readonly Ban[];
  readonly refused: Readonly<Record<string, number>>;
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

export const MAX_ROWS = 200;
/**
 * Maximum number of connections that one request examines, so that a filter without matches does not block the process.
 */
const MAX_SCANNED = 20_000;
/** Connections of one millisecond that a cursor can tell apart. */
const MOST_SAME = 4096;
/** Seconds over which the rates of a process are averaged. */
const RECENT = 10;
const MAX_REMARKS = 50;
/** Faults that are described in one period, in milliseconds. */
const MAX_DESCRIBED = 5;
const DESCRIBED_PERIOD = 5_000;
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
  private described = 0;
  private describedSince = 0;
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
    // protection: faults are described at a limited rate
    if (!this.mayDescribe(Date.now())) return;
    // end protection
    this.remark('fault', `${where} failed${path === undefined ? '' : ` at ${path}`}: ${errorWords(error, request)}`);
  }

  /** Removing the values of a request from a message can take 20 ms, and a peer may cause faults at will. */
  private mayDescribe(now: number): boolean {
    if (now - this.describedSince >= DESCRIBED_PERIOD) {
      this.describedSince = now;
      this.described = 0;
    }
    return ++this.described <= MAX_DESCRIBED;
  }

  notice({ message }: NoticeEvent): void {
    this.remark('notice', message);
  }

  /** Everything but the connections. The other processes of a cluster are asked first. */
  async overview(since: number): Promise<OverviewAnswer> {
    const answers = await this.source.ask({ view: 'brief' });
    const own = this.brief();
    const nodes = this.source
      .nodes()
      .map((node) => ({ ...node, brief: node.self ? own : briefOf(answers.get(node.id)) }));
    const briefs = nodes.length === 0 ? [own] : nodes.flatMap(({ brief }) => brief ?? []);
    return {
      time: Date.now(),
      state: own.state === 'well' && briefs.some(({ state }) => state === 'pressed') ? 'pressed' : own.state,
      stats: this.source.stats(),
      history: this.history.after(since),
      topAddresses: heaviest(
        briefs.map(({ topAddresses }) => topAddresses),
        SHOWN_TOP,
      ),
      topUsers: heaviest(
        briefs.map(({ topUsers }) => topUsers),
        SHOWN_TOP,
      ),
      bans: this.source.bans.list().slice(0, MAX_BANS_SHOWN),
      refused: sums(briefs.map(({ reasons }) => reasons)),
      nodes,
      remarks: this.remarks,
      readonly: this.isReadonly,
    };
  }

  settings(): SettingsReport {
    return this.source.settings();
  }

  /** Answers the dashboard of another process. */
  answer({ view, filter, cursor, limit }: Readonly<Record<string, unknown>>): unknown {
    if (view === 'brief') return this.brief();
    if (view !== 'connections') return null;
    const most = typeof limit === 'number' ? Math.min(MAX_ROWS, Math.max(1, limit)) : MAX_ROWS;
    return this.connections(
      typeof filter === 'string' ? filter.slice(0, 200) : '',
      typeof cursor === 'number' ? cursor : 0,
      most,
    );
  }

  /** A page of the connections of another process; `undefined` where it does not answer. */
  async connectionsOf(node: string, filter: string, cursor: number, limit: number) {
    const answers = await this.source.ask({ view: 'connections', filter, cursor, limit }, node);
    return pageOf(answers.get(node));
  }

  /** What the dashboards of all processes show of this one. */
  private brief(): Brief {
    const stats = this.source.stats();
    const last = this.history.last(RECENT);
    const whole = this.history.last(SLOTS);
    const sumOf = (values: readonly number[]): number => values.reduce((sum, each) => sum + each, 0);
    const totals = ({ refused }: HistoryAnswer) =>
      Object.fromEntries(Object.entries(refused).map(([reason, values]) => [reason, sumOf(values)]));
    return {
      state: stats.draining ? 'draining' : this.isPressed(stats) ? 'pressed' : 'well',
      connections: stats.connections,
      pending: stats.pending,
      heldBytes: stats.heldBytes,
      accepted: sumOf(last.accepted) / RECENT,
      refused: sumOf(Object.values(totals(last))) / RECENT,
      loopDelay: Math.max(0, ...last.loopDelay),
      reasons: totals(whole),
      topAddresses: this.addresses.top(SHOWN_TOP),
      topUsers: this.users.top(SHOWN_TOP),
    };
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
    // Several connections are opened within a millisecond: the fraction says how many of the last one were examined.
    let last = Math.floor(cursor);
    let same = Math.round((cursor - last) * MOST_SAME);
    let skipped = same;
    for (const each of this.source.connections()) {
      if (each.openedAt < last || (each.openedAt === last && skipped-- > 0)) continue;
      // The limit can be a fraction.
      if (rows.length >= limit || scanned++ === MAX_SCANNED) return { rows, cursor: last + same / MOST_SAME };
      same = each.openedAt === last ? same + 1 : 1;
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

function sums(all: readonly Readonly<Record<string, number>>[]): Record<string, number> {
  const total: Record<string, number> = {};
  for (const each of all)
    for (const [reason, times] of Object.entries(each)) total[reason] = (total[reason] ?? 0) + times;
  return total;
}
