import type { SettingsReport } from '../../config/report.js';
import type { GatewaySettings, Settings, Source } from '../../config/settings.js';
import type { Chain } from './certificates.js';
import type { Machine } from './machine.js';
import type { RedisLook } from './redis.js';

/** A gateway of the loaded application. */
export interface GatewayFacts {
  /** Its path, and its port if it has a dedicated one. */
  readonly name: string;
  /** 0 is the application's port. */
  readonly port: number;
  readonly settings: GatewaySettings;
}

/** The certificate files of a port, or of the application's settings. */
export interface TlsFacts {
  readonly where: string;
  readonly certFile: string | undefined;
  readonly keyFile: string | undefined;
  /** The certificates, or the reason why they cannot be read. */
  readonly chain: Chain | string;
  /** Permission bits of the key file. */
  readonly keyMode: number | undefined;
}

/** Everything that the checks look at, as values, so that each check is a pure function. */
export interface Deployment {
  readonly settings: Settings;
  readonly sources: ReadonlyMap<string, Source>;
  readonly report: SettingsReport;
  /** Errors that would stop the start. */
  readonly problems: readonly string[];
  /** Warnings that the application would log at start. */
  readonly warnings: readonly string[];
  /** `undefined`: no application was loaded. */
  readonly gateways: readonly GatewayFacts[] | undefined;
  /** The application's own server uses TLS (`--https`). */
  readonly httpsServer: boolean;
  readonly tls: readonly TlsFacts[];
  readonly machine: Machine;
  /** A variable of the environment or of the file. */
  readonly variable: (name: string) => string | undefined;
  readonly production: boolean;
  /** Number of processes that run the application. */
  readonly workers: number;
  /** Processes share their limits: through `cluster.url`, or a client or store of the application. */
  readonly isClustered: boolean;
  /** The result of querying `cluster.url`. */
  readonly redis: RedisLook | undefined;
  readonly nodeVersion: string;
  readonly wsVersion: string | undefined;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/** The application's settings, then those of each gateway, by name. */
export function everySettings({
  settings,
  gateways = [],
}: Deployment): readonly [where: string | undefined, Settings][] {
  return [
    [undefined, settings],
    ...gateways.map(({ name, settings }) => [`gateway ${name}`, settings] as [string, Settings]),
  ];
}
