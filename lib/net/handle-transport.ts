import type { Socket } from 'node:net';
import {
  type AcceptHook,
  type Handle,
  type HandleAddress,
  handleOf,
  type Request,
  requests,
  resetError,
  toRequest,
  wasReset,
  writeText,
} from '../compat/node-handles.js';
import type { Recipient, SocketAddresses, Transport, TransportReader } from './transport.js';

/** Node's handle of a TCP connection: a refused connection never becomes a socket. */
export class HandleTransport implements Transport {
  /** @internal */ reader: TransportReader | undefined = undefined;
  private ending = false;
  private hasWritten = false;
  private ended = false;
  private isCounted = true;
  private socket: Socket | undefined = undefined;
  /** While Node makes a socket of the handle: for whom. */
  private recipient: Recipient | undefined = undefined;

  constructor(
    private readonly client: Handle,
    /** Has Node make a socket of the handle; {@link recipientOf} is asked about it then. */
    private readonly acceptHook: AcceptHook,
  ) {
    acceptHook.count(1);
  }

  /** For whom a socket that the server emits was released; `undefined` where it comes from no transport. */
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

  end(text: string): boolean {
    const { client } = this;
    this.ending = true;
    if (!writeText(client, requests!, text)) return false;
    const shutdown: Shutdown = toRequest(requests!.Shutdown, onShutdown);
    shutdown[TRANSPORT] = this;
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
    // The end that was read here is there to be read again; a reset is not.
    if (this.ended && !reset) client.reading = false;
    this.acceptHook.proceed(client);
    (client as HandleWithTransport)[TRANSPORT] = undefined;
    const { socket } = this;
    if (recipient === 'http') {
      if (reset) socket?.destroy(resetError());
      return socket?.destroyed === false ? socket : undefined;
    }
    // A server may refuse what it has enough of, and the application's listeners may end what they do not like.
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

  /** @internal The peer has half-closed the connection, or has reset it. */
  onEnd(): void {
    this.ended = true;
    if (!this.ending) return this.reader?.onEnd();
    this.closeWhenBothEnded();
  }

  /** @internal All has been written. */
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
