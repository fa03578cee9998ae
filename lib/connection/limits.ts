import type { ResolvedRate } from '../config/kinds.js';
import { ROWS } from '../config/rows.js';
import type { Settings } from '../config/settings.js';

type Groups = Settings['messages'] & Settings['buffers'] & Settings['keepalive'];

/** The value of a limit that is absent or was removed. */
const NEVER = Number.POSITIVE_INFINITY;
/** Every debt is within its window, also where two clocks are read for one bucket. */
const NO_RATE: ResolvedRate = Object.freeze({ limit: NEVER, window: Number.MAX_SAFE_INTEGER });

/** The type of a setting as a connection reads it: `null` and `undefined` are replaced by `Infinity`. */
type Limit<T> = T extends null | undefined ? never : T;

/**
 * The limits of one connection: the rows of the option table in the groups `messages`, `buffers` and `keepalive`, under
 * their own names. One object is shared per gateway, or per call of the client.
 */
export type Limits = {
  readonly [Name in Exclude<keyof Groups, 'budget' | 'maxPerIp'>]: Limit<Groups[Name]>;
} & {
  /** Milliseconds for all `handleConnection` hooks together. */
  readonly hookTimeout: number;
};

const CONNECTION_GROUPS: ReadonlySet<string | undefined> = new Set(['messages', 'buffers', 'keepalive']);
/** Settings that apply to all connections together. */
const OF_ALL: ReadonlySet<string> = new Set(['buffers.budget', 'buffers.maxPerIp']);
const CONNECTION_ROWS = ROWS.filter(({ group, path }) => CONNECTION_GROUPS.has(group) && !OF_ALL.has(path));

/**
 * Settings that apply to client connections only if the call sets them, because an application chooses the servers that
 * it connects to.
 */
const ONLY_NAMED: ReadonlySet<string> = new Set(['messages.rate', 'messages.byteRate', 'messages.controlRate']);

export function limitsOf(settings: Settings): Limits {
  const limits: Record<string, unknown> = { hookTimeout: settings.connections.guardTimeout };
  for (const { group, key } of CONNECTION_ROWS)
    limits[key] = (settings[group as keyof Settings] as Record<string, unknown>)[key] ?? NEVER;
  limits['maxQueueBytes'] = settings.messages.maxQueueBytes ?? settings.messages.maxSize;
  // The queue must have room for all messages that can be handled at once.
  limits['maxQueue'] = Math.max(settings.messages.maxQueue, settings.messages.concurrency);
  return Object.freeze(limits as Limits);
}

/** The limits of a client connection. `named`: the paths of the settings that the call itself sets. */
export function clientLimitsOf(settings: Settings, named: ReadonlySet<string>): Limits {
  const limits: Record<string, unknown> = { ...limitsOf(settings), concurrency: NEVER, byteRatePerIp: NO_RATE };
  limits['maxQueue'] = settings.messages.maxQueue;
  for (const { path, key } of CONNECTION_ROWS) if (ONLY_NAMED.has(path) && !named.has(path)) limits[key] = NO_RATE;
  return Object.freeze(limits as Limits);
}
