import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { type ProxiedConnection, proxiedBy } from './proxied-connection.js';
import type { Recipient, SocketAddresses, Transport, TransportReader } from './transport.js';

/** A transport on a Node socket, and on a TLS socket over it. All transports share their listeners. */
export class SocketTransport implements Transport {
  private socket: Socket;
  private reader: TransportReader | undefined = undefined;

  constructor(
    /** The socket below TLS, if TLS is used. */
    private readonly tcp: Socket,
  ) {
    this.socket = tcp;
  }

  get tls(): TLSSocket | undefined {
    return 'encrypted' in this.socket ? (this.socket as TLSSocket) : undefined;
  }

  get proxied(): ProxiedConnection | undefined {
    return proxiedBy(this.tcp);
  }

  setReader(reader: TransportReader): void {
    this.reader = reader;
    this.attach(this.tcp);
  }

  read(tls?: TLSSocket): void {
    if (tls !== undefined) {
      this.socket = tls;
      this.attach(tls);
    }
    this.socket.on('data', onData);
    this.socket.on('end', onEnd);
  }

  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  write(text: string): boolean {
    this.socket.write(text, 'latin1');
    return true;
  }

  end(text: string): boolean {
    const { socket } = this;
    if (!socket.writable) return false;
    socket.end(text, 'latin1');
    socket.resume();
    return true;
  }

  /** The error listeners stay attached and do nothing, so that the socket always has one. */
  release(recipient: Recipient): Socket | undefined {
    const { socket } = this;
    socket.removeListener('data', onData);
    socket.removeListener('end', onEnd);
    (socket as Attached)[READER] = (this.tcp as Attached)[READER] = undefined;
    if (recipient === 'http') return socket.destroyed ? undefined : socket;
    return socket.writable && socket.readable ? socket : undefined;
  }

  destroy(): void {
    this.socket.destroy();
    if (this.socket !== this.tcp) this.tcp.destroy();
  }

  socketAddresses(): SocketAddresses | undefined {
    const { remoteAddress, remotePort, localAddress, localPort, localFamily } = this.tcp;
    if (remoteAddress === undefined || localAddress === undefined) return undefined;
    return { remoteAddress, remotePort: remotePort!, localAddress, localPort: localPort!, localFamily: localFamily! };
  }

  private attach(socket: Socket): void {
    (socket as Attached)[READER] = this.reader;
    socket.on('error', onGone);
    socket.on('close', onGone);
  }
}

const READER = Symbol('nest-secure-ws.reader');

interface Attached {
  [READER]?: TransportReader | undefined;
}

function onData(this: Attached, chunk: Buffer): void {
  this[READER]?.onChunk(chunk);
}

function onEnd(this: Attached): void {
  this[READER]?.onEnd();
}

function onGone(this: Attached): void {
  this[READER]?.onClose();
}
