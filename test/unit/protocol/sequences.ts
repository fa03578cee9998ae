import type { Random } from '../../support/random.js';

export interface SequenceOptions {
  readonly isServer: boolean;
  readonly maxSize: number;
  readonly deflate: boolean;
}

const TEXTS = [
  '',
  'a',
  'hello',
  'Köln',
  '€uro',
  '🦊 fox',
  '\u{10ffff}\u{d7ff}\u{e000}',
  'x'.repeat(63),
  'ü'.repeat(40),
  'z'.repeat(125),
].map((text) => Buffer.from(text));

/** Invalid or incomplete UTF-8. */
const WRONG = [
  [0x80],
  [0xc0, 0xaf],
  [0xc1, 0xbf],
  [0xe0, 0x80, 0xaf],
  [0xed, 0xa0, 0x80],
  [0xf0, 0x80, 0x80, 0xaf],
  [0xf4, 0x90, 0x80, 0x80],
  [0xf5],
  [0xff],
  [0xe2, 0x82],
  [0xf0, 0x9f, 0xa6],
  [0xc3],
].map((bytes) => Buffer.from(bytes));

const CLOSE_CODES = [1000, 1001, 1003, 1004, 1005, 1006, 1007, 1011, 1014, 1015, 999, 0, 2999, 3000, 4999, 5000, 65535];

const OUTPUT = Buffer.alloc(512 * 1024);

/** Writes one sequence of mostly valid frames into a common buffer. */
export function sequence(random: Random, options: SequenceOptions): Buffer {
  const writer = new Writer(random, options);
  const count = 1 + random.below(4);
  for (let i = 0; i < count; i++) {
    if (random.once(4)) writer.control();
    else writer.message();
  }
  if (random.once(6)) writer.close();
  if (random.once(6)) writer.bendHeader();
  const end = random.once(4) ? random.below(writer.at + 1) : writer.at;
  return OUTPUT.subarray(0, end);
}

class Writer {
  at = 0;
  private readonly headers: number[] = [];

  constructor(
    private readonly random: Random,
    private readonly options: SequenceOptions,
  ) {}

  message(): void {
    const { random, options } = this;
    const opcode = random.once(3) ? 2 : 1;
    const rsv1 = options.deflate && random.once(2) ? 0x40 : 0;
    const payload = this.payload();
    const frames = random.once(2) ? 1 : 1 + random.below(random.once(20) ? 8 : 4);
    let from = 0;
    for (let i = 0; i < frames; i++) {
      const isLast = i === frames - 1;
      const to = isLast ? payload.length : from + random.below(payload.length - from + 1);
      this.frame((isLast ? 0x80 : 0) | (i === 0 ? opcode | rsv1 : 0), payload.subarray(from, to));
      from = to;
      if (!isLast && random.once(4)) this.control();
      // A message that is never completed.
      if (!isLast && random.once(30)) return;
    }
  }

  control(): void {
    const { random } = this;
    const length = random.once(8) ? random.pick([124, 125, 126, 127]) : random.below(12);
    this.frame(0x80 | random.pick([9, 10]), OUTPUT.subarray(OUTPUT.length - length));
  }

  close(): void {
    const { random } = this;
    if (random.once(4)) return this.frame(0x88, OUTPUT.subarray(0, random.below(2)));
    const reason = random.once(4) ? random.pick(WRONG) : random.pick(TEXTS);
    const payload = Buffer.alloc(2 + reason.length);
    payload.writeUInt16BE(random.pick(CLOSE_CODES));
    reason.copy(payload, 2);
    this.frame(0x88, payload);
  }

  /** A wrong bit in a header, or a wrong length. */
  bendHeader(): void {
    const { random, headers } = this;
    const header = random.pick(headers);
    const at = header + random.below(random.once(4) ? 10 : 2);
    if (at < this.at) OUTPUT[at]! ^= 1 << random.below(8);
  }

  private payload(): Buffer {
    const { random, options } = this;
    if (random.once(300)) {
      const length = random.pick([126, 127, 65535, 65536, 65537, options.maxSize, options.maxSize + 1]);
      return Buffer.alloc(Math.min(length, 70_000), random.pick(['x', 'é']));
    }
    const parts = [random.pick(TEXTS)];
    while (random.once(2)) parts.push(random.once(8) ? random.pick(WRONG) : random.pick(TEXTS));
    return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
  }

  private frame(first: number, payload: Buffer): void {
    const { random, options } = this;
    const { length } = payload;
    this.headers.push(this.at);
    OUTPUT[this.at++] = first;
    const mask = options.isServer ? 0x80 : 0;
    // Sometimes a longer length form than needed, or a wrong length.
    const form = random.once(60) ? random.pick([126, 127]) : length < 126 ? length : length < 65536 ? 126 : 127;
    OUTPUT[this.at++] = mask | form;
    if (form === 126) this.at = OUTPUT.writeUInt16BE(length & 0xffff, this.at);
    else if (form === 127) {
      const high = random.once(3) ? random.pick([1, 2 ** 20, 2 ** 21 - 1, 2 ** 21, 2 ** 31, 2 ** 32 - 1]) : 0;
      this.at = OUTPUT.writeUInt32BE(high, this.at);
      this.at = OUTPUT.writeUInt32BE(length, this.at);
    }
    if (mask === 0) {
      this.at += payload.copy(OUTPUT, this.at);
      return;
    }
    const key = random.once(8) ? 0 : random.below(2 ** 32);
    const keyAt = this.at;
    this.at = OUTPUT.writeUInt32BE(key, this.at);
    for (let i = 0; i < length; i++) OUTPUT[this.at++] = payload[i]! ^ OUTPUT[keyAt + (i & 3)]!;
  }
}

/** The places where a sequence is cut into chunks: none, all, or some. */
export function cuts(random: Random, length: number): number[] {
  const places: number[] = [];
  const way = random.below(4);
  if (way === 0 && length < 300) for (let at = 1; at < length; at++) places.push(at);
  else if (way < 3) for (let i = random.below(4); i >= 0 && length > 1; i--) places.push(1 + random.below(length - 1));
  return places.sort((a, b) => a - b);
}
