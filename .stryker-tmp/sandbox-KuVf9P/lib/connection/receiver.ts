// @ts-nocheck
import type { Socket } from 'node:net';
import type { Connection } from './connection.js';
import type { Intake } from './intake.js';
import { isCut } from './link.js';
import { EMPTY, internalsOf, Receiver, STATUS_CODE, type WebSocketInternals, writeUntilError } from './ws-internals.js';

const BYTES = 'nodebuffer';

const resume = (raw: Socket): unknown => raw.resume();

type Parsed = (error?: Error) => void;

/** The parser of `ws` for one peer. What it finds goes to the connection without listeners, of which each would cost. */
export class PeerReceiver extends Receiver {
  constructor(
    private readonly connection: Connection,
    private readonly intake: Intake,
  ) {
    const { maxSize, maxFragments } = connection.context.limits;
    const { _extensions } = internalsOf(connection.socket);
    super({
      allowSynchronousEvents: true,
      binaryType: BYTES,
      extensions: _extensions,
      isServer: true,
      maxBufferedChunks: 0,
      maxFragments,
      maxPayload: maxSize,
      skipUTF8Validation: false,
    });
    // Nobody listens: see `emit`.
    this._events = undefined;
  }

  /** Whatever the application wants to be told: all that measures, keeps and reads a message knows bytes only. */
  get _binaryType(): string {
    return BYTES;
  }

  /** For `ws`, whose `binaryType` sets it. */
  set _binaryType(_told: string) {}

  override emit(event: string | symbol, ...args: unknown[]): boolean;
  override emit(event: string | symbol, first?: unknown, second?: unknown): boolean {
    if (event === 'message') this.onMessage(first as Buffer, second as boolean);
    else if (event === 'ping') this.onPing(first as Buffer);
    else if (event === 'pong') this.onPong(first as Buffer);
    else if (event === 'conclude') this.onConclude(first as number, second as Buffer);
    else if (event === 'error') this.onError(first as Error);
    else if (event === 'drain') this.onDrain();
    else if (event === 'finish') this.onFinish();
    return true;
  }

  override _write(chunk: Buffer, encoding: 'buffer', callback: Parsed): void {
    writeUntilError.call(this, chunk, encoding, callback);
  }

  /** After each chunk, and after each message that was inflated. */
  override startLoop(callback: Parsed): void {
    super.startLoop(callback);
    this.intake.parsed();
  }

  override dataMessage(callback: Parsed): void {
    if (!this._fin) this.intake.fragment();
    super.dataMessage(callback);
  }

  override decompress(data: Buffer, callback: Parsed): void {
    const { intake } = this;
    // What comes after the end is not worth it.
    if (!this.connection.isOpen) this.dataMessage(callback);
    else if (intake.reading.paused) intake.assembly.postpone(data, callback);
    else this.inflate(data, callback);
  }

  inflate(data: Buffer, callback: Parsed): void {
    super.decompress(data, callback);
  }

  /** It ends with the peer's FIN and once more with the socket: for that a stream makes an `Error` each time. */
  override end(): void {
    if (!this.writableEnded) super.end();
  }

  private onMessage(data: Buffer, isBinary: boolean): void {
    const { intake } = this;
    const { socket } = this.connection;
    if (!intake.admit(data.length)) return;
    if (socket.listenerCount('message') > 0) socket.emit('message', this.told(data, isBinary), isBinary);
    intake.take(data, isBinary);
  }

  /** A message in the form in which `ws` would tell of it. */
  private told(data: Buffer, isBinary: boolean): unknown {
    const { binaryType } = this.internals;
    if (!isBinary || binaryType === BYTES) return data;
    if (binaryType === 'blob') return new Blob([data]);
    return binaryType === 'fragments' ? [data] : arrayBufferOf(data);
  }

  private onPing(data: Buffer): void {
    const { connection } = this;
    if (!this.intake.controlFrame()) return;
    connection.output.pong(data);
    connection.socket.emit('ping', data);
  }

  private onPong(data: Buffer): void {
    const { connection } = this;
    if (!connection.keepalive.pong(data) && !this.intake.controlFrame()) return;
    connection.socket.emit('pong', data);
  }

  /** The peer's close frame: it is answered with the same. */
  private onConclude(code: number, reason: Buffer): void {
    const { internals } = this;
    const { socket, raw } = this.connection;
    internals._closeFrameReceived = true;
    internals._closeCode = code;
    internals._closeMessage = reason.length === 0 ? EMPTY : copied(reason);
    if (isCut(raw)) return;
    process.nextTick(resume, raw);
    if (code === 1005) socket.close();
    else socket.close(code, reason);
  }

  /** What came is no frame, or no message: the code says why. */
  private onError(error: Error): void {
    const { internals } = this;
    const { socket, raw, ended } = this.connection;
    if (ended) return;
    const isOver = isCut(raw);
    if (!isOver) {
      process.nextTick(resume, raw);
      socket.close((error as { [STATUS_CODE]?: number })[STATUS_CODE]);
    }
    if (!internals._errorEmitted) {
      internals._errorEmitted = true;
      socket.emit('error', error);
    }
    if (isOver) socket.emitClose();
  }

  private onDrain(): void {
    const { socket, raw } = this.connection;
    if (!socket.isPaused) raw.resume();
  }

  /** All is parsed that came before TCP ended. */
  private onFinish(): void {
    const { socket, raw } = this.connection;
    if (isCut(raw)) socket.emitClose();
  }

  private get internals(): WebSocketInternals {
    return internalsOf(this.connection.socket);
  }
}

function arrayBufferOf({ buffer, byteOffset, byteLength }: Buffer): ArrayBufferLike {
  return byteLength === buffer.byteLength ? buffer : buffer.slice(byteOffset, byteOffset + byteLength);
}

/** Keeps alive neither what was read nor a pool. */
function copied(bytes: Buffer): Buffer {
  const copy = Buffer.allocUnsafeSlow(bytes.length);
  bytes.copy(copy);
  return copy;
}
