import type { Server, Socket } from 'node:net';

/**
 * The server that accepted a socket. Node does not document this property of a socket. Without it the answer is
 * `undefined`: a peer on a Unix domain socket then has no address, and a socket belongs to the first server of a port.
 */
export const acceptingServer = (socket: Socket): Server | undefined =>
  (socket as { readonly server?: Server | null }).server ?? undefined;

/**
 * Puts a socket into the state in which Node emits 'upgrade': nobody has asked for its data yet, and the first reader
 * starts it. Node documents `readableFlowing` for reading only. Where it cannot be written the socket stays paused, and
 * a reader must call `resume()`.
 */
export function markUnread(socket: Socket): void {
  try {
    (socket as { readableFlowing: boolean | null }).readableFlowing = null;
  } catch {
    socket.pause();
  }
}
