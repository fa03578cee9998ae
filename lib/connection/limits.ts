import type { ResolvedRate } from '../config/kinds.js';
import { ROWS } from '../config/rows.js';
import type { Settings } from '../config/settings.js';

type Groups = Settings['messages'] & Settings['buffers'] & Settings['keepalive'];

/** What stands in for a setting that is absent or was removed. */
const NEVER = Number.POSITIVE_INFINITY;
const NO_RATE: ResolvedRate = Object.freeze({ limit: NEVER, window: 1 });

/** A setting in the form in which a connection reads it: what is absent never comes. */
type Limit<T> = T extends null | undefined ? never : T;

/**
 * What one connection may do, one object per gateway or per call of the client: the rows of the option table in the
 * groups `messages`, `buffers` and `keepalive`, under their own names.
 */
export type Limits = {
  readonly [Name in Exclude<keyof Groups, 'budget' | 'maxPerIp'>]: Limit<Groups[Name]>;
} & {
  /** Milliseconds for all `handleConnection` hooks together. */
  readonly hookTimeout: number;
};

const CONNECTION_GROUPS: ReadonlySet<string | undefined> = new Set(['messages', 'buffers', 'keepalive']);
/** Of all connections together. */
const OF_ALL: ReadonlySet<string> = new Set(['buffers.budget', 'buffers.maxPerIp']);
const CONNECTION_ROWS = ROWS.filter(({ group, path }) => CONNECTION_GROUPS.has(group) && !OF_ALL.has(path));

/** Settings that a client keeps only where the call names them: one chooses the servers that one dials. */
const ONLY_NAMED: ReadonlySet<string> = new Set(['messages.rate', 'messages.byteRate', 'messages.controlRate']);

export function limitsOf(settings: Settings): Limits {
  const limits: Record<string, unknown> = { hookTimeout: settings.connections.guardTimeout };
  for (const { group, key } of CONNECTION_ROWS)
    limits[key] = (settings[group as keyof Settings] as Record<string, unknown>)[key] ?? NEVER;
  limits['maxQueueBytes'] = settings.messages.maxQueueBytes ?? settings.messages.maxSize;
  // As many may wait as may be handled at once.
  limits['maxQueue'] = Math.max(settings.messages.maxQueue, settings.messages.concurrency);
  return Object.freeze(limits as Limits);
}

/** The same for the outbound client. `named`: paths of the settings that the call itself names. */
export function clientLimitsOf(settings: Settings, named: ReadonlySet<string>): Limits {
  const limits: Record<string, unknown> = { ...limitsOf(settings), concurrency: NEVER, byteRatePerIp: NO_RATE };
  limits['maxQueue'] = settings.messages.maxQueue;
  for (const { path, key } of CONNECTION_ROWS) if (ONLY_NAMED.has(path) && !named.has(path)) limits[key] = NO_RATE;
  return Object.freeze(limits as Limits);
}
