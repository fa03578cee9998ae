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
  const { messages, connections } = settings;
  return frozen(
    CONNECTION_ROWS.map(({ group, key }) => [
      key,
      (settings[group as keyof Settings] as Record<string, unknown>)[key] ?? NEVER,
    ]),
    [
      ['hookTimeout', connections.guardTimeout],
      ['maxQueueBytes', messages.maxQueueBytes ?? messages.maxSize],
      // The queue must have room for all messages that can be handled at once.
      ['maxQueue', Math.max(messages.maxQueue, messages.concurrency)],
    ],
  );
}

/** The limits of a client connection. `named`: the paths of the settings that the call itself sets. */
export function clientLimitsOf(settings: Settings, named: ReadonlySet<string>): Limits {
  const unnamed = CONNECTION_ROWS.filter(({ path }) => ONLY_NAMED.has(path) && !named.has(path));
  return frozen(
    Object.entries(limitsOf(settings)),
    [
      ['concurrency', NEVER],
      ['byteRatePerIp', NO_RATE],
      ['maxQueue', settings.messages.maxQueue],
    ],
    unnamed.map(({ key }) => [key, NO_RATE]),
  );
}

type Entries = readonly (readonly [string, unknown])[];

/**
 * Later entries replace earlier ones. Created from entries, because V8 turns an object to which many computed names are
 * assigned into a hash table, and every message reads a dozen limits.
 */
const frozen = (...entries: readonly Entries[]): Limits => Object.freeze(Object.fromEntries(entries.flat()) as Limits);
