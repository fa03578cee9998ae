import {
  createParamDecorator,
  type ExecutionContext,
  type PipeTransform,
  SetMetadata,
  type Type,
} from '@nestjs/common';
import { WebSocketGateway } from '@nestjs/websockets';
import type { GuardLike } from '../config/code-types.js';
import type { Rate } from '../config/kinds.js';
import type { SecureGatewayOptions, SecurePortOptions } from '../config/settings.js';
import type { SecureSocket } from '../connection/secure-socket.js';
import { requireModule } from './required-module.js';

/** Metadata keys of the decorators, which the module reads. */
export const ADMISSION_GUARDS = 'nest-secure-ws:admission-guards';
export const MESSAGE_RATE = 'nest-secure-ws:message-rate';

/**
 * A `@WebSocketGateway()` with the options of this library, which are checked at start. With a port, the gateway gets a
 * dedicated port, which can have its own TLS and host; without one it shares the application's port.
 *
 * @example
 * ```ts
 * @SecureGateway({ path: '/chat', messages: { maxSize: '64kb' } })
 * @SecureGateway(8443, { path: '/feed', tls: { certFile: 'server.pem', keyFile: 'server.key' } })
 * ```
 */
export function SecureGateway(port: number, options?: SecurePortOptions): ClassDecorator;
export function SecureGateway(options?: SecureGatewayOptions): ClassDecorator;
export function SecureGateway(
  portOrOptions?: number | SecureGatewayOptions,
  options: SecurePortOptions = {},
): ClassDecorator {
  const gateway =
    typeof portOrOptions === 'number'
      ? WebSocketGateway(portOrOptions, options)
      : WebSocketGateway(portOrOptions ?? {});
  return (target) => {
    gateway(target);
    requireModule(target);
  };
}

/**
 * Guards that decide before the upgrade, in order, after those of `forRoot({ guards })`: classes (resolved through
 * dependency injection), instances or functions, and Nest guards (`CanActivate`). `beforeBuiltIn(guard)` runs before
 * the built-in checks.
 */
export const UseAdmissionGuards =
  (...guards: GuardLike[]): ClassDecorator =>
  (target) => {
    SetMetadata(ADMISSION_GUARDS, guards)(target);
    requireModule(target);
  };

/**
 * Maximum rate of messages of one connection for this handler, such as `'5/1s'`; one more is answered with an
 * `exception` event.
 */
export const MessageRate =
  (rate: Rate): MethodDecorator =>
  (prototype, method, descriptor) => {
    SetMetadata(MESSAGE_RATE, rate)(prototype, method, descriptor);
    requireModule(prototype.constructor);
  };

/** Pipes of a parameter. The types of Nest 11 and 12 declare them differently, so they are declared here. */
export type Pipes = readonly (PipeTransform | Type<PipeTransform>)[];

const clientOf = (context: ExecutionContext): SecureSocket => context.switchToWs().getClient<SecureSocket>();

/** The peer's principal, as an admission guard returned it. */
export const Principal: (...pipes: Pipes) => ParameterDecorator = createParamDecorator(
  (_: unknown, context: ExecutionContext): unknown => clientOf(context).principal,
);

/** The client's address; behind a trusted proxy, the address that the proxy reported. */
export const ClientIp: (...pipes: Pipes) => ParameterDecorator = createParamDecorator(
  (_: unknown, context: ExecutionContext): string => clientOf(context).ip,
);

/** A decoded parameter of the gateway's path: `@PathParam('id')` of `/rooms/:id`. Without a name: all parameters. */
export const PathParam: (name?: string, ...pipes: Pipes) => ParameterDecorator = createParamDecorator(
  (name: string | undefined, context: ExecutionContext): unknown => {
    const { params } = clientOf(context);
    return name === undefined ? params : params[name];
  },
);
