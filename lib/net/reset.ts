import type { Socket } from 'node:net';

/**
 * Resets TCP, so that the kernel frees queued bytes at once: after an ordinary end it would keep them for minutes for a
 * peer that does not read. Over TLS and Unix domain sockets, where Node cannot reset, the socket is destroyed.
 */
export function reset(socket: Socket): void {
  const canReset = !('encrypted' in socket) && socket.localPort !== undefined;
  // Within this turn of the event loop a reset would fail, and Node would lose the handle.
  if (canReset && isHalfClosing(socket)) return void socket.once('finish', () => reset(socket));
  // By default a reset would wait until all queued bytes are sent.
  if (canReset) socket.resetAndDestroy();
  socket.destroy();
}

/** Everything was written, and the end is being sent. */
const isHalfClosing = ({ destroyed, writableEnded, writableFinished, writableLength }: Socket): boolean =>
  !destroyed && writableEnded && !writableFinished && writableLength === 0;
