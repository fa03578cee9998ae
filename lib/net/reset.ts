import type { Socket } from 'node:net';

/**
 * Resets TCP, so that the kernel frees queued bytes at once: after an ordinary end it would keep them for minutes for a
 * peer that does not read. Over TLS and Unix domain sockets, where Node cannot reset, the socket is destroyed.
 */
export function reset(socket: Socket): void {
  // By default a reset would wait until all queued bytes are sent.
  if (!('encrypted' in socket) && socket.localPort !== undefined) socket.resetAndDestroy();
  socket.destroy();
}
