import type { Socket } from 'node:net';
import {
  type AcceptHook,
  type Handle,
  type HandleAddress,
  handleOf,
  type Request,
  requests,
  resetError,
  wasReset,
  writeText,
} from '../compat/node-handles.js';
import type { Recipient, SocketAddresses, Transport, TransportReader } from './transport.js';

/** A transport on Node's handle of a TCP connection: no socket is created for a refused connection. */
export class HandleTransport implements Transport {
  /** @internal */ reader: TransportReader | undefined = undefined;
  private ending = false;
  private hasWritten = false;
  private ended = false;
  private isCounted = true;
  private socket: Socket | undefined = undefined;
  /** Set while Node creates a socket for the handle: its recipient. */
  private recipient: Recipient | undefined = undefined;

  constructor(
    private readonly client: Handle,
    /** Makes Node create a socket for the handle, for which {@link recipientOf} returns the recipient. */
    private readonly acceptHook: AcceptHook,
  ) {
    acceptHook.count(1);
  }

  /** The recipient of a socket that a server emits; `undefined` if the socket does not come from a transport. */
  static recipientOf(socket: Socket): Recipient | undefined {
    const transport = (handleOf(socket) as HandleWithTransport | undefined)?.[TRANSPORT];
    if (transport?.recipient === undefined) return undefined;
    transport.socket = socket;
    return transport.recipient;
  }

  get tls(): undefined {
    return undefined;
  }

  get proxied(): undefined {
    return undefined;
  }

  setReader(reader: TransportReader): void {
    this.reader = reader;
    (this.client as HandleWithTransport)[TRANSPORT] = this;
  }

  read(): void {
    // A handshake takes over a connection that is being read already.
    if (this.client.reading === true) return;
    this.client.onread = onRead;
    this.start();
  }

  pause(): void {
    this.client.reading = false;
    this.client.readStop();
  }

  resume(): void {
    this.start();
  }

  /** Without the socket's stream, which would need a tick of the event loop and five objects for it. */
  write(text: string): boolean {
    return writeText(this.client, requests!, text);
  }

  end(text: string): boolean {
    const { client } = this;
    this.ending = true;
    if (!writeText(client, requests!, text)) return false;
    // Usually the kernel has taken the whole text at once: then only the peer's end has to be awaited.
    if (client.writeQueueSize === 0 && !this.ended) this.hasWritten = true;
    const shutdown: Shutdown = new requests!.Shutdown();
    if (!this.hasWritten) {
      shutdown.oncomplete = onShutdown;
      shutdown[TRANSPORT] = this;
    }
    const status = client.shutdown(shutdown);
    if (status === 1) this.hasWritten = true;
    if (!client.reading) this.start();
    return status === 0 || status === 1;
  }

  release(recipient: Recipient): Socket | undefined {
    if (this.reader === undefined) return undefined;
    const { client } = this;
    this.reader = undefined;
    this.isCounted = false;
    this.recipient = recipient;
    const reset = this.ended && wasReset(client);
    // The socket must read the end of the stream again that was read here; a reset cannot be read again.
    if (this.ended && !reset) client.reading = false;
    this.acceptHook.proceed(client);
    (client as HandleWithTransport)[TRANSPORT] = undefined;
    const { socket } = this;
    if (recipient === 'http') {
      if (reset) socket?.destroy(resetError());
      return socket?.destroyed === false ? socket : undefined;
    }
    // The server may drop the connection because of a limit, and the application's listeners may destroy the socket.
    return socket?.writable && socket.readable ? socket : undefined;
  }

  destroy(): void {
    this.reader = undefined;
    if (this.socket === undefined) return this.close();
    this.socket.on('error', ignore);
    this.socket.destroy();
  }

  socketAddresses(): SocketAddresses | undefined {
    const remote: HandleAddress = {};
    const local: HandleAddress = {};
    if (this.client.getpeername(remote) !== 0 || this.client.getsockname?.(local) !== 0) return undefined;
    return {
      remoteAddress: remote.address!,
      remotePort: remote.port!,
      localAddress: local.address!,
      localPort: local.port!,
      localFamily: local.family!,
    };
  }

  /** @internal The peer has half-closed or reset the connection. */
  onEnd(): void {
    this.ended = true;
    if (!this.ending) return this.reader?.onEnd();
    this.closeWhenBothEnded();
  }

  /** @internal Everything has been written. */
  onWritten(): void {
    this.hasWritten = true;
    this.closeWhenBothEnded();
  }

  private close(): void {
    this.client.close();
    if (this.isCounted) this.acceptHook.count(-1);
    this.isCounted = false;
  }

  private start(): void {
    this.client.reading = true;
    this.client.readStart();
  }

  private closeWhenBothEnded(): void {
    if (this.ended && this.hasWritten) this.reader?.onClose();
  }
}

const TRANSPORT = Symbol('nest-secure-ws.transport');
type HandleWithTransport = Handle & { [TRANSPORT]?: HandleTransport | undefined };
type Shutdown = Request & { [TRANSPORT]?: HandleTransport };

function onRead(this: HandleWithTransport, bytes?: ArrayBuffer): void {
  const transport = this[TRANSPORT];
  if (bytes === undefined) transport?.onEnd();
  else transport?.reader?.onChunk(Buffer.from(bytes));
}

function onShutdown(this: Shutdown): void {
  this[TRANSPORT]?.onWritten();
}

function ignore(): void {}
