import { describe, expect, it } from '@jest/globals';
import { type Clock, systemClock, Timed, TimerWheel } from '../../../lib/net/timer-wheel.js';
import { ManualClock } from '../../support/time.js';

/** A deadline that moves by the stalls reported to it. */
class Deadline extends Timed {
  endedAt: number | undefined;
  readonly silences: number[] = [];

  constructor(
    private readonly clock: Clock,
    private by: number,
  ) {
    super();
  }

  override onStall(silence: number): void {
    this.silences.push(silence);
    this.by += silence;
  }

  override onDue(now: number): number {
    if (now < this.by) return this.by;
    this.endedAt = this.clock.now();
    return Number.POSITIVE_INFINITY;
  }
}

describe('TimerWheel with a late event loop', () => {
  it('extends every deadline by the stall, and no more', () => {
    const clock = new ManualClock();
    const wheel = new TimerWheel(clock);
    const deadline = new Deadline(clock, clock.now() + 1000);
    wheel.schedule(deadline, clock.now() + 1000);
    for (let at = 0; at < 5; at++) clock.tick(100);
    clock.tick(30_000);
    expect(deadline.silences).toEqual([29_900]);
    expect(deadline.endedAt).toBeUndefined();
    for (let at = 0; at < 4; at++) clock.tick(100);
    expect(deadline.endedAt).toBe(10_000 + 900 + 30_000);
  });

  it('still ends a silent peer when every turn is late', () => {
    const clock = new ManualClock();
    const wheel = new TimerWheel(clock);
    const deadline = new Deadline(clock, clock.now() + 1000);
    wheel.schedule(deadline, clock.now() + 1000);
    for (let at = 0; at < 20 && deadline.endedAt === undefined; at++) clock.tick(500);
    expect(deadline.endedAt).toBeDefined();
  });

  it('measures from the start of its timer, not from an earlier one', () => {
    const clock = new ManualClock();
    const wheel = new TimerWheel(clock);
    const first = new Deadline(clock, clock.now() + 100);
    wheel.schedule(first, clock.now() + 100);
    clock.tick(100);
    clock.tick(100);
    expect(wheel.size).toBe(0);
    clock.time += 60_000;
    const second = new Deadline(clock, clock.now() + 1000);
    wheel.schedule(second, clock.now() + 1000);
    clock.tick(100);
    expect(second.silences).toEqual([]);
  });

  it('ignores a small delay', () => {
    const clock = new ManualClock();
    const wheel = new TimerWheel(clock);
    const deadline = new Deadline(clock, clock.now() + 1000);
    wheel.schedule(deadline, clock.now() + 1000);
    for (let at = 0; at < 6; at++) clock.tick(190);
    expect(deadline.silences).toEqual([]);
    expect(deadline.endedAt).toBeDefined();
  });

  it('systemClock calls back after the sockets were read, with the time before that', async () => {
    const order: string[] = [];
    const judged = new Promise<number>((resolve) => {
      const stop = systemClock.every(10, (now) => {
        order.push('judged');
        stop();
        resolve(now!);
      });
    });
    setTimeout(() => {
      // Blocks the loop for longer than the interval: the timer fires late, and its callback comes after the reads.
      const until = performance.now() + 60;
      while (performance.now() < until);
      setImmediate(() => order.push('immediate'));
    }, 0);
    const due = await judged;
    expect(due).toBeLessThanOrEqual(performance.now());
    expect(order[0]).toBe('immediate');
  });
});
