import { type Environment, fromEnvironment, lostVariables } from './environment.js';
import { foreignNames } from './near-names.js';
import { ConfigurationError, escaped, invalidValue, nameOf, printable, suggest } from './problems.js';
import { type Group, isRow } from './row.js';
import { type NamedRow, PATHS, ROWS, rowAt } from './rows.js';
import type {
  GatewaySettings,
  SecureGatewayOptions,
  SecurePortOptions,
  SecureWsOptions,
  Settings,
  Source,
} from './settings.js';
import { TABLE } from './table.js';

export interface Resolved<T> {
  readonly settings: T;
  /** Where each value came from, by path. */
  readonly sources: ReadonlyMap<string, Source>;
}

/** Flattens options to a map of paths such as `messages.maxSize` to values. Unknown names become problems. */
function flatten(options: object, problems: string[], where: string): Map<string, unknown> {
  const flat = new Map<string, unknown>();
  for (const [key, value] of Object.entries(options)) {
    // In a JSON file it names the schema for an editor.
    if (key === '$schema' && typeof value === 'string') continue;
    const entry = Object.hasOwn(TABLE, key) ? (TABLE as unknown as Group)[key] : undefined;
    if (entry === undefined) problems.push(unknownOption(key, where));
    else if (isRow(entry)) flat.set(key, value);
    else flattenGroup(key, value, flat, problems, where);
  }
  return flat;
}

function flattenGroup(
  group: string,
  value: unknown,
  flat: Map<string, unknown>,
  problems: string[],
  where: string,
): void {
  if (value === undefined) return;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    problems.push(`${group}${where}: ${printable(value)} is not an object of settings`);
    return;
  }
  for (const [key, inner] of Object.entries(value)) {
    const path = `${group}.${key}`;
    if (rowAt(path) === undefined) problems.push(unknownOption(path, where));
    else flat.set(path, inner);
  }
}

function unknownOption(path: string, where: string): string {
  const near = suggest(path, PATHS);
  return escaped(`unknown option '${path}'${where}${near === undefined ? '' : `, did you mean '${near}'?`}`);
}

/** Resolves each setting from the options, the environment or the default. Throws one `ConfigurationError` with all problems. */
export function resolveSettings(options: SecureWsOptions, environment: Environment): Resolved<Settings> {
  const { problems, ...resolved } = readSettings(options, environment);
  if (problems.length > 0) throw new ConfigurationError(problems);
  return resolved;
}

export interface Reading extends Resolved<Settings> {
  /** Errors with which the start fails. */
  readonly problems: readonly string[];
  readonly warnings: readonly string[];
}

/** Like `resolveSettings()`, but returns the problems, for a caller that has more to check. Invalid settings get their default. */
export function readSettings(options: SecureWsOptions, environment: Environment): Reading {
  const problems: string[] = [];
  const given = flatten(options, problems, '');
  const candidates = new Map<string, Candidate>();
  const sources = new Map<string, Source>();
  for (const entry of ROWS) {
    const option = given.get(entry.path);
    const raw = option === undefined ? fromEnvironment(entry, environment) : option;
    sources.set(entry.path, option !== undefined ? 'options' : raw !== undefined ? 'environment' : 'default');
    const value = raw === undefined ? entry.row.default : raw;
    const isVariable = option === undefined;
    if (value !== undefined) candidates.set(entry.path, { raw: value, where: '', isVariable });
  }
  problems.push(...validate(candidates));
  const { near, unknown } = foreignNames(environment);
  const lost = lostVariables(environment);
  const textsOf = (restricts: boolean) =>
    lost.filter(({ entry }) => entry.row.restricts === restricts).map(({ text }) => text);
  return {
    settings: assemble((path) => candidates.get(path)?.raw),
    sources,
    problems: [...problems, ...near, ...textsOf(true)],
    warnings: [...unknown, ...textsOf(false)],
  };
}

/** Builds the frozen settings object from the raw value of each row. */
function assemble(raw: (path: string) => unknown): Settings {
  const root: Record<string, unknown> = {};
  for (const { group, key, path, row } of ROWS) {
    const value = resolvedValue(row, raw(path));
    if (group === undefined) root[key] = value;
    else ((root[group] ??= {}) as Record<string, unknown>)[key] = value;
  }
  for (const value of Object.values(root)) if (isPlainObject(value)) Object.freeze(value);
  // `root` is a hash table for V8, because many computed names were assigned to it; an object made of entries is not.
  return Object.freeze(Object.fromEntries(Object.entries(root))) as unknown as Settings;
}

function resolvedValue(row: NamedRow['row'], raw: unknown): unknown {
  if (raw === undefined || (raw === null && row.removable)) return raw;
  return row.parse(raw) ?? row.parse(row.default);
}

const isPlainObject = (value: unknown): value is object =>
  typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype;

/** Options that Nest itself has for gateways and that are not settings of this library. */
const NOT_SETTINGS = new Set(['path']);

/** The options of one gateway, or of several that share a server. */
export interface GatewayReading {
  /** Raw values by option path. */
  readonly own: ReadonlyMap<string, unknown>;
  readonly path: string;
  /** `tls: null`. */
  readonly noTls: boolean;
  readonly problems: readonly string[];
}

/** Reads a gateway's options. Problems are returned, so that those of all gateways can be reported together. */
export function readGateway(
  options: SecureGatewayOptions | SecurePortOptions,
  gateway: string,
  ownPort: boolean,
): GatewayReading {
  const problems: string[] = [];
  const where = ` of ${gateway}`;
  const { tls, ...rest } = options as SecurePortOptions;
  const written = Object.fromEntries(Object.entries(rest).filter(([key]) => !NOT_SETTINGS.has(key)));
  const own = flatten(tls ? { ...written, tls } : written, problems, where);
  for (const [path, value] of own) {
    if (value === undefined) own.delete(path);
    else problems.push(...scopeProblems(path, where, ownPort));
  }
  const candidates = new Map([...own].map(([path, raw]) => [path, { raw, where, isVariable: false }]));
  problems.push(...validate(candidates), ...pathProblems(options.path, where));
  return { own, path: normalisePath(options.path), noTls: tls === null, problems };
}

/** The application's settings, overridden by those of a gateway. */
export function settingsOf(app: Settings, { own, path, noTls }: Omit<GatewayReading, 'problems'>): GatewaySettings {
  const groups: Record<string, unknown> = { ...app };
  if (noTls) groups['tls'] = Object.freeze({ ...app.tls, ...NO_TLS });
  for (const [name, raw] of own) {
    const { group, key, row } = rowAt(name)!;
    const value = raw === null ? null : row.parse(raw);
    if (group === undefined) groups[key] = value;
    else groups[group] = Object.freeze({ ...(groups[group] as object), [key]: value });
  }
  const cap = (key: string): number | undefined => {
    const raw = own.get(`connections.${key}`);
    return raw === undefined ? undefined : (rowAt(`connections.${key}`)!.row.parse(raw) as number);
  };
  const caps = Object.freeze({ max: cap('max'), maxPerIp: cap('maxPerIp'), maxPerUser: cap('maxPerUser') });
  return Object.freeze({ ...groups, path, own: caps }) as unknown as GatewaySettings;
}

const NO_TLS = {
  certFile: undefined,
  keyFile: undefined,
  caFile: undefined,
  cert: undefined,
  key: undefined,
  ca: undefined,
  requestCert: false,
};

function scopeProblems(path: string, where: string, ownPort: boolean): string[] {
  const entry = rowAt(path);
  if (entry?.row.scope === 'a')
    return [
      `${nameOf(entry)}${where}: a gateway cannot have its own; set it in forRoot()${entry.row.variable === undefined ? '' : ' or the environment'}`,
    ];
  const needsOwnPort = path.startsWith('tls.') || path.startsWith('listen.');
  return needsOwnPort && !ownPort ? [`${path}${where}: needs a dedicated port, @SecureGateway(port, { … })`] : [];
}

const pathProblems = (path: unknown, where: string): string[] =>
  path === undefined || (typeof path === 'string' && /^\/?[\x21-\x22\x24-\x3e\x40-\x7e]*$/.test(path))
    ? []
    : [`path${where}: ${printable(path)} is not a path of visible ASCII characters without '?' and '#'`];

/** Adds a leading slash and removes trailing ones, as Nest's adapters do. */
export function normalisePath(path: string | undefined): string {
  if (!path) return '/';
  const withSlash = path.startsWith('/') ? path : `/${path}`;
  return withSlash.length > 1 ? withSlash.replace(/\/+$/, '') || '/' : withSlash;
}

/** A value to check, and the text that names its place in an error. */
export interface Candidate {
  readonly raw: unknown;
  readonly where: string;
  /** The value comes from a variable. */
  readonly isVariable: boolean;
}

function accepts(row: NamedRow['row'], value: unknown): boolean {
  if (value === null) return row.removable;
  return row.parse(value) !== undefined;
}

/** The problems of all candidates, in the order of the table. */
export function validate(candidates: ReadonlyMap<string, Candidate>): string[] {
  return ROWS.flatMap((entry) => {
    const candidate = candidates.get(entry.path);
    if (candidate === undefined || accepts(entry.row, candidate.raw)) return [];
    return [invalidValue(entry, candidate.raw, candidate.where, candidate.isVariable)];
  });
}
