import { namesUpgrade } from './fields.js';
import {
  COMPLETE,
  FAULT,
  type HeadFault,
  type HeadLimits,
  type HeadMeterOptions,
  type HeadVerdict,
  MORE,
  ORDINARY,
} from './head.js';
import { LineMeter } from './line-meter.js';
import { UpgradeSniffer } from './upgrade-sniffer.js';

const FIRST_CAPACITY = 512;
/** A chunk of at least this size is kept without copying, if its memory contains nothing else. */
const LARGE = 4096;
const NOTHING = Buffer.alloc(0);

/**
 * Stores the bytes of an incomplete head. Small chunks are copied into one buffer that doubles, so that bytes that
 * arrive one by one need no object each, and do not keep the memory of the socket's read (64 KiB) alive.
 */
export class ByteAccumulator {
  /** Large chunks before the buffer. */
  private pieces: Buffer[] = [];
  private buffer: Buffer = NOTHING;
  private used = 0;
  private piecesLength = 0;
  private piecesCapacity = 0;

  /** Bytes of memory held. */
  get capacity(): number {
    return this.piecesCapacity + this.buffer.length;
  }

  /** Bytes stored. */
  get length(): number {
    return this.piecesLength + this.used;
  }

  append(chunk: Buffer): void {
    if (chunk.length === 0) return;
    if (chunk.length >= LARGE && chunk.buffer.byteLength <= 2 * chunk.length) return this.keep(chunk);
    this.reserve(this.used + chunk.length);
    chunk.copy(this.buffer, this.used);
    this.used += chunk.length;
  }

  /** Returns the stored bytes followed by `tail`, and releases them. Nothing is copied if nothing was stored. */
  take(tail: Buffer): Buffer {
    if (this.length === 0) return tail;
    // A buffer with its own memory: a slice of Node's pool would keep the whole pool alive.
    const all = Buffer.allocUnsafeSlow(this.length + tail.length);
    let end = 0;
    for (const piece of [...this.pieces, this.buffer.subarray(0, this.used), tail]) end += piece.copy(all, end);
    this.drop();
    return all;
  }

  drop(): void {
    this.pieces = [];
    this.buffer = NOTHING;
    this.used = this.piecesLength = this.piecesCapacity = 0;
  }

  private keep(chunk: Buffer): void {
    if (this.used > 0) {
      this.pieces.push(this.buffer.subarray(0, this.used));
      this.piecesLength += this.used;
      this.piecesCapacity += this.buffer.length;
      this.buffer = NOTHING;
      this.used = 0;
    }
    this.pieces.push(chunk);
    this.piecesLength += chunk.length;
    this.piecesCapacity += chunk.buffer.byteLength;
  }

  private reserve(size: number): void {
    if (size <= this.buffer.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(FIRST_CAPACITY, this.buffer.length * 2, size));
    this.buffer.copy(larger, 0, 0, this.used);
    this.buffer = larger;
  }
}

/**
 * `HeadMeter` byte by byte, for heads that arrive in several chunks, and for invalid ones. Its members have the same
 * meaning.
 */
export class PartialHead {
  head: Buffer = NOTHING;
  rest: Buffer = NOTHING;
  bytesSoFar: Buffer = NOTHING;
  private verdict: HeadVerdict = MORE;
  private readonly lines: LineMeter;
  private readonly store = new ByteAccumulator();
  /** `undefined` on a dedicated port. */
  private readonly ordinaryLimit: number | undefined;
  private readonly names: (connection: string) => boolean;
  /** Exists while the head on a shared port has not contained `Upgrade: websocket`. */
  private sniffer: UpgradeSniffer | undefined;

  constructor(limits: HeadLimits, options: HeadMeterOptions) {
    this.lines = new LineMeter(limits, options.kind ?? 'request');
    this.ordinaryLimit = options.ordinaryLimit;
    this.names = options.namesUpgrade ?? namesUpgrade;
    this.sniffer = options.ordinaryLimit === undefined ? undefined : new UpgradeSniffer();
  }

  get fault(): HeadFault | undefined {
    return this.verdict === FAULT ? this.lines.fault : undefined;
  }

  get isUpgrade(): boolean {
    return this.sniffer === undefined && this.verdict !== ORDINARY;
  }

  get bytes(): number {
    return this.store.capacity;
  }

  push(chunk: Buffer): HeadVerdict {
    if (this.verdict === MORE) this.verdict = this.check(chunk);
    return this.verdict;
  }

  takeAll(): Buffer {
    return this.store.take(NOTHING);
  }

  next(): void {
    this.head = this.rest = NOTHING;
    this.verdict = MORE;
    this.lines.next();
  }

  private check(chunk: Buffer): HeadVerdict {
    if (this.sniffer !== undefined && this.sniff(this.sniffer, chunk)) return this.giveUp(chunk);
    const end = this.lines.read(chunk);
    if (this.lines.complete) return this.finish(chunk, end);
    if (this.lines.fault !== undefined && this.sniffer === undefined) return this.refuse();
    this.store.append(chunk);
    return MORE;
  }

  /** Whether the head belongs to Node. */
  private sniff(sniffer: UpgradeSniffer, chunk: Buffer): boolean {
    const seen = this.store.length + sniffer.read(chunk);
    if (sniffer.isOrdinary || seen > this.ordinaryLimit!) return true;
    if (sniffer.isUpgrade) this.sniffer = undefined;
    return false;
  }

  private finish(chunk: Buffer, end: number): HeadVerdict {
    const before = this.store.length;
    const all = this.store.take(chunk.subarray(0, end));
    const head = all.subarray(this.lines.leading, before + end);
    if (this.ordinaryLimit !== undefined && !this.connects(head)) {
      this.bytesSoFar = end === chunk.length ? all : Buffer.concat([all, chunk.subarray(end)]);
      return ORDINARY;
    }
    this.rest = chunk.subarray(end);
    this.head = head;
    return COMPLETE;
  }

  /** Whether a `Connection` line of a complete, valid head lists `upgrade`. */
  private connects(head: Buffer): boolean {
    for (const [, list = ''] of head.toString('latin1').matchAll(CONNECTION_LINE)) if (this.names(list)) return true;
    return false;
  }

  private refuse(): HeadVerdict {
    this.store.drop();
    return FAULT;
  }

  private giveUp(chunk: Buffer): HeadVerdict {
    this.bytesSoFar = this.store.take(chunk);
    return ORDINARY;
  }
}

const CONNECTION_LINE = /\r\nconnection:([^\r]*)/gi;
