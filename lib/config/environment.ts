import { readFileSync } from 'node:fs';
import { relative, resolve } from 'node:path';
import { parseEnv } from 'node:util';
import type { ConfigService } from '@nestjs/config';
import { sourcesOf } from '../compat/config-service.js';
import { type NamedRow, ROWS } from './rows.js';

/** The variables, read once at start. */
export interface Environment {
  get(variable: string): unknown;
  /** The names of all variables, those of this library and others. */
  readonly names: readonly string[];
  /** The place in which each variable is set, as text for an error message; `get` may return `undefined` for it. */
  readonly holders?: ReadonlyMap<string, string>;
}

type Variables = Readonly<Record<string, unknown>>;

/**
 * The environment as the `ConfigService` of the application returns it, from its files and with typed values. The files
 * and `.env` are also read directly, only for their names, to detect variables that `ConfigService` does not return.
 */
export function environmentOf(config: ConfigService, directory = process.cwd()): Environment {
  const { files, parse, names } = sourcesOf(config);
  const holders = new Map<string, string>();
  const paths = new Set([resolve(directory, '.env'), ...files.map((file) => resolve(directory, file))]);
  for (const path of paths)
    for (const name of namesIn(path, parse)) holders.set(name, relative(directory, path) || path);
  for (const name of filled(process.env)) holders.set(name, "the process's environment");
  // `load` returns the application's own objects, whose keys can be anything: only keys that look like variables count.
  const loaded = names.filter((name) => /^WEBSOCKETS?_/.test(name));
  return {
    get: (variable) => config.get<unknown>(variable),
    names: [...new Set([...Object.keys(process.env), ...holders.keys(), ...loaded])],
    holders,
  };
}

/** The names that have a value in a file; none if it cannot be read, which `ConfigModule` reports itself. */
function namesIn(path: string, parse: ((text: Buffer) => unknown) | undefined): string[] {
  try {
    const text = readFileSync(path);
    return filled((parse?.(text) ?? parseEnv(text.toString())) as Variables);
  } catch {
    return [];
  }
}

const filled = (variables: Variables): string[] =>
  Object.keys(variables).filter((name) => !isBlank(variables[name]) && variables[name] !== undefined);

/** The environment of an application without a `ConfigModule`: that of the process, then `.env` in the working directory. */
export function defaultEnvironment(directory = process.cwd()): Environment {
  const file = readDotEnv(resolve(directory, '.env'));
  const variables: Variables = { ...file, ...process.env };
  return { get: (variable) => variables[variable], names: Object.keys(variables) };
}

function readDotEnv(path: string): Variables {
  try {
    return parseEnv(readFileSync(path, 'utf8')) as Variables;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {};
    throw error;
  }
}

const isBlank = (value: unknown): boolean => typeof value === 'string' && value.trim() === '';

/**
 * The value of a row's variable. An empty variable counts as not set (Compose writes `${X:-}`), but removes the two
 * identification headers; `none` removes a removable setting.
 */
export function fromEnvironment({ row }: NamedRow, environment: Environment): unknown {
  if (row.variable === undefined) return undefined;
  const value = environment.get(row.variable);
  if (isBlank(value)) return row.emptyRemoves ? null : undefined;
  if (row.removable && typeof value === 'string' && value.trim().toLowerCase() === 'none') return null;
  return value;
}

/** A variable that is set, but that `get` does not return. */
export interface LostVariable {
  readonly entry: NamedRow;
  readonly text: string;
}

/** Variables that are set in the process or in a file, but that the application's `ConfigService` does not return. */
export function lostVariables(environment: Environment): LostVariable[] {
  const { holders } = environment;
  if (holders === undefined) return [];
  return ROWS.flatMap((entry) => {
    const { variable } = entry.row;
    const holder = variable === undefined ? undefined : holders.get(variable);
    if (holder === undefined || fromEnvironment(entry, environment) !== undefined) return [];
    return [
      {
        entry,
        text: `${variable} (${entry.path}): set in ${holder}, but the application's ConfigService does not return it; change validate, validationSchema, load, ignoreEnvFile, envFilePath or skipProcessEnv of ConfigModule to pass it on, or unset it`,
      },
    ];
  });
}
