import type { Socket } from 'node:net';
import { ConnectedSocket } from '../connection/connected-socket.js';
import { type Agreed, Connection } from '../connection/connection.js';
import type { ConnectionContext } from '../connection/context.js';
import { Pause } from '../connection/read-gate.js';
import { type AsyncContext, captureContext } from '../net/async-context.js';
import type { Dialled } from './dial.js';
import { Inbox, type Message } from './inbox.js';

/** How a connection ended. */
export interface Closed {
  /** Of the server's close frame; 1005: it had none; 1006: there was no close frame (RFC 6455, section 7.4.1). */
  readonly code: number;
  readonly reason: string;
  /** Why we ended it, or what broke, where that was it. */
  readonly cause: string | undefined;
}

/** A connection that we have opened. */
class ClientConnection extends Connection {
  declare readonly sink: ClientSocket;
  /** Of whoever has opened it. */
  readonly asyncContext: AsyncContext = captureContext();

  constructor(context: ConnectionContext, transport: Socket, sink: ClientSocket, agreed: Agreed) {
    super(context, transport, sink, agreed);
  }

  /** What has come is for whoever asks, whatever has become of the connection. */
  override get isServing(): boolean {
    return true;
  }

  get account(): undefined {
    return undefined;
  }

  protected get stallCause(): string {
    return 'the server does not read';
  }

  /** What a listener throws is the application's, as it is with any emitter; the connection goes on. */
  report(error: unknown): void {
    process.nextTick(() => {
      throw error;
    });
  }

  override breach(reason: string): void {
    if (this.isOpen) super.breach(reason);
    else this.kill(reason);
  }

  /** The application has taken a message, or asked for more: where TCP has ended it has time for the next. */
  asked(): void {
    // protection: client: whoever reads has time for the next message
    if (this.isCut && this.state !== 'closed') this.linger();
    // end protection
  }

  /** A client goes on reading whatever it has written. */
  protected override pauseForOutput(): void {}
}

/**
 * An open connection to a server: a `WebSocket` as of `ws`, with the limits of the call kept.
 *
 * Messages wait, `messages.maxQueue` of them at most, until somebody listens to `'message'` or iterates; then reading
 * pauses, and with it what the server may be late with. The rest of what was read waits as it came, compressed, and the
 * end of the connection behind it: where the server closes, or TCP ends, whoever reads gets what was complete before,
 * and then the end. What nobody takes for `keepalive.closeTimeout` after the end of TCP is dropped. Our own `close()`
 * and `terminate()` drop at once what had not begun to wait for the iterator.
 *
 * An `'error'` without a listener is no end of the process: how the connection ended is told by `closed`.
 */
export class ClientSocket extends ConnectedSocket {
  /**
   * Fulfilled when TCP has ended, and what came before its end has been taken, or no message of it for the close
   * timeout; never rejected.
   */
  readonly closed: Promise<Closed>;
  /** @internal */ readonly connection: ClientConnection;
  private readonly inbox: Inbox;
  /** @internal */ readonly href: string;
  private tellClosed!: (closed: Closed) => void;

  /** @hidden */
  constructor({ raw, rest, target, subprotocol, deflate }: Dialled, context: ConnectionContext) {
    super();
    this.closed = new Promise((resolve) => {
      this.tellClosed = resolve;
    });
    this.href = target.href;
    this.connection = new ClientConnection(context, raw, this, { deflate, subprotocol });
    const { connection } = this;
    this.inbox = new Inbox(
      () => connection.reader,
      () => connection.asked(),
    );
    this.on('newListener', onNewListener as () => void);
    connection.begin(rest);
  }

  /** Round trip of the last ping in milliseconds, `undefined` before the first pong. */
  get latency(): number | undefined {
    return this.connection.keepalive.latency;
  }

  override close(code?: number, reason?: string | Buffer): void {
    super.close(code, reason);
    this.connection.reader?.leave(this.hearsWhenClosing);
  }

  override resume(): void {
    super.resume();
    handOverSoon(this);
  }

  /**
   * The messages, text as a string, binary as a `Buffer`, until the connection has ended, however it does. Leaving the
   * loop does not close the connection; iterating again goes on with the next message.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<Message> {
    const { inbox } = this;
    let isDone = false;
    inbox.iterators++;
    return {
      next: () => (isDone ? Promise.resolve({ value: undefined, done: true }) : inbox.next()),
      return: async () => {
        if (!isDone) inbox.iterators--;
        isDone = true;
        if (inbox.iterators === 0) inbox.dismiss();
        if (inbox.iterators === 0 && this.isListenedTo) this.connection.reader?.drop();
        return { value: undefined, done: true };
      },
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  // What the connection tells

  /** @internal */ get takes(): boolean {
    if (this.inbox.isAsked) return true;
    const isPaused = this.connection.reader?.gate.isClosedFor(Pause.USER);
    return this.inbox.iterators === 0 && this.isListenedTo && !isPaused;
  }

  /** @internal */ get hearsWhenClosing(): boolean {
    return this.isListenedTo;
  }

  /** @internal Listeners beside iterators, and those after our own close, hear messages at once. */
  heard(data: Buffer, isBinary: boolean): void {
    const isAtOnce = this.inbox.iterators > 0 || this.connection.reader?.isLeft;
    if (isAtOnce && this.isListenedTo) this.tell('message', this.told(data, isBinary), isBinary);
  }

  /** @internal */ take(data: Buffer, isBinary: boolean): void {
    if (this.inbox.isAsked) this.inbox.give(data, isBinary);
    else this.tell('message', this.told(data, isBinary), isBinary);
    this.connection.asked();
    this.connection.finished(data.length);
  }

  /** @internal */ ended(code: number, reason: Buffer): void {
    this.inbox.end();
    this.tellClosed({ code, reason: reason.toString(), cause: this.connection.cause });
    this.tell('close', code, reason);
  }

  private get isListenedTo(): boolean {
    return this.listenerCount('message') > 0;
  }
}

/** The address that the connection leads to, after redirects. */
Object.defineProperty(ClientSocket.prototype, 'url', {
  configurable: true,
  enumerable: true,
  get(this: ClientSocket): string {
    return this.href;
  },
});

/** Hands what waits to the listeners, in a while. */
const handOverSoon = (socket: ClientSocket): void => process.nextTick(handOver, socket);

const handOver = ({ connection }: ClientSocket): void => connection.reader?.handOver();

/** What came before anybody listened is handed over once the listener is there. */
function onNewListener(this: ConnectedSocket, event: string): void {
  if (event === 'message') handOverSoon(this as ClientSocket);
}
