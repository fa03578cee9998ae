// @ts-nocheck
import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { WebSocket } from 'ws';
import type { PeerDeflate } from '../compression/peer-deflate.js';
import { defaultReason } from '../protocol/close-codes.js';
import { Connection } from './connection.js';
import type { ConnectionContext, Peer } from './context.js';
import { frameOf } from './frame-text.js';
import { listen, startReceiving, stopListening } from './listeners.js';
import { Pause } from './reading.js';
import { type ControlCallback, type Sendable, type SendCallback, type SendOptions, sizeOf } from './sendable.js';
import { PeerSender } from './sender.js';
import { internalsOf, type ReceiverInternals, type SenderInternals } from './ws-internals.js';

const NO_OPTIONS: SendOptions = Object.freeze({});
const TEXT: SendOptions = Object.freeze({ binary: false });
const NO_EXTENSIONS = Object.freeze({});

interface Open {
  readonly context: ConnectionContext;
  readonly raw: Socket;
  readonly peer: Peer;
  readonly extensions: Record<string, unknown> | undefined;
  readonly subprotocol: string | undefined;
}

/** What may change of a session while it lasts. */
export interface Renewal<Principal = unknown> {
  readonly expiresAt?: Date | number | null | undefined;
  readonly principal?: Principal | undefined;
  /** What `maxPerUser` and `disconnectUser` know the user by. */
  readonly userKey?: string | number | undefined;
}

/** A connected peer: a `WebSocket` of `ws`, with its limits kept and with what the handshake knew of it. */
export class SecureSocket<Principal = unknown> extends WebSocket {
  /** @internal */ readonly connection: Connection;
  /** The upgrade request, where `keepRequest` is set. */
  request: IncomingMessage | undefined = undefined;
  private uuid: string | undefined = undefined;

  /** @hidden */
  constructor({ context, raw, peer, extensions, subprotocol }: Open) {
    const { closeTimeout } = context.limits;
    super(null as unknown as string, undefined, { autoPong: false, closeTimeout } as object);
    const internals = internalsOf(this);
    // None listens yet: Node makes it anew with the first that does.
    internals._events = undefined;
    internals._extensions = extensions ?? NO_EXTENSIONS;
    if (subprotocol !== undefined) internals._protocol = subprotocol;
    internals._socket = raw;
    internals._readyState = WebSocket.OPEN;
    this.connection = new Connection(context, this as SecureSocket, raw, peer);
    listen(raw, this.connection);
  }

  /** @internal For `ws`, whose own is made when it is needed. */
  get _receiver(): ReceiverInternals {
    return this.connection.intake.receiver;
  }

  /** @internal For the constructor of `ws`: there is none yet. */
  set _receiver(_none: ReceiverInternals | null) {}

  /** @internal As {@link _receiver}. */
  get _sender(): SenderInternals {
    const { connection } = this;
    return (connection.output.sender ??= new PeerSender(connection));
  }

  /** @internal */
  set _sender(_none: SenderInternals | null) {}

  /** @internal Everything is in its place: the bytes that came behind the head may be read. */
  begin(head: Buffer): void {
    const { connection } = this;
    if (head.length > 0) startReceiving(connection.raw, head);
    if (!connection.isPaused) this.startReading();
  }

  /** Unguessable; the same for as long as the connection lives. */
  get id(): string {
    return (this.uuid ??= randomUUID());
  }

  /** @internal The id, if anybody has asked for it. */
  get knownId(): string | undefined {
    return this.uuid;
  }

  /** The client's address: behind a trusted proxy the one that the proxy saw. */
  get ip(): string {
    return this.connection.peer.ip;
  }

  /** Who it is, as an admission guard said. */
  get principal(): Principal {
    return this.connection.peer.principal as Principal;
  }

  /** The path of the gateway. */
  get path(): string {
    return this.connection.context.path;
  }

  /** The query of the request target; made anew at each call. */
  get query(): URLSearchParams {
    return new URLSearchParams(this.connection.peer.rawQuery);
  }

  /** The `Origin` of the handshake; browsers send one. */
  get origin(): string | undefined {
    return this.connection.peer.origin;
  }

  /** TLS, here or at the nearest trusted proxy. */
  get secure(): boolean {
    return this.connection.peer.secure;
  }

  /** Round trip of the last ping in milliseconds, `undefined` before the first pong. */
  get latency(): number | undefined {
    return this.connection.keepalive.latency;
  }

  /** Sends `{ event, data }` as JSON text. */
  sendEvent(event: string, data?: unknown): void {
    this.sendText(JSON.stringify({ event, data }));
  }

  /**
   * Enters a room of its gateway; while `handleConnection` runs, as soon as that has settled. At most 100 rooms with
   * names of at most 128 characters: a `RangeError` beyond.
   */
  join(room: string): void {
    const { connection } = this;
    const { rooms } = connection.context;
    if (connection.ready && !connection.ended) rooms.join(this as SecureSocket, room);
    else {
      rooms.check(room);
      connection.whenReady(() => {
        if (!connection.ended) rooms.join(this as SecureSocket, room);
      });
    }
  }

  /** In its turn behind what {@link join} still waits for. */
  leave(room: string): void {
    const { connection } = this;
    connection.whenReady(() => connection.context.rooms.leave(this as SecureSocket, room));
  }

  /** The rooms it is in. */
  get rooms(): ReadonlySet<string> {
    return this.connection.context.rooms.of(this as SecureSocket);
  }

  /**
   * The session goes on: it will be closed with 4401 at `expiresAt` (a `Date`, or milliseconds since the epoch; `null`:
   * never; left out: as before), and is from now on `principal`'s. The user's key goes with the principal, as in
   * `allow()`: `userKey`, else the principal if it is a string or a number, else its `id` or `sub`. Throws a
   * `RangeError`, and changes nothing, where one of them is none, and where `maxPerUser` keeps one more connection of
   * another user out.
   */
  renew(session: Renewal<Principal>): void {
    const { expiresAt, principal, userKey } = session;
    const at = expiresAt instanceof Date ? expiresAt.getTime() : expiresAt;
    if (at !== undefined && at !== null && !(Number.isFinite(at) && at >= 1e11))
      throw new RangeError('expiresAt must be a Date or milliseconds since the epoch');
    const { connection } = this;
    if (principal !== undefined || userKey !== undefined) connection.context.changeUser(connection, principal, userKey);
    if (principal !== undefined) connection.peer.principal = principal;
    if (at !== undefined) connection.keepalive.renew(at ?? undefined);
  }

  override send(data: Sendable | number, options?: SendOptions | SendCallback, callback?: SendCallback): void {
    if (typeof options === 'function') [options, callback] = [NO_OPTIONS, options];
    const payload = typeof data === 'number' ? String(data) : data;
    this.connection.touch();
    this.connection.output.send(payload, options ?? NO_OPTIONS, callback);
  }

  override ping(data?: unknown, mask?: boolean | ControlCallback, callback?: ControlCallback): void {
    if (this.isLate(data, mask, callback)) return;
    super.ping(data, mask as boolean, callback);
    this.connection.output.judge();
  }

  override pong(data?: unknown, mask?: boolean | ControlCallback, callback?: ControlCallback): void {
    if (this.isLate(data, mask, callback)) return;
    super.pong(data, mask as boolean, callback);
    this.connection.output.judge();
  }

  /** Nothing more is written: a ping or pong is lost as a message is. Arguments as of `ws`. */
  private isLate(...args: readonly unknown[]): boolean {
    const { output, isOpen } = this.connection;
    if (isOpen && !output.refused) return false;
    const callback = args.find((each) => typeof each === 'function') as SendCallback | undefined;
    const data = typeof args[0] === 'number' ? String(args[0]) : args[0];
    output.lose(data === undefined || data === callback ? '' : (data as Sendable), callback);
    return true;
  }

  /** @internal `send` for texts. */
  sendText(text: string): void {
    const { connection, deflate } = this;
    connection.touch();
    if (deflate === undefined || text.length < deflate._threshold) connection.output.sendText(text);
    else this.sendCompressed(Buffer.from(text), deflate);
  }

  /** As one frame past the sender of `ws`, where that holds nothing back. */
  private sendCompressed(payload: Buffer, deflate: PeerDeflate): void {
    const { output } = this.connection;
    const compressed = this.isIdle && !output.refused ? deflate.compressAtOnce(payload) : undefined;
    if (compressed === undefined) output.send(payload, TEXT, undefined);
    else output.sendFrame(payload, frameOf(compressed, true));
  }

  /** Open, and the sender of `ws` has nothing to do. */
  private get isIdle(): boolean {
    return (this.connection.output.sender?.isIdle ?? true) && this.readyState === WebSocket.OPEN;
  }

  /** @internal A text of so many bytes goes as it is, and may be written past the sender of `ws`. */
  sendsPlain(length: number): boolean {
    if (!this.isIdle) return false;
    const { deflate } = this;
    return deflate === undefined || length < deflate._threshold;
  }

  /** @internal What stands for compression here, where it was agreed. */
  get deflate(): PeerDeflate | undefined {
    return internalsOf(this)._extensions['permessage-deflate'] as PeerDeflate | undefined;
  }

  /** @internal What `send` of `ws` does. */
  write(data: Sendable, options: SendOptions, callback: SendCallback | undefined): void {
    // The sender of `ws` knows of a threshold only where no context is kept.
    if (this.deflate?.broadcastBits === undefined && this.isShort(data) && options.compress === undefined)
      options = { ...options, compress: false };
    super.send(data as Buffer, options, callback as (error?: Error) => void);
  }

  private isShort(data: Sendable): boolean {
    const { deflate } = this;
    return deflate !== undefined && sizeOf(data) < deflate._threshold;
  }

  override close(code?: number, reason?: string | Buffer): void {
    if (this.readyState === WebSocket.OPEN) this.connection.sending?.flush();
    super.close(code, reason === undefined || reason.length === 0 ? defaultReason(code) : reason);
    if (this.readyState === WebSocket.CLOSING) this.connection.closing();
  }

  /** Stops reading until {@link resume}; reading also pauses by itself when limits ask for it. */
  override pause(): void {
    this.connection.intake.reading.pause(Pause.USER);
  }

  override resume(): void {
    this.connection.receiving?.reading.resume(Pause.USER);
  }

  /** @internal */ stopReading(): void {
    super.pause();
  }

  /** @internal */ startReading(): void {
    if (this.readyState === WebSocket.CLOSED) return;
    const { raw, receiving } = this.connection;
    internalsOf(this)._paused = false;
    if (!receiving?.receiver._writableState.needDrain) raw.resume();
  }

  /** @internal Lets go of what was received of an unfinished message, and takes nothing more. */
  forgetInput(): void {
    const { raw, receiving } = this.connection;
    stopListening(raw);
    raw.resume();
    receiving?.assembly.forget();
  }

  /** @internal An `'error'` without a listener is no end of the process, nor is a listener that throws. */
  override emit(event: string | symbol, ...args: unknown[]): boolean {
    if (event === 'error') this.connection.cause ??= args[0] instanceof Error ? args[0].message : 'error';
    if (event === 'error' && this.listenerCount('error') === 0) return false;
    try {
      return super.emit(event, ...args);
    } catch (error) {
      this.connection.context.telemetry.fault('socket', error, this.path);
      return true;
    }
  }

  /** @internal TCP has ended, and all that came before is parsed. */
  emitClose(): void {
    if (this.readyState === WebSocket.CLOSED) return;
    const internals = internalsOf(this);
    const { _closeCode: code, _closeMessage: reason } = internals;
    internals._readyState = WebSocket.CLOSED;
    try {
      this.deflate?.cleanup();
      this.emit('close', code, reason);
    } finally {
      this.connection.close(code, reason);
    }
  }
}

/** What waits in the socket and what waits before it. */
Object.defineProperty(SecureSocket.prototype, 'bufferedAmount', {
  configurable: true,
  enumerable: true,
  get(this: SecureSocket): number {
    const { raw, sending } = this.connection;
    return sending === undefined ? raw.writableLength : sending.pending + sending.lostBytes;
  },
});
