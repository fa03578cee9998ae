import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';

/** A TCP relay in front of a server that can switch to another server, drop or delay its responses, or end its connections. */
export class TcpRelay {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** Whether to drop the server's bytes on a connection, given all bytes that its client has sent. */
  swallows: (said: string) => boolean = () => false;
  connections = 0;
  /** Milliseconds by which responses are late. */
  delay = 0;

  private constructor(public target: number) {
    this.#server = createServer((client) => this.#relay(client));
  }

  static async start(target: number): Promise<TcpRelay> {
    const relay = new TcpRelay(target);
    relay.#server.listen(0, '127.0.0.1');
    await once(relay.#server, 'listening');
    return relay;
  }

  get port(): number {
    return (this.#server.address() as { port: number }).port;
  }

  /** Destroys all connections. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async stop(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #relay(client: Socket): void {
    this.connections++;
    const upstream = connect(this.target, '127.0.0.1');
    let said = '';
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      this.#sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        this.#sockets.delete(socket);
        other.destroy();
      });
    }
    client.on('data', (chunk: Buffer) => {
      said = (said + chunk.toString('latin1')).slice(-2048);
      upstream.write(chunk);
    });
    upstream.on('data', (chunk: Buffer) => {
      if (this.swallows(said)) return;
      if (this.delay === 0) client.write(chunk);
      else setTimeout(() => client.write(chunk), this.delay);
    });
  }
}
