import type { Socket } from 'node:net';
import {
  type Gate,
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
import type { Ends, Heir, Transport, TransportReader } from './transport.js';

/** Node's handle of a TCP connection: a refused connection never becomes a socket. */
export class HandleTransport implements Transport {
  /** @internal */ reader: TransportReader | undefined = undefined;
  private concluding = false;
  private concluded = false;
  private ended = false;
  private counted = true;
  private socket: Socket | undefined = undefined;
  /** While Node makes a socket of the handle: for whom. */
  private heir: Heir | undefined = undefined;

  constructor(
    private readonly client: Handle,
    /** Has Node make a socket of the handle; {@link heirOf} is asked about it then. */
    private readonly gate: Gate,
  ) {
    gate.count(1);
  }

  /** For whom a socket that the server emits was released; `undefined` where it comes from no transport. */
  static heirOf(socket: Socket): Heir | undefined {
    const transport = (handleOf(socket) as Owned | undefined)?.[TRANSPORT];
    if (transport?.heir === undefined) return undefined;
    transport.socket = socket;
    return transport.heir;
  }

  get tls(): undefined {
    return undefined;
  }

  get proxied(): undefined {
    return undefined;
  }

  attend(reader: TransportReader): void {
    this.reader = reader;
    (this.client as Owned)[TRANSPORT] = this;
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

  conclude(text: string): boolean {
    const { client } = this;
    this.concluding = true;
    if (!writeText(client, requests!, text)) return false;
    const shutdown: Shutdown = toRequest(requests!.Shutdown, onShutdown);
    shutdown[TRANSPORT] = this;
    const status = client.shutdown(shutdown);
    if (status === 1) this.concluded = true;
    if (!client.reading) this.start();
    return status === 0 || status === 1;
  }

  release(heir: Heir): Socket | undefined {
    if (this.reader === undefined) return undefined;
    const { client } = this;
    this.reader = undefined;
    this.counted = false;
    this.heir = heir;
    const reset = this.ended && wasReset(client);
    // The end that was read here is there to be read again; a reset is not.
    if (this.ended && !reset) client.reading = false;
    this.gate.proceed(client);
    (client as Owned)[TRANSPORT] = undefined;
    const { socket } = this;
    if (heir === 'http') {
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

  ends(): Ends | undefined {
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
    if (!this.concluding) return this.reader?.onFin();
    this.endTogether();
  }

  /** @internal All has been written. */
  onConcluded(): void {
    this.concluded = true;
    this.endTogether();
  }

  private close(): void {
    this.client.close();
    if (this.counted) this.gate.count(-1);
    this.counted = false;
  }

  private start(): void {
    this.client.reading = true;
    this.client.readStart();
  }

  private endTogether(): void {
    if (this.ended && this.concluded) this.reader?.onGone();
  }
}

const TRANSPORT = Symbol('nest-secure-ws.transport');
type Owned = Handle & { [TRANSPORT]?: HandleTransport | undefined };
type Shutdown = Request & { [TRANSPORT]?: HandleTransport };

function onRead(this: Owned, bytes?: ArrayBuffer): void {
  const transport = this[TRANSPORT];
  if (bytes === undefined) transport?.onEnd();
  else transport?.reader?.onChunk(Buffer.from(bytes));
}

function onShutdown(this: Shutdown): void {
  this[TRANSPORT]?.onConcluded();
}

function ignore(): void {}
