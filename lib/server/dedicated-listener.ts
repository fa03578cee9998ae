import { createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type TLSSocket, type Server as TlsServer } from 'node:tls';
import { type Handle, handleOf } from '../compat/node-handles.js';
import { connectionKey } from '../compat/node-tls.js';
import type { GatewaySettings } from '../config/settings.js';
import type { PendingHandshake } from '../handshake/pending-handshake.js';
import { HeadMeter } from '../http/head-meter.js';
import type { Refusal } from '../http/refusal.js';
import type { ClientAddress } from '../net/address.js';
import { HandleTransport } from '../net/handle-transport.js';
import { SocketTransport } from '../net/socket-transport.js';
import type { Transport } from '../net/transport.js';
import { Listener } from './listener.js';
import type { ServerContext } from './server-context.js';
import { TlsFiles } from './tls-files.js';

const LONGEST_TIMER = 2 ** 31 - 1;

/**
 * The listener of a dedicated port: it has no HTTP server, and refuses every request other than an upgrade with 426.
 */
export class DedicatedListener extends Listener {
  readonly isDedicated = true;
  readonly hasOtherListeners = false;
  readonly server: Server | TlsServer;
  private readonly files: TlsFiles | undefined;
  /** The last connection that stage 0 accepted, until Node has created a socket for it. */
  private judged: { readonly client: Handle; readonly peer: ClientAddress } | undefined = undefined;

  constructor(
    context: ServerContext,
    settings: GatewaySettings,
    readonly port: number,
  ) {
    super(context, settings);
    const { tls } = settings;
    this.files = TlsFiles.areConfigured(tls) ? new TlsFiles(tls, context.telemetry) : undefined;
    this.server = this.files === undefined ? this.plain() : this.secure(this.files);
    const { server } = this;
    const isTls = this.files !== undefined;
    this.acceptEarly(server, (client, acceptHook, peer) => {
      // With the PROXY protocol, the peer's address is in the header, which has not arrived yet.
      if (isTls && this.proxyReader === undefined) this.judged = { client, peer };
      if (isTls || !this.isHandleUsable(server, peer)) return false;
      this.open(new HandleTransport(client, acceptHook), peer)?.read();
      return true;
    });
    this.proxyReader?.attach(server, isTls);
  }

  /** A connection that was checked on its handle is not checked again on its socket. */
  override accept(tcp: Socket): PendingHandshake | undefined {
    const { judged } = this;
    this.judged = undefined;
    if (judged === undefined || judged.client !== handleOf(tcp)) return super.accept(tcp);
    return this.open(new SocketTransport(tcp), judged.peer);
  }

  newMeter(): HeadMeter {
    return new HeadMeter(this.headLimits);
  }

  handOver(transport: Transport): void {
    transport.destroy();
  }

  /** Every connection to a dedicated port needs a slot: without one it is reset, before TLS and a request head. */
  protected override capacityRefusal(peer: ClientAddress): Refusal | undefined {
    const { addresses, attempts, capacity, cluster } = this.context;
    const full = capacity.refusalFor(addresses.findLive(peer)) ?? cluster?.roomRefusal(peer);
    if (full === undefined) return undefined;
    // protection: an attempt that is refused at accept is counted
    const entry = addresses.acquire(peer);
    attempts.charge(entry);
    addresses.release(entry);
    // end protection
    // protection: a full dedicated port costs no TLS
    return full;
    // end protection
  }

  /** Starts listening. Rejects with Node's error if that fails. */
  listen(): Promise<void> {
    const { server } = this;
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen({ port: this.port, host: this.settings.listen.host }, () => {
        server.removeListener('error', reject);
        server.on('error', (error: Error) => this.context.telemetry.fault('listener', error));
        resolve();
      });
    });
  }

  override async close(): Promise<void> {
    this.files?.stop();
    this.proxyReader?.drop();
    await super.close();
    return new Promise((resolve) => {
      if (this.server.listening) this.server.close(() => resolve());
      else resolve();
    });
  }

  passesOn(): boolean {
    return false;
  }

  private plain(): Server {
    return createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
      if (HandleTransport.recipientOf(socket) === undefined) this.accept(socket)?.read();
    });
  }

  private secure(files: TlsFiles): TlsServer {
    const { minVersion, requestCert } = this.settings.tls;
    // Half-open sockets are not allowed, as on Node's own HTTPS server: a peer that half-closes during the TLS
    // handshake has left.
    const server = createTlsServer({
      noDelay: true,
      ...files.read(),
      // protection: old versions of TLS are refused
      minVersion,
      // end protection
      // protection: client certificates are asked for
      requestCert,
      // end protection
      rejectUnauthorized: requestCert,
      handshakeTimeout: Math.min(this.openTimeout + 1000, LONGEST_TIMER),
    });
    // protection: renewed certificates are taken over
    files.watch((pems) => server.setSecureContext({ ...pems, minVersion }));
    // end protection
    this.beginBeforeTls(server);
    return server;
  }

  /** Starts a pending handshake for each connection before TLS, and reads it when TLS is set up. */
  private beginBeforeTls(server: TlsServer): void {
    // The server is new, so its only listener is the one with which Node starts TLS.
    const startTls = server.listeners('connection') as OnConnection[];
    server.removeAllListeners('connection');
    const waiting = new Map<string | Socket, PendingHandshake>();
    server.on('connection', (tcp: Socket) => {
      const handshake = this.accept(tcp);
      if (handshake === undefined) return;
      const key = connectionKey(tcp);
      waiting.set(key, handshake);
      handshake.onRelease = () => {
        // With addresses as keys, a new connection from the same port could arrive before this one is removed.
        if (waiting.get(key) === handshake) waiting.delete(key);
      };
      const start = (): void => {
        for (const each of startTls) each.call(server, tcp);
      };
      // A reader of the PROXY protocol has paused the socket, and may have put back bytes after the header.
      // protection: a silent peer costs no TLS object
      if (!tcp.isPaused()) return startWithFirstBytes(tcp, start);
      // end protection
      start();
    });
    server.on('secureConnection', (socket: TLSSocket) => {
      const handshake = waiting.get(connectionKey(socket));
      if (handshake === undefined) socket.destroy();
      else handshake.read(socket);
    });
    // Node destroys the socket; without this listener the error would end the process.
    server.on('tlsClientError', (_error: Error, socket: TLSSocket) => {
      socket.on('error', ignore);
      waiting.get(connectionKey(socket))?.drop();
    });
  }
}

/**
 * Starts TLS with the first bytes, which Node's TLS takes from the socket. Node then allocates a buffer of their size for
 * the connection, instead of one of 64 KiB: V8 counts 50 KiB of external memory for a TLS connection instead of 113, and
 * collects the whole heap less often.
 */
function startWithFirstBytes(tcp: Socket, start: () => void): void {
  tcp.once('data', (chunk: Buffer) => {
    tcp.pause();
    tcp.unshift(chunk);
    start();
  });
}

type OnConnection = (this: TlsServer, socket: Socket) => void;

function ignore(): void {}
