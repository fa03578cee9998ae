// @ts-nocheck
import type { Socket } from 'node:net';
import {
  type Gate,
  type Handle,
  handleOf,
  learnRequests,
  type Request,
  type Requests,
  toRequest,
  writeText,
} from '../compat/native-accept.js';
import type { Transport, TransportReader } from './transport.js';

/** Learned with the first connection; `null`: not to be had. */
let requests: Requests | null | undefined;

/** Nothing but Node's handle of a TCP connection: what is refused never becomes a socket. */
export class HandleTransport implements Transport {
  /** @internal */ reader: TransportReader | undefined = undefined;
  private concluding = false;
  private concluded = false;
  private ended = false;
  private counted = true;
  private socket: Socket | undefined = undefined;

  constructor(
    private readonly client: Handle,
    /** Has Node make a socket of it, of which {@link adopt} is told. */
    private readonly gate: Gate,
  ) {
    gate.count(1);
  }

  /** Whether this Node's handles are as we know them. */
  static fits(client: Handle): boolean {
    if (requests === undefined) requests = learnRequests() ?? null;
    return requests !== null && typeof client.readStart === 'function' && 'onread' in client;
  }

  /** True where a socket that has come is that of a wire, which has asked for it. */
  static adopt(socket: Socket): boolean {
    const transport = (handleOf(socket) as Wired | undefined)?.[WIRE];
    if (transport === undefined) return false;
    transport.socket = socket;
    return true;
  }

  get tls(): undefined {
    return undefined;
  }

  attend(reader: TransportReader): void {
    this.reader = reader;
    (this.client as Wired)[WIRE] = this;
  }

  read(): void {
    this.client.onread = onRead;
    this.start();
  }

  pause(): void {
    this.client.reading = false;
    this.client.readStop();
  }

  conclude(text: string): boolean {
    const { client } = this;
    this.concluding = true;
    if (!writeText(client, requests!, text)) return false;
    const shutdown: Shutdown = toRequest(requests!.Shutdown, onShutdown);
    shutdown[WIRE] = this;
    const status = client.shutdown(shutdown);
    if (status === 1) this.concluded = true;
    if (!client.reading) this.start();
    return status === 0 || status === 1;
  }

  release(): Socket | undefined {
    if (this.reader === undefined) return undefined;
    this.reader = undefined;
    this.counted = false;
    this.gate.proceed(this.client);
    (this.client as Wired)[WIRE] = undefined;
    const { socket } = this;
    // A server may refuse what it has enough of, and the application's listeners may end what they do not like.
    return socket?.writable && socket.readable ? socket : undefined;
  }

  destroy(): void {
    this.reader = undefined;
    if (this.socket === undefined) return this.close();
    this.socket.on('error', ignore);
    this.socket.destroy();
  }

  /** @internal The peer has ended the connection, or reset it: here that is the same. */
  onEnd(): void {
    if (!this.concluding) return this.reader?.onFin();
    this.ended = true;
    this.endTogether();
  }

  /** @internal All has been said. */
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

const WIRE = Symbol('nest-secure-ws.transport');
type Wired = Handle & { [WIRE]?: HandleTransport | undefined };
type Shutdown = Request & { [WIRE]?: HandleTransport };

function onRead(this: Wired, bytes?: ArrayBuffer): void {
  const transport = this[WIRE];
  if (bytes === undefined) transport?.onEnd();
  else transport?.reader?.onChunk(Buffer.from(bytes));
}

function onShutdown(this: Shutdown): void {
  this[WIRE]?.onConcluded();
}

function ignore(): void {}
