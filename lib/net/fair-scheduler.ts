import { performance } from 'node:perf_hooks';
import { runInFork } from './async-context.js';

/** A connection, as the scheduler uses it. */
export interface Scheduled {
  /** Writes the frames that were collected in this turn. */
  flush(): void;
  /** Continues with waiting messages. */
  proceed(): void;
}

/** Maximum bytes of large messages, of all connections together, that are handled in one turn; at least one message. */
const LARGE_BYTES = 256 * 1024;
/** Milliseconds per turn for other waiting messages. */
const TURN_MS = 2;
/** Milliseconds per turn for writing collected frames, and the number of writes between two checks of the clock. */
const FLUSH_MS = 4;
const FLUSHES = 16;

/** One `setImmediate` for all connections that have work at the end of a turn of the event loop. */
export class FairScheduler {
  /** Changes at least with each turn in which something was scheduled. */
  turn = 1;
  private unflushed: Scheduled[] = [];
  /** Connections whose next message is small wait for at most one large one. */
  private readonly small: Scheduled[] = [];
  private readonly large: Scheduled[] = [];
  private armed = false;
  private largeBytes = 0;

  /** Makes {@link Scheduled.flush} be called at the end of this turn. */
  flushLater(connection: Scheduled): void {
    this.unflushed.push(connection);
    this.arm();
  }

  /** Makes {@link Scheduled.proceed} be called in a later turn, for one connection after the other. */
  proceedLater(connection: Scheduled, isLarge: boolean): void {
    (isLarge ? this.large : this.small).push(connection);
    this.arm();
  }

  /** Whether a large message may still be handled in this turn. */
  hasRoomFor(size: number): boolean {
    return this.largeBytes === 0 || this.largeBytes + size <= LARGE_BYTES;
  }

  /** Records that a large message is handled in this turn. */
  charge(size: number): void {
    this.largeBytes += size;
    this.arm();
  }

  /** Runs outside of the async context of any connection, because all of them are served in this turn. */
  private arm(): void {
    if (this.armed) return;
    this.armed = true;
    runInFork(undefined, setImmediate as (callback: () => void) => unknown, undefined, this.run);
  }

  private readonly run = (): void => {
    this.armed = false;
    this.largeBytes = 0;
    this.turn++;
    const { small, large } = this;
    this.flush();
    if (small.length > 0) this.serve(small);
    large.shift()?.proceed();
    if (small.length > 0 || large.length > 0 || this.unflushed.length > 0) this.arm();
  };

  /** Flushes each connection once, within the time for writing: after a broadcast there are thousands. */
  private flush(): void {
    const { unflushed } = this;
    if (unflushed.length === 0) return;
    this.unflushed = [];
    const until = performance.now() + FLUSH_MS;
    for (let at = 0; at < unflushed.length; at++) {
      unflushed[at]!.flush();
      if (at % FLUSHES === FLUSHES - 1 && performance.now() >= until) {
        this.unflushed = [...unflushed.slice(at + 1), ...this.unflushed];
        return;
      }
    }
  }

  /** Continues with each connection once, within the time of the turn. */
  private serve(connections: Scheduled[]): void {
    const until = performance.now() + TURN_MS;
    for (let left = connections.length; left > 0; left--) {
      connections.shift()?.proceed();
      if (performance.now() >= until) return;
    }
  }
}
