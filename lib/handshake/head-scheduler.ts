import type { AddressEntry } from '../admission/address-table.js';
import { runInFork } from '../net/async-context.js';

/** A pending handshake whose request head is incomplete. */
export interface HeadReader {
  /** The address that the bytes are counted for. */
  readonly account: AddressEntry;
  /** Stops reading until `resumeHead()`. */
  pauseHead(): void;
  /** Resumes reading if the head is still incomplete. */
  resumeHead(): void;
}

/** Maximum bytes of incomplete heads that are read in one turn of the event loop from one address, and in total. */
export const ADDRESS_BYTES = 64 * 1024;
export const TURN_BYTES = 256 * 1024;

/**
 * Limits how many bytes of incomplete request heads one turn of the event loop reads: libuv accepts one connection per
 * turn, so long turns would delay all new connections. A head that arrives in one chunk never waits. Of paused heads,
 * addresses take turns, with one chunk each.
 */
export class HeadScheduler {
  private bytes = 0;
  private readonly byAddress = new Map<AddressEntry, number>();
  /** The paused heads by address; the first address is served next. */
  private readonly paused = new Map<AddressEntry, HeadReader[]>();
  private readonly turn: NextTurn;

  constructor(schedule: Schedule = onNextTurn) {
    this.turn = new NextTurn(() => this.run(), schedule);
  }

  /**
   * Counts bytes of an incomplete head. Pauses it if the limit of its address, or the total, is reached in this turn.
   */
  addBytes(reader: HeadReader, bytes: number): void {
    const { account } = reader;
    const sum = (this.byAddress.get(account) ?? 0) + bytes;
    this.byAddress.set(account, sum);
    this.bytes += bytes;
    this.turn.arm();
    if (sum < ADDRESS_BYTES && this.bytes < TURN_BYTES) return;
    reader.pauseHead();
    const queue = this.paused.get(account);
    if (queue === undefined) this.paused.set(account, [reader]);
    else queue.push(reader);
  }

  /** Removes a handshake that has ended. */
  remove(reader: HeadReader): void {
    const queue = this.paused.get(reader.account);
    const at = queue?.indexOf(reader) ?? -1;
    if (at < 0) return;
    queue!.splice(at, 1);
    if (queue!.length === 0) this.paused.delete(reader.account);
  }

  private run(): void {
    this.bytes = 0;
    this.byAddress.clear();
    for (const [account, queue] of this.first(TURN_BYTES / ADDRESS_BYTES)) {
      this.paused.delete(account);
      const reader = queue.shift();
      // Appends the address after the others.
      if (queue.length > 0) this.paused.set(account, queue);
      reader?.resumeHead();
    }
    if (this.paused.size > 0) this.turn.arm();
  }

  private first(count: number): [AddressEntry, HeadReader[]][] {
    const first: [AddressEntry, HeadReader[]][] = [];
    for (const entry of this.paused) {
      first.push(entry);
      if (first.length === count) break;
    }
    return first;
  }
}

/** Each turn runs at least this many ends, or this share of all waiting ones, so that they cannot accumulate. */
export const ENDS_PER_TURN = 16;
const SHARE_PER_TURN = 8;

/**
 * Spreads the ends of connections over several turns of the event loop, so that other connections need not wait: refusals
 * of unfinished heads, and connections that are dropped to make room. Closing a connection frees its kernel buffers, which
 * takes 0.1 ms per megabyte.
 */
export class EndScheduler {
  private readonly ends: (() => void)[] = [];
  private readonly turn: NextTurn;

  constructor(schedule: Schedule = onNextTurn) {
    this.turn = new NextTurn(() => this.run(), schedule);
  }

  /** Runs `end` in one of the next turns of the event loop. */
  add(end: () => void): void {
    this.ends.push(end);
    this.turn.arm();
  }

  private run(): void {
    const { ends } = this;
    const due = ends.splice(0, Math.max(ENDS_PER_TURN, ends.length / SHARE_PER_TURN));
    if (ends.length > 0) this.turn.arm();
    for (const end of due) end();
  }
}

type Schedule = (run: () => void) => void;

/** Runs `work` once in the next turn of the event loop, however often it is armed before. */
class NextTurn {
  private isArmed = false;

  constructor(
    private readonly work: () => void,
    private readonly schedule: Schedule,
  ) {}

  arm(): void {
    if (this.isArmed) return;
    this.isArmed = true;
    this.schedule(this.run);
  }

  private readonly run = (): void => {
    this.isArmed = false;
    this.work();
  };
}

/** Runs outside of the async context of any connection. */
const onNextTurn = (run: () => void): void =>
  void runInFork(undefined, setImmediate as (callback: () => void) => unknown, undefined, run);
