import type { SecureConnection as Connection } from '../connection/secure-socket.js';
import { REFUSALS } from '../http/refusal.js';
import type { Timed } from '../net/timer-wheel.js';
import { CloseCode } from '../protocol/close-codes.js';
import type { Listener } from './listener.js';
import type { ServerContext } from './server-context.js';

/**
 * Number of connections that are closed at once; the others are spread over time, so that not all clients reconnect
 * together.
 */
const CLOSED_AT_ONCE = 100;

/** Milliseconds to wait for destroyed sockets to report their close. */
const CLOSE_TIMEOUT = 1000;

/**
 * Shuts down: refuses new upgrades, closes connections with 1001, waits for running handlers, and terminates what is
 * left at the end. Resolves as soon as all connections have ended.
 */
export function drain(context: ServerContext, listeners: Iterable<Listener>): Promise<void> {
  context.draining = true;
  // protection: pending handshakes end at shutdown
  for (const listener of listeners) listener.shutDown(REFUSALS.shutdown);
  // end protection
  const { drainTimeout } = context.settings.shutdown;
  // protection: peers are told of a shutdown
  if (drainTimeout > 0) closeConnections(context, drainTimeout);
  // end protection
  return new Promise((resolve) => new Drain(context, listeners, resolve).begin(drainTimeout));
}

/** A peer whose message is being handled first gets its answer. */
function closeConnections({ connections, wheel, clock }: ServerContext, drainTimeout: number): void {
  const close = (connection: Connection) => connection.goAway(CloseCode.GOING_AWAY, 'server shutdown');
  [...connections].forEach((connection, index) => {
    if (index < CLOSED_AT_ONCE) close(connection);
    else wheel.timer(() => close(connection), clock.now() + Math.random() * (drainTimeout / 2));
  });
}

/** Waits until all connections have ended, and terminates them after the timeout. */
class Drain {
  private timer: Timed | undefined;
  private terminated = false;

  constructor(
    private readonly context: ServerContext,
    private readonly listeners: Iterable<Listener>,
    private readonly resolve: () => void,
  ) {}

  begin(drainTimeout: number): void {
    this.context.onIdle = () => this.check();
    if (drainTimeout === 0) return this.terminate();
    // protection: a shutdown ends in time
    this.wait(drainTimeout, () => this.terminate());
    // end protection
    this.check();
  }

  /** Terminates all connections; handlers that still run are not awaited any longer. */
  private terminate(): void {
    this.terminated = true;
    for (const connection of [...this.context.connections]) connection.kill('shutdown');
    for (const listener of this.listeners) listener.dropAll();
    this.wait(CLOSE_TIMEOUT, () => this.finish());
    this.check();
  }

  private check(): void {
    const { connections, runningTasks } = this.context;
    if (connections.size === 0 && (this.terminated || runningTasks === 0)) this.finish();
  }

  private finish(): void {
    const { context, timer } = this;
    context.onIdle = undefined;
    if (timer !== undefined) context.wheel.cancel(timer);
    this.resolve();
  }

  private wait(timeout: number, then: () => void): void {
    const { wheel, clock } = this.context;
    this.timer = wheel.timer(then, clock.now() + timeout);
  }
}
