import type { ValuesOf } from './row.js';
import type { TABLE } from './table.js';

export type { SecureGatewayOptions, SecurePortOptions, SecureWsOptions } from './options.js';

/** Every setting, resolved and frozen. */
export interface Settings extends ValuesOf<typeof TABLE> {}

/** The settings of a gateway: the application's, overridden by the gateway's own. */
export interface GatewaySettings extends Settings {
  readonly path: string;
  /** The gateway's own caps, which apply in addition to the application's totals. */
  readonly own: {
    readonly max: number | undefined;
    readonly maxPerIp: number | undefined;
    readonly maxPerUser: number | undefined;
  };
}

/** Where a setting's value came from. */
export type Source = 'gateway' | 'options' | 'environment' | 'default';
