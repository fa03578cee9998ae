// @ts-nocheck
import type { Call } from './call.js';
import { ClientSocket } from './client-socket.js';
import { dial } from './dial.js';
import { closedEarly } from './ending.js';
import { limitsOf } from './limits.js';
import type { ClientRuntime } from './runtime.js';

/** An open socket; rejects with a `HandshakeError`, Node's own error, or the reason of the call's signal. */
export async function open(call: Call, runtime: ClientRuntime): Promise<ClientSocket> {
  const dialled = await dial(call, runtime);
  // The end may have come in the same turn as the 101; nobody would tell the socket of it any more.
  if (dialled.raw.destroyed) throw closedEarly();
  const socket = new ClientSocket(dialled, limitsOf(call), runtime);
  if (call.signal?.aborted) {
    socket.terminate();
    throw call.signal.reason;
  }
  return socket;
}
