import type { Socket } from 'node:net';
import { Timed } from '../connection/wheel.js';

/** The sockets of a connection on its way in: TCP, and TLS over it. All listeners are shared by all openings. */
export abstract class OpeningSockets extends Timed {
  protected socket: Socket;

  constructor(
    /** Below TLS, where there is TLS. */
    protected readonly tcp: Socket,
  ) {
    super();
    this.socket = tcp;
    this.attach(tcp);
  }

  /** @internal */ abstract onChunk(chunk: Buffer): void;
  /** @internal The peer says no more. */ abstract onFin(): void;
  /** @internal */ abstract onGone(): void;

  /** TLS, or none, has been set up over TCP: what comes is ours to read. */
  protected listen(socket: Socket): void {
    if (socket !== this.socket) {
      this.socket = socket;
      this.attach(socket);
    }
    socket.on('data', onData);
    socket.on('end', onEnd);
  }

  /** Lets go of the socket. What listens to errors stays: it does nothing any more, and none is ever nobody's. */
  protected detach(): void {
    this.socket.removeListener('data', onData);
    this.socket.removeListener('end', onEnd);
    (this.socket as Attached)[OPENING] = undefined;
    (this.tcp as Attached)[OPENING] = undefined;
  }

  protected destroy(): void {
    this.socket.destroy();
    if (this.socket !== this.tcp) this.tcp.destroy();
  }

  private attach(socket: Socket): void {
    (socket as Attached)[OPENING] = this;
    socket.on('error', onError);
    socket.on('close', onClose);
  }
}

const OPENING = Symbol('nest-secure-ws.opening');

interface Attached {
  [OPENING]?: OpeningSockets | undefined;
}

function onData(this: Attached, chunk: Buffer): void {
  this[OPENING]?.onChunk(chunk);
}

function onEnd(this: Attached): void {
  this[OPENING]?.onFin();
}

function onError(this: Attached): void {
  this[OPENING]?.onGone();
}

function onClose(this: Attached): void {
  this[OPENING]?.onGone();
}
