import { WebSocketServer as ServerProperty } from '@nestjs/websockets';
import { WebSocketServer } from 'ws';
import { catchRejections } from '../compat/listeners.js';

/** Marks the servers of `SecureWsModule`, whichever copy of this package made them. */
const PROTECTED = Symbol.for('nest-secure-ws.protected');

/** A server of which Nest's gateways know; it listens to nothing itself. `failed` is told what its listeners reject with. */
export function protectedServer(failed: (error: unknown) => void): WebSocketServer {
  const server = new WebSocketServer({ noServer: true, clientTracking: true });
  catchRejections(server, failed);
  return Object.defineProperty(server, PROTECTED, { value: true });
}

/** Where Nest puts the server of a gateway, as where a `@WebSocketServer()` stands. */
const PROPERTY = 'secureWsServer';

/**
 * Makes a gateway refuse every server that is not one of `SecureWsModule`'s: what this package's decorators ask for would
 * not hold there, and nobody would notice. Nest hands a gateway its server when the application starts, before any
 * connection comes, whatever adapter it has.
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
        `Another WebSocket adapter than that of SecureWsModule serves ${this.constructor.name || gateway.name}, whose decorators of nest-secure-ws would not hold: add SecureWsModule.forRoot() to the imports of a module of this application, and remove app.useWebSocketAdapter()`,
      );
    },
  });
}
