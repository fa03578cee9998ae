// @ts-nocheck
import type { Socket } from 'node:net';
import type { WebSocket } from 'ws';
import * as ws from 'ws';

/**
 * What this room uses of `ws` beyond what its types export. Kept in one place, and pinned by a contract test,
 * so that a new version of `ws` which changes one of them is noticed.
 */
export interface ReceiverInternals extends NodeJS.EventEmitter {
  _events: object | undefined;
  readonly writable: boolean;
  readonly writableLength: number;
  readonly writableEnded: boolean;
  readonly writableFinished: boolean;
  readonly _writableState: { readonly errorEmitted: boolean; readonly needDrain: boolean };
  end(): void;
  write(chunk: Buffer): boolean;
  /** Takes and parses a chunk; calls back before it returns unless a message is to be inflated. */
  _write(chunk: Buffer, encoding: 'buffer', callback: (error?: Error) => void): void;
  destroy(error: Error): void;
  /** Chunks that were not consumed yet, and their bytes. */
  _buffers: Buffer[];
  _bufferedBytes: number;
  /** Fragments of the message that is being received, and their bytes. */
  _fragments: Buffer[];
  _messageLength: number;
  /** 0 outside of fragmented messages, else their opcode. */
  readonly _fragmented: number;
  /** 0 before a frame, 5 while inflating. */
  _state: number;
  readonly _fin: boolean;
  readonly _errored: boolean;
  /** Bytes that the frames of the message so far have announced. */
  readonly _totalPayloadLength: number;
  /** Of the frame whose payload is awaited. */
  _mask: Buffer | undefined;
  /** Parses what is buffered: after each chunk, and after each message that was inflated. */
  startLoop(callback: (error?: Error) => void): void;
  /** Inflates a payload, then goes on as after any other. */
  decompress(data: Buffer, callback: (error?: Error) => void): void;
  dataMessage(callback: (error?: Error) => void): void;
}

export interface SenderInternals {
  /** Bytes that it holds back while it compresses. */
  readonly _bufferedBytes: number;
  readonly _firstFragment: boolean;
  onerror(error: Error): void;
}

export interface WebSocketInternals {
  readonly binaryType: string;
  readonly _receiver: ReceiverInternals;
  readonly _sender: SenderInternals;
  _socket: Socket;
  _events: object | undefined;
  _extensions: Readonly<Record<string, unknown>>;
  _paused: boolean;
  _protocol: string;
  _readyState: number;
  _closeFrameSent: boolean;
  _closeFrameReceived: boolean;
  _closeCode: number;
  _closeMessage: Buffer;
  _closeTimer: NodeJS.Timeout | null;
  _errorEmitted: boolean;
  setSocket(socket: Socket, head: Buffer, options: object): void;
  emitClose(): void;
}

export const GET_INFO = 0;
export const INFLATING = 5;
/** A `readyState`. */
export const CLOSING = 2;

export const internalsOf = (socket: WebSocket): WebSocketInternals => socket as unknown as WebSocketInternals;

interface ReceiverOptions {
  readonly allowSynchronousEvents: boolean;
  readonly binaryType: string;
  readonly extensions: object;
  readonly isServer: boolean;
  readonly maxBufferedChunks: number;
  readonly maxFragments: number;
  readonly maxPayload: number;
  readonly skipUTF8Validation: boolean;
}

/** Exported by `ws`, not by its types. */
export const { Receiver, Sender } = ws as unknown as {
  readonly Receiver: { readonly prototype: ReceiverInternals; new (options: ReceiverOptions): ReceiverInternals };
  readonly Sender: {
    new (socket: Socket, extensions: object): SenderInternals;
    frame(
      data: Buffer,
      options: { fin: boolean; rsv1: boolean; opcode: number; mask: false; readOnly: boolean },
    ): Buffer[];
  };
};

const { _write: parse } = Receiver.prototype;

/**
 * In place of a receiver's `_write`: a stream hands over all that it has kept while a message was inflated, although the
 * first of it was no frame. Behind an error nothing is parsed.
 */
export function writeUntilError(
  this: ReceiverInternals,
  chunk: Buffer,
  encoding: 'buffer',
  callback: (error?: Error) => void,
): void {
  if (this._errored) callback();
  else parse.call(this, chunk, encoding, callback);
}

export const EMPTY = Buffer.alloc(0);

type CreateError = (type: ErrorConstructor, message: string, prefix: boolean, status: number, code: string) => Error;

/** Under which symbol an error of a receiver carries its close code: it is on one that is made for that. */
export const STATUS_CODE: unique symbol = Object.getOwnPropertySymbols(
  (Receiver.prototype as unknown as { createError: CreateError }).createError.call({}, Error, '', false, 1002, ''),
)[0] as never;
