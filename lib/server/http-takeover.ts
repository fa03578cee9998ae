import type { Server as HttpServer } from 'node:http';
import { Server as HttpsServer } from 'node:https';
import type { Server, Socket } from 'node:net';
import type { AcceptHook, Handle } from '../compat/node-handles.js';
import {
  HttpConnection,
  httpProblem,
  NODE_LISTENER,
  type ParsedRequest,
  replaceListener,
  replaceMethod,
  type ServeHttp,
  TLS_LISTENER,
  type WebServer,
  watchUpgrades,
} from '../compat/node-http.js';
import type { ClientAddress } from '../net/address.js';
import { HandleTransport } from '../net/handle-transport.js';
import { AcceptedConnections, type FirstBytesOwner, HttpTap } from './first-bytes.js';

/** The functions of the shared listener that a takeover needs. */
export interface HttpTakeoverHost extends FirstBytesOwner {
  /** Whether the connection that is being emitted may still turn out to be an upgrade. */
  readonly tapsNextConnection: boolean;
  /** Stage 0 for the connections of an HTTP server, before Node creates their sockets. */
  acceptHandles(
    server: WebServer,
    take: (client: Handle, acceptHook: AcceptHook, peer: ClientAddress) => boolean,
  ): () => void;
  /** Stage 0 for a socket; returns false if it was reset. */
  checkSocket(socket: Socket): boolean;
  /** Whether Node's parser may report an upgrade. */
  wantsUpgrade(request: ParsedRequest): boolean;
  /** Records that Node's parser found an upgrade in a head in which ours had found none. */
  markReadByNodeOnly(request: ParsedRequest): void;
  dropHeads(): void;
  notice(message: string): void;
}

/** Replacements of Node's own listener that another application on the same server has installed. */
const replacements = new WeakSet<ServeHttp>();
/**
 * The takeover of one HTTP server of the application by a shared port: the first bytes of its connections, its
 * 'upgrade' events and its close methods. `restore()` gives the server back.
 */
export class HttpTakeover {
  private readonly accepted: AcceptedConnections;
  private readonly taps = new Set<HttpTap>();
  private readonly restorers: (() => void)[] = [];
  private isOver = false;
  /** Starts HTTP on a connection: Node's own listener, or its replacement. */
  private readonly serveHttp: ServeHttp | undefined;

  constructor(
    private readonly host: HttpTakeoverHost,
    private readonly server: WebServer,
  ) {
    this.accepted = new AcceptedConnections(host);
    const isTls = server instanceof HttpsServer;
    const problem = httpProblem();
    this.serveHttp =
      problem === undefined ? this.find(isTls ? 'secureConnection' : 'connection', NODE_LISTENER) : undefined;
    this.restorers.push(
      host.acceptHandles(server, (client, acceptHook, peer) => {
        if (isTls || this.serveHttp === undefined) return false;
        this.accepted.add(new HandleTransport(client, acceptHook), peer);
        return true;
      }),
    );
    if (isTls) this.checkBeforeTls();
    if (this.serveHttp === undefined) this.useUpgradeEvents(problem, isTls);
    else this.readBeforeNode(this.serveHttp, isTls);
  }

  private readBeforeNode(serveHttp: ServeHttp, isTls: boolean): void {
    if (isTls) this.replace('secureConnection', serveHttp, (socket) => this.serve(socket, true));
    else this.replace('connection', serveHttp, (socket) => this.onConnection(socket));
    this.replaceCloseMethods();
  }

  /** Finds Node's own listener among those of the server; `undefined` if it is missing. */
  private find(event: string, own: ServeHttp | undefined): ServeHttp | undefined {
    return (this.server.listeners(event) as ServeHttp[]).find((each) => each === own || replacements.has(each));
  }

  private checkBeforeTls(): void {
    const startTls = this.find('connection', TLS_LISTENER);
    if (startTls === undefined) return;
    this.replace('connection', startTls, (socket) => {
      if (this.isOver || this.host.checkSocket(socket)) startTls.call(this.server, socket);
    });
  }

  /** Uses only public interfaces: upgrades are handled after Node's parser has read them. */
  private useUpgradeEvents(problem: string | undefined, isTls: boolean): void {
    const { host, server } = this;
    const why = problem ?? "the server's own 'connection' listener was replaced";
    host.notice(`upgrades on the shared port are read by Node's HTTP parser, and its limits apply: ${why}`);
    const onSocket = (socket: Socket): void => {
      if (isTls || host.checkSocket(socket)) this.watch(socket, { isOrdinary: false });
    };
    const event = isTls ? 'secureConnection' : 'connection';
    (server as Server).on(event, onSocket);
    this.restorers.push(() => server.removeListener(event, onSocket));
  }

  /** Restores all listeners and methods of the server. */
  restore(): void {
    this.isOver = true;
    // Node's sockets for these connections are found through the replaced listener.
    this.accepted.flush();
    // protection: a closed application gives the server back
    for (const undo of this.restorers.reverse()) undo();
    // end protection
    for (const tap of this.taps) tap.giveUp();
  }

  /** Starts HTTP again on a socket from which `bytes` were read, which Node parses first. */
  resumeHttp(socket: Socket, bytes: Buffer, hasEnded: boolean): void {
    const http = new HttpConnection(this.server, socket, this.serveHttp!);
    http.restoreTimeout();
    this.watch(socket, { isOrdinary: true });
    if (bytes.length > 0) http.feed(bytes);
    if (hasEnded) http.end();
    else socket.resume();
  }

  private onConnection(socket: Socket): void {
    const recipient = HandleTransport.recipientOf(socket);
    // The handshake on this socket succeeded: HTTP has ended on it.
    if (recipient === 'webSocket') return;
    // protection: a socket that another server gives away passes stage 0
    if (recipient === undefined && !this.isOver && !this.host.checkSocket(socket)) return;
    // end protection
    this.serve(socket, this.host.tapsNextConnection);
  }

  private serve(socket: Socket, isTapped: boolean): void {
    if (isTapped && !this.isOver) {
      const http = new HttpConnection(this.server, socket, this.serveHttp!);
      this.watch(socket, new HttpTap(this.host, http, socket, this.taps));
    } else {
      this.serveHttp!.call(this.server, socket);
      if (!this.isOver) this.watch(socket, { isOrdinary: true });
    }
  }

  /**
   * Because this library listens to 'upgrade', Node would emit it for every `Upgrade` header. A request for another
   * protocol remains an ordinary request, as without this library.
   */
  private watch(socket: Socket, head: { readonly isOrdinary: boolean }): void {
    watchUpgrades(socket, (request: ParsedRequest, isFirst) => {
      if (this.isOver) return;
      // protection: upgrades to other protocols stay ordinary requests
      if (!this.host.wantsUpgrade(request)) {
        request.upgrade = false;
        return;
      }
      // end protection
      if (isFirst && head.isOrdinary) this.host.markReadByNodeOnly(request);
      // Node removes its own listener before it emits 'upgrade'.
      // protection: an upgrade in other hands has a listener for errors
      socket.on('error', ignore);
      // end protection
    });
  }

  /** Ends connections that Node does not know of yet when a call closes all connections. */
  private replaceCloseMethods(): void {
    const { accepted } = this;
    const server = this.server as HttpServer;
    this.restorers.push(
      replaceMethod(
        server,
        'close',
        (was) =>
          function (this: HttpServer, ...args) {
            // protection: connections that Node does not know of end with the server
            accepted.flush();
            // end protection
            return was.apply(this, args);
          },
      ),
      replaceMethod(server, 'closeIdleConnections', (was) => () => {
        // protection: connections that Node does not know of end with the server
        accepted.flush();
        // end protection
        was.call(server);
      }),
      replaceMethod(server, 'closeAllConnections', (was) => () => {
        // protection: connections that Node does not know of end with the server
        accepted.flush();
        // end protection
        // protection: closeAllConnections ends unfinished heads
        this.host.dropHeads();
        // end protection
        was.call(server);
      }),
    );
  }

  private replace(event: string, own: ServeHttp, replacement: (socket: Socket) => void): void {
    replacements.add(replacement);
    const undo = replaceListener(this.server, event, own as never, replacement as never);
    if (undo !== undefined) this.restorers.push(undo);
  }
}

function ignore(): void {}
