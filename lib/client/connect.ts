import { type ConnectOptions, resolveCall } from './call.js';
import type { ClientSocket } from './client-socket.js';
import { open } from './open.js';
import { reconnect } from './reconnect.js';
import { sharedRuntime } from './runtime.js';

/**
 * Opens a connection to a `ws:` or `wss:` URL (`http:` and `https:` mean the same).
 *
 * Options that are left out come from the environment and the defaults, read at each call. Rejects with a
 * `ConfigurationError` that lists all problems of the URL and the options; with a subclass of `HandshakeError` if the
 * server exceeds a limit or does not answer with a valid 101; with Node's own error if the network or TLS fails; or
 * with the reason of `options.signal`. No socket stays open after a rejection.
 */
export async function connect(url: string | URL, options: ConnectOptions = {}): Promise<ClientSocket> {
  return open(resolveCall(url, options), sharedRuntime);
}

/**
 * Yields one open connection after the other:
 *
 *     for await (const socket of reconnecting('wss://feed.example/stream')) {
 *       for await (const message of socket) …
 *     }
 *
 * When a connection has ended, the next one is opened after a delay. Network failures, timeouts and the statuses 500,
 * 502, 503 and 504 are retried; other refusals end the iteration with their error. The first delay is random from 0 to
 * `backoffInitialDelay`, the second is `backoffMinDelay`, and each further one is `backoffFactor` times as long, up to
 * `backoffMaxDelay`, all ±10 %. A longer `Retry-After` is honoured, up to `backoffMaxDelay`. A connection that lived
 * ten seconds resets the sequence. Leaving the loop closes the socket (1000). When `options.signal` aborts, the socket
 * is closed (1001) and the iteration ends. Throws a `ConfigurationError` synchronously.
 */
export function reconnecting(
  url: string | URL,
  options: ConnectOptions = {},
): AsyncGenerator<ClientSocket, void, undefined> {
  return reconnect(resolveCall(url, options), sharedRuntime);
}
