import type { Call } from './call.js';
import { ClientSocket } from './client-socket.js';
import { dial } from './dial.js';
import { closedEarly } from './open-deadline.js';
import type { ClientRuntime } from './runtime.js';

/** Opens a connection. Rejects with a `HandshakeError`, Node's own error, or the reason of the call's signal. */
export async function open(call: Call, runtime: ClientRuntime): Promise<ClientSocket> {
  const dialled = await dial(call, runtime);
  // TCP may have ended in the same turn as the 101 arrived; the socket would not be notified any more.
  if (dialled.raw.destroyed) throw closedEarly();
  const socket = new ClientSocket(dialled, runtime.contextOf(call));
  if (call.signal?.aborted) {
    socket.terminate();
    throw call.signal.reason;
  }
  return socket;
}
