import { runInFork } from './async-context.js';

/** Time, as everything here sees it; tests bring their own. */
export interface Clock {
  /** Milliseconds that only ever grow. */
  now(): number;
  /**
   * Calls back every `interval` milliseconds with the time at which it was due, without keeping the process alive.
   * Returns what ends it.
   */
  every(interval: number, callback: (now?: number) => void): () => void;
}

export const systemClock: Clock = {
  now: () => performance.now(),
  // Behind the next look at all sockets: what had arrived by then is read before anybody is judged.
  every(interval, callback) {
    let due = 0;
    const call = (): void => callback(due);
    const timer = setInterval(() => {
      due = performance.now();
      setImmediate(call);
    }, interval).unref();
    return () => clearInterval(timer);
  },
};

const NEVER = Number.POSITIVE_INFINITY;

/** Something with deadlines: the wheel holds the nearest of them only, and asks again when it has come. */
export abstract class Timed {
  /** @internal The tick to be asked at, while it waits: a small integer needs no box of its own, as a time would. */
  dueTick = 0;
  /** @internal */ previous: Timed | undefined = undefined;
  /** @internal */ next: Timed | undefined = undefined;
  /** Acts on what is due and answers when to ask again; `Infinity`: never. */
  abstract onDue(now: number): number;

  /**
   * The event loop was late by `silence` milliseconds: whatever is expected of a peer may come as much later. Called
   * before anybody is asked.
   */
  onStall(_silence: number, _now: number): void {}
}

class Slot extends Timed {
  override previous: Timed = this;
  override next: Timed = this;
  onDue = () => NEVER;
}

/** A single call at a time. */
class Timer extends Timed {
  constructor(private readonly callback: () => void) {
    super();
  }

  override onDue(): number {
    this.callback();
    return NEVER;
  }
}

const SLOTS = 512;
/** Milliseconds that the event loop may be late before deadlines stand still for it. */
const TOLERANCE = 100;

/**
 * One coarse timer for all deadlines of all connections. A deadline that moves away costs nothing:
 * the old place in the wheel stays, and the owner is asked there for the new one.
 */
export class TimerWheel {
  private readonly slots = Array.from({ length: SLOTS }, () => new Slot());
  private readonly visited = new Slot();
  private cursor: number;
  private stop: (() => void) | undefined;
  private count = 0;
  private lastTick = 0;

  /** `tick`: milliseconds between two looks, and so the precision of every deadline. */
  constructor(
    private readonly clock: Clock,
    readonly tick = 100,
  ) {
    this.cursor = Math.floor(clock.now() / tick);
  }

  /** How many wait. */
  get size(): number {
    return this.count;
  }

  /** Makes sure that `timed` is asked at `at` or before. */
  schedule(timed: Timed, at: number): void {
    if (at === NEVER) return;
    // Never too early: the first tick that does not come before it.
    const tick = Math.ceil(at / this.tick);
    if (timed.next !== undefined) {
      if (timed.dueTick <= tick) return;
      this.unlink(timed);
    }
    if (this.stop === undefined) this.start();
    this.insert(timed, tick);
  }

  /** Calls back once at `at`, unless what it returns was cancelled. */
  timer(callback: () => void, at: number): Timed {
    const timer = new Timer(callback);
    this.schedule(timer, at);
    return timer;
  }

  cancel(timed: Timed): void {
    if (timed.next !== undefined) this.unlink(timed);
    if (this.count === 0) this.halt();
  }

  /** Asks everything that has come due; called by the timer, and by tests. */
  advance(now = this.clock.now()): void {
    const late = now - this.lastTick - this.tick;
    this.lastTick = Math.max(now, this.lastTick);
    if (late > TOLERANCE) this.skipStall(late, now);
    const target = Math.floor(now / this.tick);
    const first = Math.max(this.cursor + 1, target - SLOTS + 1);
    this.cursor = Math.max(target, this.cursor);
    for (let at = first; at <= target; at++) this.visit(this.slots[at % SLOTS]!, target, now);
    if (this.count === 0) this.halt();
  }

  private skipStall(silence: number, now: number): void {
    const waiting: Timed[] = [];
    for (const slot of this.slots)
      for (let timed: Timed = slot.next; timed !== slot; timed = timed.next!) waiting.push(timed);
    // Whoever is told may be put elsewhere, or taken out, and may take out others.
    for (const timed of waiting) if (timed.next !== undefined) timed.onStall(silence, now);
  }

  private visit(slot: Slot, target: number, now: number): void {
    if (slot.next === slot) return;
    // Taken out as a whole: whoever is put back into this slot meanwhile belongs to a later round.
    const visited = this.visited;
    visited.next = slot.next;
    visited.previous = slot.previous;
    visited.next.previous = visited.previous.next = visited;
    slot.next = slot.previous = slot;
    while (visited.next !== visited) {
      const timed = visited.next;
      if (timed.dueTick <= target) this.ask(timed, now);
      else this.relink(timed);
    }
  }

  private ask(timed: Timed, now: number): void {
    this.unlink(timed);
    const again = timed.onDue(now);
    // It may have scheduled itself meanwhile; the earlier one counts.
    this.schedule(timed, Math.max(again, now + 1));
  }

  private relink(timed: Timed): void {
    this.unlink(timed);
    this.insert(timed, timed.dueTick);
  }

  private insert(timed: Timed, tick: number): void {
    // What is due already waits for the next tick; what is far away, at the horizon.
    const index = Math.min(Math.max(tick, this.cursor + 1), this.cursor + SLOTS - 1);
    const slot = this.slots[index % SLOTS]!;
    timed.dueTick = tick;
    timed.previous = slot.previous;
    timed.next = slot;
    slot.previous.next = timed;
    slot.previous = timed;
    this.count++;
  }

  private unlink(timed: Timed): void {
    timed.previous!.next = timed.next;
    timed.next!.previous = timed.previous;
    timed.previous = timed.next = undefined;
    this.count--;
  }

  private start(): void {
    this.lastTick = this.clock.now();
    this.cursor = Math.floor(this.lastTick / this.tick);
    // In the context of no connection: each is asked in this one's turn.
    this.stop = runInFork(undefined, this.clock.every, this.clock, this.tick, (now?: number) => this.advance(now));
  }

  private halt(): void {
    this.stop?.();
    this.stop = undefined;
  }
}
