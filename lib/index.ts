export { UpgradeAttempt } from './admission/attempt.js';
export {
  addressGuard,
  BUILT_IN_GUARDS,
  hostGuard,
  originGuard,
  rateGuard,
  tlsGuard,
} from './admission/built-in.js';
export { beforeBuiltIn } from './admission/early-guard.js';
export { type Admission, type AdmissionGuard, type AdmissionGuardFunction, allow, refuse } from './admission/guards.js';
export * from './client/index.js';
export { SecureSocket } from './connection/secure-socket.js';
export { ClientIp, MessageRate, Principal, SecureGateway, UseAdmissionGuards } from './decorators/index.js';
export { type BroadcastScope, SecureWsBroadcaster } from './dispatch/broadcaster.js';
export { UnsupportedDataError } from './dispatch/unsupported-data.error.js';
export { CloseCode } from './errors/close-codes.js';
export type { Refusal, RefusalReason } from './errors/refusals.js';
export type { GuardLike, MessageParser } from './options/code-types.js';
export type { Duration, List, Rate, Size } from './options/kinds.js';
export { ConfigurationError } from './options/problems.js';
export type { EffectiveSetting, SettingsReport } from './options/report.js';
export type { SecureGatewayOptions, SecureWsOptions, Settings } from './options/settings.js';
export { SecureWsAdapter } from './secure-ws.adapter.js';
export { SecureWsModule } from './secure-ws.module.js';
export type { SecureWsModuleAsyncOptions, SecureWsOptionsFactory } from './secure-ws.module-definition.js';
export type {
  ClosedEvent,
  FaultEvent,
  NoticeEvent,
  OpenedEvent,
  RefusedEvent,
} from './telemetry/events.js';
export { SecureWsStats, type StatsSnapshot } from './telemetry/stats.js';
export { VERSION } from './version.js';
