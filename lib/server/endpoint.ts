import type { IncomingMessage } from 'node:http';
import type { WebSocketServer } from 'ws';
import type { GatewayType } from '../admission/attempt.js';
import { userKeyOf } from '../admission/guard-answer.js';
import type { GatewaySettings } from '../config/settings.js';
import { type Limits, limitsOf } from '../connection/limits.js';
import type { SecureConnection as Connection, SecureSocket } from '../connection/secure-socket.js';
import { Dispatcher } from '../dispatch/dispatcher.js';
import type { HandlerTraits } from '../dispatch/handler-table.js';
import type { Audience } from '../dispatch/local-broadcaster.js';
import { Rooms } from '../dispatch/rooms.js';
import { completeUpgrade, type UpgradedGateway } from '../handshake/complete-upgrade.js';
import type { UpgradeContext } from '../handshake/upgrade-context.js';
import { enterContext } from '../net/async-context.js';
import { Compression } from '../protocol/deflate/compression.js';
import { GatewayCounters } from '../telemetry/metrics.js';
import { PathTarget } from './path-target.js';
import type { ServerContext } from './server-context.js';

/** Called by Nest's bindings when a peer has connected. */
export type ConnectListener = (socket: SecureSocket, request: IncomingMessage | undefined) => void;

/** One path of one port: its gateways, their settings, and the state that its connections share. */
export class Endpoint extends PathTarget implements UpgradedGateway, Audience {
  readonly role = 'server';
  readonly isForeign = false;
  readonly counters = new GatewayCounters();
  readonly limits: Limits;
  readonly compression: Compression;
  readonly dispatcher: Dispatcher;
  readonly rooms = new Rooms();
  readonly listeners: ConnectListener[] = [];
  private hasNotedSubprotocol = false;

  constructor(
    context: ServerContext,
    settings: GatewaySettings,
    readonly server: WebSocketServer,
    private readonly gateways: readonly GatewayType[],
    /** Number of `handleConnection` hooks that a connection waits for. */
    private readonly hooks: number,
    readonly traits: (event: unknown) => HandlerTraits | undefined,
    /** The name of the endpoint, the same in every process of a cluster. */
    id: string,
  ) {
    super(context, settings, id);
    this.limits = limitsOf(settings);
    const { compression, messages } = settings;
    this.compression = new Compression({ ...compression, maxSize: messages.maxSize }, context.contexts);
    const { collector } = context;
    this.counters.ping = collector?.ping;
    this.dispatcher = new Dispatcher({
      path: settings.path,
      clock: context.clock,
      wheel: context.wheel,
      telemetry: context.telemetry,
      parser: settings.messageParser,
      limits: this.limits,
      timeOf: collector && ((event) => collector.handlerTime(settings.path, event)),
      counted: (change) => {
        context.runningTasks += change;
        if (change < 0) context.onIdle?.();
      },
    });
  }

  /** The class that guards can read: the first gateway of the path. */
  get gateway(): GatewayType {
    return this.gateways[0]!;
  }

  /** Whether anything reads the upgrade request; otherwise it is not created. */
  get needsRequest(): boolean {
    return this.hooks > 0 || this.settings.keepRequest || this.server.listenerCount('connection') > 0;
  }

  serves(gateway: GatewayType): boolean {
    return this.gateways.includes(gateway);
  }

  servesNamed(name: string): boolean {
    return this.gateways.some((gateway) => gateway.name === name);
  }

  get clock() {
    return this.context.clock;
  }

  get wheel() {
    return this.context.wheel;
  }

  get budget() {
    return this.context.budget;
  }

  get telemetry() {
    return this.context.telemetry;
  }

  get scheduler() {
    return this.context.scheduler;
  }

  random(): number {
    return Math.random();
  }

  dispatch(connection: Connection, data: Buffer, isBinary: boolean): void {
    if (!connection.dispatch.known) this.callConnectListeners(connection.socket, undefined);
    this.dispatcher.dispatch(connection, data, isBinary);
  }

  changeUser(connection: Connection, principal: unknown, userKey: string | number | undefined): void {
    const key = userKeyOf(userKey ?? principal);
    // protection: a session cannot be renewed for a banned user
    if (this.context.bans.ofUser(key) !== undefined) throw new RangeError('this user is banned');
    // end protection
    this.users.move(connection, principal, userKey);
  }

  handlerOverdue(connection: Connection, now: number): number {
    return this.dispatcher.overdue(connection, now);
  }

  complete(upgrade: UpgradeContext, rest: Buffer): boolean {
    return completeUpgrade(upgrade, this, rest);
  }

  /** Called when a peer has got its 101: notifies Nest, and waits for the hooks. */
  opened(socket: SecureSocket, request: IncomingMessage | undefined): void {
    const { connection } = socket;
    this.context.connections.add(connection);
    this.counters.opened++;
    this.telemetry.opened({ ip: socket.ip, path: this.path, userKey: connection.peer.userKey });
    if (this.settings.keepRequest) socket.request = request;
    // protection: connections of a user are counted
    if (connection.peer.userKey !== undefined) this.users.add(connection.peer.userKey, connection);
    // end protection
    // protection: messages wait for handleConnection
    connection.awaitHooks(this.hooks);
    // end protection
    connection.whenReady(() => {
      if (connection.state !== 'closed') this.server.clients.add(socket);
    });
    // Without such a hook, Nest need not be notified before the connection's first message, or its end.
    if (this.hooks > 0) this.callConnectListeners(socket, request);
    if (this.server.listenerCount('connection') > 0) this.callListener(() => this.emitConnection(socket, request));
  }

  closed(connection: Connection, code: number, reason: Buffer): void {
    const { socket, cause, failedWith } = connection;
    if (!connection.dispatch.known) this.callConnectListeners(socket, undefined);
    this.context.connections.delete(connection);
    this.server.clients.delete(socket);
    // protection: a closed connection leaves its rooms
    this.rooms.leaveAll(socket);
    // end protection
    const { userKey } = connection.peer;
    // protection: a closed connection is no longer counted for its user
    if (userKey !== undefined) this.users.remove(userKey, connection);
    // end protection
    // protection: a closed connection ends its streams
    this.dispatcher.release(connection);
    // end protection
    this.telemetry.closed({ ip: socket.ip, path: this.path, code: failedWith ?? code, cause });
    const { disconnected } = connection.dispatch;
    connection.dispatch.closeCode = code;
    connection.dispatch.disconnected = undefined;
    if (typeof disconnected === 'function') this.callListener(() => disconnected(code, reason));
    else for (const listener of disconnected ?? []) this.callListener(() => listener(code, reason));
    this.context.onIdle?.();
  }

  /** The async context that listeners of the server enter becomes that of the connection, as with hooks. */
  private emitConnection(socket: SecureSocket, request: IncomingMessage | undefined): void {
    const { peer } = socket.connection;
    const emit = () => this.server.emit('connection', socket, request);
    enterContext(peer.asyncContext, emit, (context) => {
      peer.asyncContext = context;
    });
  }

  /** A browser closes such a connection, and only reports that it failed. */
  noteUnchosenSubprotocol(): void {
    if (this.hasNotedSubprotocol) return;
    this.hasNotedSubprotocol = true;
    this.telemetry.notice(
      `A client of ${this.path} offered subprotocols, and none was selected: browsers close such a connection at once. List the gateway's subprotocols in connections.subprotocols (WEBSOCKETS_SUBPROTOCOLS), or select one in a guard: allow({ subprotocol })`,
    );
  }

  /** Notifies Nest, which binds its handlers to the connection. */
  private callConnectListeners(socket: SecureSocket, request: IncomingMessage | undefined): void {
    socket.connection.dispatch.known = true;
    for (const listener of this.listeners) this.callListener(() => listener(socket, request));
  }

  private callListener(action: () => void): void {
    try {
      action();
    } catch (error) {
      this.telemetry.fault('internal', error, this.path);
    }
  }
}
