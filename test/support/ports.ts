import { createServer } from 'node:net';

/**
 * An unused port below the range of outgoing connections: a client that retries a server that has ended must not connect
 * to itself. The bus of Redis Cluster uses the port 10 000 above.
 */
export async function unusedPort(): Promise<number> {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 10_000);
    const server = createServer();
    const isFree = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false));
      server.listen(port, '127.0.0.1', () => resolve(true));
    });
    if (!isFree) continue;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
}
