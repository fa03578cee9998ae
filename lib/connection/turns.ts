import type { Connection } from './connection.js';
import type { Turns } from './context.js';

/** Large messages, of all connections together, that one turn handles; at least one. */
const LARGE_BYTES = 256 * 1024;

/** One `setImmediate` for all connections that have something to do at the end of the turn. */
export class EventLoopTurns implements Turns {
  private corked: Connection[] = [];
  private waiting: Connection[] = [];
  private armed = false;
  private large = 0;

  uncork(connection: Connection): void {
    this.corked.push(connection);
    this.arm();
  }

  resume(connection: Connection): void {
    this.waiting.push(connection);
    this.arm();
  }

  takeLarge(size: number): boolean {
    if (this.large > 0 && this.large + size > LARGE_BYTES) return false;
    this.large += size;
    this.arm();
    return true;
  }

  private arm(): void {
    if (this.armed) return;
    this.armed = true;
    setImmediate(this.run);
  }

  private readonly run = (): void => {
    this.armed = false;
    this.large = 0;
    const { corked, waiting } = this;
    if (corked.length > 0) {
      this.corked = [];
      for (const connection of corked) connection.output.uncork();
    }
    if (waiting.length > 0) {
      // One of them a turn, so that reads and the others' timers come in between.
      const next = waiting.shift()!;
      next.intake.goOn();
      if (waiting.length > 0) this.arm();
    }
  };
}
