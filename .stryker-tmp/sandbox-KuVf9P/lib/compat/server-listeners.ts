// @ts-nocheck
import type { Socket } from 'node:net';
import type { Server, TLSSocket } from 'node:tls';
import type { PendingHandshake } from '../handshake/pending-handshake.js';
import type { Listener } from '../server/listener.js';

type OnConnection = (this: Server, socket: Socket) => void;

/** Takes a server's own first listener off, to be called later or not at all. */
export function takeListener(server: Server, event: string): OnConnection {
  const [listener] = server.listeners(event) as OnConnection[];
  if (listener === undefined) throw new Error(`the server does not listen to its own '${event}'`);
  server.removeListener(event, listener);
  return listener;
}

/** Puts our accept before the TLS of a server, and what `onSecure` does behind it. */
export function interceptTls(
  server: Server,
  port: Listener,
  onSecure: (handshake: PendingHandshake, socket: TLSSocket) => void,
): void {
  const startTls = takeListener(server, 'connection');
  const waiting = new Map<string | Socket, PendingHandshake>();
  server.prependListener('connection', (tcp: Socket) => {
    const handshake = port.accept(tcp);
    if (handshake === undefined) return;
    const name = nameOf(tcp);
    waiting.set(name, handshake);
    handshake.onLeft = () => {
      // Another connection from the same port may have come before this one was known to be over.
      if (waiting.get(name) === handshake) waiting.delete(name);
    };
    startTls.call(server, tcp);
  });
  server.prependListener('secureConnection', (socket: TLSSocket) => {
    const handshake = waiting.get(nameOf(socket));
    if (handshake === undefined) socket.destroy();
    else onSecure(handshake, socket);
  });
  // Node destroys the socket; without a listener here the error would be the process's.
  server.on('tlsClientError', (_error: Error, socket: TLSSocket) => {
    socket.on('error', ignore);
    waiting.get(nameOf(socket))?.drop();
  });
}

/**
 * Node does not document over which socket a TLS socket runs; both ends of TCP say so. Unix domain sockets have no such
 * ends: there Node's own note of it is read.
 */
function nameOf(socket: Socket & { readonly _parent?: Socket | null }): string | Socket {
  const { remoteAddress, remotePort, localAddress, localPort } = socket;
  if (localPort === undefined) return socket._parent ?? socket;
  return `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`;
}

function ignore(): void {}
