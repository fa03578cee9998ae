import type { ConfigService } from '@nestjs/config';

/** What an application's `ConfigService` was made from. */
export interface ConfigSources {
  /** Files that its `ConfigModule` names, whether it reads them or not. */
  readonly files: readonly string[];
  /** Reads the text of such a file. */
  readonly parse: ((text: Buffer) => unknown) | undefined;
  /** Names of the values that `load` gave. */
  readonly names: readonly string[];
}

/**
 * Private members of `@nestjs/config` 4 and 12, read to tell which variables were lost between the environment and
 * `ConfigService`. Where a member has another shape nothing is known of it, and only `.env` and the process's
 * environment are compared.
 */
export function sourcesOf(config: ConfigService): ConfigSources {
  const { envFilePaths, parser, internalConfig } = config as unknown as Record<string, unknown>;
  return {
    files: Array.isArray(envFilePaths) ? envFilePaths.filter((file) => typeof file === 'string') : [],
    parse: typeof parser === 'function' ? (parser as (text: Buffer) => unknown) : undefined,
    names: typeof internalConfig === 'object' && internalConfig !== null ? Object.keys(internalConfig) : [],
  };
}
