import { WebSocketServer as ServerProperty } from '@nestjs/websockets';
import { WebSocketServer } from 'ws';
import { catchRejections } from '../compat/listeners.js';

/** Marks the servers of `SecureWsModule`, of any copy of this package. */
const PROTECTED = Symbol.for('nest-secure-ws.protected');

/**
 * A server for Nest's gateways; it does not listen itself. `failed` is called with errors that its listeners reject
 * with.
 */
export function protectedServer(failed: (error: unknown) => void): WebSocketServer {
  const server = new WebSocketServer({ noServer: true, clientTracking: true });
  catchRejections(server, failed);
  return Object.defineProperty(server, PROTECTED, { value: true });
}

/** The property in which Nest stores the server of a gateway, as for `@WebSocketServer()`. */
const PROPERTY = 'secureWsServer';

/**
 * Makes a gateway refuse every server that does not belong to `SecureWsModule`, because there the decorators of this
 * package would silently have no effect. Nest assigns the server when the application starts, before any connection,
 * with every adapter.
 */
export function requireModule(gateway: { readonly prototype: object; readonly name: string }): void {
  const { prototype } = gateway;
  if (Object.hasOwn(prototype, PROPERTY)) return;
  ServerProperty()(prototype, PROPERTY);
  Object.defineProperty(prototype, PROPERTY, {
    configurable: true,
    enumerable: true,
    get: () => undefined,
    set(this: object, server: unknown) {
      if (typeof server !== 'object' || server === null || PROTECTED in server) return;
      throw new Error(
        `Another WebSocket adapter than that of SecureWsModule serves ${this.constructor.name || gateway.name}, so its decorators of nest-secure-ws would have no effect: add SecureWsModule.forRoot() to the imports of a module of this application, and remove app.useWebSocketAdapter()`,
      );
    },
  });
}
