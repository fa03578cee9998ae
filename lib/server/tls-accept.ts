import type { Socket } from 'node:net';
import type { Server, TLSSocket } from 'node:tls';
import type { PendingHandshake } from '../handshake/pending-handshake.js';
import type { Listener } from './listener.js';

type OnConnection = (this: Server, socket: Socket) => void;

/** Begins a handshake for each connection of a dedicated port before TLS; `onSecure` is called when TLS is set up. */
export function interceptTls(
  server: Server,
  listener: Listener,
  onSecure: (handshake: PendingHandshake, socket: TLSSocket) => void,
): void {
  // The server is new: the only listener is the one with which Node starts TLS.
  const startTls = server.listeners('connection') as OnConnection[];
  server.removeAllListeners('connection');
  const waiting = new Map<string | Socket, PendingHandshake>();
  server.on('connection', (tcp: Socket) => {
    const handshake = listener.accept(tcp);
    if (handshake === undefined) return;
    const name = nameOf(tcp);
    waiting.set(name, handshake);
    handshake.onRelease = () => {
      // Another connection from the same port may have come before this one was known to be over.
      if (waiting.get(name) === handshake) waiting.delete(name);
    };
    for (const each of startTls) each.call(server, tcp);
  });
  server.on('secureConnection', (socket: TLSSocket) => {
    const handshake = waiting.get(nameOf(socket));
    if (handshake === undefined) socket.destroy();
    else onSecure(handshake, socket);
  });
  // Node destroys the socket; without a listener here the error would end the process.
  server.on('tlsClientError', (_error: Error, socket: TLSSocket) => {
    socket.on('error', ignore);
    waiting.get(nameOf(socket))?.drop();
  });
}

/**
 * Node does not document over which socket a TLS socket runs; the addresses and ports of both ends of TCP tell. Unix
 * domain sockets have no such ends: for them Node's own field is read.
 */
function nameOf(socket: Socket & { readonly _parent?: Socket | null }): string | Socket {
  const { remoteAddress, remotePort, localAddress, localPort } = socket;
  if (localPort === undefined) return socket._parent ?? socket;
  return `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`;
}

function ignore(): void {}
