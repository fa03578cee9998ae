import type { Socket } from 'node:net';
import { ConnectedSocket } from '../connection/connected-socket.js';
import { type Agreed, Connection } from '../connection/connection.js';
import type { ConnectionContext } from '../connection/context.js';
import { Pause } from '../connection/read-gate.js';
import { type AsyncContext, captureContext } from '../net/async-context.js';
import type { Dialled } from './dial.js';
import { Inbox, type Message } from './inbox.js';

/** The end of a connection. */
export interface Closed {
  /**
   * The code of the server's close frame; 1005: it had no code; 1006: there was no close frame (RFC 6455, section
   * 7.4.1).
   */
  readonly code: number;
  readonly reason: string;
  /** The reason why this side ended the connection, or the error that ended it. */
  readonly cause: string | undefined;
}

/** A connection that this process has opened. */
class ClientConnection extends Connection {
  declare readonly sink: ClientSocket;
  /** The async context of the code that opened the connection. */
  readonly asyncContext: AsyncContext = captureContext();

  constructor(context: ConnectionContext, transport: Socket, sink: ClientSocket, agreed: Agreed) {
    super(context, transport, sink, agreed);
  }

  /** Received messages can be taken even after the connection has ended. */
  override get isServing(): boolean {
    return true;
  }

  get account(): undefined {
    return undefined;
  }

  protected get stallCause(): string {
    return 'the server does not read';
  }

  /**
   * An error that a listener throws is thrown to the emitter's caller, as with any emitter; the connection stays open.
   */
  report(error: unknown): void {
    process.nextTick(() => {
      throw error;
    });
  }

  override breach(reason: string): void {
    if (this.isOpen) super.breach(reason);
    else this.kill(reason);
  }

  /**
   * The application has taken a message or asked for one: after the end of TCP it gets a new timeout for the next
   * message.
   */
  asked(): void {
    // protection: client: whoever reads has time for the next message
    if (this.isCut && this.state !== 'closed') this.linger();
    // end protection
  }

  /** A client keeps reading, however many bytes are unsent. */
  protected override pauseForOutput(): void {}
}

/**
 * An open connection to a server: a `WebSocket` as in `ws`, within the limits of the call.
 *
 * Up to `messages.maxQueue` messages are queued until there is a `'message'` listener or an iterator; then reading
 * pauses, and deadlines for the server are suspended. When the server closes, or TCP ends, the queued messages can
 * still be taken, followed by the end. If nothing is taken for `keepalive.closeTimeout` after the end of TCP, the queue
 * is dropped. Our own `close()` and `terminate()` drop at once what was not yet queued for the iterator.
 *
 * An `'error'` without a listener does not end the process: `closed` reports how the connection ended.
 */
export class ClientSocket extends ConnectedSocket {
  /**
   * Fulfilled when TCP has ended and all earlier messages have been taken, or when none was taken for the close
   * timeout. Never rejected.
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

  /** Round-trip time of the last ping in milliseconds; `undefined` before the first pong. */
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
   * Iterates over the messages, text as a string, binary as a `Buffer`, until the connection has ended, for whatever
   * reason. Leaving the loop does not close the connection; a new iteration continues with the next message.
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
        if (inbox.iterators === 0 && this.isListenedTo) {
          this.connection.reader?.dropHeard();
          handOverSoon(this);
        }
        return { value: undefined, done: true };
      },
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  // Called by the connection

  /** @internal */ get takes(): boolean {
    if (this.inbox.isAsked) return true;
    const isPaused = this.connection.reader?.knownGate?.isClosedFor(Pause.USER);
    return this.inbox.iterators === 0 && this.isListenedTo && !isPaused;
  }

  /** @internal */ get hearsWhenClosing(): boolean {
    return this.isListenedTo;
  }

  /** @internal `'message'` listeners get messages at once if an iterator is also active, or after our own close. */
  heard(data: Buffer, isBinary: boolean): boolean {
    const isAtOnce = this.inbox.iterators > 0 || this.connection.reader?.isLeft === true;
    const isHeard = isAtOnce && this.isListenedTo;
    if (isHeard) this.tell('message', this.told(data, isBinary), isBinary);
    return isHeard;
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

/** The address of the connection after redirects. */
Object.defineProperty(ClientSocket.prototype, 'url', {
  configurable: true,
  enumerable: true,
  get(this: ClientSocket): string {
    return this.href;
  },
});

/** Passes queued messages to the listeners, in a later tick. */
const handOverSoon = (socket: ClientSocket): void => process.nextTick(handOver, socket);

const handOver = ({ connection }: ClientSocket): void => connection.reader?.handOver();

/** Messages that arrived before there was a listener are delivered after the listener was added. */
function onNewListener(this: ConnectedSocket, event: string): void {
  if (event === 'message') handOverSoon(this as ClientSocket);
}
