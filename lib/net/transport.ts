import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { ProxiedConnection } from './proxied-connection.js';

/** Reads from a {@link Transport}. */
export interface TransportReader {
  /** @internal */ onChunk(chunk: Buffer): void;
  /** @internal The peer has half-closed. */ onEnd(): void;
  /** @internal The connection has ended. */ onClose(): void;
}

/** Who gets a connection next: a WebSocket of ours, or Node's HTTP server. */
export type Recipient = 'webSocket' | 'http';

/** The connection under a pending handshake: a socket, or only Node's handle of one. */
export interface Transport {
  /** Set where TLS ends here. */
  readonly tls: TLSSocket | undefined;
  /** What a trusted proxy has said of the connection with the PROXY protocol. */
  readonly proxied: ProxiedConnection | undefined;
  /** Names the reader, which is told when the connection ends; it gets bytes from `read()` on. Replaces the reader before. */
  setReader(reader: TransportReader): void;
  /** Begins to read; from `tls`, where TLS has been set up over the connection. */
  read(tls?: TLSSocket): void;
  /** Stops reading. */
  pause(): void;
  /** Reads on. */
  resume(): void;
  /** Writes latin1 text, then half-closes; what arrives is still read. False where nothing can be written any more. */
  end(text: string): boolean;
  /**
   * Hands over the socket; the reader hears nothing more. `undefined` where the connection has ended meanwhile: a
   * WebSocket needs both directions, Node's HTTP server takes what there is.
   */
  release(recipient: Recipient): Socket | undefined;
  /** Destroys the connection; the reader hears nothing more. */
  destroy(): void;
  /** Addresses of both ends; `undefined` where they are not known any more, or never were. */
  socketAddresses(): SocketAddresses | undefined;
}

/** Both ends of a TCP connection, as `net.Socket` names them. */
export interface SocketAddresses {
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly localAddress: string;
  readonly localPort: number;
  readonly localFamily: string;
}
