import { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';

type WithParent = Socket & { readonly _parent?: Socket | null };

let isParentKnown: boolean | undefined;

/**
 * A key that a TLS socket and the socket below it have in common. Node does not document which socket a TLS socket runs
 * on, but has a field for it: the key is then the socket below TLS. Without the field, the key consists of the
 * addresses and ports of both ends of TCP, which needs four system calls, and which Unix domain sockets do not have.
 */
export function connectionKey(socket: Socket): string | Socket {
  isParentKnown ??= hasParent();
  if (isParentKnown) return (socket as WithParent)._parent ?? socket;
  const { remoteAddress, remotePort, localAddress, localPort } = socket;
  return localPort === undefined ? socket : `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`;
}

function hasParent(): boolean {
  const socket = new Socket();
  const tls: WithParent = new TLSSocket(socket);
  const isKnown = tls._parent === socket && !(socket as WithParent)._parent;
  for (const each of [tls, socket]) each.on('error', () => undefined).destroy();
  return isKnown;
}

/** The reason why the socket below TLS is not found for TLS over Unix domain sockets; `undefined` if it is. */
export function parentProblem(): string | undefined {
  isParentKnown ??= hasParent();
  return isParentKnown ? undefined : 'a TLS socket has no _parent: TLS over Unix domain sockets is refused';
}
