import { type ConnectOptions, resolveCall } from '../../../lib/client/call.js';
import type { ClientSocket } from '../../../lib/client/client-socket.js';
import { open } from '../../../lib/client/open.js';
import { ClientRuntime } from '../../../lib/client/runtime.js';
import type { Clock } from '../../../lib/net/timer-wheel.js';

/** A clock that the test advances. */
export class FakeClock implements Clock {
  private time = 1000;
  private readonly timers = new Set<{ interval: number; at: number; callback: () => void }>();

  now(): number {
    return this.time;
  }

  every(interval: number, callback: () => void): () => void {
    const timer = { interval, at: this.time + interval, callback };
    this.timers.add(timer);
    return () => void this.timers.delete(timer);
  }

  get running(): number {
    return this.timers.size;
  }

  pass(milliseconds: number): void {
    const end = this.time + milliseconds;
    for (;;) {
      const [next] = [...this.timers].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at);
      if (next === undefined) break;
      this.time = next.at;
      next.at += next.interval;
      next.callback();
    }
    this.time = end;
  }
}

/** Opens a connection with this clock. */
export async function openWith(
  clock: Clock,
  url: string,
  options: ConnectOptions = {},
  random = 0.5,
): Promise<ClientSocket> {
  return open(resolveCall(url, options), new ClientRuntime(clock, () => random));
}

/** Polls until the condition holds, at most ten seconds. */
export async function until(holds: () => boolean, what = 'it'): Promise<void> {
  for (let i = 0; i < 2000; i++) {
    if (holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  throw new Error(`${what} did not happen`);
}
