import { ByteStore } from './byte-store.js';
import type { HeadLimits } from './head.js';
import type { HeadMeterOptions } from './head-meter.js';
import { COMPLETE, FAULT, type HeadVerdict, MORE, ORDINARY } from './head-verdict.js';
import { type HeadFault, LineMeter } from './line-meter.js';
import { UpgradeSniffer } from './upgrade-sniffer.js';

const NOTHING = Buffer.alloc(0);

/**
 * `HeadMeter` byte by byte: for heads that come in pieces, and for whatever is wrong with one. Its members are as there.
 */
export class HeadPieces {
  head: Buffer = NOTHING;
  rest: Buffer = NOTHING;
  taken: Buffer = NOTHING;
  private verdict: HeadVerdict = MORE;
  private readonly lines: LineMeter;
  private readonly store = new ByteStore();
  private readonly ordinaryLimit: number;
  /** There while nothing has been said on a shared port. */
  private sniffer: UpgradeSniffer | undefined;

  constructor(limits: HeadLimits, options: HeadMeterOptions) {
    this.lines = new LineMeter(limits, options.kind ?? 'request');
    this.ordinaryLimit = options.ordinaryLimit ?? 0;
    this.sniffer = options.ordinaryLimit === undefined ? undefined : new UpgradeSniffer();
  }

  get fault(): HeadFault | undefined {
    return this.verdict === FAULT ? this.lines.fault : undefined;
  }

  get isOurs(): boolean {
    return this.sniffer === undefined;
  }

  get bytes(): number {
    return this.store.capacity;
  }

  push(chunk: Buffer): HeadVerdict {
    if (this.verdict === MORE) this.verdict = this.judge(chunk);
    return this.verdict;
  }

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
