// @ts-nocheck
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { parseEnv } from 'node:util';
import { ConfigService } from '@nestjs/config';
import { suggest } from './problems.js';
import { VARIABLES } from './rows.js';

const PREFIX = 'WEBSOCKETS_';

/** Where variables are read, once, at the start. */
export interface Environment {
  get(variable: string): unknown;
  /** Names that look like ours, whether we know them or not. */
  readonly names: readonly string[];
}

/** The environment as an application's own `ConfigModule` has it: its files, its typed values. */
export const environmentOf = (config: ConfigService): Environment => ({
  get: (variable) => config.get<unknown>(variable),
  names: Object.keys(process.env).filter((name) => name.startsWith(PREFIX)),
});

/** The environment of an application without a `ConfigModule`: the process's, and `.env` in the working directory behind it. */
export function defaultEnvironment(directory = process.cwd()): Environment {
  const file = readDotEnv(resolve(directory, '.env'));
  const variables = { ...file, ...process.env };
  const config = new ConfigService<Record<string, unknown>>(variables);
  const names = Object.keys(variables).filter((name) => name.startsWith(PREFIX));
  return { get: (variable) => config.get<unknown>(variable), names };
}

function readDotEnv(path: string): Record<string, unknown> {
  try {
    return parseEnv(readFileSync(path, 'utf8')) as Record<string, unknown>;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {};
    throw error;
  }
}

/** A warning for each variable that begins like ours and is not. */
export function unknownVariables(environment: Environment): string[] {
  return environment.names
    .filter((name) => !VARIABLES.includes(name))
    .map((name) => {
      const near = suggest(name, VARIABLES);
      return `unknown variable ${name}${near === undefined ? '' : `, did you mean ${near}?`}`;
    });
}
