// @ts-nocheck
import { type ConnectOptions, resolveCall } from './call.js';
import type { ClientSocket } from './client-socket.js';
import { open } from './open.js';
import { reconnect } from './reconnect.js';
import { sharedRuntime } from './runtime.js';

/**
 * Opens a connection to `ws:` or `wss:` (`http:` and `https:` mean the same).
 *
 * What `options` leave out comes from the environment and the defaults, read at each call. Rejects with a
 * `ConfigurationError` that lists all problems of URL and options; with a subclass of `HandshakeError` where the server
 * breaks a limit or does not answer with a valid 101; with Node's own error where the network or TLS fails; with the
 * reason of `options.signal`. Nothing is left open then.
 */
export async function connect(url: string | URL, options: ConnectOptions = {}): Promise<ClientSocket> {
  return open(resolveCall(url, options), sharedRuntime);
}

/**
 * One open connection after the other:
 *
 *     for await (const socket of reconnecting('wss://feed.example/stream')) {
 *       for await (const message of socket) …
 *     }
 *
 * The next one is opened when the one before has ended, after a delay. Network failures, timeouts and the statuses
 * 500, 502, 503, 504 are tried again; other refusals end it with their error. The first delay is random between 0 and
 * `backoffInitialDelay`, the next is `backoffMinDelay`, and each one after is `backoffFactor` times as long, up to
 * `backoffMaxDelay`, all ±10 %; a longer `Retry-After` counts, up to `backoffMaxDelay`; a connection that lived ten
 * seconds starts anew. Leaving the loop closes the socket (1000). When `options.signal` aborts, the socket is closed
 * (1001) and the iteration is over. Throws a `ConfigurationError` at once.
 */
export function reconnecting(
  url: string | URL,
  options: ConnectOptions = {},
): AsyncGenerator<ClientSocket, void, undefined> {
  return reconnect(resolveCall(url, options), sharedRuntime);
}
