import { ByteStore } from './byte-store.js';
import type { HeadLimits } from './head.js';
import { type HeadFault, type HeadKind, LineMeter } from './line-meter.js';
import { UpgradeSniffer } from './upgrade-sniffer.js';

export type { HeadFault, HeadKind } from './line-meter.js';

/** The head is not complete and nothing is wrong with it so far. */
export const MORE = 0;
/** The head is complete: see `head` and `rest`. */
export const COMPLETE = 1;
/** The head breaks a limit or the grammar: see `fault`. */
export const FAULT = 2;
/** Shared ports only: not a WebSocket upgrade, or not one that may be judged here: see `taken`. */
export const ORDINARY = 3;
export type HeadVerdict = typeof MORE | typeof COMPLETE | typeof FAULT | typeof ORDINARY;

export interface HeadMeterOptions {
  /** Default `request`. */
  readonly kind?: HeadKind;
  /**
   * Set on a port that is shared with ordinary HTTP: limits and grammar take effect when the head has said
   * `Upgrade: websocket`; a head that has not within this many bytes is `ORDINARY`. Default: the port is our own and
   * they hold for every head.
   */
  readonly ordinaryLimit?: number;
}

const NOTHING = Buffer.alloc(0);

/**
 * Takes the bytes of a request head (or, on the client, of a response head) as they arrive and says as early as
 * possible what becomes of it. The verdict depends on the bytes alone, not on how they were cut into chunks, and is
 * final: later chunks change nothing. Never throws.
 */
export class HeadMeter {
  /** After `COMPLETE`: the head from its start line to its empty line. A part of the last chunk where it lay in one. */
  head: Buffer = NOTHING;
  /** After `COMPLETE`: what the last chunk held behind the head. */
  rest: Buffer = NOTHING;
  /** After `ORDINARY`: all bytes so far, for Node's own parser. */
  taken: Buffer = NOTHING;
  private verdict: HeadVerdict = MORE;
  private readonly lines: LineMeter;
  private readonly store = new ByteStore();
  private readonly ordinaryLimit: number;
  /** There while nothing has been said on a shared port. */
  private sniffer: UpgradeSniffer | undefined;

  constructor(limits: HeadLimits, options: HeadMeterOptions = {}) {
    this.lines = new LineMeter(limits, options.kind ?? 'request');
    this.ordinaryLimit = options.ordinaryLimit ?? 0;
    this.sniffer = options.ordinaryLimit === undefined ? undefined : new UpgradeSniffer();
  }

  /** After `FAULT`: what was wrong. Of several faults the first, in the order of the bytes. */
  get fault(): HeadFault | undefined {
    return this.verdict === FAULT ? this.lines.fault : undefined;
  }

  /** Whether it is known to be no ordinary request's: always on a port of our own. */
  get isOurs(): boolean {
    return this.sniffer === undefined;
  }

  /** Bytes of memory that an incomplete head holds, for budgets. */
  get bytes(): number {
    return this.store.capacity;
  }

  push(chunk: Buffer): HeadVerdict {
    if (this.verdict === MORE) this.verdict = this.judge(chunk);
    return this.verdict;
  }

  /** After `COMPLETE`: starts over for the next head; what its lines count is counted together (1xx responses). */
  next(): void {
    this.head = this.rest = NOTHING;
    this.verdict = MORE;
    this.lines.next();
  }

  private judge(chunk: Buffer): HeadVerdict {
    if (this.sniffer !== undefined && this.sniff(this.sniffer, chunk)) return this.giveUp(chunk);
    const end = this.lines.read(chunk);
    if (this.lines.complete) return this.finish(chunk, end);
    if (this.lines.fault !== undefined && this.sniffer === undefined) return this.refuse();
    this.store.append(chunk);
    return MORE;
  }

  /** True when the head belongs to Node. */
  private sniff(sniffer: UpgradeSniffer, chunk: Buffer): boolean {
    const seen = this.store.length + sniffer.read(chunk);
    if (sniffer.ordinary || seen > this.ordinaryLimit) return true;
    if (sniffer.said) this.sniffer = undefined;
    return false;
  }

  private finish(chunk: Buffer, end: number): HeadVerdict {
    const before = this.store.length;
    this.rest = chunk.subarray(end);
    const all = this.store.take(chunk.subarray(0, end));
    this.head = all.subarray(this.lines.leading, before + end);
    return COMPLETE;
  }

  private refuse(): HeadVerdict {
    this.store.drop();
    return FAULT;
  }

  private giveUp(chunk: Buffer): HeadVerdict {
    this.taken = this.store.take(chunk);
    return ORDINARY;
  }
}
