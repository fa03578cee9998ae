// @ts-nocheck
import { Server as HttpServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { Server as HttpsServer } from 'node:https';
import type { Server as NetServer, Socket } from 'node:net';
import type { Server as TlsServer } from 'node:tls';
import { interceptTls, takeListener } from '../compat/server-listeners.js';
import type { GatewaySettings } from '../config/settings.js';
import { HeadMeter } from '../http/head-meter.js';
import { REFUSALS } from '../http/refusal.js';
import { HandleTransport } from '../net/handle-transport.js';
import { Listener } from './listener.js';
import type { ServerContext } from './server-context.js';

/** Node's limit for a whole head where a server has none of its own. */
const NODE_MAX_HEADER_SIZE = 16 * 1024;

export type WebServer = HttpServer | HttpsServer;

/** The application's HTTP server, with our gateways beside its routes: what is not an upgrade of ours never notices. */
export class SharedListener extends Listener {
  readonly isOwn = false;
  private readonly attached = new Set<WebServer>();

  constructor(
    engine: ServerContext,
    settings: GatewaySettings,
    readonly server: WebServer,
  ) {
    super(engine, settings);
    this.attach(server);
    server.on('upgrade', (request: Incoming, socket: Socket, rest: Buffer) => {
      if (this.isOurs(request)) this.onUpgrade(request, socket, rest);
    });
    this.claimUpgrades(server);
  }

  get hasForeignUpgrades(): boolean {
    return this.engine.settings.foreignUpgrades === 'auto' && this.server.listenerCount('upgrade') > 1;
  }

  newMeter(): HeadMeter {
    const { maxHeaderSize } = this.server as { maxHeaderSize?: number };
    return new HeadMeter(this.headLimits, { ordinaryLimit: maxHeaderSize ?? NODE_MAX_HEADER_SIZE });
  }

  /** Puts our accept before a server's own. Also for servers that the platform opens beside the first. */
  attach(server: WebServer): void {
    if (this.attached.has(server)) return;
    this.attached.add(server);
    const isTls = server instanceof HttpsServer;
    this.acceptEarly(server, isTls);
    if (isTls) this.attachSecure(server);
    else this.attachPlain(server);
  }

  handOver(socket: Socket, bytes: Buffer): void {
    const serve = (socket as Served)[SERVE];
    if (serve === undefined) {
      socket.destroy();
      return;
    }
    // Node takes its own listener off where it hands an upgrade to others.
    socket.on('error', ignore);
    socket.pause();
    if (bytes.length > 0) socket.unshift(bytes);
    serve(socket);
    this.watchUpgrades(socket);
    socket.resume();
  }

  private attachPlain(server: HttpServer): void {
    const serve = takeListener(server as unknown as TlsServer, 'connection').bind(server as unknown as TlsServer);
    (server as NetServer).prependListener('connection', (socket: Socket) => {
      (socket as Served)[SERVE] = serve;
      if (!HandleTransport.adopt(socket)) this.accept(socket)?.read();
    });
  }

  private attachSecure(server: HttpsServer): void {
    const serve = takeListener(server as unknown as TlsServer, 'secureConnection').bind(server as unknown as TlsServer);
    interceptTls(server as unknown as TlsServer, this, (handshake, socket) => {
      (socket as Served)[SERVE] = serve;
      handshake.read(socket);
    });
  }

  /**
   * Because we listen to 'upgrade', Node would call us for every `Upgrade` there is: those that are not WebSockets
   * stay the requests that they are without us. And a head that our meter gave to Node without having read an
   * upgrade in it must not come back as one.
   */
  private watchUpgrades(socket: Socket): void {
    const { parser } = socket as { parser?: { onIncoming?: OnIncoming | null } | null };
    const onIncoming = parser?.onIncoming;
    if (!parser || !onIncoming) return;
    let isFirst = true;
    parser.onIncoming = (request, keepAlive) => {
      if (request.upgrade && request.method !== 'CONNECT') this.sortUpgrade(request, isFirst);
      isFirst = false;
      return onIncoming(request, keepAlive);
    };
  }

  private sortUpgrade(request: Incoming, isFirst: boolean): void {
    if (asksForWebSocket(request)) request[UNREAD] = isFirst;
    else if (this.server.listenerCount('upgrade') === 1) request.upgrade = false;
  }

  /** What is ours is told to nobody else: others who listen for upgrades would answer on the same socket. */
  private claimUpgrades(server: WebServer): void {
    const emit = server.emit as (this: WebServer, event: string, ...args: unknown[]) => boolean;
    const claimed = (...[request, socket, rest]: unknown[]): boolean => {
      if (!this.isOurs(request as Incoming)) return false;
      this.onUpgrade(request as Incoming, socket as Socket, rest as Buffer);
      return true;
    };
    server.emit = function (this: WebServer, event: string, ...args: unknown[]): boolean {
      return (event === 'upgrade' && claimed(...args)) || emit.call(this, event, ...args);
    };
  }

  private isOurs(request: Incoming): boolean {
    if (!asksForWebSocket(request)) return false;
    return !this.hasForeignUpgrades || this.endpoints.has((request.url ?? '').split('?', 1)[0]!);
  }

  /** An upgrade that Node's parser has read: a later request of a keep-alive connection. */
  private onUpgrade(request: Incoming, socket: Socket, rest: Buffer): void {
    const { method = '', url = '', httpVersion, rawHeaders } = request;
    const handshake = this.accept(socket);
    if (handshake === undefined) return;
    if (unanswered(socket) !== undefined)
      handshake.refuseWhen((then) => whenAnswered(socket, then), REFUSALS.pipelined);
    // Our meter gave up on this head because it had not said so within what an ordinary one may have.
    else if (request[UNREAD]) handshake.refuseWhen((then) => then(), REFUSALS.tooManyHeaders);
    else handshake.resume({ method, target: url, version: httpVersion, rawHeaders }, rest);
  }
}

/** Set on an upgrade that is the first request of its connection: our own meter did not read it as one. */
const UNREAD = Symbol('nest-secure-ws.unread');
type Incoming = IncomingMessage & { upgrade?: boolean; [UNREAD]?: boolean };
type OnIncoming = (request: Incoming, keepAlive: boolean) => unknown;

const SERVE = Symbol('nest-secure-ws.serve');
interface Served {
  [SERVE]?: (socket: Socket) => void;
}

const asksForWebSocket = ({ headers }: IncomingMessage): boolean =>
  headers.upgrade?.split(',').some((protocol) => protocol.trim().toLowerCase() === 'websocket') ?? false;

/** The response that is still being written to a socket, if there is one. */
const unanswered = (socket: Socket): ServerResponse | undefined =>
  (socket as { _httpMessage?: ServerResponse | null })._httpMessage ?? undefined;

function whenAnswered(socket: Socket, then: () => void): void {
  const response = unanswered(socket);
  if (response === undefined) return then();
  // 'close' comes after 'finish' has passed the socket on to the next response, if there is one.
  response.once('close', () => whenAnswered(socket, then));
}

function ignore(): void {}
