import { lowerCaseHeaders } from '../http/fields.js';
import type { ResponseHead } from '../http/head-parser.js';

/** Finds the end of a response's body (RFC 9112, section 6.3). It stores no bytes. */
export interface BodyReader {
  /** The announced length in bytes. */
  readonly length: number | undefined;
  /** Passes the bytes of the body to `take`. Returns true when the body has ended. */
  read(chunk: Buffer, take: (data: Buffer) => void): boolean;
}

const DIGITS = /^\d{1,15}$/;
/** Statuses of responses that never have a body. */
const BODYLESS: ReadonlySet<number> = new Set([204, 304]);

/**
 * Returns the reader for this head. If the headers contradict each other, the body ends when the server closes, within
 * limits and timeouts.
 */
export function bodyReader({ status, rawHeaders }: ResponseHead, maxLineLength: number): BodyReader {
  if (BODYLESS.has(status)) return new SizedBody(0);
  const { 'transfer-encoding': encoding, 'content-length': length } = lowerCaseHeaders(rawHeaders);
  if (encoding !== undefined)
    return encoding.toLowerCase() === 'chunked' ? new ChunkedBody(maxLineLength) : UNTIL_CLOSE;
  return length !== undefined && DIGITS.test(length) ? new SizedBody(Number(length)) : UNTIL_CLOSE;
}

const UNTIL_CLOSE: BodyReader = {
  length: undefined,
  read(chunk, take) {
    take(chunk);
    return false;
  },
};

class SizedBody implements BodyReader {
  private left: number;

  constructor(readonly length: number) {
    this.left = length;
  }

  read(chunk: Buffer, take: (data: Buffer) => void): boolean {
    const data = chunk.subarray(0, this.left);
    this.left -= data.length;
    take(data);
    return this.left === 0;
  }
}

/** `chunk-size [ chunk-ext ] CRLF chunk-data CRLF`, ended by a chunk of none (RFC 9112, section 7.1). */
const SIZE_LINE = /^([0-9A-Fa-f]{1,12})[\t ]*(?:;[^\r\n]*)?\r\n$/;
const LF = 0x0a;

/** The trailers are not read, because the connection is closed anyway. An invalid chunk ends the body. */
class ChunkedBody implements BodyReader {
  readonly length = undefined;
  private line = '';
  /** Bytes of the current chunk that are still missing, including its CRLF; 0 while a size line is read. */
  private left = 0;

  constructor(private readonly maxLineLength: number) {}

  read(chunk: Buffer, take: (data: Buffer) => void): boolean {
    let at = 0;
    while (at < chunk.length) {
      if (this.left > 0) at += this.data(chunk.subarray(at), take);
      else {
        const end = chunk.indexOf(LF, at);
        const stop = end < 0 ? chunk.length : end + 1;
        // protection: client: chunk size lines
        if (this.line.length + stop - at > this.maxLineLength) return true;
        // end protection
        this.line += chunk.toString('latin1', at, stop);
        at = stop;
        if (end >= 0 && this.isLast()) return true;
      }
    }
    return false;
  }

  private data(chunk: Buffer, take: (data: Buffer) => void): number {
    const CRLF = 2;
    const part = chunk.subarray(0, this.left);
    const own = Math.max(0, this.left - CRLF);
    if (own > 0) take(part.subarray(0, own));
    this.left -= part.length;
    return part.length;
  }

  private isLast(): boolean {
    const size = SIZE_LINE.exec(this.line)?.[1];
    this.line = '';
    const bytes = size === undefined ? 0 : Number.parseInt(size, 16);
    this.left = bytes === 0 ? 0 : bytes + 2;
    return bytes === 0;
  }
}
