import type { ConfigService } from '@nestjs/config';
import type { NestModule } from './nest.js';

/** The class of `ConfigService`, by which Nest's container knows it. */
export type ConfigServiceClass = abstract new (...values: never[]) => ConfigService;

/**
 * The `ConfigService` class of an application that has a `ConfigModule`. Both are recognised by their documented members:
 * an import of `@nestjs/config` would load its 40 files in every application, and find no other copy of the package.
 */
export function configServiceIn(modules: Iterable<NestModule>): ConfigServiceClass | undefined {
  for (const { metatype, providers } of modules) {
    if (!('envVariablesLoaded' in metatype)) continue;
    for (const token of providers.keys())
      if (typeof token === 'function' && typeof token.prototype?.getOrThrow === 'function')
        return token as ConfigServiceClass;
  }
  return undefined;
}

/** The sources from which an application's `ConfigService` was created. */
export interface ConfigSources {
  /** The files that its `ConfigModule` lists, whether it reads them or not. */
  readonly files: readonly string[];
  /** Parses the text of such a file. */
  readonly parse: ((text: Buffer) => unknown) | undefined;
  /** Names of the values that `load` returned. */
  readonly names: readonly string[];
}

/**
 * Reads private members of `@nestjs/config` 4 and 12, to detect variables that `ConfigService` does not return. If a
 * member has another shape, only `.env` and the environment of the process are compared.
 */
export function sourcesOf(config: ConfigService): ConfigSources {
  const { envFilePaths, parser, internalConfig } = config as unknown as Record<string, unknown>;
  return {
    files: Array.isArray(envFilePaths) ? envFilePaths.filter((file) => typeof file === 'string') : [],
    parse: typeof parser === 'function' ? (parser as (text: Buffer) => unknown) : undefined,
    names: typeof internalConfig === 'object' && internalConfig !== null ? Object.keys(internalConfig) : [],
  };
}
