import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { parseEnv } from 'node:util';
import { inconsistencies } from '../../config/consistency.js';
import type { Environment } from '../../config/environment.js';
import { readSettings } from '../../config/resolve.js';
import { tlsProblems } from '../../server/tls-files.js';
import { CannotRun, type Io } from '../terminal.js';
import type { DoctorRequest, Reading, Variables } from './collect.js';

const FILE = '.env';

/** The environment of the process, and the file that is read in addition, as the library reads them. */
export class DoctorVariables implements Variables {
  private readonly file: Readonly<Record<string, string | undefined>>;
  private readonly fileName: string;

  /** A file that was given must exist; `.env` in the working directory may be missing. */
  constructor(
    private readonly io: Pick<Io, 'cwd' | 'env'>,
    envFile: string | undefined,
  ) {
    this.fileName = envFile ?? FILE;
    this.file = readFile(resolve(io.cwd, this.fileName), envFile !== undefined);
  }

  readonly get = (name: string): string | undefined => this.io.env[name] ?? this.file[name];

  readonly source = (name: string): string | undefined => {
    if (this.io.env[name] !== undefined) return 'environment';
    return this.file[name] === undefined ? undefined : this.fileName;
  };

  get names(): string[] {
    return [...new Set([...Object.keys(this.file), ...Object.keys(this.io.env)])];
  }

  /** Both as one environment, for the process that loads an application. */
  get merged(): Record<string, string | undefined> {
    return { ...this.file, ...this.io.env };
  }
}

function readFile(path: string, required: boolean): Record<string, string | undefined> {
  try {
    return parseEnv(readFileSync(path, 'utf8'));
  } catch (error) {
    if (!required && (error as NodeJS.ErrnoException).code === 'ENOENT') return {};
    throw new CannotRun(`${path} cannot be read: ${(error as Error).message}`);
  }
}

/** The settings from these variables, for an application without options in code. */
export function readEnvironment(variables: DoctorVariables, request: DoctorRequest): Reading {
  const environment: Environment = {
    get: (name) => variables.get(name),
    names: variables.names,
  };
  const { settings, sources, problems, warnings } = readSettings({}, environment);
  const beside = inconsistencies({ settings, sources, gateways: [], httpsServer: request.https });
  return {
    settings,
    sources,
    problems: [
      ...problems,
      ...beside.problems,
      ...tlsProblems(settings.tls, ''),
      ...tlsChoice(settings, sources, variables, request),
    ],
    warnings: [...warnings, ...beside.warnings],
    gateways: undefined,
  };
}

/** Applies the rule of the start: under production, plaintext must be chosen explicitly. */
function tlsChoice(
  { proxy, tls }: Reading['settings'],
  sources: Reading['sources'],
  { get }: Variables,
  { https, production }: DoctorRequest,
): string[] {
  const isProduction = production || get('NODE_ENV') === 'production';
  const isChosen = sources.get('proxy.requireTls') !== 'default' || proxy.trusted.length > 0;
  if (!isProduction || isChosen || https || (tls.cert ?? tls.certFile) !== undefined) return [];
  return [
    'proxy.requireTls (WEBSOCKETS_REQUIRE_TLS) must be set under NODE_ENV=production: there is neither TLS nor a trusted proxy',
  ];
}
