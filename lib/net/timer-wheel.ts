import { performance } from 'node:perf_hooks';
import { runInFork } from './async-context.js';

/** A clock; tests pass their own. */
export interface Clock {
  /** Monotonic milliseconds. */
  now(): number;
  /**
   * Calls back every `interval` milliseconds with the time at which the call was due, without keeping the process
   * alive. Returns a function that stops it.
   */
  every(interval: number, callback: (now?: number) => void): () => void;
}

export const systemClock: Clock = {
  now: () => performance.now(),
  // Runs after the next poll for I/O, so that bytes that have already arrived are read before a peer times out.
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

/** An object with deadlines. The wheel stores only the nearest one, and asks for the next when it is due. */
export abstract class Timed {
  /**
   * @internal The tick of its entry while it is in the wheel: V8 stores small integers without allocating an object.
   */
  dueTick = 0;
  /** @internal */ previous: Timed | undefined = undefined;
  /** @internal */ next: Timed | undefined = undefined;
  /** Acts on deadlines that have passed, and returns when to be called again; `Infinity`: never. */
  abstract onDue(now: number): number;

  /**
   * Called before deadlines are checked when the event loop was late by `silence` milliseconds: deadlines for a peer
   * must be extended.
   */
  onStall(_silence: number, _now: number): void {}
}

class Slot extends Timed {
  override previous: Timed = this;
  override next: Timed = this;
  override onDue(): number {
    return NEVER;
  }
}

/** A single callback. */
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
/** Milliseconds that the event loop may be late before deadlines are extended. */
const TOLERANCE = 100;

/**
 * One coarse timer for all deadlines of all connections. Extending a deadline costs nothing: the old entry in the wheel
 * stays, and the owner is asked for its deadline again when that entry is due.
 */
export class TimerWheel {
  private readonly slots = Array.from({ length: SLOTS }, () => new Slot());
  private readonly visited = new Slot();
  private cursor: number;
  private stop: (() => void) | undefined;
  private count = 0;
  private lastTick = 0;

  /** `tick`: milliseconds between two checks, and therefore the precision of every deadline. */
  constructor(
    private readonly clock: Clock,
    readonly tick = 100,
  ) {
    this.cursor = Math.floor(clock.now() / tick);
  }

  /** Number of entries. */
  get size(): number {
    return this.count;
  }

  /** Makes sure that `timed` is called at `at` or before. */
  schedule(timed: Timed, at: number): void {
    if (at === NEVER) return;
    // Never too early: rounds up to the next tick.
    const tick = Math.ceil(at / this.tick);
    if (timed.next !== undefined) {
      if (timed.dueTick <= tick) return;
      this.unlink(timed);
    }
    if (this.stop === undefined) this.start();
    this.insert(timed, tick);
  }

  /** Calls back once at `at`, unless the returned entry was cancelled. */
  timer(callback: () => void, at: number): Timed {
    const timer = new Timer(callback);
    this.schedule(timer, at);
    return timer;
  }

  cancel(timed: Timed): void {
    if (timed.next !== undefined) this.unlink(timed);
    if (this.count === 0) this.halt();
  }

  /** Handles all entries that are due; called by the timer, and by tests. */
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
    // A callback can move or remove its own entry, and remove others.
    for (const timed of waiting) if (timed.next !== undefined) timed.onStall(silence, now);
  }

  private visit(slot: Slot, target: number, now: number): void {
    if (slot.next === slot) return;
    // The slot is taken out as a whole: entries that are added to it meanwhile belong to a later round.
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
    // The entry may have been scheduled again meanwhile; the earlier time counts.
    this.schedule(timed, Math.max(again, now + 1));
  }

  private relink(timed: Timed): void {
    this.unlink(timed);
    this.insert(timed, timed.dueTick);
  }

  private insert(timed: Timed, tick: number): void {
    // An entry that is already due waits for the next tick; one beyond the horizon is placed at the horizon.
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
    // Runs outside of the async context of any connection, because callbacks of all of them run in this turn.
    this.stop = runInFork(undefined, this.clock.every, this.clock, this.tick, (now?: number) => this.advance(now));
  }

  private halt(): void {
    this.stop?.();
    this.stop = undefined;
  }
}
