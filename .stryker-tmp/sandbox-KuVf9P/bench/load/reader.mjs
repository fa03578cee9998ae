// @ts-nocheck
const DATA_OPCODES = 3;
const PING = 9;
const CLOSE = 8;

/** Counts a server's messages without looking at payloads; hands over pings, which must be answered. */
export class FrameReader {
  #skip = 0;
  #final = 0;
  #carry = null;
  #lastLength = 0;

  constructor({ onPing, onClose, onEngineByte }) {
    Object.assign(this, { onPing, onClose, onEngineByte });
  }

  /** How many messages ended in `chunk`. */
  push(chunk) {
    const bytes = this.#carry ? Buffer.concat([this.#carry, chunk]) : chunk;
    this.#carry = null;
    let at = 0;
    let ended = 0;
    while (at < bytes.length) {
      if (this.#skip > 0) {
        const taken = Math.min(this.#skip, bytes.length - at);
        at += taken;
        this.#skip -= taken;
        if (this.#skip === 0) ended += this.#endOfFrame(bytes[at - 1]);
        continue;
      }
      const head = this.#head(bytes, at);
      if (head === 0) {
        this.#carry = Buffer.from(bytes.subarray(at));
        break;
      }
      at += head;
      if (this.#skip === 0) ended += this.#final;
    }
    return ended;
  }

  // socket.io's own ping is a text message of one byte.
  #endOfFrame(lastByte) {
    if (this.#lastLength !== 1 || !this.#final || !this.onEngineByte) return this.#final;
    this.onEngineByte(lastByte);
    return 0;
  }

  /** Bytes to step over: a data frame's header, a whole control frame, or 0 when more must come. */
  #head(bytes, at) {
    const left = bytes.length - at;
    if (left < 2) return 0;
    const short = bytes[at + 1] & 0x7f;
    const size = short < 126 ? 2 : short === 126 ? 4 : 10;
    if (left < size) return 0;
    const opcode = bytes[at] & 0x0f;
    if (opcode >= DATA_OPCODES) return this.#control(opcode, bytes, at, short);
    this.#skip = this.#lastLength =
      size === 2 ? short : size === 4 ? bytes.readUInt16BE(at + 2) : Number(bytes.readBigUInt64BE(at + 2));
    this.#final = bytes[at] >> 7;
    return size;
  }

  #control(opcode, bytes, at, length) {
    if (bytes.length - at < 2 + length) return 0;
    this.#final = 0;
    if (opcode === PING) this.onPing(bytes.subarray(at + 2, at + 2 + length));
    if (opcode === CLOSE) this.onClose?.(length < 2 ? 1005 : bytes.readUInt16BE(at + 2));
    return 2 + length;
  }
}
