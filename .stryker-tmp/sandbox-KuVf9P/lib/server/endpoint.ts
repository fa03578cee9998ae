// @ts-nocheck
import type { IncomingMessage } from 'node:http';
import type { WebSocketServer } from 'ws';
import type { GatewayType } from '../admission/attempt.js';
import { GatewayCapacity } from '../admission/capacity.js';
import type { AdmissionGuardFunction } from '../admission/guard.js';
import { type AllowedOrigins, parseAllowedOrigins } from '../admission/origin.js';
import type { TransportRules } from '../admission/transport.js';
import { UserCaps } from '../admission/users.js';
import { Compression } from '../compression/compression.js';
import type { GatewaySettings } from '../config/settings.js';
import type { Connection } from '../connection/connection.js';
import type { ConnectionContext } from '../connection/context.js';
import { type Limits, limitsOf } from '../connection/limits.js';
import type { SecureSocket } from '../connection/secure-socket.js';
import type { Audience } from '../dispatch/broadcaster.js';
import { Dispatcher } from '../dispatch/dispatcher.js';
import type { HandlerTraits } from '../dispatch/handler-table.js';
import { Rooms } from '../dispatch/rooms.js';
import { compiled } from '../net/address-list.js';
import type { ServerContext } from './server-context.js';

/** Called by Nest's bindings when a peer has connected. */
export type ConnectListener = (socket: SecureSocket, request: IncomingMessage | undefined) => void;

/** One path of one port: its gateways, their settings, and what all its connections share. */
export class Endpoint implements ConnectionContext, Audience {
  readonly limits: Limits;
  readonly capacity: GatewayCapacity;
  readonly transport: TransportRules;
  readonly compression: Compression;
  readonly dispatcher: Dispatcher;
  readonly rooms = new Rooms();
  readonly listeners: ConnectListener[] = [];
  readonly users: UserCaps;
  /** Those before stage 5. Resolved by the time the port listens, as those of stage 7. */
  earlyGuards: readonly AdmissionGuardFunction[] = [];
  guards: readonly AdmissionGuardFunction[] = [];

  constructor(
    readonly engine: ServerContext,
    readonly settings: GatewaySettings,
    readonly server: WebSocketServer,
    private readonly gateways: readonly GatewayType[],
    /** `handleConnection` hooks that a connection waits for. */
    private readonly hooks: number,
    readonly traits: (event: unknown) => HandlerTraits | undefined,
  ) {
    this.limits = limitsOf(settings);
    const { own, connections, proxy, compression, messages } = settings;
    this.capacity = new GatewayCapacity({ max: own.max, maxPerIp: own.maxPerIp });
    const maxPerUser = { own: own.maxPerUser, application: engine.settings.connections.maxPerUser };
    this.users = new UserCaps(engine.users, maxPerUser, connections.onUserLimit);
    this.transport = {
      requireTls: proxy.requireTls,
      hosts: engine.hosts,
      origins: origins(connections.allowedOrigins),
      addresses: engine.addressRules,
    };
    const { mode, windowBits, memLevel, level, threshold, maxRatio } = compression;
    this.compression = new Compression(
      { mode, windowBits, memLevel, level, threshold, maxRatio, maxSize: messages.maxSize },
      engine.contexts,
    );
    this.dispatcher = new Dispatcher({
      path: settings.path,
      clock: engine.clock,
      wheel: engine.wheel,
      telemetry: engine.telemetry,
      parser: settings.messageParser,
      maxStreams: messages.maxStreams,
      handlerTimeout: this.limits.handlerTimeout,
      counted: (change) => {
        engine.runningTasks += change;
        if (change < 0) engine.whenIdle?.();
      },
    });
  }

  /** The class that guards are told of: the first of the path. */
  get gateway(): GatewayType {
    return this.gateways[0]!;
  }

  /** Somebody may look at the upgrade request: else none is made. */
  get needsRequest(): boolean {
    return this.hooks > 0 || this.settings.keepRequest || this.server.listenerCount('connection') > 0;
  }

  serves(gateway: GatewayType): boolean {
    return this.gateways.includes(gateway);
  }

  get path(): string {
    return this.settings.path;
  }

  get clock() {
    return this.engine.clock;
  }

  get wheel() {
    return this.engine.wheel;
  }

  get budget() {
    return this.engine.budget;
  }

  get telemetry() {
    return this.engine.telemetry;
  }

  get turns() {
    return this.engine.turns;
  }

  dispatch(connection: Connection, data: Buffer, isBinary: boolean): void {
    if (!connection.dispatch.known) this.introduce(connection.socket, undefined);
    this.dispatcher.dispatch(connection, data, isBinary);
  }

  changeUser(connection: Connection, principal: unknown, userKey: string | number | undefined): void {
    this.users.move(connection, principal, userKey);
  }

  handlerOverdue(connection: Connection, now: number): number {
    return this.dispatcher.overdue(connection, now);
  }

  /** A peer has got its 101: tells Nest, and waits for its hooks. */
  opened(socket: SecureSocket, request: IncomingMessage | undefined): void {
    const { connection } = socket;
    this.engine.connections.add(connection);
    this.telemetry.opened({ ip: socket.ip, path: this.path });
    if (this.settings.keepRequest) socket.request = request;
    if (connection.peer.userKey !== undefined) this.users.join(connection.peer.userKey, connection);
    connection.awaitHooks(this.hooks);
    connection.whenReady(() => {
      if (!connection.ended) this.server.clients.add(socket);
    });
    // Without a hook that waits for it, Nest has nothing to do with a connection before its first message, or its end.
    if (this.hooks > 0) this.introduce(socket, request);
    if (this.server.listenerCount('connection') > 0) this.tell(() => this.server.emit('connection', socket, request));
  }

  closed(connection: Connection, code: number, reason: Buffer): void {
    const { socket, cause } = connection;
    if (!connection.dispatch.known) this.introduce(socket, undefined);
    this.engine.connections.delete(connection);
    this.server.clients.delete(socket);
    this.rooms.leaveAll(socket);
    const { userKey } = connection.peer;
    if (userKey !== undefined) this.users.part(userKey, connection);
    this.dispatcher.release(connection);
    this.telemetry.closed({ ip: socket.ip, path: this.path, code, cause });
    const { disconnected } = connection.dispatch;
    connection.dispatch.disconnected = undefined;
    if (typeof disconnected === 'function') this.tell(() => disconnected(code, reason));
    else for (const listener of disconnected ?? []) this.tell(() => listener(code, reason));
    this.engine.whenIdle?.();
  }

  /** Tells Nest, which binds its handlers to the connection. */
  private introduce(socket: SecureSocket, request: IncomingMessage | undefined): void {
    socket.connection.dispatch.known = true;
    for (const listener of this.listeners) this.tell(() => listener(socket, request));
  }

  private tell(action: () => void): void {
    try {
      action();
    } catch (error) {
      this.telemetry.fault('internal', error, this.path);
    }
  }
}

const origins = (entries: readonly string[] | undefined): AllowedOrigins | undefined =>
  entries && compiled(parseAllowedOrigins(entries));
