import { isUtf8 } from 'node:buffer';

/** The result of parsing a sequence of bytes: its events, and the close code that ends it, if any. */
export interface Outcome {
  readonly events: readonly Event[];
  /** `close` and a code: a close frame; a code alone: an error. */
  readonly end: string;
}
export interface Event {
  readonly kind: 'text' | 'binary' | 'ping' | 'pong';
  readonly data: Buffer;
}

export interface ModelOptions {
  readonly isServer: boolean;
  readonly maxSize: number;
  readonly maxFragments: number;
  readonly deflate: boolean;
}

/**
 * Where our parser differs from that of `ws`, each with the section of RFC 6455 that decides. All else is equal: the
 * differential test compares each parser with this model and its own policy.
 */
export interface Policy {
  /** 5.2: bits of the first byte are refused with the first byte; `ws` waits for the second. */
  readonly firstByteAlone: boolean;
  /** 5.2 and 10.4: a length of 2^53 or more is refused with its upper half; `ws` waits for all eight bytes. */
  readonly upperHalfAlone: boolean;
  /** 10.4: one fragment too many is refused with its length; `ws` waits for its payload. */
  readonly fragmentsByHeader: boolean;
  /** 8.1: a text that can no longer be UTF-8 is refused at once; `ws` waits for its last frame. */
  readonly firstWrongByte: boolean;
}
export const OURS: Policy = {
  firstByteAlone: true,
  upperHalfAlone: true,
  fragmentsByHeader: true,
  firstWrongByte: true,
};
export const WS: Policy = {
  firstByteAlone: false,
  upperHalfAlone: false,
  fragmentsByHeader: false,
  firstWrongByte: false,
};

const decoder = new TextDecoder('utf-8', { fatal: true });

/** Whether these bytes can begin a text. */
function isPrefix(parts: readonly Buffer[]): boolean {
  const bytes = Buffer.concat(parts);
  if (isUtf8(bytes)) return true;
  try {
    decoder.decode(bytes, { stream: true });
    return true;
  } catch {
    return false;
  } finally {
    try {
      decoder.decode();
    } catch {
      // Decoding in stream mode keeps a truncated character.
    }
  }
}

const isCloseCode = (code: number): boolean =>
  (code >= 1000 && code <= 1014 && ![1004, 1005, 1006].includes(code)) || (code >= 3000 && code <= 4999);

/** Reads a whole sequence after RFC 6455, section 5: slow, in one function. */
export function model(bytes: Buffer, options: ModelOptions, policy: Policy): Outcome {
  const events: Event[] = [];
  let opcode = 0;
  let compressed = false;
  let frames = 0;
  let announced = 0;
  let parts: Buffer[] = [];
  let at = 0;
  const ended = (end: string | number): Outcome => ({ events, end: `${end}` });

  for (;;) {
    const left = bytes.length - at;
    if (left < (policy.firstByteAlone ? 1 : 2)) return ended('');
    const first = bytes[at]!;
    const fin = (first & 0x80) !== 0;
    const rsv1 = (first & 0x40) !== 0;
    const code = first & 15;
    if ((first & 0x30) !== 0 || (rsv1 && (!options.deflate || code === 0 || code > 2))) return ended(1002);
    if ((code > 2 && code < 8) || code > 10 || (code > 7 && !fin)) return ended(1002);
    if (code < 8 && (code === 0) !== opcode > 0) return ended(1002);
    if (left < 2) return ended('');

    const second = bytes[at + 1]!;
    let length = second & 0x7f;
    if (second >> 7 !== Number(options.isServer)) return ended(1002);
    if (code > 7 && (length > 125 || (code === 8 && length === 1))) return ended(1002);
    const extended = length === 127 ? 8 : length === 126 ? 2 : 0;
    const isHuge = (): boolean => bytes.readUInt32BE(at + 2) >= 2 ** 21;
    if (policy.upperHalfAlone && extended === 8 && left >= 6 && isHuge()) return ended(1009);
    if (left < 2 + extended) return ended('');
    if (extended === 8 && isHuge()) return ended(1009);
    if (extended === 2) length = bytes.readUInt16BE(at + 2);
    if (extended === 8) length = Number(bytes.readBigUInt64BE(at + 2));

    if (code < 8) {
      if (code > 0) [opcode, compressed, frames, announced, parts] = [code, rsv1, 0, 0, []];
      announced += length;
      frames++;
      if (announced > options.maxSize) return ended(1009);
      if (policy.fragmentsByHeader && frames > options.maxFragments) return ended(1008);
    }

    const start = at + 2 + extended + (options.isServer ? 4 : 0);
    const payload = Buffer.from(bytes.subarray(start, start + length));
    if (options.isServer) for (let i = 0; i < payload.length; i++) payload[i]! ^= bytes[start - 4 + (i & 3)]!;
    const isWhole = bytes.length >= start + length;
    const isPlainText = code < 8 && opcode === 1 && !compressed;
    if (code < 8) parts.push(payload);
    if (policy.firstWrongByte && isPlainText && !isPrefix(parts)) return ended(1007);
    if (!isWhole) return ended('');
    at = start + length;

    if (code === 8) {
      if (length === 0) return ended('close 1005 ');
      const status = payload.readUInt16BE(0);
      if (!isCloseCode(status)) return ended(1002);
      return ended(isUtf8(payload.subarray(2)) ? `close ${status} ${payload.subarray(2)}` : 1007);
    }
    if (code > 8) {
      events.push({ kind: code === 9 ? 'ping' : 'pong', data: payload });
      continue;
    }
    if (frames > options.maxFragments) return ended(1008);
    if (!fin) continue;
    const data = Buffer.concat(parts);
    if (opcode === 1 && !isUtf8(data)) return ended(1007);
    events.push({ kind: opcode === 1 ? 'text' : 'binary', data });
    opcode = 0;
  }
}
