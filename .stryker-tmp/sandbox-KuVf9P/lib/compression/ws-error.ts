// @ts-nocheck
import * as ws from 'ws';

/** Why a compressed message was not inflated. */
export type InflateFailure = 'too-large' | 'corrupt';

/** An error that makes `ws` close the connection with `closeCode`. */
export interface CompressionError extends Error {
  code: string;
  closeCode: 1007 | 1009;
}

type CreateError = (ctor: ErrorConstructor, message: string, prefix: boolean, status: number, code: string) => Error;

/**
 * `ws` reads the close code of an error under a symbol that it does not export; the `Receiver` that it does export
 * makes such errors. The receiver that the method marks as broken is a stand-in.
 */
const { Receiver } = ws as unknown as { Receiver?: { prototype: { createError?: CreateError } } };

function createError(ctor: ErrorConstructor, message: string, status: number, code: string): Error {
  const make = Receiver?.prototype.createError;
  return make === undefined ? new ctor(message) : make.call({}, ctor, message, false, status, code);
}

/** 1009 for a message that inflates to more than it may, 1007 for data that is not DEFLATE (RFC 7692, 6.2). */
export function compressionError(failure: InflateFailure): CompressionError {
  const error =
    failure === 'too-large'
      ? createError(RangeError, 'Max payload size exceeded', 1009, 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH')
      : createError(Error, 'Invalid compressed data', 1007, 'WS_ERR_INVALID_COMPRESSED_DATA');
  const code = failure === 'too-large' ? 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH' : 'WS_ERR_INVALID_COMPRESSED_DATA';
  return Object.assign(error, { code, closeCode: failure === 'too-large' ? 1009 : 1007 } as const);
}
