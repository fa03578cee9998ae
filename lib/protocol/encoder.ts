import { Buffer } from 'node:buffer';
import { closePayload } from './close-codes.js';
import { FIN, MASK, Opcode, type Role, RSV1 } from './frame.js';
import { applyMask, newMask } from './mask.js';

/** ASCII texts of up to this many bytes are written as one latin1 string, without allocating a `Buffer`. */
export const LONGEST_STRING = 16_000;

/** Headers of unmasked text frames of up to 125 bytes. */
const SHORT_HEADS = Array.from({ length: 126 }, (_, length) => String.fromCharCode(FIN | Opcode.TEXT, length));

/** An unmasked text frame as a latin1 string. `text` must be ASCII and no longer than {@link LONGEST_STRING}. */
export const asciiFrame = (text: string): string =>
  text.length < SHORT_HEADS.length
    ? SHORT_HEADS[text.length]! + text
    : String.fromCharCode(FIN | Opcode.TEXT, 126, text.length >> 8, text.length & 255) + text;

/** An unmasked ping frame as a latin1 string; its payload is a 32-bit number. */
export const pingFrame = (number: number): string =>
  String.fromCharCode(FIN | Opcode.PING, 4, number >>> 24, (number >> 16) & 255, (number >> 8) & 255, number & 255);

const headerLength = (length: number): number => (length < 126 ? 2 : length < 0x10000 ? 4 : 10);

/** Writes a frame header without its masking key (RFC 6455, 5.2). Returns the header's length. */
function writeHeader(target: Buffer, first: number, length: number, maskBit: number): number {
  target[0] = first;
  if (length < 126) {
    target[1] = maskBit | length;
    return 2;
  }
  if (length < 0x10000) {
    target[1] = maskBit | 126;
    target[2] = length >> 8;
    target[3] = length & 255;
    return 4;
  }
  target[1] = maskBit | 127;
  target.writeUInt32BE(Math.floor(length / 2 ** 32), 2);
  target.writeUInt32BE(length >>> 0, 6);
  return 10;
}

/** The header of an unmasked frame, for payloads too large to copy. `first` comes from {@link FrameEncoder.next}. */
export function frameHeader(first: number, length: number): Buffer {
  const header = Buffer.allocUnsafe(headerLength(length));
  writeHeader(header, first, length, 0);
  return header;
}

/** A whole unmasked frame. One `Buffer` may be sent to many peers. */
export function plainFrame(first: number, payload: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(headerLength(payload.length) + payload.length);
  frame.set(payload, writeHeader(frame, first, payload.length, 0));
  return frame;
}

/** A whole frame, masked with a new key (RFC 6455, 5.3). The payload itself is not changed. */
export function maskedFrame(first: number, payload: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(headerLength(payload.length) + 4 + payload.length);
  const start = writeHeader(frame, first, payload.length, MASK) + 4;
  frame.set(payload, start);
  maskPayload(frame, start);
  return frame;
}

/** Writes a new key in the four bytes before `start` and masks the payload that begins there. */
function maskPayload(frame: Buffer, start: number): void {
  const mask = newMask();
  frame[start - 4] = mask >>> 24;
  frame[start - 3] = mask >>> 16;
  frame[start - 2] = mask >>> 8;
  frame[start - 1] = mask;
  applyMask(frame, start, frame.length, mask);
}

/** Encodes the frames that one side of a connection sends, and keeps track of fragmented messages. A client masks. */
export class FrameEncoder {
  /** A fragmented message has been begun and its last frame has not been sent. */
  isMidMessage = false;

  constructor(private readonly role: Role) {}

  /**
   * The first byte of the next data frame. Within a fragmented message the opcode is CONTINUATION and RSV1 is
   * clear, whatever the arguments are (RFC 6455, 5.4; RFC 7692, section 6).
   */
  next(isBinary: boolean, fin = true, isCompressed = false): number {
    const isContinuation = this.isMidMessage;
    this.isMidMessage = !fin;
    const bits = fin ? FIN : 0;
    if (isContinuation) return bits | Opcode.CONTINUATION;
    return bits | (isCompressed ? RSV1 : 0) | (isBinary ? Opcode.BINARY : Opcode.TEXT);
  }

  /** A whole frame. `first` comes from {@link next}. */
  frame(first: number, payload: Uint8Array): Buffer {
    return this.role === 'server' ? plainFrame(first, payload) : maskedFrame(first, payload);
  }

  /** A whole frame of text of `length` bytes: the text is encoded directly into the frame. */
  textFrame(first: number, text: string, length = Buffer.byteLength(text)): Buffer {
    const isClient = this.role === 'client';
    const frame = Buffer.allocUnsafe(headerLength(length) + (isClient ? 4 : 0) + length);
    const start = writeHeader(frame, first, length, isClient ? MASK : 0) + (isClient ? 4 : 0);
    frame.write(text, start, length === text.length ? 'latin1' : 'utf8');
    if (isClient) maskPayload(frame, start);
    return frame;
  }

  /** A whole text message of `length` bytes. A server gets short ASCII texts as a string, to be written in latin1. */
  text(text: string, length = Buffer.byteLength(text)): string | Buffer {
    const isString = this.role === 'server' && length <= LONGEST_STRING && !this.isMidMessage;
    if (isString && length === text.length) return asciiFrame(text);
    return this.textFrame(this.next(false), text, length);
  }

  /**
   * A ping or a pong.
   *
   * @throws RangeError for a payload of more than 125 bytes.
   */
  control(opcode: typeof Opcode.PING | typeof Opcode.PONG, payload: Uint8Array): Buffer {
    if (payload.length > 125) throw new RangeError('The data size must not be greater than 125 bytes');
    return this.frame(FIN | opcode, payload);
  }

  /** A close frame; throws as `closePayload` does. */
  close(code?: number, reason?: string | Uint8Array): Buffer {
    return this.frame(FIN | Opcode.CLOSE, closePayload(code, reason));
  }
}
