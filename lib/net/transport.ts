import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { ProxiedConnection } from './proxied-connection.js';

/** The receiver of the events of a {@link Transport}. */
export interface TransportReader {
  /** @internal */ onChunk(chunk: Buffer): void;
  /** @internal The peer has half-closed. */ onEnd(): void;
  /** @internal The connection has ended. */ onClose(): void;
}

/** The next owner of a connection: a WebSocket of this library, or Node's HTTP server. */
export type Recipient = 'webSocket' | 'http';

/** The connection below a pending handshake: a socket, or only Node's handle of one. */
export interface Transport {
  /** Set if TLS is terminated here. */
  readonly tls: TLSSocket | undefined;
  /** The values that a trusted proxy has sent with the PROXY protocol. */
  readonly proxied: ProxiedConnection | undefined;
  /**
   * Sets the reader, which is notified when the connection ends, and gets bytes from `read()` on. Replaces the previous
   * reader.
   */
  setReader(reader: TransportReader): void;
  /** Starts reading; from `tls` if TLS was set up on the connection. */
  read(tls?: TLSSocket): void;
  /** Pauses reading. */
  pause(): void;
  /** Resumes reading. */
  resume(): void;
  /**
   * Writes latin1 text: the 101, on a connection that was released for a WebSocket. Returns false if nothing can be
   * written any more.
   */
  write(text: string): boolean;
  /**
   * Writes latin1 text, then half-closes; bytes that arrive are still read. Returns false if nothing can be written any
   * more.
   */
  end(text: string): boolean;
  /**
   * Releases the socket; the reader gets no further events. `undefined` if the connection has ended: a WebSocket needs
   * both directions, while Node's HTTP server takes a half-closed one.
   */
  release(recipient: Recipient): Socket | undefined;
  /** Destroys the connection; the reader gets no further events. */
  destroy(): void;
  /** The addresses of both ends; `undefined` if they are unknown. */
  socketAddresses(): SocketAddresses | undefined;
}

/** Both ends of a TCP connection, with the names of `net.Socket`. */
export interface SocketAddresses {
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly localAddress: string;
  readonly localPort: number;
  readonly localFamily: string;
}
