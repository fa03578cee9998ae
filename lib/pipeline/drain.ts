import type { Connection } from '../connection/connection.js';
import { CloseCode } from '../errors/close-codes.js';
import { retryLater } from '../errors/refusals.js';
import type { Port } from '../listener/port.js';
import type { Engine } from './engine.js';

/** Peers that are told at once; the others are spread, so that they do not come back all together. */
const AT_ONCE = 100;
const SHUTDOWN = Object.freeze(retryLater('shutdown', 503, 1));

/**
 * Says goodbye: newcomers are refused, peers are told 1001, handlers that run are awaited, what is left in the end is
 * terminated. Resolves as soon as all are gone.
 */
export function drain(engine: Engine, ports: Iterable<Port>): Promise<void> {
  engine.draining = true;
  for (const port of ports) port.shutDown(SHUTDOWN);
  const { drainTimeout } = engine.settings.shutdown;
  const now = engine.clock.now();
  const until = now + drainTimeout;
  [...engine.connections].forEach((connection, index) => {
    if (drainTimeout === 0) connection.kill('shutdown');
    else if (index < AT_ONCE) sayGoodbye(connection);
    else engine.wheel.timer(() => sayGoodbye(connection), now + Math.random() * (drainTimeout / 2));
  });
  return new Promise((resolve) => {
    const end = engine.wheel.timer(() => {
      for (const connection of [...engine.connections]) connection.kill('shutdown');
      for (const port of ports) port.dropAll();
      engine.whenIdle = undefined;
      resolve();
    }, until);
    engine.whenIdle = () => {
      if (engine.connections.size > 0 || engine.runningTasks > 0) return;
      engine.whenIdle = undefined;
      engine.wheel.cancel(end);
      resolve();
    };
    engine.whenIdle();
  });
}

/** A peer whose message is being handled gets its answer first. */
function sayGoodbye(connection: Connection): void {
  connection.goAway(CloseCode.GOING_AWAY, 'server shutdown');
}
