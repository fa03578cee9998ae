import { readFileSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { totalmem } from 'node:os';
import { resolve } from 'node:path';
import { getHeapStatistics } from 'node:v8';
import { type EffectiveSetting, type GatewayPart, reportSettings } from '../../config/report.js';
import type { Settings, Source } from '../../config/settings.js';
import { safeText } from '../terminal.js';
import { readChain } from './certificates.js';
import { namesTls } from './checks.network.js';
import type { Deployment, GatewayFacts, TlsFacts } from './deployment.js';
import { type DoctorReport, examine, type ShownSetting } from './examine.js';
import { type MachineReader, readMachine } from './machine.js';
import { lookAtRedis } from './redis.js';

/** What the options of the command say. */
export interface DoctorRequest {
  readonly app?: string;
  readonly envFile?: string;
  readonly pid?: number;
  readonly workers?: number;
  readonly production: boolean;
  readonly https: boolean;
}

/** The settings of an application, or of an environment alone. */
export interface Reading {
  readonly settings: Settings;
  readonly sources: ReadonlyMap<string, Source>;
  readonly problems: readonly string[];
  readonly warnings: readonly string[];
  readonly gateways: readonly (GatewayFacts & GatewayPart)[] | undefined;
}

/** The source of a variable, for the table of settings. */
export interface Variables {
  get(name: string): string | undefined;
  /** `.env`, or `environment`; `undefined` if the variable is set in neither. */
  source(name: string): string | undefined;
}

/** Adds the facts of the machine, of files and of Redis to what was read, and runs the checks. */
export async function diagnose(request: DoctorRequest, reading: Reading, variables: Variables): Promise<DoctorReport> {
  const { settings, sources, gateways } = reading;
  const report = reportSettings(settings, sources, gateways ?? []);
  const { url, client, store } = settings.cluster;
  const deployment: Deployment = {
    settings,
    sources,
    report,
    problems: reading.problems,
    warnings: reading.warnings,
    gateways,
    httpsServer: request.https,
    tls: tlsFacts(settings, gateways),
    machine: readMachine(systemReader, request.pid ?? 'self'),
    variable: variables.get,
    production: request.production || variables.get('NODE_ENV') === 'production',
    workers: request.workers ?? workersOf(variables),
    isClustered: [url, client, store].some((each) => each !== undefined),
    redis: url === undefined ? undefined : await lookAtRedis(url),
    nodeVersion: process.version,
    wsVersion: wsVersion(),
    now: Date.now(),
  };
  return examine(
    deployment,
    report.settings.map((setting) => withSource(setting, variables)),
  );
}

/** For a setting from the environment, reports the file that contains the variable. */
function withSource(setting: EffectiveSetting, variables: Variables): ShownSetting {
  const { variable, source } = setting;
  const from = source === 'environment' && variable !== undefined ? variables.source(variable) : undefined;
  return { ...setting, value: plain(setting.value), source: from ?? source };
}

/** A value in a form that JSON can represent: functions and classes by their names. */
function plain(value: unknown): unknown {
  if (typeof value === 'function') return `(${value.name || 'a function'})`;
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return `(${value.constructor?.name ?? 'an object'})`;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
}

const systemReader: MachineReader = {
  read(path) {
    try {
      return readFileSync(path, 'utf8');
    } catch {
      return undefined;
    }
  },
  totalMemory: totalmem(),
  heapLimit: getHeapStatistics().heap_size_limit,
};

/** Variables that process managers set for servers with several processes. */
function workersOf({ get }: Variables): number {
  const said = Number(get('WEB_CONCURRENCY') ?? (get('PM2_HOME') === undefined ? undefined : get('instances')));
  return Number.isInteger(said) && said > 0 ? said : 1;
}

/** The certificates of the application's settings, and of each port with certificates of its own. */
function tlsFacts(settings: Settings, gateways: Reading['gateways']): TlsFacts[] {
  const ports = gateways?.filter(({ port }) => port !== 0);
  const holders: [where: string, tls: Settings['tls']][] =
    ports === undefined
      ? [['tls', settings.tls]]
      : ports.map(({ name, settings: own }) => [`gateway ${name}`, own.tls]);
  const seen = new Set<unknown>();
  return holders.flatMap(([where, tls]) => {
    const key = tls.certFile ?? tls.cert;
    if (!namesTls(tls) || seen.has(key)) return [];
    seen.add(key);
    return [{ where, certFile: tls.certFile, keyFile: tls.keyFile, chain: chainOf(tls), keyMode: modeOf(tls.keyFile) }];
  });
}

function chainOf({ cert, certFile }: Settings['tls']): TlsFacts['chain'] {
  try {
    return readChain(String(cert ?? readFileSync(certFile!, 'utf8')));
  } catch (error) {
    return safeText(`it cannot be read as certificates (${(error as Error).message}).`);
  }
}

function modeOf(file: string | undefined): number | undefined {
  if (file === undefined || process.platform === 'win32') return undefined;
  return statSync(resolve(file), { throwIfNoEntry: false })?.mode;
}

function wsVersion(): string | undefined {
  try {
    return (createRequire(import.meta.url)('ws/package.json') as { version: string }).version;
  } catch {
    return undefined;
  }
}
