// @ts-nocheck
import { ValidateBy, type ValidationError, validateSync } from 'class-validator';
import type { Environment } from './environment.js';
import { ConfigurationError, invalidValue, suggest } from './problems.js';
import { type Group, isRow } from './row.js';
import { type NamedRow, PATHS, ROWS, rowAt } from './rows.js';
import type { GatewaySettings, SecureGatewayOptions, SecureWsOptions, Settings, Source } from './settings.js';
import { TABLE } from './table.js';

export interface Resolved<T> {
  readonly settings: T;
  /** Where each value came from, by path. */
  readonly sources: ReadonlyMap<string, Source>;
}

/** The options as written, flat: `messages.maxSize` → value. Unknown names become problems. */
function flatten(options: object, problems: string[], where: string): Map<string, unknown> {
  const flat = new Map<string, unknown>();
  for (const [key, value] of Object.entries(options)) {
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
    problems.push(`${group}${where} must be an object of settings`);
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
  return `unknown option '${path}'${where}${near === undefined ? '' : `, did you mean '${near}'?`}`;
}

/** What the environment says of a row; an empty variable removes where that is possible, else it is not set. */
function fromEnvironment(entry: NamedRow, environment: Environment): unknown {
  if (entry.row.variable === undefined) return undefined;
  const value = environment.get(entry.row.variable);
  if (value !== '') return value;
  return entry.row.removable ? null : undefined;
}

/** Options, then environment, then default. Throws a `ConfigurationError` with all problems at once. */
export function resolveSettings(options: SecureWsOptions, environment: Environment): Resolved<Settings> {
  const { problems, ...resolved } = readSettings(options, environment);
  if (problems.length > 0) throw new ConfigurationError(problems);
  return resolved;
}

/** The same, for a caller that has more to check: what is wrong is a problem, and has its default. */
export function readSettings(
  options: SecureWsOptions,
  environment: Environment,
): Resolved<Settings> & { readonly problems: readonly string[] } {
  const problems: string[] = [];
  const given = flatten(options, problems, '');
  const candidates = new Map<string, Candidate>();
  const sources = new Map<string, Source>();
  for (const entry of ROWS) {
    const option = given.get(entry.path);
    const raw = option === undefined ? fromEnvironment(entry, environment) : option;
    sources.set(entry.path, option !== undefined ? 'options' : raw !== undefined ? 'environment' : 'default');
    const value = raw === undefined ? entry.row.default : raw;
    if (value !== undefined) candidates.set(entry.path, { raw: value, where: '' });
  }
  problems.push(...validate(candidates));
  return { settings: assemble((path) => candidates.get(path)?.raw), sources, problems };
}

/** Each row's resolved value in its group, frozen. */
function assemble(raw: (path: string) => unknown): Settings {
  const root: Record<string, unknown> = {};
  for (const { group, key, path, row } of ROWS) {
    const value = resolvedValue(row, raw(path));
    if (group === undefined) root[key] = value;
    else ((root[group] ??= {}) as Record<string, unknown>)[key] = value;
  }
  for (const value of Object.values(root)) if (isPlainObject(value)) Object.freeze(value);
  return Object.freeze(root) as unknown as Settings;
}

function resolvedValue(row: NamedRow['row'], raw: unknown): unknown {
  if (raw === undefined || (raw === null && row.removable)) return raw;
  return row.parse(raw) ?? row.parse(row.default);
}

const isPlainObject = (value: unknown): value is object =>
  typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype;

/** Stock names that Nest itself knows on a gateway and that are no settings of ours. */
const NOT_SETTINGS = new Set(['path']);

/** What one gateway, or several that share a server, say for themselves. */
export interface GatewayReading {
  /** By option path, as written. */
  readonly own: ReadonlyMap<string, unknown>;
  readonly path: string;
  /** `tls: null`. */
  readonly noTls: boolean;
  readonly problems: readonly string[];
}

/** Reads a gateway's options. Problems are returned, so that those of all gateways appear at once. */
export function readGateway(options: SecureGatewayOptions, gateway: string, ownPort: boolean): GatewayReading {
  const problems: string[] = [];
  const where = ` of ${gateway}`;
  const { tls, ...rest } = options;
  const written = Object.fromEntries(Object.entries(rest).filter(([key]) => !NOT_SETTINGS.has(key)));
  const own = flatten(tls ? { ...written, tls } : written, problems, where);
  for (const [path, value] of own) {
    if (value === undefined) own.delete(path);
    else problems.push(...scopeProblems(path, where, ownPort));
  }
  const candidates = new Map([...own].map(([path, raw]) => [path, { raw, where }]));
  problems.push(...validate(candidates), ...pathProblems(options.path, where));
  return { own, path: normalisePath(options.path), noTls: tls === null, problems };
}

/** The application's settings with a gateway's own before them. */
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
  const scope = rowAt(path)?.row.scope;
  if (scope === 'a')
    return [`${path}${where} can only be set for the whole application, in forRoot() or the environment`];
  const needsOwnPort = path.startsWith('tls.') || path.startsWith('listen.');
  return needsOwnPort && !ownPort ? [`${path}${where} needs a port of its own: @SecureGateway(port, { … })`] : [];
}

const pathProblems = (path: unknown, where: string): string[] =>
  path === undefined || (typeof path === 'string' && /^\/?[\x21-\x22\x24-\x3e\x40-\x7e]*$/.test(path))
    ? []
    : [`path${where} must be a path of visible ASCII characters without '?' and '#'`];

/** As Nest's adapters do: a leading slash, no trailing one. */
export function normalisePath(path: string | undefined): string {
  if (!path) return '/';
  const withSlash = path.startsWith('/') ? path : `/${path}`;
  return withSlash.length > 1 ? withSlash.replace(/\/+$/, '') || '/' : withSlash;
}

/** A value to check, and how to name its place in an error. */
export interface Candidate {
  readonly raw: unknown;
  readonly where: string;
}

/** One property per row, each a candidate; the constraint of a row is its kind. */
class Candidates {
  [path: string]: Candidate;
}

function accepts(row: NamedRow['row'], value: unknown): boolean {
  if (value === null) return row.removable;
  return row.parse(value) !== undefined;
}

for (const entry of ROWS) {
  ValidateBy({
    name: entry.path,
    validator: {
      validate: (candidate?: Candidate) => candidate === undefined || accepts(entry.row, candidate.raw),
      defaultMessage: (args) => {
        const { raw, where } = args!.value as Candidate;
        return invalidValue(entry, raw, where);
      },
    },
  })(Candidates.prototype, entry.path);
}

/** The problems of all candidates, in the order of the table. */
export function validate(candidates: ReadonlyMap<string, Candidate>): string[] {
  const subject = Object.assign(new Candidates(), Object.fromEntries(candidates));
  return validateSync(subject, { forbidUnknownValues: false }).flatMap((error: ValidationError) =>
    Object.values(error.constraints ?? {}),
  );
}
