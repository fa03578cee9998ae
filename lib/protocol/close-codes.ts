import { isUtf8 } from 'node:buffer';

/** Close codes that this library sends (RFC 6455, section 7.4; 4000–4999 are private use). */
export const CloseCode = Object.freeze({
  NORMAL: 1000,
  GOING_AWAY: 1001,
  PROTOCOL_ERROR: 1002,
  UNSUPPORTED_DATA: 1003,
  INVALID_PAYLOAD: 1007,
  POLICY_VIOLATION: 1008,
  MESSAGE_TOO_BIG: 1009,
  INTERNAL_ERROR: 1011,
  TRY_AGAIN_LATER: 1013,
  /** The session's `expiresAt` has passed. */
  SESSION_EXPIRED: 4401,
} as const);
export type CloseCode = (typeof CloseCode)[keyof typeof CloseCode];

/** Reported, never sent: the close frame had no code; TCP ended without a close frame (RFC 6455, 7.4.1). */
export const NO_STATUS = 1005;
export const ABNORMAL_CLOSURE = 1006;

/** A control frame carries at most 125 bytes, of which the code takes two (RFC 6455, 5.5). */
export const MAX_REASON_BYTES = 123;

const REASONS: Readonly<Record<number, string>> = {
  1000: 'bye',
  1001: 'going away',
  1002: 'protocol error',
  1003: 'unsupported data',
  1007: 'invalid payload data',
  1008: 'policy violation',
  1009: 'message too big',
  1011: 'internal error',
  1013: 'try again later',
  4401: 'session expired',
};

/** The default reason of a close frame with this code. */
export const defaultReason = (code: number | undefined): string | undefined =>
  code === undefined ? undefined : REASONS[code];

/**
 * Whether a close frame may carry this code, in either direction: 1000–1014 without the reserved 1004 and without
 * 1005 and 1006, and 3000–4999 (RFC 6455, 7.4.1 and 7.4.2; 1012–1014 are in IANA's registry).
 */
export const isCloseCode = (code: unknown): code is number =>
  typeof code === 'number' &&
  Number.isInteger(code) &&
  ((code >= 1000 && code <= 1014 && (code < 1004 || code > 1006)) || (code >= 3000 && code <= 4999));

const EMPTY = Buffer.alloc(0);

/**
 * The payload of a close frame; empty without a code.
 *
 * @throws TypeError for a code that no close frame may carry, or a reason that is not UTF-8.
 * @throws RangeError for a reason of more than 123 bytes.
 */
export function closePayload(code?: number, reason?: string | Uint8Array): Buffer {
  if (code === undefined) {
    if (reason !== undefined && reason.length > 0) throw new TypeError('A close reason needs a close code');
    return EMPTY;
  }
  if (!isCloseCode(code)) throw new TypeError('First argument must be a valid error code number');
  const bytes = typeof reason === 'string' ? Buffer.from(reason) : (reason ?? EMPTY);
  if (bytes.length > MAX_REASON_BYTES) throw new RangeError('The message must not be greater than 123 bytes');
  if (typeof reason !== 'string' && !isUtf8(bytes)) throw new TypeError('The close reason is not UTF-8');
  const payload = Buffer.allocUnsafe(2 + bytes.length);
  payload.writeUInt16BE(code, 0);
  payload.set(bytes, 2);
  return payload;
}

/**
 * Truncates `reason` to the 123 bytes that a close frame can carry, at a character boundary. A value that is not a
 * string becomes an empty reason.
 */
export function fitReason(reason: unknown): string {
  if (typeof reason !== 'string') return '';
  const bytes = Buffer.from(reason);
  if (bytes.length <= MAX_REASON_BYTES) return reason;
  let end = MAX_REASON_BYTES;
  while ((bytes[end]! & 0xc0) === 0x80) end--;
  return bytes.toString('utf8', 0, end);
}
