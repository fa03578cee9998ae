import { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';

type WithParent = Socket & { readonly _parent?: Socket | null };

/**
 * What a TLS socket and the socket under it have in common: Node does not document over which socket a TLS socket runs.
 * Over TCP, the addresses and ports of both ends. Unix domain sockets have none: for them Node's own field is read.
 */
export function connectionKey(socket: Socket): string | Socket {
  const { remoteAddress, remotePort, localAddress, localPort } = socket;
  if (localPort === undefined) return (socket as WithParent)._parent ?? socket;
  return `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`;
}

/** Why TLS over Unix domain sockets finds no socket under it; `undefined` where it does. */
export function parentProblem(): string | undefined {
  const socket = new Socket();
  const tls = new TLSSocket(socket);
  const isKnown = connectionKey(tls) === socket;
  for (const each of [tls, socket]) each.on('error', () => undefined).destroy();
  return isKnown ? undefined : 'a TLS socket has no _parent: TLS over Unix domain sockets is refused';
}
