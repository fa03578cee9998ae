import { randomBytes } from 'node:crypto';

/** A frame received from the server. */
export interface Frame {
  readonly opcode: number;
  readonly fin: boolean;
  readonly rsv1: boolean;
  readonly payload: Buffer;
}

export interface FrameOptions {
  /** 0 continuation, 1 text, 2 binary, 8 close, 9 ping, 10 pong. Default 1. */
  readonly opcode?: number;
  readonly fin?: boolean;
  /** RSV1 to RSV3 as three bits. */
  readonly rsv?: number;
  readonly masked?: boolean;
  /** A length to declare instead of the payload's length. */
  readonly length?: bigint;
}

/** A client frame (RFC 6455, section 5.2), which can violate every rule. */
export function frame(payload: string | Buffer, options: FrameOptions = {}): Buffer {
  const { opcode = 1, fin = true, rsv = 0, masked = true } = options;
  const data = Buffer.from(payload as string);
  const length = options.length ?? BigInt(data.length);
  const extended = length < 126n ? 0 : length < 65_536n ? 2 : 8;
  const head = Buffer.alloc(2 + extended + (masked ? 4 : 0));
  head[0] = (fin ? 0x80 : 0) | (rsv << 4) | opcode;
  head[1] = (masked ? 0x80 : 0) | (extended === 0 ? Number(length) : extended === 2 ? 126 : 127);
  if (extended === 2) head.writeUInt16BE(Number(length), 2);
  if (extended === 8) head.writeBigUInt64BE(length, 2);
  if (!masked) return Buffer.concat([head, data]);
  const mask = randomBytes(4);
  mask.copy(head, 2 + extended);
  for (let i = 0; i < data.length; i++) data[i]! ^= mask[i & 3]!;
  return Buffer.concat([head, data]);
}

/** The same frame repeated in one buffer. */
export const repeated = (one: Buffer, times: number): Buffer => {
  const all = Buffer.alloc(one.length * times);
  for (let i = 0; i < times; i++) one.copy(all, i * one.length);
  return all;
};

/** Maximum number of payload bytes that are kept; the rest is counted and dropped. */
const KEPT = 64 * 1024;

/** Parses the frames in received bytes, and keeps little of them. */
export class FrameReader {
  private held: Buffer = Buffer.alloc(0);
  private skip = 0;

  constructor(private readonly onFrame: (frame: Frame) => void) {}

  push(chunk: Buffer): void {
    if (this.skip > 0) {
      const skipped = Math.min(this.skip, chunk.length);
      this.skip -= skipped;
      if (skipped === chunk.length) return;
      chunk = chunk.subarray(skipped);
    }
    this.held = this.held.length === 0 ? chunk : Buffer.concat([this.held, chunk]);
    while (this.next());
  }

  private next(): boolean {
    const { held } = this;
    if (held.length < 2) return false;
    let length = held[1]! & 0x7f;
    let offset = 2;
    if (length === 126) {
      if (held.length < 4) return false;
      length = held.readUInt16BE(2);
      offset = 4;
    } else if (length === 127) {
      if (held.length < 10) return false;
      length = Number(held.readBigUInt64BE(2));
      offset = 10;
    }
    const kept = Math.min(length, KEPT);
    if (held.length < offset + kept) return false;
    const first = held[0]!;
    // A copy, so that the kept bytes do not keep the whole chunk alive.
    const payload = Buffer.from(held.subarray(offset, offset + kept));
    const behind = offset + length;
    this.skip = Math.max(0, behind - held.length);
    this.held = held.subarray(Math.min(behind, held.length));
    this.onFrame({ opcode: first & 15, fin: first > 0x7f, rsv1: (first & 0x40) !== 0, payload });
    return true;
  }
}
