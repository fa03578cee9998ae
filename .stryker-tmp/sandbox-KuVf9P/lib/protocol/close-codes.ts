/** Close codes that this library sends (RFC 6455, section 7.4; 4000–4999 are private use). */
// @ts-nocheck

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

/** What a close frame says where nothing more exact is known. */
export const defaultReason = (code: number | undefined): string | undefined =>
  code === undefined ? undefined : REASONS[code];
