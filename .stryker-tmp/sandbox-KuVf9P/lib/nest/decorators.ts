// @ts-nocheck
import { createParamDecorator, type ExecutionContext, SetMetadata } from '@nestjs/common';
import { WebSocketGateway } from '@nestjs/websockets';
import type { GuardLike } from '../config/code-types.js';
import type { Rate } from '../config/kinds.js';
import type { SecureGatewayOptions } from '../config/settings.js';
import type { SecureSocket } from '../connection/secure-socket.js';

/** Keys under which decorators leave what the module reads. */
export const ADMISSION_GUARDS = 'nest-secure-ws:admission-guards';
export const MESSAGE_RATE = 'nest-secure-ws:message-rate';

/**
 * A `@WebSocketGateway()` whose options are those of this library, checked at the start. With a port first it listens
 * there by itself, else it shares the application's.
 */
export function SecureGateway(port: number, options?: SecureGatewayOptions): ClassDecorator;
export function SecureGateway(options?: SecureGatewayOptions): ClassDecorator;
export function SecureGateway(
  portOrOptions?: number | SecureGatewayOptions,
  options: SecureGatewayOptions = {},
): ClassDecorator {
  return typeof portOrOptions === 'number'
    ? WebSocketGateway(portOrOptions, options)
    : WebSocketGateway(portOrOptions ?? {});
}

/**
 * Guards that decide before the upgrade, in order, behind those of `forRoot({ guards })`: classes (resolved through
 * dependency injection), instances or functions; Nest's own `CanActivate` guards too. `beforeBuiltIn(guard)` runs before
 * the library's own checks.
 */
export const UseAdmissionGuards = (...guards: GuardLike[]): ClassDecorator => SetMetadata(ADMISSION_GUARDS, guards);

/** Messages of one connection that this handler takes, such as `'5/1s'`; one more gets an `exception`. */
export const MessageRate = (rate: Rate): MethodDecorator => SetMetadata(MESSAGE_RATE, rate);

const clientOf = (context: ExecutionContext): SecureSocket => context.switchToWs().getClient<SecureSocket>();

/** The peer's principal, as an admission guard named it. */
export const Principal = createParamDecorator(
  (_: unknown, context: ExecutionContext): unknown => clientOf(context).principal,
);

/** The client's address: behind a trusted proxy the one that the proxy saw. */
export const ClientIp = createParamDecorator((_: unknown, context: ExecutionContext): string => clientOf(context).ip);
