import './compat/runtime.js';

export type { AttemptProxy, GatewayType } from './admission/attempt.js';
export { UpgradeAttempt } from './admission/attempt.js';
export { type Ban, type BanOptions, type BanTarget, SecureWsBans } from './admission/bans.js';
export {
  addressGuard,
  BUILT_IN_GUARDS,
  hostGuard,
  originGuard,
  rateGuard,
  tlsGuard,
} from './admission/built-in-guards.js';
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
export type { BreakerState } from './cluster/breaker.js';
export type {
  Claim,
  ClaimAnswer,
  ClusterBus,
  ClusterBusOptions,
  ClusterStore,
  ClusterStoreOptions,
  ClusterStoreStatus,
  NodeInfo,
  StoredBan,
  UserAnswer,
  UserClaim,
  UserConnection,
} from './cluster/contract.js';
export type { MessageCounts } from './cluster/messages.js';
export type { ClusterState } from './cluster/node.js';
export type {
  ForeignConnections,
  ForeignUpgrades,
  GuardClass,
  GuardLike,
  MessageParser,
  PlainGuard,
  RedisClientLike,
} from './config/code-types.js';
export type { Duration, List, Rate, ResolvedRate, Size } from './config/kinds.js';
export type * from './config/options.js';
export { ConfigurationError } from './config/problems.js';
export type { EffectiveSetting, SettingsReport } from './config/report.js';
export type { Settings, Source } from './config/settings.js';
export type { ControlCallback, Sendable, SendCallback, SendOptions } from './connection/context.js';
export { type Renewal, SecureSocket } from './connection/secure-socket.js';
export { SecureWsDashboardModule, type SecureWsDashboardOptions } from './dashboard/dashboard.module.js';
export type { AuditEvent } from './dashboard/dashboard.service.js';
export { type BroadcastScope, type RoomMember, SecureWsBroadcaster } from './dispatch/broadcaster.js';
export type { Emitter, LocalBroadcaster, LocalScope } from './dispatch/local-broadcaster.js';
export { UnsupportedDataError } from './dispatch/message-parser.js';
export { REFUSAL_REASONS, type Refusal, type RefusalReason } from './http/refusal.js';
export { SecureWsAdapter } from './nest/adapter.js';
export {
  ClientIp,
  MessageRate,
  PathParam,
  type Pipes,
  Principal,
  SecureGateway,
  UseAdmissionGuards,
} from './nest/decorators.js';
export type { SecureWsModuleAsyncOptions, SecureWsOptionsFactory } from './nest/module-definition.js';
export { SecureWsModule } from './nest/secure-ws.module.js';
export { CloseCode } from './protocol/close-codes.js';
export { type ForeignAdmission, foreignAdmission } from './server/foreign-endpoint.js';
export type {
  ClosedEvent,
  FaultEvent,
  FaultPlace,
  NoticeEvent,
  OpenedEvent,
  RefusedEvent,
} from './telemetry/events.js';
export { type HealthState, type SecureWsHealth, SecureWsHealthIndicator } from './telemetry/health.js';
export type { MetricsSource } from './telemetry/metrics.js';
export { SecureWsMetrics, SecureWsMetricsModule, type SecureWsMetricsOptions } from './telemetry/metrics.module.js';
export type { RequestValues } from './telemetry/redact.js';
export { type BudgetGauge, type Gauges, SecureWsStats, type StatsSnapshot } from './telemetry/stats.js';
export { VERSION } from './version.js';
