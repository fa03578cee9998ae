// @ts-nocheck
import type { Connection } from '../connection/connection.js';
import type { Turns } from '../connection/context.js';

/** Large messages, of all connections together, that one turn handles; at least one. */
const LARGE_BYTES = 256 * 1024;
/** Milliseconds for the others. */
const TURN_MS = 2;

/** One `setImmediate` for all connections that have something to do at the end of the turn. */
export class FairScheduler implements Turns {
  private corked: Connection[] = [];
  /** Those whose next message is small never wait for more than one large one. */
  private readonly small: Connection[] = [];
  private readonly large: Connection[] = [];
  private armed = false;
  private largeBytes = 0;

  uncork(connection: Connection): void {
    this.corked.push(connection);
    this.arm();
  }

  resume(connection: Connection, isLarge: boolean): void {
    (isLarge ? this.large : this.small).push(connection);
    this.arm();
  }

  hasRoomFor(size: number): boolean {
    return this.largeBytes === 0 || this.largeBytes + size <= LARGE_BYTES;
  }

  took(size: number): void {
    this.largeBytes += size;
    this.arm();
  }

  private arm(): void {
    if (this.armed) return;
    this.armed = true;
    setImmediate(this.run);
  }

  private readonly run = (): void => {
    this.armed = false;
    this.largeBytes = 0;
    const { corked, small, large } = this;
    this.corked = [];
    for (const connection of corked) connection.sending?.uncork();
    if (small.length > 0) this.serve(small);
    large.shift()?.receiving?.goOn();
    if (small.length > 0 || large.length > 0) this.arm();
  };

  /** Each connection once, for as long as the turn lasts. */
  private serve(connections: Connection[]): void {
    const until = performance.now() + TURN_MS;
    for (let left = connections.length; left > 0; left--) {
      connections.shift()?.receiving?.goOn();
      if (performance.now() >= until) return;
    }
  }
}
