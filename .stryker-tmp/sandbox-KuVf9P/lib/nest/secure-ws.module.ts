// @ts-nocheck
import {
  type BeforeApplicationShutdown,
  type DynamicModule,
  Module,
  type OnApplicationBootstrap,
  type OnModuleDestroy,
  type OnModuleInit,
  Optional,
} from '@nestjs/common';
import { ApplicationConfig, HttpAdapterHost, ModulesContainer } from '@nestjs/core';
import { SecureWsConnector } from '../client/connector.js';
import type { SecureWsOptions } from '../config/settings.js';
import { SecureWsBroadcaster } from '../dispatch/broadcaster.js';
import { SecureWsStats } from '../telemetry/stats.js';
import { SecureWsAdapter } from './adapter.js';
import { ConfigurableModuleClass, type SecureWsModuleAsyncOptions } from './module-definition.js';
import { SecureWsRuntime } from './runtime.js';

/** Importing it protects every gateway of the application. Global; import it once. */
@Module({
  providers: [
    SecureWsRuntime,
    SecureWsStats,
    {
      provide: SecureWsAdapter,
      useFactory: (runtime: SecureWsRuntime) => new SecureWsAdapter(runtime),
      inject: [SecureWsRuntime],
    },
    {
      provide: SecureWsBroadcaster,
      useFactory: (runtime: SecureWsRuntime) => new SecureWsBroadcaster(runtime),
      inject: [SecureWsRuntime],
    },
    {
      provide: SecureWsConnector,
      useFactory: (runtime: SecureWsRuntime) => runtime.connector(),
      inject: [SecureWsRuntime],
    },
  ],
  exports: [SecureWsAdapter, SecureWsStats, SecureWsBroadcaster, SecureWsConnector],
})
export class SecureWsModule
  extends ConfigurableModuleClass
  implements OnModuleInit, OnApplicationBootstrap, OnModuleDestroy, BeforeApplicationShutdown
{
  /** @hidden */
  constructor(
    private readonly adapter: SecureWsAdapter,
    private readonly runtime: SecureWsRuntime,
    private readonly config: ApplicationConfig,
    modules: ModulesContainer,
    @Optional() private readonly host?: HttpAdapterHost,
  ) {
    super();
    const imported = [...modules.values()].filter(({ metatype }) => metatype === SecureWsModule).length;
    if (imported > 1)
      throw new Error(
        'SecureWsModule is imported more than once: it is global, call forRoot() or forRootAsync() in one module only',
      );
    config.setIoAdapter(adapter);
  }

  /** Options here win over the environment. Every setting is optional. */
  static override forRoot(options: SecureWsOptions = {}): DynamicModule {
    return super.forRoot(options);
  }

  /** The same, with options that other providers give. */
  static override forRootAsync(options: SecureWsModuleAsyncOptions): DynamicModule {
    return super.forRootAsync(options);
  }

  /** @hidden Checks the settings, in applications without a gateway or without HTTP too. */
  onModuleInit(): void {
    this.runtime.prepare();
  }

  /** @hidden */
  async onApplicationBootstrap(): Promise<void> {
    if (this.config.getIoAdapter() !== this.adapter) {
      throw new Error(
        'Another WebSocket adapter was put in the place of SecureWsModule: remove app.useWebSocketAdapter()',
      );
    }
    this.drainFirst();
    await this.runtime.start();
  }

  /** @hidden For applications without HTTP; others have begun earlier. */
  async onModuleDestroy(): Promise<void> {
    await this.runtime.drain();
  }

  /** @hidden */
  async beforeApplicationShutdown(): Promise<void> {
    await this.runtime.close();
  }

  /** The HTTP adapter is asked before any hook of a shutdown: what handlers need is still there then. */
  private drainFirst(): void {
    const httpAdapter = this.host?.httpAdapter as { beforeClose?(): unknown } | null | undefined;
    if (!httpAdapter) return;
    const beforeClose = httpAdapter.beforeClose;
    httpAdapter.beforeClose = async () => {
      await beforeClose?.call(httpAdapter);
      await this.runtime.drain();
    };
  }
}
