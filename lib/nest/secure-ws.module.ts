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
import { SecureWsBans } from '../admission/bans.js';
import { SecureWsConnector } from '../client/connector.js';
import { asksBeforeClose } from '../compat/nest.js';
import type { SecureWsOptions } from '../config/settings.js';
import { SecureWsBroadcaster } from '../dispatch/broadcaster.js';
import { SecureWsTickets } from '../guards/tickets.js';
import { SecureWsStats } from '../telemetry/stats.js';
import { SecureWsAdapter } from './adapter.js';
import { beforeDestroyHooks } from './hooks.js';
import { ConfigurableModuleClass, type SecureWsModuleAsyncOptions } from './module-definition.js';
import { SecureWsPreview } from './preview.js';
import { SecureWsRuntime } from './runtime.js';

/** The module of this library: importing it protects every gateway of the application. It is global; import it once. */
@Module({
  imports: [SecureWsPreview],
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
      useFactory: (runtime: SecureWsRuntime) => runtime.broadcaster,
      inject: [SecureWsRuntime],
    },
    {
      provide: SecureWsBans,
      useFactory: (runtime: SecureWsRuntime) => new SecureWsBans(runtime),
      inject: [SecureWsRuntime],
    },
    {
      provide: SecureWsConnector,
      useFactory: (runtime: SecureWsRuntime) => runtime.connector(),
      inject: [SecureWsRuntime],
    },
    {
      provide: SecureWsTickets,
      useFactory: (runtime: SecureWsRuntime) => new SecureWsTickets(runtime.tickets),
      inject: [SecureWsRuntime],
    },
  ],
  exports: [
    SecureWsRuntime,
    SecureWsAdapter,
    SecureWsStats,
    SecureWsBroadcaster,
    SecureWsBans,
    SecureWsConnector,
    SecureWsTickets,
  ],
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
    private readonly modules: ModulesContainer,
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

  /** Options here take precedence over the environment. Every setting is optional. */
  static override forRoot(options: SecureWsOptions = {}): DynamicModule {
    return super.forRoot(options);
  }

  /** Like `forRoot()`, with options from other providers. */
  static override forRootAsync(options: SecureWsModuleAsyncOptions): DynamicModule {
    return super.forRootAsync(options);
  }

  /** @hidden Checks the settings, even in applications without a gateway or without HTTP. */
  onModuleInit(): void {
    this.runtime.prepare();
  }

  /** @hidden */
  async onApplicationBootstrap(): Promise<void> {
    // Upgrades of another adapter, such as Nest's adapter for socket.io, can be guarded nevertheless.
    if (this.config.getIoAdapter() !== this.adapter && (this.runtime.settings.foreign ?? []).length === 0) {
      throw new Error(
        'Another WebSocket adapter has replaced that of SecureWsModule: remove app.useWebSocketAdapter(), or list the paths of its upgrades in `foreign`',
      );
    }
    this.drainFirst();
    await this.runtime.start();
  }

  /** @hidden For applications without HTTP; in others the shutdown has already begun. */
  async onModuleDestroy(): Promise<void> {
    await this.runtime.drain();
  }

  /** @hidden */
  async beforeApplicationShutdown(): Promise<void> {
    await this.runtime.close();
  }

  /** Runs before all shutdown hooks, while everything that handlers need still exists. */
  private drainFirst(): void {
    const drain = () => this.runtime.drain();
    if (!asksBeforeClose) return beforeDestroyHooks(this.modules.values(), drain);
    const httpAdapter = this.host?.httpAdapter as { beforeClose?(): unknown } | null | undefined;
    if (!httpAdapter) return;
    const beforeClose = httpAdapter.beforeClose;
    httpAdapter.beforeClose = async () => {
      await beforeClose?.call(httpAdapter);
      await drain();
    };
  }
}
