import { Module, type OnModuleInit, type WebSocketAdapter } from '@nestjs/common';
import { ApplicationConfig, ModuleRef, ModulesContainer } from '@nestjs/core';
import { initOnPreview } from '../compat/nest.js';
import { ConfigurationError } from '../config/problems.js';
import type { SecureWsOptions } from '../config/settings.js';
import { ApplicationPlan } from './application-plan.js';
import { MODULE_OPTIONS_TOKEN } from './module-definition.js';

/** A stand-in for the adapter in Nest's preview mode, in which nothing is called on it. */
class PreviewAdapter implements WebSocketAdapter {
  create(): never {
    throw new Error('The WebSocket adapter of SecureWsModule was not created');
  }
  bindClientConnect(): void {}
  bindMessageHandlers(): void {}
  close(): void {}
  async dispose(): Promise<void> {}
}

/**
 * In preview mode Nest creates no providers, not even `SecureWsModule`, but still looks for a WebSocket adapter, and
 * ends the process if there is none. This provider is created in preview mode, too.
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
