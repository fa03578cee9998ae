// @ts-nocheck
import type { Socket } from 'node:net';
import type { WebSocket } from 'ws';
import type { ClientSocket } from './client-socket.js';

const SELF = Symbol('nest-secure-ws.client');
type Linked = Socket & { [SELF]?: ClientSocket };

/** Behind the listeners of `ws`: what else is to be done about the end of TCP, and for listeners that come. */
export function listen(socket: ClientSocket, raw: Socket): void {
  (raw as Linked)[SELF] = socket;
  raw.on('end', onEnd);
  raw.on('close', onClose);
  socket.on('newListener', onNewListener);
}

/** Hands what waits to the listeners, in a while. */
export const flushSoon = (socket: ClientSocket): void => process.nextTick(flush, socket);

const flush = (socket: ClientSocket): void => socket.flush();

/** The server has half-closed: what is left to say to it must be said in time. */
function onEnd(this: Linked): void {
  this[SELF]!.lifeline.closing();
}

/** After the listener of `ws`, which gives the receiver what had been read. */
function onClose(this: Linked): void {
  this[SELF]!.lifeline.linger();
}

/** What came before anybody listened is handed over once the listener is there. */
function onNewListener(this: WebSocket, event: string): void {
  if (event === 'message') flushSoon(this as ClientSocket);
}
