import { runInFork } from './async-context.js';

/** What the scheduler serves: a connection. */
export interface Scheduled {
  /** Writes what was held together in this turn. */
  flush(): void;
  /** Goes on with the messages that wait. */
  proceed(): void;
}

/** Bytes of large messages, of all connections together, that one turn handles; at least one message. */
const LARGE_BYTES = 256 * 1024;
/** Milliseconds for the others. */
const TURN_MS = 2;
/** Milliseconds of a turn for writing what was held together, and how many writes go between two looks at the clock. */
const FLUSH_MS = 4;
const FLUSHES = 16;

/** One `setImmediate` for all connections that have something to do at the end of a turn of the event loop. */
export class FairScheduler {
  /** Changes at least with each turn in which something was scheduled. */
  turn = 1;
  private unflushed: Scheduled[] = [];
  /** Those whose next message is small never wait for more than one large one. */
  private readonly small: Scheduled[] = [];
  private readonly large: Scheduled[] = [];
  private armed = false;
  private largeBytes = 0;

  /** {@link Scheduled.flush} is called at the end of this turn. */
  flushLater(connection: Scheduled): void {
    this.unflushed.push(connection);
    this.arm();
  }

  /** {@link Scheduled.proceed} is called in a later turn, each connection in its turn. */
  proceedLater(connection: Scheduled, isLarge: boolean): void {
    (isLarge ? this.large : this.small).push(connection);
    this.arm();
  }

  /** Whether a large message may still be handled in this turn. */
  hasRoomFor(size: number): boolean {
    return this.largeBytes === 0 || this.largeBytes + size <= LARGE_BYTES;
  }

  /** A large message is handled in this turn. */
  charge(size: number): void {
    this.largeBytes += size;
    this.arm();
  }

  /** In the context of no connection: each is served in this one's turn. */
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

  /** Each connection once, for as long as writing may last: after a broadcast there are thousands. */
  private flush(): void {
    const { unflushed } = this;
    if (unflushed.length === 0) return;
    this.unflushed = [];
    const until = performance.now() + FLUSH_MS;
    for (const [at, connection] of unflushed.entries()) {
      connection.flush();
      if (at % FLUSHES === FLUSHES - 1 && performance.now() >= until) {
        this.unflushed = [...unflushed.slice(at + 1), ...this.unflushed];
        return;
      }
    }
  }

  /** Each connection once, for as long as the turn lasts. */
  private serve(connections: Scheduled[]): void {
    const until = performance.now() + TURN_MS;
    for (let left = connections.length; left > 0; left--) {
      connections.shift()?.proceed();
      if (performance.now() >= until) return;
    }
  }
}
