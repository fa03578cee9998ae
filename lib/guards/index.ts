export type { Awaitable } from '../admission/awaitable.js';
export { JwtGuard, JwtRefusedError, type JwtSession, jwtGuard } from './jwt-guard.js';
export {
  type JwtClaims,
  type JwtGuardOptions,
  type KeyAlgorithm,
  type NestJwtOptions,
  nestJwtOptions,
  type RemoteJwksOptions,
  type SecretAlgorithm,
} from './jwt-options.js';
export {
  SecureWsTickets,
  type TicketGuardClass,
  type TicketGuardOptions,
  type TicketOptions,
  type TicketStore,
  TicketsFullError,
  ticketGuard,
} from './tickets.js';
