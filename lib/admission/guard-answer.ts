import { STATUS_CODES } from 'node:http';
import { REFUSALS, type Refusal, withDetail } from '../http/refusal.js';
import { type Admission, type AdmissionHeaders, type Allowed, BuiltInRefusal, type Refused } from './guard.js';

/** A validated admission; also the combined result of all guards. */
export interface Admitted {
  /** Distinguishes it from a refusal. */
  readonly reason?: undefined;
  readonly principal: unknown;
  /** The key of the user: `userKey`, else derived from the principal. */
  readonly userKey: string | undefined;
  /** Milliseconds since the epoch; `Infinity` if the session does not end. */
  readonly expiresAt: number;
  readonly headers: readonly HeaderLine[];
  readonly subprotocol: string | undefined;
}

export type HeaderLine = readonly [name: string, value: string];

/** The result for an invalid answer of a guard: 500 for the peer, this text for the log. */
class BadAnswer extends Error {}

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
/** `field-value` (RFC 9110, section 5.5): no CR, LF, NUL or other control characters, no characters above Latin-1. */
const FIELD_VALUE = /^[\t -~\x80-\xff]*$/;
/** Framing and hop-by-hop fields (RFC 9110, section 7.6.1), which guards cannot set. */
const FORBIDDEN =
  /^(?:connection|content-length|keep-alive|proxy-connection|te|trailer|transfer-encoding|upgrade|sec-websocket-.*)$/i;
/** 1973 as milliseconds, the year 5138 as seconds: smaller values were meant as seconds. */
const SMALLEST_TIME = 1e11;

/** Converts a guard's answer other than `true` to validated values, or to a refusal. */
export function checkAnswer(answer: unknown, offered: readonly string[], now: number): Admitted | Refusal {
  if (answer === false) return REFUSALS.guard;
  try {
    return checkAdmission(answer, offered, now);
  } catch (error) {
    return withDetail(
      REFUSALS.guardFailed,
      error instanceof BadAnswer ? error.message : 'reading its answer threw an error',
    );
  }
}

function checkAdmission(answer: unknown, offered: readonly string[], now: number): Admitted | Refusal {
  const admission = answer as Admission | null | undefined;
  switch (admission?.decision) {
    case 'allow':
      return checkAllow(admission, offered, now);
    case 'refuse':
      return checkRefuse(admission);
    default:
      throw new BadAnswer('its answer is neither true, false, allow() nor refuse()');
  }
}

function checkAllow(admission: Allowed, offered: readonly string[], now: number): Admitted | Refusal {
  const expiresAt = checkExpiry(admission.expiresAt);
  if (expiresAt <= now) return EXPIRED;
  const principal = admission.principal ?? undefined;
  return {
    principal,
    userKey: checkUserKey(admission.userKey) ?? userKeyOf(principal),
    expiresAt,
    headers: checkHeaders(admission.headers),
    subprotocol: checkSubprotocol(admission.subprotocol, offered),
  };
}

const EXPIRED: Refusal = Object.freeze({
  reason: 'guard',
  status: 401,
  text: 'Unauthorized',
  detail: 'expiresAt is in the past',
});

function checkRefuse(refused: Refused): Refusal {
  if (refused instanceof BuiltInRefusal) return refused.refusal;
  const { status, text, headers } = refused;
  const lines = checkHeaders(headers);
  const isRedirect = status >= 300 && status < 400 && lines.some(([name]) => name.toLowerCase() === 'location');
  if (!Number.isInteger(status) || !(isRedirect || (status >= 400 && status < 600))) {
    throw new BadAnswer(`it refused with status ${String(status)}: 400 to 599, or 3xx with a Location`);
  }
  if (text !== undefined && typeof text !== 'string') throw new BadAnswer('the text of its refusal is not a string');
  return { reason: 'guard', status, text: text ?? STATUS_CODES[status] ?? 'Refused', headers: lines };
}

/** A guard's `expiresAt` in milliseconds since the epoch. Throws for an invalid value. */
export function checkExpiry(expiresAt: Date | number | undefined): number {
  if (expiresAt === undefined || expiresAt === null) return Infinity;
  const time = expiresAt instanceof Date ? expiresAt.getTime() : expiresAt;
  if (typeof time !== 'number' || !Number.isFinite(time))
    throw new BadAnswer('expiresAt is neither a Date nor a number');
  if (time < SMALLEST_TIME && !(expiresAt instanceof Date)) {
    throw new BadAnswer(`expiresAt ${time} is too small for milliseconds since 1970: are these seconds?`);
  }
  return time;
}

function checkUserKey(key: string | number | undefined): string | undefined {
  if (key === undefined || key === null) return undefined;
  const text = keyText(key);
  if (text === undefined) throw new BadAnswer('userKey is neither a number nor a non-empty string');
  return text;
}

function checkSubprotocol(subprotocol: string | undefined, offered: readonly string[]): string | undefined {
  if (subprotocol === undefined || subprotocol === null) return undefined;
  if (!offered.includes(subprotocol)) throw new BadAnswer('it selected a subprotocol that the client did not offer');
  return subprotocol;
}

const NO_LINES: readonly HeaderLine[] = Object.freeze([]);

function checkHeaders(headers: AdmissionHeaders | undefined): readonly HeaderLine[] {
  if (headers === undefined || headers === null) return NO_LINES;
  return Object.entries(headers).flatMap(([name, value]) =>
    (Array.isArray(value) ? value : [value]).map((each) => checkLine(name, each)),
  );
}

function checkLine(name: string, value: unknown): HeaderLine {
  if (!TOKEN.test(name)) throw new BadAnswer('the name of a response header is not a token');
  if (FORBIDDEN.test(name)) throw new BadAnswer(`guards cannot set the response header ${name}`);
  const text = typeof value === 'number' ? String(value) : value;
  if (typeof text !== 'string' || !FIELD_VALUE.test(text))
    throw new BadAnswer(`the value of ${name} is not a valid header value`);
  return [name, text];
}

const keyText = (value: unknown): string | undefined => {
  if (Number.isFinite(value) || typeof value === 'bigint') return String(value);
  return typeof value === 'string' && value !== '' ? value : undefined;
};

/** The key of a user without a `userKey`: the principal if it is a string or a number, else its `id` or `sub`. */
export function userKeyOf(principal: unknown): string | undefined {
  if (typeof principal !== 'object' || principal === null) return keyText(principal);
  const { id, sub } = principal as { id?: unknown; sub?: unknown };
  return keyText(id) ?? keyText(sub);
}
