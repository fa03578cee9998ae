import { Buffer, constants, isAscii } from 'node:buffer';
import { isCloseCode, NO_STATUS } from './close-codes.js';
import {
  Failure,
  FIN,
  MASK,
  MAX_CONTROL_BYTES,
  Opcode,
  type ProtocolError,
  type Role,
  RSV1,
  RSV2_AND_3,
} from './frame.js';
import { copied, grown, own } from './kept.js';
import { applyMask, turnMask } from './mask.js';
import { COMPLETE, checkUtf8, INVALID } from './utf8.js';

/** What a peer may send; one object for all connections of a gateway. */
export interface FrameLimits {
  /** Bytes of a message as received, declared lengths counted: 1009 beyond it. */
  readonly maxSize: number;
  /** Data frames of one message: 1008 beyond it. */
  readonly maxFragments: number;
}

/**
 * Receives what a parser reads, in order. `Buffer`s are views of the pushed chunk or of memory that the parser no longer
 * uses: they stay valid. Pass them through `own` before keeping them: a small view keeps a whole read alive.
 */
export interface FrameSink {
  /**
   * A whole message. `isCompressed`: RSV1 was set, and `data` must be inflated (RFC 7692, section 6). A text that
   * is not compressed is valid UTF-8.
   */
  message(data: Buffer, isBinary: boolean, isCompressed: boolean): void;
  /** A data frame that did not complete a message. */
  fragment(): void;
  ping(data: Buffer): void;
  pong(data: Buffer): void;
  /** The peer's close frame; 1005 where it had no code. The parser reads nothing after it. */
  close(code: number, reason: Buffer): void;
  /** The peer violated the protocol or a limit. The parser reads nothing after that. */
  error(error: ProtocolError): void;
}

/** What the parser reads next. */
const State = {
  FIRST_BYTE: 0,
  SECOND_BYTE: 1,
  LENGTH_16: 2,
  LENGTH_64: 3,
  MASK: 4,
  PAYLOAD: 5,
  /** After a close frame, an error, or {@link FrameParser.end}. */
  ENDED: 6,
} as const;
type State = (typeof State)[keyof typeof State];

/** Chunks that arrive while the parser is stopped are joined up to this size, so that tiny reads cost no object each. */
const JOIN_UP_TO = 4096;
/** From this size on, the operating system maps the memory of a buffer page by page, as it is written. */
const LAZY = 256 * 1024;
/** The greatest upper half of a 64-bit length that is a safe integer (less than 2^53). */
const MAX_HIGH_WORD = 2 ** 21 - 1;

/**
 * Parses the frames of one peer (RFC 6455, section 5) and assembles messages. It performs no I/O: {@link push} takes
 * bytes and calls the {@link FrameSink} before it returns. Each limit is checked at the byte that violates it, before
 * anything is allocated for it. Payloads are unmasked in place.
 */
export class FrameParser {
  private state: State = State.FIRST_BYTE;
  private stopped = false;
  private running = false;
  private discarding = false;
  /** The chunk that is being parsed, and the chunks after it. */
  private chunk: Buffer | undefined = undefined;
  private at = 0;
  private waiting: Buffer[] | undefined = undefined;

  /** The frame that is being read: its first byte and its length. */
  private first = 0;
  private length = 0;
  /** Bytes still missing: of the extended length, of the masking key, or of the payload. */
  private missing = 0;
  private mask = 0;
  /** Payload of a control frame that has not arrived whole. */
  private control: Buffer | undefined = undefined;

  /** The message that is being received: its opcode, or {@link Opcode.CONTINUATION} where there is none. */
  private opcode: Opcode = Opcode.CONTINUATION;
  private isCompressed = false;
  private fragments = 0;
  /** Sum of the declared lengths of its frames, and the bytes of it that are kept. */
  private announced = 0;
  private kept = 0;
  private message: Buffer | undefined = undefined;
  private utf8 = COMPLETE;

  /** `allowsRsv1`: permessage-deflate was negotiated. */
  constructor(
    private role: Role,
    private limits: FrameLimits,
    private sink: FrameSink,
    private allowsRsv1 = false,
  ) {}

  /** Parses the frames of another peer from now on. The parser must be at rest. */
  assign(role: Role, limits: FrameLimits, sink: FrameSink, allowsRsv1: boolean): void {
    this.role = role;
    this.limits = limits;
    this.sink = sink;
    this.allowsRsv1 = allowsRsv1;
  }

  /**
   * The parser has no state: it is not parsing, stopped, or discarding messages, and everything that was pushed has been
   * parsed to the end of a message.
   */
  get isAtRest(): boolean {
    return (
      this.state === State.FIRST_BYTE &&
      this.opcode === Opcode.CONTINUATION &&
      this.chunk === undefined &&
      !(this.running || this.stopped || this.discarding)
    );
  }

  /** A message or a frame has begun and is incomplete. */
  get isMidMessage(): boolean {
    return this.opcode !== Opcode.CONTINUATION || (this.state !== State.FIRST_BYTE && this.state !== State.ENDED);
  }

  /** Payload bytes received of the incomplete message. */
  get received(): number {
    return this.kept;
  }

  /** Stopped by {@link stop}. */
  get isStopped(): boolean {
    return this.stopped;
  }

  /** A close frame or an error was handed over, or {@link end} was called: nothing more is read. */
  get hasEnded(): boolean {
    return this.state === State.ENDED;
  }

  /** There are bytes that {@link stop} has left unread. */
  get hasUnread(): boolean {
    return this.chunk !== undefined;
  }

  /** Bytes of memory that the parser keeps alive: of unread chunks and of the unfinished message, at their real size. */
  get heldBytes(): number {
    let bytes = sizeOf(this.chunk) + this.messageBytes + sizeOf(this.control);
    if (this.waiting !== undefined) for (const chunk of this.waiting) bytes += sizeOf(chunk);
    return bytes;
  }

  /** A large buffer takes memory only as far as it has been written. */
  private get messageBytes(): number {
    const size = sizeOf(this.message);
    return size < LAZY ? size : this.kept;
  }

  /** Objects that hold those bytes. */
  get heldObjects(): number {
    const own =
      Number(this.chunk !== undefined) + Number(this.message !== undefined) + Number(this.control !== undefined);
    return own + (this.waiting?.length ?? 0);
  }

  /** Parses a chunk. The parser owns the chunk from now on and modifies it. What {@link stop} leaves unread is kept. */
  push(chunk: Buffer): void {
    if (this.state === State.ENDED || chunk.length === 0) return;
    if (this.chunk === undefined) this.chunk = chunk;
    else this.wait(chunk);
    this.run();
  }

  /** Stops parsing until {@link resume}. Called by the sink, it takes effect after the current message or frame. */
  stop(): void {
    this.stopped = true;
  }

  /** Continues with the unread bytes. Called by the sink, it cancels {@link stop}. */
  resume(): void {
    this.stopped = false;
    this.run();
  }

  /** From now on messages are skipped: neither kept, checked nor delivered. Control frames still are. */
  discardMessages(): void {
    this.discarding = true;
    this.forgetMessage();
  }

  /** Parses nothing more and releases all memory. */
  end(): void {
    this.state = State.ENDED;
    this.opcode = Opcode.CONTINUATION;
    this.forgetMessage();
    this.control = undefined;
    this.chunk = undefined;
    this.waiting = undefined;
  }

  private wait(chunk: Buffer): void {
    const waiting = (this.waiting ??= []);
    const last = waiting.at(-1);
    if (last !== undefined && last.length + chunk.length <= JOIN_UP_TO) waiting.push(joined(waiting.pop()!, chunk));
    else waiting.push(own(chunk));
  }

  private run(): void {
    if (this.running) return;
    this.running = true;
    try {
      while (this.chunk !== undefined && !this.stopped) {
        if (this.at < this.chunk.length) this.step(this.chunk);
        else this.nextChunk();
      }
    } finally {
      this.running = false;
      if (this.chunk !== undefined) this.releaseRead(this.chunk);
    }
  }

  private nextChunk(): void {
    this.at = 0;
    this.chunk = this.waiting?.shift();
    if (this.chunk === undefined) this.waiting = undefined;
  }

  /** Copies a small rest of a large read, so that it does not keep the read alive. */
  private releaseRead(chunk: Buffer): void {
    if (this.at === chunk.length) return this.nextChunk();
    const rest = chunk.subarray(this.at);
    const kept = own(rest);
    if (kept === rest) return;
    this.chunk = kept;
    this.at = 0;
  }

  private step(chunk: Buffer): void {
    switch (this.state) {
      case State.FIRST_BYTE:
        return this.readFirstByte(chunk[this.at++]!);
      case State.SECOND_BYTE:
        return this.readSecondByte(chunk[this.at++]!);
      case State.LENGTH_16:
        return this.readLength16(chunk[this.at++]!);
      case State.LENGTH_64:
        return this.readLength64(chunk[this.at++]!);
      case State.MASK:
        return this.readMask(chunk);
      case State.PAYLOAD:
        return this.readPayload(chunk);
    }
  }

  private readFirstByte(byte: number): void {
    const opcode = byte & 0x0f;
    if ((byte & RSV2_AND_3) !== 0) return this.fail(Failure.RSV2_3);
    if ((byte & RSV1) !== 0 && !this.allowsRsv1) return this.fail(Failure.RSV1);
    if (opcode >= Opcode.CLOSE) {
      if (opcode > Opcode.PONG) return this.fail(Failure.OPCODE, opcode);
      if ((byte & FIN) === 0) return this.fail(Failure.FIN);
      // RSV1 belongs to the first frame of a message (RFC 7692, section 6).
      if ((byte & RSV1) !== 0) return this.fail(Failure.RSV1);
    } else if (opcode === Opcode.CONTINUATION) {
      if ((byte & RSV1) !== 0) return this.fail(Failure.RSV1);
      if (this.opcode === Opcode.CONTINUATION) return this.fail(Failure.OPCODE, opcode);
    } else {
      if (opcode > Opcode.BINARY || this.opcode !== Opcode.CONTINUATION) return this.fail(Failure.OPCODE, opcode);
      this.opcode = opcode as Opcode;
      this.isCompressed = (byte & RSV1) !== 0;
    }
    this.first = byte;
    this.state = State.SECOND_BYTE;
  }

  private readSecondByte(byte: number): void {
    const isMasked = (byte & MASK) !== 0;
    if (isMasked !== (this.role === 'server')) return this.fail(isMasked ? Failure.MASK_SET : Failure.MASK_MISSING);
    const length = byte & 0x7f;
    if (this.isControl && (length > MAX_CONTROL_BYTES || (length === 1 && this.isClose)))
      return this.fail(Failure.CONTROL_LENGTH, length);
    if (length <= 125) return this.haveLength(length);
    this.length = 0;
    this.missing = length === 126 ? 2 : 8;
    this.state = length === 126 ? State.LENGTH_16 : State.LENGTH_64;
  }

  /** Accepts lengths that are not in their shortest form, as `ws` does (RFC 6455, 5.2 requires it of senders). */
  private readLength16(byte: number): void {
    this.length = this.length * 256 + byte;
    if (--this.missing > 0) return;
    this.haveLength(this.length);
  }

  private readLength64(byte: number): void {
    this.length = this.length * 256 + byte;
    if (--this.missing === 4 && this.length > MAX_HIGH_WORD) return this.fail(Failure.LENGTH);
    if (this.missing > 0) return;
    this.haveLength(this.length);
  }

  private haveLength(length: number): void {
    if (!this.isControl && !this.admit(length)) return;
    this.length = length;
    this.mask = 0;
    if (this.role === 'client') return this.haveHeader();
    this.missing = 4;
    this.state = State.MASK;
  }

  /** Checks the message size and the number of frames (RFC 6455, 10.4). */
  private admit(length: number): boolean {
    const { maxSize, maxFragments } = this.limits;
    this.announced += length;
    if (this.announced > maxSize || this.announced > constants.MAX_LENGTH) return this.refuse(Failure.SIZE);
    return ++this.fragments <= maxFragments || this.refuse(Failure.FRAGMENTS);
  }

  private readMask(chunk: Buffer): void {
    const { at } = this;
    if (this.missing === 4 && at + 4 <= chunk.length) {
      this.mask = (chunk[at]! << 24) | (chunk[at + 1]! << 16) | (chunk[at + 2]! << 8) | chunk[at + 3]!;
      this.at = at + 4;
      return this.haveHeader();
    }
    this.mask = (this.mask << 8) | chunk[this.at++]!;
    if (--this.missing === 0) this.haveHeader();
  }

  private haveHeader(): void {
    this.missing = this.length;
    if (this.length === 0) return this.isControl ? this.controlFrame(EMPTY) : this.dataFrame();
    this.state = State.PAYLOAD;
  }

  private readPayload(chunk: Buffer): void {
    const start = this.at;
    const end = Math.min(start + this.missing, chunk.length);
    this.at = end;
    if (this.isControl) return this.readControl(chunk, start, end);
    if (!this.discarding) {
      const isAllAscii = this.unmask(chunk, start, end);
      if (!this.isTextSoFar(chunk, start, end, isAllAscii)) return this.fail(Failure.UTF8);
      if (this.isWhole(end - start)) return this.wholeMessage(chunk.subarray(start, end));
      this.keep(chunk, start, end);
    }
    this.missing -= end - start;
    if (this.missing === 0) this.dataFrame();
  }

  private readControl(chunk: Buffer, start: number, end: number): void {
    this.unmask(chunk, start, end);
    const bytes = end - start;
    if (bytes === this.length) return this.controlFrame(chunk.subarray(start, end));
    this.control ??= Buffer.allocUnsafeSlow(this.length);
    chunk.copy(this.control, this.length - this.missing, start, end);
    this.missing -= bytes;
    if (this.missing > 0) return;
    const { control } = this;
    this.control = undefined;
    this.controlFrame(control);
  }

  /** Unmasks in place. Returns whether the bytes are ASCII; for a client only of texts. */
  private unmask(chunk: Buffer, start: number, end: number): boolean {
    if (this.role === 'server') return applyMask(chunk, start, end, turnMask(this.mask, this.length - this.missing));
    return this.isPlainText && isAsciiPart(chunk, start, end);
  }

  private isTextSoFar(chunk: Buffer, start: number, end: number, isAllAscii: boolean): boolean {
    if (!this.isPlainText || (isAllAscii && this.utf8 === COMPLETE)) return true;
    this.utf8 = checkUtf8(this.utf8, chunk, start, end);
    return this.utf8 !== INVALID;
  }

  /** Whether so many payload bytes are a whole message in a single frame. */
  private isWhole(bytes: number): boolean {
    return bytes === this.length && this.fragments === 1 && (this.first & FIN) !== 0;
  }

  /** Appends a part of a message to the buffer of the message. */
  private keep(chunk: Buffer, start: number, end: number): void {
    const kept = this.kept + end - start;
    const most = (this.first & FIN) !== 0 ? this.announced : Number.POSITIVE_INFINITY;
    const message = grown(this.message, this.kept, kept, most);
    chunk.copy(message, this.kept, start, end);
    this.message = message;
    this.kept = kept;
  }

  /** A data frame is complete. */
  private dataFrame(): void {
    if ((this.first & FIN) !== 0) return this.wholeMessage(this.message?.subarray(0, this.kept) ?? EMPTY);
    this.state = State.FIRST_BYTE;
    this.sink.fragment();
  }

  private wholeMessage(data: Buffer): void {
    if (this.utf8 !== COMPLETE) return this.fail(Failure.UTF8);
    const { opcode, isCompressed } = this;
    this.state = State.FIRST_BYTE;
    this.opcode = Opcode.CONTINUATION;
    this.fragments = 0;
    this.announced = 0;
    this.forgetMessage();
    if (this.discarding) this.sink.fragment();
    else this.sink.message(data, opcode === Opcode.BINARY, isCompressed);
  }

  private controlFrame(data: Buffer): void {
    this.state = State.FIRST_BYTE;
    const opcode = this.first & 0x0f;
    if (opcode === Opcode.PING) this.sink.ping(data);
    else if (opcode === Opcode.PONG) this.sink.pong(data);
    else this.closeFrame(data);
  }

  private closeFrame(data: Buffer): void {
    const code = data.length === 0 ? NO_STATUS : data.readUInt16BE(0);
    if (data.length > 0 && !isCloseCode(code)) return this.fail(Failure.CLOSE_CODE, code);
    if (checkUtf8(COMPLETE, data, 2, data.length) !== COMPLETE) return this.fail(Failure.UTF8);
    const reason = data.length > 2 ? copied(data.subarray(2)) : EMPTY;
    this.end();
    this.sink.close(code, reason);
  }

  private get isControl(): boolean {
    return (this.first & 0x08) !== 0;
  }

  private get isClose(): boolean {
    return (this.first & 0x0f) === Opcode.CLOSE;
  }

  private get isPlainText(): boolean {
    return this.opcode === Opcode.TEXT && !this.isCompressed;
  }

  private forgetMessage(): void {
    this.message = undefined;
    this.kept = 0;
    this.utf8 = COMPLETE;
  }

  private refuse(error: ProtocolError): false {
    this.fail(error);
    return false;
  }

  /** `detail`: the value that was wrong. */
  private fail(error: ProtocolError, detail?: number): void {
    this.end();
    this.sink.error(detail === undefined ? error : { ...error, reason: `${error.reason} ${detail}` });
  }
}

/** A parser at rest that belongs to nobody. */
let spare: FrameParser | undefined;
const nobody = {} as FrameSink;

/** A parser at rest, for one connection until {@link giveParserBack}. */
export function takeParser(role: Role, limits: FrameLimits, sink: FrameSink, allowsRsv1: boolean): FrameParser {
  const parser = spare;
  if (parser === undefined) return new FrameParser(role, limits, sink, allowsRsv1);
  spare = undefined;
  parser.assign(role, limits, sink, allowsRsv1);
  return parser;
}

/**
 * Gives a parser at rest to the next connection that receives bytes: almost all reads end with a whole message, so that
 * thousands of connections need one parser, and only those with an unfinished message have one of their own.
 */
export function giveParserBack(parser: FrameParser): void {
  // The spare parser must not keep the objects of a connection in memory.
  parser.assign('server', NO_LIMITS, nobody, false);
  spare = parser;
}

const NO_LIMITS: FrameLimits = { maxSize: 0, maxFragments: 0 };
const EMPTY = Buffer.alloc(0);

/** From this length on, the native check is quicker, although it needs a view. */
const NATIVE_FROM = 192;

function isAsciiPart(bytes: Buffer, start: number, end: number): boolean {
  if (end - start >= NATIVE_FROM) return isAscii(bytes.subarray(start, end));
  let seen = 0;
  for (let at = start; at < end; at++) seen |= bytes[at]!;
  return seen < 0x80;
}

const sizeOf = (bytes: Buffer | undefined): number => bytes?.buffer.byteLength ?? 0;

function joined(first: Buffer, second: Buffer): Buffer {
  const bytes = Buffer.allocUnsafeSlow(first.length + second.length);
  first.copy(bytes);
  second.copy(bytes, first.length);
  return bytes;
}
