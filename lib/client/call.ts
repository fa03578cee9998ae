import type { Agent } from 'node:http';
import type { Duplex } from 'node:stream';
import type { ConnectionOptions } from 'node:tls';
import { defaultEnvironment, type Environment } from '../config/environment.js';
import { nearVariable } from '../config/near-names.js';
import { ConfigurationError, suggest } from '../config/problems.js';
import { resolveSettings } from '../config/resolve.js';
import { ROWS, rowAt } from '../config/rows.js';
import type { SecureWsOptions, Settings } from '../config/settings.js';
import { TCHAR } from '../http/grammar.js';
import { type HeadersInput, headerLines, headerText, type Line } from './request-head.js';
import { parseUrl, type Target } from './target.js';

/** Opens sockets in place of `net` and `tls`: an `http.Agent`, or any object with its `createConnection`. */
export interface ConnectionAgent {
  createConnection(
    options: object,
    callback?: (error: Error | null, socket: Duplex) => void,
  ): Duplex | null | undefined;
}

/**
 * The options of one call. Options that are left out come from the environment and the defaults, or from the module's
 * settings.
 *
 * These settings apply: all of `http`, `keepalive` and `compression`; `messages.maxSize`, `maxFragments` and
 * `assemblyTimeout`, and `maxQueue` and `maxQueueBytes` for messages that wait for the iterator; `buffers.maxBuffered`,
 * `writeLimit` (for pongs) and `stallTimeout`. The rates `messages.rate`, `byteRate` and `controlRate` apply only if
 * the call sets them, because an application chooses the servers that it connects to.
 */
export interface ConnectOptions extends NonNullable<SecureWsOptions['client']> {
  /** Additional request headers, except those of the handshake. A `User-Agent` here replaces `userAgentHeader`. */
  readonly headers?: HeadersInput;
  /** The `Origin` header. Default: none. */
  readonly origin?: string;
  /** Offered subprotocols in order of preference; the server may select one. */
  readonly subprotocols?: readonly string[];
  /** Options of Node's `tls.connect`: `ca`, `cert`, `key`, … By default certificates are verified. */
  readonly tls?: ConnectionOptions;
  /** Opens the sockets to the URL's own origin. */
  readonly agent?: Agent | ConnectionAgent;
  /** Aborts the attempt: the promise is rejected with the signal's reason. An open socket is not affected. */
  readonly signal?: AbortSignal;
  readonly http?: SecureWsOptions['http'];
  readonly messages?: SecureWsOptions['messages'];
  readonly buffers?: SecureWsOptions['buffers'];
  readonly keepalive?: SecureWsOptions['keepalive'];
  readonly compression?: SecureWsOptions['compression'];
}

/** A call with all options resolved. */
export interface Call {
  readonly target: Target;
  readonly credentials: string | undefined;
  readonly settings: Settings;
  /** Paths of the settings that the call itself sets. */
  readonly named: ReadonlySet<string>;
  readonly headers: readonly Line[];
  readonly userAgent: string | undefined;
  readonly origin: string | undefined;
  readonly subprotocols: readonly string[];
  readonly tls: ConnectionOptions;
  readonly agent: ConnectionAgent | undefined;
  readonly signal: AbortSignal | undefined;
}

const GROUPS = ['http', 'messages', 'buffers', 'keepalive', 'compression'] as const;
const CLIENT_NAMES = ROWS.filter(({ group }) => group === 'client').map(({ key }) => key);
const CODE_NAMES = ['headers', 'origin', 'subprotocols', 'tls', 'agent', 'signal'];
const NAMED_SETTINGS: readonly string[] = [...CLIENT_NAMES, ...GROUPS];
const NAMES: readonly string[] = [...CODE_NAMES, ...NAMED_SETTINGS];
const OUR_GROUPS: ReadonlySet<string | undefined> = new Set([...GROUPS, 'client']);
const OUR_ROWS = ROWS.filter(({ group }) => OUR_GROUPS.has(group));
const OUR_VARIABLES: ReadonlySet<string | undefined> = new Set(OUR_ROWS.map(({ row }) => row.variable));

/** The settings for options that a call leaves out: the module's settings, or else the environment, read again. */
export function resolveCall(url: string | URL, options: ConnectOptions, base?: Settings): Call {
  const problems: string[] = [];
  const parsed = parseUrl(url);
  if (typeof parsed === 'string') problems.push(parsed);
  const headers = headerLines(options.headers, problems);
  const code = codeOptions(options, headers, typeof parsed !== 'string' && parsed.credentials !== undefined, problems);
  const settings = callSettings(options, base, problems);
  if (problems.length > 0 || settings === undefined || typeof parsed === 'string')
    throw new ConfigurationError(problems);
  return Object.freeze({ ...parsed, ...code, settings, named: namedBy(options) });
}

function callSettings(options: ConnectOptions, base: Settings | undefined, problems: string[]): Settings | undefined {
  for (const name of Object.keys(options)) if (!NAMES.includes(name)) problems.push(unknownOption(name));
  if (base !== undefined && !NAMED_SETTINGS.some((name) => name in options)) return base;
  const written = base === undefined ? grouped(options) : behind(grouped(options), base);
  try {
    return resolveSettings(written as SecureWsOptions, base === undefined ? clientEnvironment() : NO_ENVIRONMENT)
      .settings;
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    problems.push(...error.problems.map((problem) => problem.replace(/^client\./, '')));
    return undefined;
  }
}

function unknownOption(name: string): string {
  const near =
    suggest(name, NAMES) ??
    suggest(
      name,
      OUR_ROWS.map(({ path }) => path),
    );
  return `unknown option '${name}'${near === undefined ? '' : `, did you mean '${near.replace(/^client\./, '')}'?`}`;
}

type Grouped = Record<string, unknown>;

/** The call's options in the structure of the option table: those of `client` in their group. */
function grouped(options: ConnectOptions): Grouped {
  const given = options as Record<string, unknown>;
  const pick = (names: readonly string[]): Grouped =>
    Object.fromEntries(names.filter((name) => given[name] !== undefined).map((name) => [name, given[name]]));
  return { ...pick(GROUPS), client: pick(CLIENT_NAMES) };
}

/** Merges the call's options with the module's settings. */
function behind(written: Grouped, base: Settings): Grouped {
  const merged: Grouped = { ...written };
  for (const group of [...GROUPS, 'client'] as const) {
    const own = written[group] ?? {};
    if (typeof own !== 'object' || Array.isArray(own)) continue;
    const defined = Object.entries(own).filter(([, value]) => value !== undefined);
    merged[group] = { ...base[group], ...Object.fromEntries(defined) };
  }
  return merged;
}

const NO_ENVIRONMENT: Environment = { get: () => undefined, names: [] };

/** Only the variables of settings that a client uses: invalid server settings must not affect a client. */
function clientEnvironment(): Environment {
  const all = defaultEnvironment();
  return {
    get: (variable) => (OUR_VARIABLES.has(variable) ? all.get(variable) : undefined),
    names: all.names.filter((name) => OUR_VARIABLES.has(nearVariable(name))),
  };
}

function namedBy(options: ConnectOptions): ReadonlySet<string> {
  const paths = Object.entries(options.messages ?? {}).filter(([, value]) => value !== undefined);
  return new Set(paths.map(([key]) => `messages.${key}`).filter((path) => rowAt(path) !== undefined));
}

const TOKEN = new RegExp(`^[${TCHAR}]+$`);

type CodeOptions = Omit<Call, 'target' | 'credentials' | 'settings' | 'named'>;

function codeOptions(
  options: ConnectOptions,
  lines: readonly Line[],
  hasCredentials: boolean,
  problems: string[],
): CodeOptions {
  const { origin, subprotocols = [], tls = {}, agent, signal } = options;
  const has = (name: string): boolean => lines.some(([given]) => given.toLowerCase() === name);
  const check = (holds: boolean, problem: string): void => void (holds || problems.push(problem));
  check(origin === undefined || !!headerText(origin), 'origin must be a header value');
  check(origin === undefined || !has('origin'), 'origin and headers.Origin exclude each other: set only one of them');
  check(
    !hasCredentials || !has('authorization'),
    'credentials in the URL and headers.Authorization exclude each other: set only one of them',
  );
  check(isSubprotocols(subprotocols), 'subprotocols must be a list of distinct tokens');
  check(typeof tls === 'object' && tls !== null, "tls must be an object of Node's TLS options");
  check(agent === undefined || isAgent(agent), 'agent must have a function createConnection');
  check(signal === undefined || typeof signal?.addEventListener === 'function', 'signal must be an AbortSignal');
  const userAgent = lines.filter(([name]) => name.toLowerCase() === 'user-agent').at(-1)?.[1];
  const headers = lines.filter(([name]) => name.toLowerCase() !== 'user-agent');
  return {
    headers,
    userAgent,
    origin,
    subprotocols: [...subprotocols],
    tls,
    agent: agent as ConnectionAgent | undefined,
    signal,
  };
}

const isAgent = (agent: unknown): boolean =>
  typeof agent === 'object' && agent !== null && typeof (agent as ConnectionAgent).createConnection === 'function';

function isSubprotocols(given: unknown): boolean {
  if (!Array.isArray(given)) return false;
  return given.every((one) => typeof one === 'string' && TOKEN.test(one)) && new Set(given).size === given.length;
}
