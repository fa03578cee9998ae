import type { WebSocketAdapter, WsMessageHandler } from '@nestjs/common';
import type { WebSocketServer } from 'ws';
import type { Settings } from '../config/settings.js';
import type { SecureSocket } from '../connection/secure-socket.js';
import type { Disconnected } from '../connection/server-connection.js';
import type { ConnectListener, Endpoint } from '../server/endpoint.js';

/** The functions of `SecureWsRuntime` that the adapter calls. */
interface AdapterRuntime {
  readonly settings: Settings;
  prepare(): unknown;
  serverFor(port: number, path: string | undefined): WebSocketServer;
  endpointOf(server: WebSocketServer): Endpoint | undefined;
  drain(): Promise<void>;
  close(): Promise<void>;
}

/**
 * The WebSocket adapter of this library for Nest: it creates servers for gateways, and passes their connections to
 * Nest. Registered by the module.
 */
export class SecureWsAdapter implements WebSocketAdapter<WebSocketServer, SecureSocket, object> {
  /** @hidden */
  constructor(private readonly runtime: AdapterRuntime) {}

  /** Every setting of the application, resolved and frozen. Throws a `ConfigurationError` if settings are invalid. */
  get settings(): Settings {
    return this.runtime.settings;
  }

  /** Nest's first call to an adapter, before it processes any gateway: gateways are prepared here. */
  set forceCloseConnections(_force: boolean) {
    this.runtime.prepare();
  }

  /** @hidden Called by Nest. */
  create(port: number, options: { path?: string } = {}): WebSocketServer {
    return this.runtime.serverFor(port, options.path);
  }

  /** @hidden Called by Nest. */
  bindClientConnect(server: WebSocketServer, callback: ConnectListener): void {
    this.runtime.endpointOf(server)?.listeners.push(callback);
  }

  /** @hidden Called by Nest. */
  bindClientDisconnect(client: SecureSocket, callback: Disconnected): void {
    const state = client.connection.dispatch;
    if (state.disconnected === undefined) state.disconnected = callback;
    else state.disconnected = [state.disconnected, callback].flat();
  }

  /** @hidden Called by Nest. */
  bindMessageHandlers(client: SecureSocket, handlers: WsMessageHandler[]): void {
    const { connection } = client;
    const { dispatcher, traits } = connection.context as Endpoint;
    dispatcher.bind(connection, handlers, traits);
  }

  /** @hidden Called for each server when the application closes. */
  async close(): Promise<void> {
    await this.runtime.drain();
  }

  /** @hidden Called by Nest. */
  async dispose(): Promise<void> {
    await this.runtime.close();
  }
}
