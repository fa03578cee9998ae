import { Module, type OnModuleInit, type WebSocketAdapter } from '@nestjs/common';
import { ApplicationConfig, ModuleRef, ModulesContainer } from '@nestjs/core';
import { initOnPreview } from '../compat/nest.js';
import { ConfigurationError } from '../config/problems.js';
import type { SecureWsOptions } from '../config/settings.js';
import { ApplicationPlan } from './application-plan.js';
import { MODULE_OPTIONS_TOKEN } from './module-definition.js';

/** Stands for the adapter where Nest only looks at an application: it is asked for nothing. */
class PreviewAdapter implements WebSocketAdapter {
  create(): never {
    throw new Error('The WebSocket adapter of SecureWsModule was not made');
  }
  bindClientConnect(): void {}
  bindMessageHandlers(): void {}
  close(): void {}
  async dispose(): Promise<void> {}
}

/**
 * In preview mode Nest makes no provider of an application, `SecureWsModule` included, and looks for a WebSocket adapter
 * all the same; where there is none, it ends the process. This part of `SecureWsModule` is made then too.
 */
@Module({})
export class SecureWsPreview implements OnModuleInit {
  private readonly adapter = new PreviewAdapter();

  /** @hidden */
  constructor(
    private readonly config: ApplicationConfig,
    private readonly modules: ModulesContainer,
    private readonly moduleRef: ModuleRef,
  ) {
    if (!config.getIoAdapter()) config.setIoAdapter(this.adapter);
  }

  /** @hidden Checks the settings, as far as they are known without the application's providers. */
  onModuleInit(): void {
    if (this.config.getIoAdapter() !== this.adapter) return;
    for (const { providers } of this.modules.values()) {
      const options: unknown = providers.get(MODULE_OPTIONS_TOKEN as never)?.instance;
      if (typeof options === 'object' && options !== null) this.check(options as SecureWsOptions);
    }
  }

  private check(options: SecureWsOptions): void {
    const { modules, config, moduleRef } = this;
    const { problems } = new ApplicationPlan(modules, config, moduleRef, options, undefined, true).check();
    if (problems.length > 0) throw new ConfigurationError(problems);
  }
}

initOnPreview(SecureWsPreview);
