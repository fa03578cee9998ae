import type { SettingsReport } from '../../config/report.js';
import type { GatewaySettings, Settings, Source } from '../../config/settings.js';
import type { Chain } from './certificates.js';
import type { Machine } from './machine.js';
import type { RedisLook } from './redis.js';

/** A gateway of the application, where one was loaded. */
export interface GatewayFacts {
  /** Its path, and its port where that is its own. */
  readonly name: string;
  /** 0: the application's own. */
  readonly port: number;
  readonly settings: GatewaySettings;
}

/** The certificate files of a port, or of the application's settings. */
export interface TlsFacts {
  readonly where: string;
  readonly certFile: string | undefined;
  readonly keyFile: string | undefined;
  /** The certificates, or why they cannot be read. */
  readonly chain: Chain | string;
  /** Permission bits of the key file. */
  readonly keyMode: number | undefined;
}

/** Everything that the checks look at: values only, so that each check is a function of them. */
export interface Deployment {
  readonly settings: Settings;
  readonly sources: ReadonlyMap<string, Source>;
  readonly report: SettingsReport;
  /** What would stop the start. */
  readonly problems: readonly string[];
  /** What the start would warn of. */
  readonly warnings: readonly string[];
  /** `undefined`: no application was loaded. */
  readonly gateways: readonly GatewayFacts[] | undefined;
  /** The application's own server speaks TLS (`--https`). */
  readonly httpsServer: boolean;
  readonly tls: readonly TlsFacts[];
  readonly machine: Machine;
  /** A variable of the environment or of the file. */
  readonly variable: (name: string) => string | undefined;
  readonly production: boolean;
  /** Processes that run the application. */
  readonly workers: number;
  /** Processes share their limits: through `cluster.url`, or a client or store of the application. */
  readonly isClustered: boolean;
  /** What is at `cluster.url`. */
  readonly redis: RedisLook | undefined;
  readonly nodeVersion: string;
  readonly wsVersion: string | undefined;
  /** Milliseconds since 1970. */
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
