import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** Relays between a browser and a server, and counts the bytes in each direction. */
export class Relay {
  readonly port: number;
  toServer = 0;
  toClient = 0;

  private constructor(
    private readonly server: ReturnType<typeof createServer>,
    private readonly sockets: Set<Socket>,
  ) {
    this.port = (server.address() as AddressInfo).port;
  }

  static async start(target: number): Promise<Relay> {
    const sockets = new Set<Socket>();
    const server = createServer((client) => {
      const upstream = connect(target, '127.0.0.1');
      for (const socket of [client, upstream]) {
        sockets.add(socket);
        socket.on('error', () => {});
        socket.on('close', () => {
          sockets.delete(socket);
          client.destroy();
          upstream.destroy();
        });
      }
      client.on('data', (chunk) => (relay.toServer += chunk.length));
      upstream.on('data', (chunk) => (relay.toClient += chunk.length));
      client.pipe(upstream).pipe(client);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const relay = new Relay(server, sockets);
    return relay;
  }

  reset(): void {
    this.toServer = this.toClient = 0;
  }

  close(): void {
    for (const socket of this.sockets) socket.destroy();
    this.server.close();
  }
}
