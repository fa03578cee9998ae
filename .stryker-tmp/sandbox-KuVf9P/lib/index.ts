// @ts-nocheck
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
export {
  type Admission,
  type AdmissionGuard,
  type AdmissionGuardFunction,
  type AdmissionHeaders,
  type Allowed,
  type AllowOptions,
  allow,
  beforeBuiltIn,
  type EarlyGuard,
  type Refused,
  refuse,
} from './admission/guard.js';
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
export type { GuardClass, GuardLike, MessageParser, PlainGuard } from './config/code-types.js';
export type { Duration, List, Rate, ResolvedRate, Size } from './config/kinds.js';
export { ConfigurationError } from './config/problems.js';
export type { EffectiveSetting, SettingsReport } from './config/report.js';
export type { SecureGatewayOptions, SecureWsOptions, Settings, Source } from './config/settings.js';
export { type Renewal, SecureSocket } from './connection/secure-socket.js';
export type { ControlCallback, Sendable, SendCallback, SendOptions } from './connection/sendable.js';
export { type BroadcastScope, SecureWsBroadcaster } from './dispatch/broadcaster.js';
export { UnsupportedDataError } from './dispatch/message-parser.js';
export type { Refusal, RefusalReason } from './http/refusal.js';
export { SecureWsAdapter } from './nest/adapter.js';
export { ClientIp, MessageRate, Principal, SecureGateway, UseAdmissionGuards } from './nest/decorators.js';
export type { SecureWsModuleAsyncOptions, SecureWsOptionsFactory } from './nest/module-definition.js';
export { SecureWsModule } from './nest/secure-ws.module.js';
export { CloseCode } from './protocol/close-codes.js';
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
