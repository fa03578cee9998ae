import {
  COMPLETE,
  type HeadFault,
  type HeadLimits,
  type HeadMeterOptions,
  type HeadVerdict,
  MORE,
  ORDINARY,
  type RequestHead,
} from './head.js';
import { PartialHead } from './partial-head.js';
import { REFUSALS, type Refusal } from './refusal.js';
import { endOfWholeHead, NOT_AN_UPGRADE, skipEmptyLines, UNUSUAL } from './whole-head.js';

const REQUEST_LINE_REST = '  HTTP/\r\n'.length;
const HEADER_LINE_REST = ': \r\n'.length;

/**
 * Applies the same limits to a head that Node has parsed (a later request of a keep-alive connection): each line counts
 * with the length that it has when written with single spaces.
 */
export function measureHead(head: RequestHead, limits: HeadLimits): Refusal | undefined {
  const { method, target, version, rawHeaders } = head;
  if (method.length + target.length + version.length + REQUEST_LINE_REST > limits.maxLineLength) {
    return REFUSALS.requestLineTooLong;
  }
  if (rawHeaders.length / 2 > limits.maxNumHeaders) return REFUSALS.tooManyHeaders;
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    if (rawHeaders[i]!.length + rawHeaders[i + 1]!.length + HEADER_LINE_REST > limits.maxLineLength) {
      return REFUSALS.headerLineTooLong;
    }
  }
  return undefined;
}

const NOTHING = Buffer.alloc(0);
const END_OF_HEAD = '\r\n\r\n';
/** A longer first chunk without the end of a head is checked by its first bytes before the rest is parsed. */
const FIRST_LOOK = 1024;

/**
 * The part of a connection's first chunk that is parsed before its address is checked: the whole chunk, unless it is
 * long and contains no complete head, because parsing 64 KiB costs more than all other steps of a refusal.
 */
export const firstLook = (chunk: Buffer): Buffer =>
  chunk.length <= FIRST_LOOK || chunk.includes(END_OF_HEAD, 0, 'latin1') ? chunk : chunk.subarray(0, FIRST_LOOK);

const DEFAULTS: HeadMeterOptions = Object.freeze({});

/**
 * Reads the bytes of a request head (in the client: of a response head) as they arrive, and decides as early as
 * possible what it is. The verdict depends only on the bytes, not on how they were split into chunks, and is final:
 * later chunks do not change it. Never throws.
 */
export class HeadMeter {
  /**
   * After `COMPLETE`: the head from its start line to its empty line; a part of the last chunk if it lies in one chunk.
   */
  head: Buffer = NOTHING;
  /** After `COMPLETE`: the bytes of the last chunk after the head. */
  rest: Buffer = NOTHING;
  /** After `ORDINARY`: all bytes so far, for Node's own parser. */
  bytesSoFar: Buffer = NOTHING;
  private verdict: HeadVerdict = MORE;
  /** Created for a head in several chunks, for an invalid or unusual one, and for every response head. */
  private partial: PartialHead | undefined = undefined;

  constructor(
    private readonly limits: HeadLimits,
    private readonly options: HeadMeterOptions = DEFAULTS,
  ) {}

  /** After `FAULT`: the first error, in the order of the bytes. */
  get fault(): HeadFault | undefined {
    return this.partial?.fault;
  }

  /** Whether the head is known not to be that of an ordinary request; always true on a dedicated port. */
  get isUpgrade(): boolean {
    return this.partial?.isUpgrade ?? (this.verdict === COMPLETE || this.options.ordinaryLimit === undefined);
  }

  /** Bytes of memory that an incomplete head holds, for budgets. */
  get bytes(): number {
    return this.partial?.bytes ?? 0;
  }

  push(chunk: Buffer): HeadVerdict {
    if (this.verdict === MORE)
      this.verdict = this.partial === undefined ? this.pushWhole(chunk) : this.pushPartial(chunk);
    return this.verdict;
  }

  /** Returns all bytes of an incomplete head, and releases them. */
  takeAll(): Buffer {
    return this.partial?.takeAll() ?? NOTHING;
  }

  /** After `COMPLETE`: starts with the next head. Header lines of all heads are counted together (1xx responses). */
  next(): void {
    // The lines of a head that arrived in one chunk were not counted.
    if (this.partial === undefined) this.pushPartial(this.head);
    this.head = this.rest = NOTHING;
    this.verdict = MORE;
    this.partial!.next();
  }

  private pushWhole(chunk: Buffer): HeadVerdict {
    const { kind, ordinaryLimit } = this.options;
    const end = kind === 'response' ? UNUSUAL : endOfWholeHead(chunk, this.limits, ordinaryLimit);
    if (end === UNUSUAL) return this.pushPartial(chunk);
    if (end === NOT_AN_UPGRADE) {
      this.bytesSoFar = chunk;
      return ORDINARY;
    }
    const start = skipEmptyLines(chunk);
    this.head = start === 0 && end === chunk.length ? chunk : chunk.subarray(start, end);
    if (end < chunk.length) this.rest = chunk.subarray(end);
    return COMPLETE;
  }

  private pushPartial(chunk: Buffer): HeadVerdict {
    const pieces = (this.partial ??= new PartialHead(this.limits, this.options));
    const verdict = pieces.push(chunk);
    this.head = pieces.head;
    this.rest = pieces.rest;
    this.bytesSoFar = pieces.bytesSoFar;
    return verdict;
  }
}
