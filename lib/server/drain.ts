import type { SecureConnection as Connection } from '../connection/secure-socket.js';
import { REFUSALS } from '../http/refusal.js';
import type { Timed } from '../net/timer-wheel.js';
import { CloseCode } from '../protocol/close-codes.js';
import type { Listener } from './listener.js';
import type { ServerContext } from './server-context.js';

/** Peers that are told at once; the others are spread, so that they do not come back all together. */
const AT_ONCE = 100;

/** Milliseconds in which sockets that were destroyed have told so. */
const LAST_WORDS = 1000;

/**
 * Says goodbye: newcomers are refused, peers are told 1001, handlers that run are awaited, what is left in the end is
 * terminated. Resolves as soon as all are gone.
 */
export function drain(context: ServerContext, ports: Iterable<Listener>): Promise<void> {
  context.draining = true;
  // protection: pending handshakes end at shutdown
  for (const port of ports) port.shutDown(REFUSALS.shutdown);
  // end protection
  const { drainTimeout } = context.settings.shutdown;
  // protection: peers are told of a shutdown
  if (drainTimeout > 0) sayGoodbye(context, drainTimeout);
  // end protection
  return new Promise((resolve) => new Farewell(context, ports, resolve).begin(drainTimeout));
}

/** A peer whose message is being handled gets its answer first. */
function sayGoodbye({ connections, wheel, clock }: ServerContext, drainTimeout: number): void {
  const goodbye = (connection: Connection) => connection.goAway(CloseCode.GOING_AWAY, 'server shutdown');
  [...connections].forEach((connection, index) => {
    if (index < AT_ONCE) goodbye(connection);
    else wheel.timer(() => goodbye(connection), clock.now() + Math.random() * (drainTimeout / 2));
  });
}

/** Waits until nobody is left, and sees to it that nobody is. */
class Farewell {
  private timer: Timed | undefined;
  private terminated = false;

  constructor(
    private readonly context: ServerContext,
    private readonly ports: Iterable<Listener>,
    private readonly resolve: () => void,
  ) {}

  begin(drainTimeout: number): void {
    this.context.whenIdle = () => this.look();
    if (drainTimeout === 0) return this.terminate();
    // protection: a shutdown ends in time
    this.wait(drainTimeout, () => this.terminate());
    // end protection
    this.look();
  }

  /** Handlers that are still not done are not waited for any longer. */
  private terminate(): void {
    this.terminated = true;
    for (const connection of [...this.context.connections]) connection.kill('shutdown');
    for (const port of this.ports) port.dropAll();
    this.wait(LAST_WORDS, () => this.end());
    this.look();
  }

  private look(): void {
    const { connections, runningTasks } = this.context;
    if (connections.size === 0 && (this.terminated || runningTasks === 0)) this.end();
  }

  private end(): void {
    const { context, timer } = this;
    context.whenIdle = undefined;
    if (timer !== undefined) context.wheel.cancel(timer);
    this.resolve();
  }

  private wait(timeout: number, then: () => void): void {
    const { wheel, clock } = this.context;
    this.timer = wheel.timer(then, clock.now() + timeout);
  }
}
