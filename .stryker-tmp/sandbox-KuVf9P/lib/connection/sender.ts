// @ts-nocheck
import type { Connection } from './connection.js';
import { isCut } from './link.js';
import { CLOSING, internalsOf, Sender } from './ws-internals.js';

/** The sender of `ws` for one peer. */
export class PeerSender extends Sender {
  constructor(readonly connection: Connection) {
    super(connection.raw, internalsOf(connection.socket)._extensions);
    this.onerror = onError;
  }

  /** It has nothing to do, and is not within a message. */
  get isIdle(): boolean {
    return this._bufferedBytes === 0 && this._firstFragment;
  }
}

/** What was to be sent cannot be, and must not be missing among what follows. */
function onError(this: PeerSender, error: Error): void {
  const { connection } = this;
  const { socket, raw, isOpen } = connection;
  if (isCut(raw)) return;
  const internals = internalsOf(socket);
  if (isOpen) internals._readyState = CLOSING;
  connection.closing();
  // What is queued already may still leave.
  raw.end();
  if (internals._errorEmitted) return;
  internals._errorEmitted = true;
  socket.emit('error', error);
}
