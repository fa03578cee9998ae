import type { Call } from './call.js';
import { ClientSocket } from './client-socket.js';
import { dial } from './dial.js';
import { limitsOf } from './limits.js';
import type { ClientRuntime } from './runtime.js';

/** An open socket; rejects with a `HandshakeError`, Node's own error, or the reason of the call's signal. */
export async function open(call: Call, runtime: ClientRuntime): Promise<ClientSocket> {
  const socket = new ClientSocket(await dial(call, runtime), limitsOf(call), runtime);
  if (call.signal?.aborted) {
    socket.terminate();
    throw call.signal.reason;
  }
  return socket;
}
