import { AssertionError } from 'node:assert';
import diagnostics_channel from 'node:diagnostics_channel';
import { inspect, isDeepStrictEqual } from 'node:util';
import type { INestApplication } from '@nestjs/common';
import { connect, UnexpectedStatusError } from '../client/index.js';
import type { RefusalReason } from '../http/refusal.js';
import type { RefusedEvent } from '../telemetry/events.js';
import { callOf, type UpgradeOptions } from './connect-to.js';

export interface RefusedAttempt extends UpgradeOptions {
  /** The request target, including the query. Default: `/`. */
  readonly path?: string;
}

/** The expected refusal; properties that are left out are not checked. */
export interface ExpectedRefusal {
  /** The status, or `'reset'` if the connection must end without a response. */
  readonly status?: number | 'reset';
  /** The reason, one of `REFUSAL_REASONS`: `'guard'`, `'origin'`, `'connections-per-ip'`, … */
  readonly reason?: RefusalReason;
  /** Headers of the response, by name. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** The refusal of an attempt. */
export interface ObservedRefusal {
  readonly status: number | 'reset';
  /** `undefined` if no gateway of this package refused, for example for a path of another library. */
  readonly reason: RefusalReason | undefined;
  /** The compared values, or what was missing, as in the log. */
  readonly detail: string | undefined;
  /** Headers by lower-case name. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/**
 * Attempts to connect, and resolves to the refusal of the attempt; concurrent calls are made one after the other.
 * Rejects with an `AssertionError`, which test runners report as an assertion failure, if the attempt is accepted (the
 * connection is closed again) or refused in another way, and with Node's error if nothing listens.
 *
 * @example await expectRefusal(app, { path: '/chat' }, { status: 401, reason: 'guard' });
 */
export async function expectRefusal(
  app: INestApplication,
  { path = '/', ...options }: RefusedAttempt = {},
  expected: ExpectedRefusal = {},
): Promise<ObservedRefusal> {
  // Attempts are made one after the other, because an event contains neither the attempt nor its port.
  const observing = lastAttempt.then(() => observe(app, path, options));
  lastAttempt = observing.catch(() => undefined);
  const observed = await observing;
  if (observed === undefined) throw assertion(`${path} accepted the connection`, { status: 101 }, expected);
  const { status, reason, detail } = observed;
  const actual = {
    ...(expected.status !== undefined && { status }),
    ...(expected.reason !== undefined && { reason }),
    ...(expected.headers !== undefined && { headers: named(observed.headers, Object.keys(expected.headers)) }),
  };
  const wanted = Object.fromEntries(Object.entries(expected).filter(([, value]) => value !== undefined));
  if (isDeepStrictEqual(actual, wanted)) return observed;
  const why = detail === undefined ? '' : ` (${detail})`;
  throw assertion(`${path} was refused with ${status}, reason ${reason ?? 'unknown'}${why}`, actual, expected);
}

let lastAttempt: Promise<unknown> = Promise.resolve();

const named = (headers: Readonly<Record<string, string>>, names: readonly string[]): object =>
  Object.fromEntries(names.map((name) => [name, headers[name.toLowerCase()]]));

const assertion = (message: string, actual: object, expected: ExpectedRefusal): AssertionError =>
  new AssertionError({
    message: `${message}; expected ${inspect(expected)}`,
    actual,
    expected,
    operator: 'expectRefusal',
  });

/** `undefined`: the attempt was accepted. */
async function observe(
  app: INestApplication,
  path: string,
  options: UpgradeOptions,
): Promise<ObservedRefusal | undefined> {
  const { url, rest } = callOf(app, path, options);
  const { pathname } = new URL(url);
  const events: RefusedEvent[] = [];
  const listen = (event: unknown): void => void events.push(event as RefusedEvent);
  diagnostics_channel.subscribe('nest-secure-ws:refused', listen);
  try {
    const socket = await connect(url, rest);
    socket.close();
    await socket.closed;
    return undefined;
  } catch (error) {
    const response = responseOf(error);
    const status = response?.status ?? 0;
    const event = events.find((each) => each.status === status && (each.path ?? pathname) === pathname);
    return {
      status: response?.status ?? ('reset' as const),
      reason: event?.reason,
      detail: event?.detail,
      headers: response?.headers ?? {},
      body: response?.body.toString() ?? '',
    };
  } finally {
    diagnostics_channel.unsubscribe('nest-secure-ws:refused', listen);
  }
}

/** The response, or `undefined` if the connection ended without one; other errors are rethrown. */
function responseOf(error: unknown): UnexpectedStatusError | undefined {
  if (error instanceof UnexpectedStatusError) return error;
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ECONNRESET' || code === 'EPIPE') return undefined;
  throw error;
}
