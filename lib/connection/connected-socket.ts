import { Buffer } from 'node:buffer';
import type { Socket } from 'node:net';
import { WebSocket } from 'ws';
import { isThenable, whenSettled } from '../admission/awaitable.js';
import type { SharedMessage } from '../protocol/deflate/shared-message.js';
import { Opcode } from '../protocol/frame.js';
import type { Connection } from './connection.js';
import type { ConnectionSink, ControlCallback, Sendable, SendCallback, SendOptions } from './context.js';
import { addEventListener, attributeOf, type Listener, removeEventListener, setAttribute } from './event-target.js';

const NO_OPTIONS: SendOptions = Object.freeze({});
const TEXT: SendOptions = Object.freeze({ binary: false });
const BINARY_TYPES: readonly unknown[] = ['nodebuffer', 'arraybuffer', 'fragments', 'blob'];
const NOTHING = Buffer.alloc(0);

/**
 * A class with the prototype of `WebSocket` but not its constructor, which would prepare state for the protocol
 * implementation of `ws`. Instances are `instanceof WebSocket`, and have no state of it.
 */
function withoutConstructor<T extends abstract new (...args: never[]) => object>(base: T): T {
  function Base(): void {}
  Object.setPrototypeOf(Base, base);
  Base.prototype = Object.create(base.prototype as object, { constructor: { value: Base, configurable: true } });
  return Base as unknown as T;
}

const Base = withoutConstructor(WebSocket) as unknown as new () => WebSocket;

/** The value of `binaryType`; absent until it is set. */
const BINARY_TYPE = Symbol('nest-secure-ws.binaryType');

/**
 * The object by which an application uses a connection, in either role: a `WebSocket` as `ws` documents it. Every
 * public member delegates to the connection; no private member of `ws` is used.
 */
export abstract class ConnectedSocket extends Base implements ConnectionSink {
  /** @internal */ abstract readonly connection: Connection;
  declare private [BINARY_TYPE]: WebSocket['binaryType'] | undefined;

  /** The socket of TCP or TLS, for libraries that read this property. */
  get _socket(): Socket {
    return this.connection.transport;
  }

  override send(data: Sendable | number, options?: SendOptions | SendCallback, callback?: SendCallback): void {
    if (typeof options === 'function') [options, callback] = [NO_OPTIONS, options];
    const { connection } = this;
    connection.touch();
    connection.output.send(payloadOf(data) as Sendable, options ?? NO_OPTIONS, this.guarded(callback));
  }

  /** Sends `{ event, data }` as JSON text, the message format of Nest gateways. */
  sendEvent(event: string, data?: unknown): void {
    this.sendText(JSON.stringify({ event, data }));
  }

  /** @internal `send` for text. */
  sendText(text: string): void {
    const { connection } = this;
    connection.touch();
    connection.output.sendText(text);
  }

  /** @internal Sends a message that goes to many peers. */
  sendShared(message: SharedMessage): void {
    const { connection } = this;
    if (!connection.isOpen) return;
    connection.touch();
    const frame = message.frameFor(connection.deflate);
    if (frame !== undefined) connection.output.sendShared(frame, message.payload.length);
    else connection.output.send(message.payload, TEXT, undefined);
  }

  override ping(data?: unknown, mask?: boolean | ControlCallback, callback?: ControlCallback): void {
    this.control(Opcode.PING, data, mask, callback);
  }

  override pong(data?: unknown, mask?: boolean | ControlCallback, callback?: ControlCallback): void {
    this.control(Opcode.PONG, data, mask, callback);
  }

  private control(opcode: 9 | 10, ...args: readonly unknown[]): void {
    const { connection } = this;
    const { output } = connection;
    const callback = this.guarded(args.find((each) => typeof each === 'function') as SendCallback | undefined);
    const data = typeof args[0] === 'function' ? NOTHING : payloadOf(args[0]);
    // The connection cannot send any more: a ping or pong is lost, as a message is.
    if (!connection.isOpen || output.refused) return output.lose(data as Sendable, callback);
    output.control(opcode, bytesOf(data), callback);
    if (opcode === Opcode.PING) connection.keepalive.ask();
  }

  /**
   * Calls the callbacks of all sends. An error that one of them throws, or a rejection, is reported, and the others are
   * still called.
   */
  private guarded(callback: SendCallback | undefined): SendCallback | undefined {
    if (callback === undefined) return undefined;
    const { connection } = this;
    return (error) => {
      try {
        const result: unknown = callback(error);
        if (isThenable(result)) whenSettled(result, ignore, (reason) => connection.report(reason));
      } catch (thrown) {
        connection.report(thrown);
      }
    };
  }

  override close(code?: number, reason?: string | Buffer): void {
    // A close frame without a code has no reason either; `ws` drops it, too.
    this.connection.close(code, code === undefined ? undefined : reason);
  }

  override terminate(): void {
    this.connection.kill();
  }

  /** Stops reading until {@link resume}. Limits can also pause reading. */
  override pause(): void {
    const { connection } = this;
    if (connection.state !== 'closed') connection.input.gate.pauseForUser();
  }

  /** Continues reading in a later tick: no event is emitted before this method returns. */
  override resume(): void {
    this.connection.reader?.knownGate?.resumeForUser();
  }

  /** @internal Emits an event in the async context of the connection, if it has listeners. */
  tell(event: string, ...args: unknown[]): void {
    if (this.listenerCount(event) > 0) this.connection.call(this.emit, this, event, ...args);
  }

  /** @internal A message in the form that listeners receive. */
  told(data: Buffer, isBinary: boolean): unknown {
    if (!isBinary) return data;
    const type: string = this.binaryType;
    if (type === 'nodebuffer') return data;
    if (type === 'blob') return new Blob([data as never]);
    return type === 'fragments' ? [data] : arrayBufferOf(data);
  }

  // Called by the connection

  /** @internal */ abstract get takes(): boolean;
  /** @internal */ abstract get hearsWhenClosing(): boolean;
  /** @internal */ abstract heard(data: Buffer, isBinary: boolean): boolean;
  /** @internal */ abstract take(data: Buffer, isBinary: boolean): void;
  /** @internal */ abstract ended(code: number, reason: Buffer): void;

  /** @internal */ pinged(data: Buffer): void {
    this.tell('ping', data);
  }

  /** @internal */ ponged(data: Buffer): void {
    this.tell('pong', data);
  }

  /**
   * @internal Emits `'error'` only if it has listeners, so that an error cannot end the process; the close event
   * reports it too.
   */
  failed(error: Error): void {
    this.connection.cause ??= error.message;
    this.tell('error', error);
  }
}

/** Members that the types of `ws` declare as properties, or with a type for each event. */
const accessors: ThisType<ConnectedSocket> & PropertyDescriptorMap = {
  binaryType: {
    get() {
      return this[BINARY_TYPE] ?? 'nodebuffer';
    },
    set(type: WebSocket['binaryType']) {
      if (BINARY_TYPES.includes(type)) this[BINARY_TYPE] = type;
    },
  },
  /** Bytes that wait in the socket and in the queue, and bytes that could not be sent, which stay counted. */
  bufferedAmount: {
    get() {
      const { transport, writer } = this.connection;
      return writer === undefined ? transport.writableLength : writer.pending + writer.lostBytes;
    },
  },
  extensions: {
    get() {
      return this.connection.deflate === undefined ? '' : 'permessage-deflate';
    },
  },
  isPaused: {
    get() {
      return this.connection.reader?.knownGate?.paused ?? false;
    },
  },
  protocol: {
    get() {
      return this.connection.subprotocol;
    },
  },
  readyState: {
    get() {
      const { connection } = this;
      return connection.isOpen ? WebSocket.OPEN : connection.state === 'closing' ? WebSocket.CLOSING : WebSocket.CLOSED;
    },
  },
  url: { get: () => undefined },
};
const methods: ThisType<ConnectedSocket> & PropertyDescriptorMap = {
  addEventListener: {
    value(this: ConnectedSocket, type: string, listener: Listener, options?: { readonly once?: boolean }): void {
      addEventListener(this, type, listener, options?.once);
    },
  },
  removeEventListener: {
    value(this: ConnectedSocket, type: string, listener: Listener): void {
      removeEventListener(this, type, listener);
    },
  },
};

for (const type of ['open', 'error', 'close', 'message'])
  accessors[`on${type}`] = {
    get(): Listener | null {
      return attributeOf(this as ConnectedSocket, type);
    },
    set(listener: unknown) {
      setAttribute(this as ConnectedSocket, type, listener);
    },
  };
for (const [name, accessor] of Object.entries(accessors))
  Object.defineProperty(ConnectedSocket.prototype, name, { enumerable: true, configurable: true, ...accessor });
for (const [name, method] of Object.entries(methods))
  Object.defineProperty(ConnectedSocket.prototype, name, {
    writable: true,
    enumerable: true,
    configurable: true,
    ...method,
  });

const ignore = (): void => undefined;

const payloadOf = (data: unknown): unknown => (typeof data === 'number' ? String(data) : (data ?? NOTHING));

function bytesOf(data: unknown): Buffer {
  if (typeof data === 'string') return Buffer.from(data);
  if (Buffer.isBuffer(data)) return data;
  if (ArrayBuffer.isView(data)) return Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  return Buffer.from(data as ArrayBuffer);
}

function arrayBufferOf({ buffer, byteOffset, byteLength }: Buffer): ArrayBufferLike {
  return byteLength === buffer.byteLength ? buffer : buffer.slice(byteOffset, byteOffset + byteLength);
}
