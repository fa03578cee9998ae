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
 * A class with the prototype of `WebSocket` and without its constructor, which prepares for a protocol that is
 * implemented here by `Connection`: instances are `instanceof WebSocket`, and hold nothing of it.
 */
function withoutConstructor<T extends abstract new (...args: never[]) => object>(base: T): T {
  function Base(): void {}
  Object.setPrototypeOf(Base, base);
  Base.prototype = Object.create(base.prototype as object, { constructor: { value: Base, configurable: true } });
  return Base as unknown as T;
}

const Base = withoutConstructor(WebSocket) as unknown as new () => WebSocket;

/** What was set with `binaryType`; absent until then. */
const BINARY_TYPE = Symbol('nest-secure-ws.binaryType');

/**
 * What an application has of a connection: a `WebSocket` as `ws` documents it, of either role. The connection answers
 * every public member; no private member of `ws` is used.
 */
export abstract class ConnectedSocket extends Base implements ConnectionSink {
  /** @internal */ abstract readonly connection: Connection;
  declare private [BINARY_TYPE]: WebSocket['binaryType'] | undefined;

  /** For libraries that look for it: the socket of TCP or TLS. */
  get _socket(): Socket {
    return this.connection.transport;
  }

  override send(data: Sendable | number, options?: SendOptions | SendCallback, callback?: SendCallback): void {
    if (typeof options === 'function') [options, callback] = [NO_OPTIONS, options];
    const { connection } = this;
    connection.touch();
    connection.output.send(payloadOf(data) as Sendable, options ?? NO_OPTIONS, this.guarded(callback));
  }

  /** Sends `{ event, data }` as JSON text, as Nest's gateways understand it. */
  sendEvent(event: string, data?: unknown): void {
    this.sendText(JSON.stringify({ event, data }));
  }

  /** @internal `send` for texts. */
  sendText(text: string): void {
    const { connection } = this;
    connection.touch();
    connection.output.sendText(text);
  }

  /** @internal A message for many peers. */
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
    // Nothing more is written: a ping or pong is lost as a message is.
    if (!connection.isOpen || output.refused) return output.lose(data as Sendable, callback);
    output.control(opcode, bytesOf(data), callback);
    if (opcode === Opcode.PING) connection.keepalive.ask();
  }

  /** What a callback throws, or rejects with, is reported, and stops nothing of what is still to be written. */
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
    this.connection.close(code, reason);
  }

  override terminate(): void {
    this.connection.kill();
  }

  /** Stops reading until {@link resume}; reading also pauses by itself when limits ask for it. */
  override pause(): void {
    const { connection } = this;
    if (connection.state !== 'closed') connection.input.gate.pauseForUser();
  }

  /** Goes on reading, in a while: nothing is emitted before this returns. */
  override resume(): void {
    this.connection.reader?.gate.resumeForUser();
  }

  /** @internal Emits in the async context of the connection, where somebody listens. */
  tell(event: string, ...args: unknown[]): void {
    if (this.listenerCount(event) > 0) this.connection.call(this.emit, this, event, ...args);
  }

  /** @internal A message in the form in which listeners are told of it. */
  told(data: Buffer, isBinary: boolean): unknown {
    const type: string = this.binaryType;
    if (!isBinary || type === 'nodebuffer') return data;
    if (type === 'blob') return new Blob([data as never]);
    return type === 'fragments' ? [data] : arrayBufferOf(data);
  }

  // What the connection tells

  /** @internal */ abstract get takes(): boolean;
  /** @internal */ abstract get hearsWhenClosing(): boolean;
  /** @internal */ abstract heard(data: Buffer, isBinary: boolean): void;
  /** @internal */ abstract take(data: Buffer, isBinary: boolean): void;
  /** @internal */ abstract ended(code: number, reason: Buffer): void;

  /** @internal */ pinged(data: Buffer): void {
    this.tell('ping', data);
  }

  /** @internal */ ponged(data: Buffer): void {
    this.tell('pong', data);
  }

  /** @internal An `'error'` without a listener is no end of the process: how the connection ends tells it too. */
  failed(error: Error): void {
    this.connection.cause ??= error.message;
    this.tell('error', error);
  }
}

/** Members that the types of `ws` have as properties, or with types for each event. */
const accessors: ThisType<ConnectedSocket> & PropertyDescriptorMap = {
  binaryType: {
    get() {
      return this[BINARY_TYPE] ?? 'nodebuffer';
    },
    set(type: WebSocket['binaryType']) {
      if (BINARY_TYPES.includes(type)) this[BINARY_TYPE] = type;
    },
  },
  /** What waits in the socket and what waits before it; for ever, what could not be sent. */
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
      return this.connection.reader?.gate.paused ?? false;
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
  Object.defineProperty(ConnectedSocket.prototype, name, { writable: true, configurable: true, ...method });

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
