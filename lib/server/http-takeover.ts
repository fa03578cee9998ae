import { Server as HttpsServer } from 'node:https';
import type { Server, Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import type { Gate, Handle } from '../compat/node-handles.js';
import {
  HttpConnection,
  NODE_LISTENER,
  type ParsedRequest,
  probeHttp,
  replaceListener,
  replaceMethod,
  type WebServer,
  watchUpgrades,
} from '../compat/node-http.js';
import type { ClientAddress } from '../net/address.js';
import { HandleTransport } from '../net/handle-transport.js';
import { Arrivals, type FirstBytesOwner, HttpTap } from './first-bytes.js';

/** The shared listener behind a takeover. */
export interface HttpTakeoverHost extends FirstBytesOwner {
  /** Whether the connection that is being emitted may still turn out to be an upgrade. */
  readonly tapsNext: boolean;
  /** Stage 0 for the connections of an HTTP server, before Node makes sockets of them. */
  acceptHandles(server: WebServer, take: (client: Handle, gate: Gate, peer: ClientAddress) => boolean): () => void;
  /** Stage 0 for a socket; false where it was reset. */
  admit(socket: Socket): boolean;
  /** Whether Node's parser may report an upgrade. */
  wantsUpgrade(request: ParsedRequest): boolean;
  /** Notes that Node's parser found an upgrade in a head in which ours had found none. */
  markUnread(request: ParsedRequest): void;
  dropHeads(): void;
  notice(message: string): void;
}

type OnSocket = (this: WebServer, socket: Socket) => void;

/** The listener with which every TLS server of Node's starts TLS. */
const TLS_LISTENER = createTlsServer().listeners('connection')[0] as OnSocket;

let problem: string | undefined | null = null;

/**
 * One HTTP server of the application, so far as a shared port takes part in it: the first bytes of its connections, its
 * 'upgrade' events and its close methods. `giveBack()` leaves the server as it was.
 */
export class HttpTakeover {
  private readonly arrivals: Arrivals;
  private readonly taps = new Set<HttpTap>();
  private readonly undo: (() => void)[] = [];
  private isOver = false;

  constructor(
    private readonly host: HttpTakeoverHost,
    private readonly server: WebServer,
  ) {
    this.arrivals = new Arrivals(host);
    const isTls = server instanceof HttpsServer;
    const own = NODE_LISTENER as OnSocket;
    problem = problem === null ? probeHttp() : problem;
    const canTap = problem === undefined && server.listeners(isTls ? 'secureConnection' : 'connection').includes(own);
    this.undo.push(
      host.acceptHandles(server, (client, gate, peer) => {
        if (isTls || !canTap) return false;
        this.arrivals.add(new HandleTransport(client, gate), peer);
        return true;
      }),
    );
    if (isTls)
      this.replace('connection', TLS_LISTENER, (socket) => host.admit(socket) && TLS_LISTENER.call(server, socket));
    if (!canTap) {
      host.notice(
        `upgrades on the shared port are read by Node's HTTP parser, within its limits (${problem ?? "the server has not Node's own 'connection' listener"})`,
      );
      return;
    }
    if (isTls) this.replace('secureConnection', own, (socket) => this.serve(socket, true));
    else this.replace('connection', own, (socket) => this.onConnection(socket));
    this.replaceCloseMethods();
  }

  /** Takes part no longer: all listeners and methods are the server's own again. */
  giveBack(): void {
    this.isOver = true;
    // Node's sockets for these are found through the replaced listener.
    this.arrivals.flush();
    // protection: a closed application gives the server back
    for (const undo of this.undo.reverse()) undo();
    // end protection
    for (const tap of this.taps) tap.giveUp();
  }

  /** Starts HTTP again on a socket from which `bytes` were read, which Node parses first. */
  serveAgain(socket: Socket, bytes: Buffer, hasEnded: boolean): void {
    const http = new HttpConnection(this.server, socket, NODE_LISTENER!);
    this.watch(socket, { isOrdinary: true });
    if (bytes.length > 0) http.feed(bytes);
    if (hasEnded) http.end();
    else socket.resume();
  }

  private onConnection(socket: Socket): void {
    const heir = HandleTransport.heirOf(socket);
    // The socket of a handshake that succeeded: HTTP is over on it.
    if (heir === 'webSocket') return;
    // protection: a socket that another server gives away passes stage 0
    if (heir === undefined && !this.isOver && !this.host.admit(socket)) return;
    // end protection
    this.serve(socket, this.host.tapsNext);
  }

  private serve(socket: Socket, isTapped: boolean): void {
    if (isTapped && !this.isOver) {
      const http = new HttpConnection(this.server, socket, NODE_LISTENER!);
      this.watch(socket, new HttpTap(this.host, http, socket, this.taps));
    } else {
      NODE_LISTENER!.call(this.server, socket);
      if (!this.isOver) this.watch(socket, { isOrdinary: true });
    }
  }

  /**
   * Because this library listens to 'upgrade', Node would emit it for every `Upgrade`: a request for another protocol
   * stays the ordinary request that it is without this library.
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
      if (isFirst && head.isOrdinary) this.host.markUnread(request);
      // Node takes its own listener off before it emits 'upgrade'.
      // protection: an upgrade in other hands has a listener for errors
      socket.on('error', ignore);
      // end protection
    });
  }

  /** A connection that Node does not know of yet must not outlive a call that closes connections. */
  private replaceCloseMethods(): void {
    const { arrivals, server } = this;
    this.undo.push(
      replaceMethod(
        server,
        'close',
        (was) =>
          function (this: Server, ...args) {
            // protection: connections that Node does not know of end with the server
            arrivals.flush();
            // end protection
            return was.apply(this as WebServer, args) as never;
          },
      ),
      replaceMethod(server, 'closeIdleConnections', (was) => () => {
        // protection: connections that Node does not know of end with the server
        arrivals.flush();
        // end protection
        was.call(server);
      }),
      replaceMethod(server, 'closeAllConnections', (was) => () => {
        // protection: connections that Node does not know of end with the server
        arrivals.flush();
        // end protection
        // protection: closeAllConnections ends unfinished heads
        this.host.dropHeads();
        // end protection
        was.call(server);
      }),
    );
  }

  private replace(event: string, own: OnSocket, replacement: (socket: Socket) => unknown): void {
    const undo = replaceListener(this.server, event, own as never, replacement as never);
    if (undo !== undefined) this.undo.push(undo);
  }
}

function ignore(): void {}
