import type { IncomingMessage } from 'node:http';
import { Server as HttpsServer } from 'node:https';
import type { Socket } from 'node:net';
import type { AddressEntry } from '../admission/address-table.js';
import { type PlatformAdapter, watchSecondaryServers } from '../compat/fastify.js';
import type { AcceptHook, Handle } from '../compat/node-handles.js';
import {
  type ParsedRequest,
  pushAsRead,
  replaceMethod,
  unanswered,
  upgradeOption,
  type WebServer,
} from '../compat/node-http.js';
import { acceptingServer, markUnread } from '../compat/node-sockets.js';
import type { GatewaySettings } from '../config/settings.js';
import type { HeadHolder } from '../handshake/handshake-budget.js';
import { PathSpellings } from '../handshake/path-spellings.js';
import type { UpgradeContext } from '../handshake/upgrade-context.js';
import { namesUpgrade } from '../http/fields.js';
import { splitList } from '../http/grammar.js';
import type { HeadMeterOptions, HeadVerdict } from '../http/head.js';
import { HeadMeter } from '../http/head-meter.js';
import { REFUSALS } from '../http/refusal.js';
import { originForm } from '../http/upgrade-request.js';
import type { ClientAddress } from '../net/address.js';
import { HandleTransport } from '../net/handle-transport.js';
import { reset } from '../net/reset.js';
import type { Transport } from '../net/transport.js';
import { AwaitedAnswer, type ForeignConnection, foreignAdmission } from './foreign-endpoint.js';
import { HttpTakeover, type HttpTakeoverHost } from './http-takeover.js';
import { Listener } from './listener.js';
import type { ServerContext } from './server-context.js';

/** Node's limit for a whole request head, for a server without one of its own. */
const NODE_MAX_HEADER_SIZE = 16 * 1024;

/**
 * The application's HTTP server with gateways in addition to its routes: requests that are not WebSocket upgrades are
 * served as without them.
 */
export class SharedListener extends Listener implements HttpTakeoverHost {
  readonly isDedicated = false;
  private readonly takeovers = new Map<WebServer, HttpTakeover>();
  private readonly restorers: (() => void)[] = [];
  /** First requests of connections in which Node's parser found an upgrade, and ours did not. */
  private readonly readByNodeOnly = new WeakSet<IncomingMessage>();
  /** Sockets whose upgrade another library answers, and has passed the stages. */
  private readonly handedOver = new WeakSet<Socket>();
  private readonly foreignPaths = new PathSpellings();
  private meterOptions: HeadMeterOptions = { ordinaryLimit: NODE_MAX_HEADER_SIZE, namesUpgrade: nodeNamesUpgrade };
  /** Whether the connection that is being emitted may still turn out to be an upgrade. */
  tapsNextConnection = true;

  constructor(
    context: ServerContext,
    settings: GatewaySettings,
    readonly server: WebServer,
  ) {
    super(context, settings);
    this.attach(server);
    this.claimUpgrades(server);
  }

  get hasOtherListeners(): boolean {
    return this.server.listenerCount('upgrade') > 1;
  }

  /** Adds a path of another library. */
  addForeign(pattern: string, isPrefix: boolean): void {
    this.foreignPaths.add(pattern, isPrefix);
  }

  passesOn(path: string): boolean {
    if (this.context.settings.foreignUpgrades !== 'auto' || !this.hasOtherListeners) return false;
    // protection: other spellings of a path of another library are refused
    if (this.foreignPaths.includes(path)) return false;
    // end protection
    return true;
  }

  newMeter(): HeadMeter {
    const { maxHeaderSize = NODE_MAX_HEADER_SIZE } = this.server as { maxHeaderSize?: number };
    // All meters share the options; an application may change the limit of its server.
    if (maxHeaderSize !== this.meterOptions.ordinaryLimit)
      this.meterOptions = { ordinaryLimit: maxHeaderSize, namesUpgrade: nodeNamesUpgrade };
    return new HeadMeter(this.headLimits, this.meterOptions);
  }

  /** Takes part in a server, and in the servers that the platform opens in addition to it. */
  attach(server: WebServer): void {
    if (this.takeovers.has(server)) return;
    this.takeovers.set(server, new HttpTakeover(this, server));
    if (this.proxyReader !== undefined)
      this.restorers.push(this.proxyReader.attach(server, server instanceof HttpsServer));
  }

  /** Also takes part in the servers that Fastify opens in addition to its first one. */
  attachSecondaryServers(adapter: PlatformAdapter): void {
    const stop = watchSecondaryServers(adapter, (server) => this.attach(server));
    if (stop !== undefined) this.restorers.push(stop);
    // Without an 'upgrade' listener, Node's HTTP server would answer upgrades as ordinary requests.
    else this.notice('WebSockets are served at the first address of Fastify only: listen at one address');
  }

  /** Stage 0 for the connections of an HTTP server, before Node creates their sockets. */
  acceptHandles(
    server: WebServer,
    take: (client: Handle, acceptHook: AcceptHook, peer: ClientAddress) => boolean,
  ): () => void {
    return this.acceptEarly(
      server,
      (client, acceptHook, peer) => this.isHandleUsable(server, peer) && take(client, acceptHook, peer),
    );
  }

  /** Starts a handshake for a connection whose first bytes ask for a WebSocket. */
  beginHandshake(
    transport: Transport,
    peer: ClientAddress,
    meter: HeadMeter,
    verdict: HeadVerdict,
    size: number,
    rest: Buffer,
  ): void {
    this.open(transport, peer)?.begin(meter, verdict, size, rest);
  }

  /** `onSocket` is called before the socket's first byte is parsed. */
  handOver(transport: Transport, bytes: Buffer, hasEnded: boolean, onSocket?: (socket: Socket) => void): void {
    if (transport instanceof HandleTransport) return this.giveToNode(transport, bytes, true, onSocket);
    const socket = transport.release('http');
    const takeover = socket && this.takeovers.get((acceptingServer(socket) as WebServer | undefined) ?? this.server);
    if (takeover === undefined) return transport.destroy();
    onSocket?.(socket!);
    takeover.resumeHttp(socket!, bytes, hasEnded);
  }

  /** Hands an upgrade over to the library that answers it, in the state in which Node would. */
  handOverUpgrade({ transport, emitUpgrade }: UpgradeContext, bytes: Buffer, connection: ForeignConnection): void {
    const onSocket = (socket: Socket): void => {
      this.handedOver.add(socket);
      connection.follow(socket);
    };
    if (emitUpgrade === undefined) {
      this.handOver(transport, bytes, false, onSocket);
    } else {
      const socket = transport.release('http');
      if (socket === undefined) transport.destroy();
      else {
        onSocket(socket);
        markUnread(socket);
        emitUpgrade(bytes);
      }
    }
    connection.abandon();
  }

  /** Makes Node create a socket for a handle, and emits it; `bytes` were already read from it. */
  giveToNode(
    transport: HandleTransport,
    bytes: Buffer | undefined,
    isOrdinary: boolean,
    onSocket?: (socket: Socket) => void,
  ): void {
    this.tapsNextConnection = !isOrdinary;
    let socket: Socket | undefined;
    try {
      socket = transport.release('http');
    } finally {
      this.tapsNextConnection = true;
    }
    if (socket === undefined) return transport.destroy();
    onSocket?.(socket);
    if (bytes !== undefined) pushAsRead(socket, bytes);
  }

  /** `server.closeAllConnections()` also ends incomplete heads of upgrades. */
  dropHeads(): void {
    for (const handshake of this.handshakes) handshake.dropHead();
  }

  markReadByNodeOnly(request: IncomingMessage): void {
    this.readByNodeOnly.add(request);
  }

  notice(message: string): void {
    this.context.telemetry.notice(message);
  }

  hold(holder: HeadHolder, bytes: number): void {
    this.context.headBudget.set(holder, bytes);
  }

  release(entry: AddressEntry): void {
    this.context.addresses.release(entry);
  }

  acquire(socket: Socket): AddressEntry {
    const peer = this.peerOf(socket);
    return this.context.addresses.acquire(peer, this.context.proxy.trusted.has(peer));
  }

  /** `undo` is called when the server is restored. */
  onClose(undo: () => void): void {
    this.restorers.push(undo);
  }

  /** Whether Node's parser may report an upgrade: one for a WebSocket is handled here or by another listener. */
  wantsUpgrade(request: ParsedRequest): boolean {
    return asksForWebSocket(request) || this.server.listenerCount('upgrade') > 1;
  }

  override async close(): Promise<void> {
    await super.close();
    for (const undo of this.restorers.reverse()) undo();
    for (const takeover of this.takeovers.values()) takeover.restore();
    this.takeovers.clear();
  }

  /** Our upgrades are not emitted to other listeners, which would answer on the same socket. */
  private claimUpgrades(server: WebServer): void {
    const onUpgrade = (request: IncomingMessage, socket: Socket, rest: Buffer): boolean => {
      if (this.isClosed || this.handedOver.has(socket) || !this.belongsToGateway(request)) return false;
      this.onUpgrade(request, socket, rest);
      return true;
    };
    // Without a listener Node would not emit 'upgrade'.
    server.on('upgrade', onUpgrade);
    const { context, handedOver } = this;
    const expectAnswer = this.expectAnswer.bind(this);
    const restore = replaceMethod(server as { emit: Emit }, 'emit', (was) => {
      return function (this: WebServer, event, ...args) {
        if (event !== 'upgrade') return was.call(this, event, ...args);
        const [request, socket, rest] = args as [IncomingMessage, Socket, Buffer];
        // protection: other libraries do not see upgrades of gateways
        if (onUpgrade(request, socket, rest)) return true;
        // end protection
        expectAnswer(request, socket);
        if (!handedOver.has(socket)) return was.call(this, event, ...args);
        try {
          return was.call(this, event, ...args);
        } catch (error) {
          // If the error was thrown on, it would reach the handshake that has passed on the upgrade.
          context.telemetry.fault('internal', error);
          socket.destroy();
          return true;
        }
      };
    });
    this.restorers.push(() => server.removeListener('upgrade', onUpgrade), restore);
  }

  /**
   * Resets a socket if no library answers its upgrade within `http.openTimeout`: nothing reads from it, so even its end
   * would not be noticed. This happens for a path that no library has, and for a subprotocol that the library does not
   * support.
   */
  private expectAnswer(request: IncomingMessage, socket: Socket): void {
    const { wheel, clock, telemetry } = this.context;
    const deadline = clock.now() + this.openTimeout;
    new AwaitedAnswer(socket, wheel, deadline, () => {
      const ip = foreignAdmission(request)?.ip ?? this.peerOf(socket).text;
      const detail = 'reset: no library answered the upgrade';
      telemetry.refused({ ...REFUSALS.openTimeout, status: 0, ip, path: undefined, detail });
      // protection: an upgrade that no library answers is ended
      reset(socket);
      // end protection
    });
  }

  private belongsToGateway(request: IncomingMessage): boolean {
    if (!asksForWebSocket(request)) return false;
    const path = originForm(request.url ?? '').split('?', 1)[0]!;
    return this.router.find(path) !== undefined || !this.passesOn(path);
  }

  /**
   * Handles an upgrade that Node's parser has read: a later request of its connection, or one that was not read before
   * Node.
   */
  private onUpgrade(request: IncomingMessage, socket: Socket, rest: Buffer): void {
    const { method = '', url = '', httpVersion, rawHeaders } = request;
    const handshake = this.accept(socket);
    if (handshake === undefined) return;
    // protection: no upgrade behind an unanswered request
    if (unanswered(socket) !== undefined)
      return handshake.refuseWhen((then) => whenAnswered(socket, then), REFUSALS.pipelined);
    // end protection
    // The head did not show within the limit for ordinary heads that it asks for a WebSocket, so its limits were not
    // checked.
    // protection: no upgrade that only Node has read
    if (this.readByNodeOnly.has(request)) return handshake.refuseWhen((then) => then(), REFUSALS.tooManyHeaders);
    // end protection
    const head = { method, target: url, version: httpVersion, rawHeaders };
    handshake.resume(head, rest, (bytes) => void this.server.emit('upgrade', request, socket, bytes));
  }
}

type Emit = (this: WebServer, event: string, ...args: unknown[]) => boolean;

/** Whether this Node's parser finds `upgrade` in a `Connection` field. */
const nodeNamesUpgrade = (connection: string): boolean => upgradeOption()?.test(connection) ?? namesUpgrade(connection);

const asksForWebSocket = ({ headers }: IncomingMessage): boolean =>
  headers.upgrade !== undefined &&
  splitList(headers.upgrade.toLowerCase()).includes('websocket') &&
  nodeNamesUpgrade(headers.connection ?? '');

function whenAnswered(socket: Socket, then: () => void): void {
  const response = unanswered(socket);
  if (response === undefined) return then();
  // 'close' comes after 'finish' has passed the socket on to the next response, if there is one.
  response.once('close', () => whenAnswered(socket, then));
}
