import { ConfigurableModuleBuilder } from '@nestjs/common';
import type { SecureWsOptions } from './options/settings.js';

export const { ConfigurableModuleClass, MODULE_OPTIONS_TOKEN, OPTIONS_TYPE, ASYNC_OPTIONS_TYPE } =
  new ConfigurableModuleBuilder<SecureWsOptions>({
    moduleName: 'SecureWs',
  })
    .setClassMethodName('forRoot')
    .setFactoryMethodName('createSecureWsOptions')
    .setExtras({}, (definition) => ({ ...definition, global: true }))
    .build();

/** `forRootAsync({ imports, inject, useFactory | useClass | useExisting })`. */
export type SecureWsModuleAsyncOptions = typeof ASYNC_OPTIONS_TYPE;

/** For `useClass` and `useExisting`. */
export interface SecureWsOptionsFactory {
  createSecureWsOptions(): SecureWsOptions | Promise<SecureWsOptions>;
}
