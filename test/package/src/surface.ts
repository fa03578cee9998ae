import type {
  Admission,
  AdmissionGuard,
  ConnectOptions,
  GuardLike,
  MessageParser,
  Refusal,
  SecureGatewayOptions,
  SecureWsModuleAsyncOptions,
  SecureWsOptions,
  SecureWsOptionsFactory,
  Settings,
  StatsSnapshot,
} from 'nest-secure-ws';
import * as library from 'nest-secure-ws';
import * as guards from 'nest-secure-ws/guards';
import * as testing from 'nest-secure-ws/testing';

// The exports that the package promises, with their kinds: checked by the compiler and by `try.ts`.

export type Types = [
  Admission,
  AdmissionGuard,
  ConnectOptions,
  GuardLike,
  MessageParser,
  Refusal,
  SecureGatewayOptions,
  SecureWsModuleAsyncOptions,
  SecureWsOptions,
  SecureWsOptionsFactory,
  Settings,
  StatsSnapshot,
];

export const CLASSES: readonly (abstract new (...args: never[]) => object)[] = [
  guards.JwtGuard,
  guards.JwtRefusedError,
  guards.SecureWsTickets,
  guards.TicketsFullError,
  library.BodyTooLargeError,
  library.ClientSocket,
  library.ConfigurationError,
  library.HandshakeError,
  library.InvalidHandshakeError,
  library.LineTooLongError,
  library.OpenTimeoutError,
  library.RedirectRefusedError,
  library.SecureSocket,
  library.SecureWsAdapter,
  library.SecureWsBroadcaster,
  library.SecureWsConnector,
  library.SecureWsModule,
  library.SecureWsStats,
  library.TooManyHeadersError,
  library.TooManyRedirectsError,
  library.UnexpectedStatusError,
  library.UnsupportedDataError,
  library.UpgradeAttempt,
  testing.MemoryCluster,
  testing.TestClient,
];

export const FUNCTIONS: readonly ((...args: never[]) => unknown)[] = [
  guards.jwtGuard,
  guards.nestJwtOptions,
  guards.ticketGuard,
  library.addressGuard,
  library.allow,
  library.beforeBuiltIn,
  library.ClientIp,
  library.connect,
  library.foreignAdmission,
  library.hostGuard,
  library.MessageRate,
  library.originGuard,
  library.PathParam,
  library.Principal,
  library.rateGuard,
  library.reconnecting,
  library.refuse,
  library.SecureGateway,
  library.tlsGuard,
  library.UseAdmissionGuards,
  testing.attempt,
  testing.clusterBusTests,
  testing.clusterStoreTests,
  testing.connectTo,
  testing.expectRefusal,
];

export const CODES: Readonly<Record<string, number>> = library.CloseCode;
export const TEXTS: readonly string[] = [library.VERSION];
