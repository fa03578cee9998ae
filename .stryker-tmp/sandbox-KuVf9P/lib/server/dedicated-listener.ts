// @ts-nocheck
import { createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:tls';
import { interceptTls } from '../compat/server-listeners.js';
import type { GatewaySettings } from '../config/settings.js';
import { HeadMeter } from '../http/head-meter.js';
import type { Refusal } from '../http/refusal.js';
import type { ClientAddress } from '../net/address.js';
import { HandleTransport } from '../net/handle-transport.js';
import { TlsFiles } from '../net/tls-files.js';
import { Listener } from './listener.js';
import type { ServerContext } from './server-context.js';

const LONGEST_TIMER = 2 ** 31 - 1;

/** A port of gateways' own: no HTTP server, only upgrades. Everything else is answered 426, and over. */
export class DedicatedListener extends Listener {
  readonly isOwn = true;
  readonly hasForeignUpgrades = false;
  readonly server: Server | TlsServer;
  private readonly files: TlsFiles | undefined;

  constructor(
    engine: ServerContext,
    settings: GatewaySettings,
    readonly number: number,
  ) {
    super(engine, settings);
    const { tls } = settings;
    this.files = TlsFiles.areNamed(tls) ? new TlsFiles(tls, engine.telemetry) : undefined;
    this.server = this.files === undefined ? this.plain() : this.secure(this.files);
    this.acceptEarly(this.server, this.files !== undefined);
  }

  newMeter(): HeadMeter {
    return new HeadMeter(this.headLimits);
  }

  /** Nobody else is here. */
  handOver(socket: Socket): void {
    socket.destroy();
  }

  /** Here is nobody but upgrades: who has no room is reset, and costs neither TLS nor a head. */
  protected override isFullFor(peer: ClientAddress): Refusal | undefined {
    const { addresses, capacity, store } = this.engine;
    const full = capacity.breach(addresses.live(peer));
    if (full === undefined) return undefined;
    const entry = addresses.acquire(peer);
    void store.chargeAttempt(entry);
    addresses.release(entry);
    return full;
  }

  /** Resolves when it listens; rejects with Node's error when it cannot. */
  listen(): Promise<void> {
    const { server } = this;
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen({ port: this.number, host: this.settings.listen.host }, () => {
        server.removeListener('error', reject);
        server.on('error', (error: Error) => this.engine.telemetry.fault('listener', error));
        resolve();
      });
    });
  }

  override async close(): Promise<void> {
    this.files?.stop();
    await super.close();
    return new Promise((resolve) => {
      if (this.server.listening) this.server.close(() => resolve());
      else resolve();
    });
  }

  private plain(): Server {
    return createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
      if (!HandleTransport.adopt(socket)) this.accept(socket)?.read();
    });
  }

  private secure(files: TlsFiles): TlsServer {
    const { minVersion, requestCert } = this.settings.tls;
    // No half-open sockets, as on Node's own HTTPS: who leaves in the middle of a TLS handshake has left.
    const server = createTlsServer({
      noDelay: true,
      ...files.read(),
      minVersion,
      requestCert,
      rejectUnauthorized: requestCert,
      handshakeTimeout: Math.min(this.openTimeout + 1000, LONGEST_TIMER),
    });
    files.watch((pems) => server.setSecureContext({ ...pems, minVersion }));
    interceptTls(server, this, (handshake, socket) => handshake.read(socket));
    return server;
  }
}
