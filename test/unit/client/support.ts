import { type ConnectOptions, resolveCall } from '../../../lib/client/call.js';
import type { ClientSocket } from '../../../lib/client/client-socket.js';
import { open } from '../../../lib/client/open.js';
import { ClientRuntime } from '../../../lib/client/runtime.js';
import type { Clock } from '../../../lib/net/timer-wheel.js';

/** Opens a connection with this clock. */
export async function openWith(
  clock: Clock,
  url: string,
  options: ConnectOptions = {},
  random = 0.5,
): Promise<ClientSocket> {
  return open(resolveCall(url, options), new ClientRuntime(clock, () => random));
}

/** Polls until the condition holds. Only a hang takes longer than the time limit. */
export async function until(holds: () => boolean, what = 'it'): Promise<void> {
  for (const end = Date.now() + 30_000; !holds(); ) {
    if (Date.now() > end) throw new Error(`${what} did not happen`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
