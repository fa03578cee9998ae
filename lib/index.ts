export type { GatewayType } from './admission/attempt.js';
export { UpgradeAttempt } from './admission/attempt.js';
export {
  addressGuard,
  BUILT_IN_GUARDS,
  hostGuard,
  originGuard,
  rateGuard,
  tlsGuard,
} from './admission/built-in.js';
export { beforeBuiltIn, type EarlyGuard } from './admission/early-guard.js';
export {
  type Admission,
  type AdmissionGuard,
  type AdmissionGuardFunction,
  type AdmissionHeaders,
  type Allowed,
  type AllowOptions,
  allow,
  type Refused,
  refuse,
} from './admission/guards.js';
export {
  BodyTooLargeError,
  ClientSocket,
  type Closed,
  type ConnectionAgent,
  type ConnectOptions,
  connect,
  HandshakeError,
  type HeadersInput,
  InvalidHandshakeError,
  LineTooLongError,
  type Message,
  OpenTimeoutError,
  RedirectRefusedError,
  type RetryEvent,
  reconnecting,
  SecureWsConnector,
  TooManyHeadersError,
  TooManyRedirectsError,
  UnexpectedStatusError,
} from './client/index.js';
export { type Renewal, SecureSocket } from './connection/secure-socket.js';
export type { ControlCallback, Sendable, SendCallback, SendOptions } from './connection/sendable.js';
export { ClientIp, MessageRate, Principal, SecureGateway, UseAdmissionGuards } from './decorators/index.js';
export { type BroadcastScope, SecureWsBroadcaster } from './dispatch/broadcaster.js';
export { UnsupportedDataError } from './dispatch/unsupported-data.error.js';
export { CloseCode } from './errors/close-codes.js';
export type { Refusal, RefusalReason } from './errors/refusals.js';
export type { GuardClass, GuardLike, MessageParser, PlainGuard } from './options/code-types.js';
export type { Duration, List, Rate, ResolvedRate, Size } from './options/kinds.js';
export { ConfigurationError } from './options/problems.js';
export type { EffectiveSetting, SettingsReport } from './options/report.js';
export type { SecureGatewayOptions, SecureWsOptions, Settings, Source } from './options/settings.js';
export { SecureWsAdapter } from './secure-ws.adapter.js';
export { SecureWsModule } from './secure-ws.module.js';
export type { SecureWsModuleAsyncOptions, SecureWsOptionsFactory } from './secure-ws.module-definition.js';
export type {
  ClosedEvent,
  FaultEvent,
  FaultPlace,
  NoticeEvent,
  OpenedEvent,
  RefusedEvent,
} from './telemetry/events.js';
export { type Gauges, SecureWsStats, type StatsSnapshot } from './telemetry/stats.js';
export { VERSION } from './version.js';
