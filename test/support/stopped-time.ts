import { systemClock } from '../../lib/net/timer-wheel.js';
import { ManualClock } from './time.js';

const { now, every } = systemClock;

/**
 * Stops the clock of every application that this spec starts from now on, until {@link restoreTime}: deadlines and rates
 * pass only when the test says so, however slow or busy the machine is. Not with DIST=1, which has a clock of its own.
 */
export function stopTime(): ManualClock {
  const clock = new ManualClock(now());
  systemClock.now = clock.now;
  systemClock.every = clock.every.bind(clock);
  return clock;
}

export function restoreTime(): void {
  Object.assign(systemClock, { now, every });
}

/**
 * Advances the clock in steps of 100 ms until the condition holds; between two steps, what was sent can arrive. Where
 * the condition is that anything arrives, `pingInterval` is null: the first ping comes at a random time.
 */
export async function passUntil(clock: ManualClock, condition: () => boolean): Promise<void> {
  for (const end = now() + 30_000; !condition(); ) {
    if (now() > end) throw new Error(`did not happen: ${condition}`);
    clock.pass(100);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
