import diagnostics_channel from 'node:diagnostics_channel';
import { CloseCode } from '../protocol/close-codes.js';
import { backoffDelay, retryAfter, STABLE_AFTER } from './backoff.js';
import type { Call } from './call.js';
import type { ClientSocket, Closed } from './client-socket.js';
import { HandshakeError, OpenTimeoutError, UnexpectedStatusError } from './errors.js';
import { open } from './open.js';
import type { ClientRuntime } from './runtime.js';
import { onAbort } from './signals.js';

/** Published before `reconnecting` waits for the next attempt. */
export interface RetryEvent {
  /** The URL without credentials and query. */
  readonly url: string;
  /** The number of the retry; 1 is the first since the last connection that lived ten seconds. */
  readonly retry: number;
  /** The delay in milliseconds. */
  readonly delay: number;
  /** Why the attempt failed; `undefined` if a connection was open and has ended. */
  readonly error: unknown;
  readonly closed: Closed | undefined;
}

/** Retries are published on `diagnostics_channel` as `nest-secure-ws:retry`. */
const RETRY = diagnostics_channel.channel('nest-secure-ws:retry');

/** Refusals that are temporary (RFC 9110, section 15.6). */
const TEMPORARY: ReadonlySet<number> = new Set([500, 502, 503, 504]);
/** Whether another attempt may succeed: after network failures, timeouts, and the statuses 500, 502, 503 and 504. */
const SYSTEM_CODE = /^E(?!RR_)[A-Z0-9_]+$/;

/** Whether another attempt may succeed: after network failures, timeouts, and the statuses 500, 502, 503 and 504. */
export function isTemporary(error: unknown): boolean {
  if (error instanceof OpenTimeoutError) return true;
  if (error instanceof UnexpectedStatusError) return TEMPORARY.has(error.status);
  return (
    !(error instanceof HandshakeError) && SYSTEM_CODE.test(String((error as NodeJS.ErrnoException | undefined)?.code))
  );
}

/** Yields one open socket after the other, until the caller stops or the signal aborts. */
export async function* reconnect(
  call: Call,
  runtime: ClientRuntime,
  onRetry?: (event: RetryEvent) => void,
): AsyncGenerator<ClientSocket, void, undefined> {
  const signal = call.signal ?? new AbortController().signal;
  for (let retry = 0; !signal.aborted; retry++) {
    let [error, closed]: [unknown, Closed | undefined] = [undefined, undefined];
    const socket = await open(call, runtime).catch((reason: unknown) => void (error = reason));
    if (socket !== undefined) {
      const life = live(socket, signal, runtime);
      let goesOn = false;
      try {
        yield socket;
        goesOn = true;
      } finally {
        if (!goesOn) socket.close(CloseCode.NORMAL);
      }
      const ended = await life;
      closed = ended.closed;
      if (ended.lived >= STABLE_AFTER) retry = 0;
    } else if (!signal.aborted && !isTemporary(error)) throw error;
    if (signal.aborted) return;
    const delay = delayOf(retry, call, runtime, error);
    tell({ url: call.target.href.replace(/\?.*$/, ''), retry: retry + 1, delay, error, closed }, onRetry);
    await runtime.sleep(delay, signal).catch(() => {});
  }
}

/** Waits until a connection has ended, and closes it if the signal aborts. Returns how it ended, and how long it lived. */
async function live(
  socket: ClientSocket,
  signal: AbortSignal,
  { clock }: ClientRuntime,
): Promise<{ closed: Closed; lived: number }> {
  const since = clock.now();
  const leave = (): void => socket.close(CloseCode.GOING_AWAY);
  onAbort(signal, leave);
  const closed = await socket.closed;
  signal.removeEventListener('abort', leave);
  return { closed, lived: clock.now() - since };
}

function delayOf(retry: number, { settings }: Call, { random }: ClientRuntime, error: unknown): number {
  const asked = error instanceof UnexpectedStatusError ? retryAfter(error.headers['retry-after'], Date.now()) : 0;
  return Math.min(Math.max(backoffDelay(retry, settings.client, random()), asked), settings.client.backoffMaxDelay);
}

function tell(event: RetryEvent, onRetry: ((event: RetryEvent) => void) | undefined): void {
  onRetry?.(event);
  if (RETRY.hasSubscribers) RETRY.publish(event);
}
