import type { Server } from 'node:net';

type OnConnection = (this: unknown, error: number, client?: Client) => void;

/** What a server has of its own beside what Node documents; pinned by a contract test. */
interface Listening {
  readonly _handle?: { onconnection?: OnConnection } | null;
}

/** A connection before Node has made a socket of it. */
interface Client {
  getpeername?(name: { address?: string }): number;
  reset?(): number;
  close(): void;
}

/**
 * Resets connections from addresses that `isDenied` before Node makes a socket, with its two streams, for them: that is
 * most of what refusing costs. Where this Node does it in another way, the connection comes to `Port.accept` as any other.
 */
export function dropEarly(server: Server, isDenied: (address: string) => boolean): void {
  const install = (): void => {
    const handle = (server as Listening)._handle;
    const accept = handle?.onconnection;
    if (typeof accept !== 'function') return;
    handle!.onconnection = function (error, client) {
      const address = error === 0 && client !== undefined ? addressOf(client) : undefined;
      if (address !== undefined && isDenied(address)) drop(client!);
      else accept.call(this, error, client);
    };
  };
  if (server.listening) install();
  server.on('listening', install);
}

function addressOf(client: Client): string | undefined {
  const name: { address?: string } = {};
  return client.getpeername?.(name) === 0 ? name.address : undefined;
}

function drop(client: Client): void {
  if (client.reset?.() !== 0) client.close();
}
