// @ts-nocheck
import type { Socket } from 'node:net';

/**
 * Ends TCP so that the kernel, too, forgets at once what is queued: after an ordinary end it would go on offering that for
 * minutes to a peer that does not take it. Over TLS and Unix domain sockets, where Node has no reset, an ordinary end.
 */
export function reset(socket: Socket): void {
  // By itself it would wait until all that is queued was taken.
  if (!('encrypted' in socket) && socket.localPort !== undefined) socket.resetAndDestroy();
  socket.destroy();
}
