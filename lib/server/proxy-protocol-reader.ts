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

/** What the reader needs of its listener. */
export interface ProxyProtocolHost {
  readonly clock: Clock;
  readonly wheel: TimerWheel;
  /** `proxy.protocol` */
  readonly versions: ProxyVersions;
  /** `http.openTimeout`, in milliseconds: for the header, as for all that follows. */
  readonly timeout: number;
  /** `connections.maxPending`: connections that may wait for their header. */
  readonly maxWaiting: number;
  /** A proxy (`proxy.trusted`) must announce its connections. `gone`: nobody can say who it was, as it has left already. */
  peerOf(socket: Socket): 'proxy' | 'untrusted' | 'gone';
  /** A proxy's connection is reset, and why. */
  refused(socket: Socket, detail: string): void;
}

type Emit = (this: Server, event: string, ...args: unknown[]) => boolean;

/**
 * Reads the PROXY protocol's header of each connection from a trusted proxy before the server is told of the connection:
 * before TLS, before HTTP, before any listener of the application's. From then on the connection's peer is the address
 * that the header names. Without a valid header the connection is reset. Connections of others are told at once, and
 * what they send is never taken for a header.
 */
export class ProxyProtocolReader {
  private readonly waiting = new Set<PendingHeader>();
  /** Connections on which TLS is being set up, by both ends of TCP: Node does not document over which socket TLS runs. */
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

  /** Connections that wait for their header, or for TLS behind it. */
  get size(): number {
    return this.waiting.size + this.beforeTls.size;
  }

  /** Stands before the listeners of a server, until what is answered is called. */
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
    // A connection that the server has not been told of must not outlive the server.
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

  /** Ends whatever still waits for its header. */
  drop(): void {
    for (const each of [...this.waiting]) each.end();
  }

  /** True where the socket is kept until its header has come; `proceed` is called with it then. */
  private hold(socket: Socket, proceed: (socket: Socket, connection: ProxiedConnection) => void): boolean {
    if (proxiedBy(socket) !== undefined) return false;
    const peer = this.host.peerOf(socket);
    if (peer === 'gone') abandon(socket);
    if (peer !== 'proxy') return peer === 'gone';
    // protection: connections that wait for a PROXY header are bounded
    if (this.waiting.size >= this.host.maxWaiting) this.oldest()?.fail('others need the place of its header');
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

  /** What is known of TCP is known of TLS over it. False where a proxy's connection was never announced. */
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

/** A connection of a proxy whose header has not come yet. */
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
    // It stays: the socket is never without one.
    // protection: a reset before the PROXY header ends no process
    socket.on('error', ignore);
    // end protection
    socket.on('data', this.onData);
    socket.on('end', this.onEnd);
    socket.on('close', this.onEnd);
  }

  /** Ends it, and tells nobody. */
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

  /** A proxy, or a monitor, that only looks whether the port is open says nothing. */
  private readonly onEnd = (): void => {
    if (this.parser.heldBytes > 0) this.fail('the connection ended within its header');
    else this.end();
  };

  private onHeader(header: ProxyHeader): void {
    const { socket, parser } = this;
    const proxy = socket.remoteAddress ?? '';
    this.stop();
    // What came behind the header is read again, by whoever the server tells of the connection: TLS takes it from the
    // stream before it reads on.
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
