import type { HeadFault } from './head.js';

/**
 * The reasons for refusing an upgrade, in the order of the stages. A refusal is a value that stages return;
 * `handshake/pending-handshake.ts` acts on it.
 */
export const REFUSAL_REASONS = Object.freeze([
  'address-denied',
  'banned',
  'pending-full',
  'proxy-protocol',
  'request-line-too-long',
  'header-line-too-long',
  'too-many-headers',
  'malformed-head',
  'open-timeout',
  'connection-rate',
  'method',
  'http-version',
  'malformed-request',
  'not-an-upgrade',
  'websocket-version',
  'pipelined',
  'path',
  'tls-required',
  'host',
  'origin',
  'connections',
  'connections-per-ip',
  'connections-per-gateway',
  'buffer-budget',
  'guard',
  'guard-failed',
  'guard-timeout',
  'connections-per-user',
  'cluster-unavailable',
  'user-key-missing',
  'shutdown',
] as const);
export type RefusalReason = (typeof REFUSAL_REASONS)[number];

export interface Refusal {
  readonly reason: RefusalReason;
  /** Status code of the HTTP response (RFC 9110, section 15). */
  readonly status: number;
  /** Body of the response: short and generic, without any part of the request. */
  readonly text: string;
  /** Response headers in addition to those of every refusal. */
  readonly headers?: readonly (readonly [name: string, value: string])[];
  /** The compared values, or what was missing, for the log and the events; never sent. */
  readonly detail?: string;
}

const VERSION_HEADERS = [
  ['Upgrade', 'websocket'],
  ['Sec-WebSocket-Version', '13'],
] as const;

/** Seconds (RFC 9110, section 10.2.3). */
const RETRY_SOON = [['Retry-After', '5']] as const;

const define = (
  reason: RefusalReason,
  status: number,
  text: string,
  headers?: readonly (readonly [string, string])[],
): Refusal => Object.freeze({ reason, status, text, headers });

/** The refusals without variable parts; they are shared, so that refusing allocates no object. */
export const REFUSALS = Object.freeze({
  requestLineTooLong: define('request-line-too-long', 414, 'URI Too Long'),
  headerLineTooLong: define('header-line-too-long', 431, 'Request Header Fields Too Large'),
  tooManyHeaders: define('too-many-headers', 431, 'Request Header Fields Too Large'),
  malformedHead: define('malformed-head', 400, 'Bad Request'),
  headTimeout: define('open-timeout', 408, 'Request Timeout'),
  openTimeout: define('open-timeout', 503, 'Service Unavailable', RETRY_SOON),
  method: define('method', 405, 'Method Not Allowed', [['Allow', 'GET']]),
  httpVersion: define('http-version', 505, 'HTTP Version Not Supported'),
  malformedRequest: define('malformed-request', 400, 'Bad Request'),
  notAnUpgrade: define('not-an-upgrade', 426, 'Upgrade Required', VERSION_HEADERS),
  websocketVersion: define('websocket-version', 426, 'Upgrade Required', VERSION_HEADERS),
  pipelined: define('pipelined', 400, 'Bad Request'),
  path: define('path', 404, 'Not Found'),
  tlsRequired: define('tls-required', 403, 'Forbidden'),
  banned: define('banned', 403, 'Forbidden'),
  addressDenied: define('address-denied', 403, 'Forbidden'),
  host: define('host', 403, 'Forbidden'),
  origin: define('origin', 403, 'Forbidden'),
  guard: define('guard', 403, 'Forbidden'),
  guardFailed: define('guard-failed', 500, 'Internal Server Error'),
  guardTimeout: define('guard-timeout', 503, 'Service Unavailable', RETRY_SOON),
  clusterUnavailable: define('cluster-unavailable', 503, 'Service Unavailable', [['Retry-After', '1']]),
  shutdown: define('shutdown', 503, 'Service Unavailable', [['Retry-After', '1']]),
  userKeyMissing: define('user-key-missing', 500, 'Internal Server Error'),
});

/** The same refusal with a detail for the log. */
export const withDetail = (refusal: Refusal, detail: string): Refusal => ({ ...refusal, detail });

/** A refusal with `Retry-After` (RFC 9110, section 10.2.3); `seconds` is rounded up to at least 1. */
export function retryLater(reason: RefusalReason, status: 429 | 503, seconds: number, detail?: string): Refusal {
  const text = status === 429 ? 'Too Many Requests' : 'Service Unavailable';
  const headers = [['Retry-After', String(Math.max(1, Math.ceil(seconds)))]] as const;
  return { reason, status, text, headers, detail };
}

/** Distinguishes a refusal from other results of a function. */
export const isRefusal = (value: object): value is Refusal => 'reason' in value && 'status' in value;

const BY_FAULT: Readonly<Record<HeadFault, Refusal>> = Object.freeze({
  'start-line-too-long': REFUSALS.requestLineTooLong,
  'line-too-long': REFUSALS.headerLineTooLong,
  'too-many-lines': REFUSALS.tooManyHeaders,
  malformed: REFUSALS.malformedHead,
});

/** The refusal for a head that exceeds a limit or is malformed: 414, 431, 431, 400. */
export const refusalOf = (fault: HeadFault): Refusal => BY_FAULT[fault];
