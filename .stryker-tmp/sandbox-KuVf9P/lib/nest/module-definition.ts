// @ts-nocheck
import { type ConfigurableModuleAsyncOptions, ConfigurableModuleBuilder } from '@nestjs/common';
import type { SecureWsOptions } from '../config/settings.js';

export const { ConfigurableModuleClass, MODULE_OPTIONS_TOKEN } = new ConfigurableModuleBuilder<SecureWsOptions>({
  moduleName: 'SecureWs',
})
  .setClassMethodName('forRoot')
  .setFactoryMethodName('createSecureWsOptions')
  .setExtras({}, (definition) => ({ ...definition, global: true }))
  .build();

/** `forRootAsync({ imports, inject, useFactory | useClass | useExisting })`. */
export interface SecureWsModuleAsyncOptions
  extends ConfigurableModuleAsyncOptions<SecureWsOptions, 'createSecureWsOptions'> {}

/** For `useClass` and `useExisting`. */
export interface SecureWsOptionsFactory {
  createSecureWsOptions(): SecureWsOptions | Promise<SecureWsOptions>;
}
