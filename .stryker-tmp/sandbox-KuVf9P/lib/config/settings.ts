// @ts-nocheck
import type { GatewayRows, InputOf, ValuesOf } from './row.js';
import type { TABLE } from './table.js';

type Table = typeof TABLE;

/** The options of `SecureWsModule.forRoot()`: all optional; each wins over its environment variable. */
export interface SecureWsOptions extends InputOf<Table> {}

/** The options of `@SecureGateway()`: the path, and every setting that a gateway or its port may have of its own. */
export interface SecureGatewayOptions extends Omit<InputOf<GatewayRows<Table>>, 'tls'> {
  /** Compared byte for byte with the request target up to `?`. Default `/`. */
  readonly path?: string;
  /** `null`: this port speaks no TLS even where the application's settings name certificates. */
  readonly tls?: SecureWsOptions['tls'] | null;
}

/** Every setting, resolved and frozen. */
export interface Settings extends ValuesOf<Table> {}

/** A gateway's settings: the application's with its own before them. */
export interface GatewaySettings extends Settings {
  readonly path: string;
  /** What the gateway caps by itself, beside the application's totals. */
  readonly own: {
    readonly max: number | undefined;
    readonly maxPerIp: number | undefined;
    readonly maxPerUser: number | undefined;
  };
}

/** Where a setting's value came from. */
export type Source = 'gateway' | 'options' | 'environment' | 'default';
