import { readFileSync } from 'node:fs';
import { relative, resolve } from 'node:path';
import { parseEnv } from 'node:util';
import { ConfigService } from '@nestjs/config';
import { sourcesOf } from '../compat/config-service.js';
import { type NamedRow, ROWS } from './rows.js';

/** Where variables are read, once, at start. */
export interface Environment {
  get(variable: string): unknown;
  /** Every name that there is, ours and others. */
  readonly names: readonly string[];
  /** Who has a variable, in words; for variables that `get` may not have. */
  readonly holders?: ReadonlyMap<string, string>;
}

type Variables = Readonly<Record<string, unknown>>;

/**
 * The environment as an application's own `ConfigModule` gives it: its files, its typed values. Its files and `.env` are
 * read beside it only for the names that they have: a variable that does not get through must not be lost unnoticed.
 */
export function environmentOf(config: ConfigService, directory = process.cwd()): Environment {
  const { files, parse, names } = sourcesOf(config);
  const holders = new Map<string, string>();
  const paths = new Set([resolve(directory, '.env'), ...files.map((file) => resolve(directory, file))]);
  for (const path of paths)
    for (const name of namesIn(path, parse)) holders.set(name, relative(directory, path) || path);
  for (const name of filled(process.env)) holders.set(name, "the process's environment");
  // `load` gives objects of the application's, which may be called anything: only names in the style of ours count.
  const loaded = names.filter((name) => /^WEBSOCKETS?_/.test(name));
  return {
    get: (variable) => config.get<unknown>(variable),
    names: [...new Set([...Object.keys(process.env), ...holders.keys(), ...loaded])],
    holders,
  };
}

/** The names that have a value in a file; none where it cannot be read, which is for `ConfigModule` to say. */
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

/** The environment of an application without a `ConfigModule`: the process's, and `.env` in the working directory behind it. */
export function defaultEnvironment(directory = process.cwd()): Environment {
  const file = readDotEnv(resolve(directory, '.env'));
  const variables = { ...file, ...process.env };
  const config = new ConfigService<Record<string, unknown>>(variables);
  return { get: (variable) => config.get<unknown>(variable), names: Object.keys(variables) };
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
 * What the environment says of a row. An empty variable counts as not set (Compose writes `${X:-}`), but removes the two
 * identification headers; `none` removes what is removable.
 */
export function fromEnvironment({ row }: NamedRow, environment: Environment): unknown {
  if (row.variable === undefined) return undefined;
  const value = environment.get(row.variable);
  if (isBlank(value)) return row.emptyRemoves ? null : undefined;
  if (row.removable && typeof value === 'string' && value.trim().toLowerCase() === 'none') return null;
  return value;
}

/** A variable that somebody has and `get` has not. */
export interface LostVariable {
  readonly entry: NamedRow;
  readonly text: string;
}

/** Variables of ours that the process or a file has, and that the application's `ConfigService` does not give. */
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
        text: `${variable} (${entry.path}): ${holder} has it, the application's ConfigModule does not give it; let its validate, validationSchema, load, ignoreEnvFile, envFilePath or skipProcessEnv pass it on, or unset it`,
      },
    ];
  });
}
