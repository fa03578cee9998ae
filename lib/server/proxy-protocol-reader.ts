import type { Server, Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { replaceMethod } from '../compat/node-http.js';
import { connectionKey } from '../compat/node-tls.js';
import { markProxied, type ProxiedConnection, proxiedBy } from '../net/proxied-connection.js';
import {
  MORE,
  type ProxyHeader,
  ProxyHeaderFault,
  ProxyProtocolParser,
  type ProxyVersions,
} from '../net/proxy-protocol.js';
import { reset } from '../net/reset.js';
import type { Clock, Timed, TimerWheel } from '../net/timer-wheel.js';

/** The functions and settings of the listener that the reader needs. */
export interface ProxyProtocolHost {
  readonly clock: Clock;
  readonly wheel: TimerWheel;
  /** `proxy.protocol` */
  readonly versions: ProxyVersions;
  /** `http.openTimeout` in milliseconds; it covers the header and all that follows. */
  readonly timeout: number;
  /** `connections.maxPending`: maximum number of connections that wait for their header. */
  readonly maxWaiting: number;
  /**
   * Whether the peer is a proxy (`proxy.trusted`), which must send a header. `gone`: the peer has already left, and its
   * address is unknown.
   */
  peerOf(socket: Socket): 'proxy' | 'untrusted' | 'gone';
  /** Called when a proxy's connection is reset, with the reason. */
  refused(socket: Socket, detail: string): void;
}

type Emit = (this: Server, event: string, ...args: unknown[]) => boolean;

/**
 * Reads the PROXY protocol header of each connection from a trusted proxy before the server receives the connection:
 * before TLS, HTTP and all listeners of the application. From then on the address in the header is the peer's address.
 * A connection without a valid header is reset. Connections of other peers are passed on at once, and their bytes are
 * never read as a header.
 */
export class ProxyProtocolReader {
  private readonly waiting = new Set<PendingHeader>();
  /** Connections on which TLS is being set up. */
  private readonly beforeTls = new Map<
    string | Socket,
    { readonly tcp: Socket; readonly connection: ProxiedConnection }
  >();
  private readonly names = new WeakMap<Socket, string | Socket>();
  private readonly onTcpClose: (this: Socket) => void;

  constructor(private readonly host: ProxyProtocolHost) {
    const reader = this;
    this.onTcpClose = function (this: Socket) {
      reader.forget(this);
    };
  }

  /** Connections that wait for their header, or for TLS after it. */
  get size(): number {
    return this.waiting.size + this.beforeTls.size;
  }

  /** Intercepts connections before the listeners of a server, until the returned function is called. */
  attach(server: Server, isTls: boolean): () => void {
    const emit = server.emit as Emit;
    const reader = this;
    const proceed = (socket: Socket, connection: ProxiedConnection): void => {
      if (isTls) reader.remember(socket, connection);
      markProxied(socket, connection);
      emit.call(server, 'connection', socket);
      // TLS reads from below the stream.
      if (!isTls && !socket.destroyed) socket.resume();
    };
    const attached: Emit = function (this: Server, event, ...args) {
      switch (event) {
        case 'connection':
          if (reader.hold(args[0] as Socket, proceed)) return true;
          break;
        case 'secureConnection':
          if (!reader.markTls(args[0] as TLSSocket)) return true;
          break;
        case 'tlsClientError':
          reader.markTls(args[1] as TLSSocket);
      }
      return emit.call(this, event, ...args);
    };
    const restore = [replaceMethod(server as { emit: Emit }, 'emit', () => attached)];
    // Connections that the server has not received yet must end with the server.
    for (const name of ['close', 'closeAllConnections', 'closeIdleConnections'] as const) {
      const methods = server as unknown as Record<string, ((...args: unknown[]) => unknown) | undefined>;
      if (methods[name] === undefined) continue;
      restore.push(
        replaceMethod(methods, name, (was) => {
          return function (this: Server, ...args: unknown[]) {
            reader.drop();
            return was!.apply(this, args);
          };
        }),
      );
    }
    return () => {
      for (const each of restore.reverse()) each();
      this.drop();
    };
  }

  /** Ends all connections that wait for their header. */
  drop(): void {
    for (const each of [...this.waiting]) each.end();
  }

  /** Returns true if the socket is kept until its header has arrived; `proceed` is then called with it. */
  private hold(socket: Socket, proceed: (socket: Socket, connection: ProxiedConnection) => void): boolean {
    if (proxiedBy(socket) !== undefined) return false;
    const peer = this.host.peerOf(socket);
    if (peer === 'gone') abandon(socket);
    if (peer !== 'proxy') return peer === 'gone';
    // protection: connections that wait for a PROXY header are bounded
    if (this.waiting.size >= this.host.maxWaiting) this.oldest()?.fail('dropped to make room for newer connections');
    // end protection
    const each = new PendingHeader(this.host, socket, {
      left: () => void this.waiting.delete(each),
      announced: (connection) => proceed(socket, connection),
    });
    this.waiting.add(each);
    return true;
  }

  private oldest(): PendingHeader | undefined {
    const [first] = this.waiting;
    return first;
  }

  private remember(tcp: Socket, connection: ProxiedConnection): void {
    const name = connectionKey(tcp);
    this.names.set(tcp, name);
    this.beforeTls.set(name, { tcp, connection });
    tcp.on('close', this.onTcpClose);
  }

  private forget(tcp: Socket): void {
    const name = this.names.get(tcp);
    if (name !== undefined && this.beforeTls.get(name)?.tcp === tcp) this.beforeTls.delete(name);
  }

  /**
   * Copies the facts about a TCP connection to the TLS socket over it. Returns false for a proxy's connection without a
   * header.
   */
  private markTls(socket: TLSSocket): boolean {
    const known = this.beforeTls.get(connectionKey(socket));
    if (known !== undefined) {
      known.tcp.removeListener('close', this.onTcpClose);
      this.forget(known.tcp);
      markProxied(socket, known.connection);
    } else if (this.host.peerOf(socket) !== 'untrusted') {
      abandon(socket);
      return false;
    }
    return true;
  }
}

interface WaitingHost {
  left(): void;
  announced(connection: ProxiedConnection): void;
}

/** A proxy's connection whose header has not arrived yet. */
class PendingHeader {
  private readonly parser: ProxyProtocolParser;
  private readonly acceptedAt: number;
  private readonly timer: Timed;
  private isOver = false;

  constructor(
    private readonly settings: ProxyProtocolHost,
    private readonly socket: Socket,
    private readonly host: WaitingHost,
  ) {
    this.parser = new ProxyProtocolParser(settings.versions);
    this.acceptedAt = settings.clock.now();
    this.timer = settings.wheel.timer(
      () => this.fail('no header within http.openTimeout'),
      this.acceptedAt + settings.timeout,
    );
    // The error listener stays attached, so that the socket always has one.
    // protection: a reset before the PROXY header ends no process
    socket.on('error', ignore);
    // end protection
    socket.on('data', this.onData);
    socket.on('end', this.onEnd);
    socket.on('close', this.onEnd);
  }

  /** Ends the connection without a report. */
  end(): void {
    this.stop();
    reset(this.socket);
  }

  fail(detail: string): void {
    if (this.isOver) return;
    this.settings.refused(this.socket, detail);
    this.end();
  }

  private readonly onData = (chunk: Buffer): void => {
    const result = this.parser.push(chunk);
    if (result === MORE) return;
    // protection: an invalid PROXY header is refused
    if (result instanceof ProxyHeaderFault) return this.fail(result.message);
    // end protection
    this.onHeader(result);
  };

  /** A proxy, or a monitor, that only checks whether the port is open sends nothing. */
  private readonly onEnd = (): void => {
    if (this.parser.heldBytes > 0) this.fail('the connection ended within its header');
    else this.end();
  };

  private onHeader(header: ProxyHeader): void {
    const { socket, parser } = this;
    const proxy = socket.remoteAddress ?? '';
    this.stop();
    // The bytes after the header are put back, for the reader of the connection: TLS takes them from the stream before
    // it reads on.
    socket.pause();
    if (parser.rest.length > 0) socket.unshift(parser.rest);
    this.host.announced({ header, proxy, acceptedAt: this.acceptedAt });
  }

  private stop(): void {
    if (this.isOver) return;
    this.isOver = true;
    const { socket } = this;
    this.settings.wheel.cancel(this.timer);
    socket.removeListener('data', this.onData);
    socket.removeListener('end', this.onEnd);
    socket.removeListener('close', this.onEnd);
    this.host.left();
  }
}

function abandon(socket: Socket): void {
  socket.on('error', ignore);
  socket.destroy();
}

function ignore(): void {}
