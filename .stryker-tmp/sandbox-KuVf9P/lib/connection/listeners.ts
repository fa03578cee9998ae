// @ts-nocheck
import type { Socket } from 'node:net';
import type { Connection } from './connection.js';
import { CONNECTION, type Linked } from './link.js';
import { CLOSING, internalsOf } from './ws-internals.js';

/** Hears of a raw socket what `ws` does, through functions that all connections share. */
export function listen(raw: Socket, connection: Connection): void {
  (raw as Linked)[CONNECTION] = connection;
  if (raw.timeout) raw.setTimeout(0);
  raw.setNoDelay();
  raw.on('close', onClose);
  raw.on('data', onFirstData);
  raw.on('end', onEnd);
  raw.on('error', onError);
}

/** What is read from here on is discarded. */
export const stopListening = (raw: Socket): void => {
  raw.removeListener('data', onFirstData);
  raw.removeListener('data', onData);
};

/** For as long as something waits to be taken by the socket. */
export function onDrain(this: Linked): void {
  const connection = this[CONNECTION];
  connection?.output.review(connection.context.clock.now());
}

/** A pong is all that many ever say: nothing to receive more with is made for it. */
function onFirstData(this: Linked, chunk: Buffer): void {
  const connection = this[CONNECTION];
  const pong = connection?.keepalive.pongIn(chunk);
  if (pong !== undefined) connection?.socket.emit('pong', pong);
  else startReceiving(this, chunk);
}

/** Makes what receives, apart from what runs for every read: V8 would compile the making into that, again and again. */
export function startReceiving(raw: Socket, chunk: Buffer): void {
  raw.removeListener('data', onFirstData);
  raw.on('data', onData);
  (raw as Linked)[CONNECTION]?.intake.chunk(chunk);
}

function onData(this: Linked, chunk: Buffer): void {
  this[CONNECTION]?.receiving?.chunk(chunk);
}

/** The peer has half-closed: what is left to say to it must be said in time. */
function onEnd(this: Linked): void {
  const connection = this[CONNECTION];
  if (connection === undefined) return;
  internalsOf(connection.socket)._readyState = CLOSING;
  connection.receiving?.receiver.end();
  this.end();
  connection.closing();
}

function onError(this: Linked): void {
  const connection = this[CONNECTION];
  if (connection === undefined) return;
  internalsOf(connection.socket)._readyState = CLOSING;
  this.destroy();
}

/** The end is told when all is parsed that had been read. */
function onClose(this: Linked): void {
  const connection = this[CONNECTION];
  if (connection === undefined) return;
  const { socket } = connection;
  const internals = internalsOf(socket);
  internals._readyState = CLOSING;
  if (this.readableLength > 0 && !this.readableEnded)
    connection.intake.lastRead(this.read(this.readableLength) as Buffer);
  this[CONNECTION] = undefined;
  clearTimeout(internals._closeTimer ?? undefined);
  if (connection.receiving?.conclude() ?? true) socket.emitClose();
}
