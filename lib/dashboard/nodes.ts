import { REFUSAL_REASONS } from '../http/refusal.js';
import type { Counted } from './top-counters.js';

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

/** A page of the table of connections. */
export interface ConnectionsAnswer {
  readonly rows: readonly ConnectionRow[];
  /** The start of the next page; `undefined` if this is the last. */
  readonly cursor: number | undefined;
}

/** The state of a process, as the page names it. */
export type ProcessState = 'well' | 'pressed' | 'draining';

/** What a process tells the dashboards of the other processes of its cluster. */
export interface Brief {
  readonly state: ProcessState;
  readonly connections: number;
  readonly pending: number;
  readonly heldBytes: number;
  /** Per second, over the last ten seconds. */
  readonly accepted: number;
  readonly refused: number;
  /** Worst delay of the event loop of the last ten seconds, in milliseconds. */
  readonly loopDelay: number;
  /** Refused upgrades of the last ten minutes. */
  readonly reasons: Readonly<Record<string, number>>;
  readonly topAddresses: readonly Counted[];
  readonly topUsers: readonly Counted[];
}

/** One process of the cluster, as the page shows it. */
export interface NodeRow {
  readonly id: string;
  readonly name: string;
  readonly self: boolean;
  /** As of its last heartbeat. */
  readonly connections: number | undefined;
  /** `undefined`: it did not answer in time, or does not import the dashboard. */
  readonly brief: Brief | undefined;
}

const STATES: readonly unknown[] = ['well', 'pressed', 'draining'] satisfies ProcessState[];
const MOST_ROWS = 200;
const MOST_TOP = 10;
const MOST_CHARACTERS = 512;

/** Reads the brief of another process, which may be of another version: `undefined` where it is not understood. */
export function briefOf(value: unknown): Brief | undefined {
  const { state, reasons, ...rest } = record(value);
  if (!STATES.includes(state)) return undefined;
  const counts = record(reasons);
  return {
    state: state as ProcessState,
    connections: count(rest['connections']),
    pending: count(rest['pending']),
    heldBytes: count(rest['heldBytes']),
    accepted: count(rest['accepted']),
    refused: count(rest['refused']),
    loopDelay: count(rest['loopDelay']),
    // Reasons are a closed set.
    reasons: Object.fromEntries(
      REFUSAL_REASONS.map((reason) => [reason, count(counts[reason])] as const).filter(([, times]) => times > 0),
    ),
    topAddresses: topOf(rest['topAddresses']),
    topUsers: topOf(rest['topUsers']),
  };
}

/** Reads a page of the connections of another process. */
export function pageOf(value: unknown): ConnectionsAnswer | undefined {
  const { rows, cursor } = record(value);
  if (!Array.isArray(rows)) return undefined;
  return { rows: rows.slice(0, MOST_ROWS).map(rowOf), cursor: typeof cursor === 'number' ? cursor : undefined };
}

/** The heaviest keys of several processes together. */
export function heaviest(lists: readonly (readonly Counted[])[], most: number): Counted[] {
  const byKey = new Map<string, Counted>();
  for (const { key, count: times, atMost } of lists.flat()) {
    const known = byKey.get(key);
    byKey.set(key, { key, count: times + (known?.count ?? 0), atMost: atMost + (known?.atMost ?? 0) });
  }
  return [...byKey.values()].sort((a, b) => b.count - a.count).slice(0, most);
}

function rowOf(value: unknown): ConnectionRow {
  const { user, latency, compressed, ...rest } = record(value);
  return {
    id: text(rest['id']),
    address: text(rest['address']),
    user: user === undefined || user === null ? undefined : text(user),
    gateway: text(rest['gateway']),
    age: count(rest['age']),
    latency: typeof latency === 'number' ? count(latency) : undefined,
    messagesIn: count(rest['messagesIn']),
    messagesOut: count(rest['messagesOut']),
    bytesIn: count(rest['bytesIn']),
    bytesOut: count(rest['bytesOut']),
    queued: count(rest['queued']),
    compressed: compressed === true,
  };
}

const topOf = (value: unknown): Counted[] =>
  Array.isArray(value)
    ? value.slice(0, MOST_TOP).map((each: unknown) => {
        const { key, count: times, atMost } = record(each);
        return { key: text(key), count: count(times), atMost: count(atMost) };
      })
    : [];

const record = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
const count = (value: unknown): number =>
  typeof value === 'number' && Number.isFinite(value) ? Math.max(0, value) : 0;
const text = (value: unknown): string => (typeof value === 'string' ? value.slice(0, MOST_CHARACTERS) : '');
