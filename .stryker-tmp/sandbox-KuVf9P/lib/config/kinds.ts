// @ts-nocheck
import { parseAllowedHosts } from '../admission/host.js';
import { parseAllowedOrigins } from '../admission/origin.js';
import { parseAddressList } from '../net/address-list.js';

/** The kinds of values that a setting can have: what is accepted as input, and the one form that it is resolved to. */
export interface Kind<Input, Value> {
  /** Only for inference. */
  readonly input?: Input;
  /** What was expected, for the error text: completes "expected …". */
  readonly expected: string;
  /** The resolved value, or `undefined` where the input is not understood. */
  parse(raw: unknown): Value | undefined;
  /** What is wrong with this input, where more than `expected` can be said. */
  why?(raw: unknown): string | undefined;
}

/** Milliseconds, or a string such as `'10s'`. */
export type Duration = number | string;
/** Bytes, or a string such as `'64kb'` or `'1mb'` (1 048 576). */
export type Size = number | string;
/** `'20/1s'` or its two parts. */
export type Rate = string | { readonly limit: number | string; readonly window: Duration };
/** Values, or one string with commas between them. */
export type List = readonly string[] | string;

/** A token bucket that holds `limit` and is refilled within `window` milliseconds. */
export interface ResolvedRate {
  readonly limit: number;
  readonly window: number;
}

const MILLISECONDS: Record<string, number> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  min: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
};
const BYTES: Record<string, number> = {
  b: 1,
  k: 1024,
  kb: 1024,
  m: 1024 ** 2,
  mb: 1024 ** 2,
  g: 1024 ** 3,
  gb: 1024 ** 3,
};

const NUMBER = /^\d+(?:\.\d+)?$/;
const WITH_UNIT = /^(\d+(?:\.\d+)?)\s*([a-z]+)$/i;

/** A plain number, or a number and a unit of `units`. */
function quantity(raw: unknown, units: Record<string, number>): number | undefined {
  if (typeof raw === 'number') return raw;
  if (typeof raw !== 'string') return undefined;
  const text = raw.trim();
  if (NUMBER.test(text)) return Number(text);
  const [, digits, unit] = WITH_UNIT.exec(text) ?? [];
  const factor = unit === undefined ? undefined : units[unit.toLowerCase()];
  return factor === undefined ? undefined : Number(digits) * factor;
}

interface Range {
  readonly min?: number;
  readonly max?: number;
}

const inRange = (value: number | undefined, { min = 0, max = Number.MAX_SAFE_INTEGER }: Range): number | undefined =>
  value !== undefined && Number.isFinite(value) && value >= min && value <= max ? value : undefined;

function between({ min, max }: Range): string {
  if (max !== undefined) return ` from ${min ?? 0} to ${max}`;
  return min ? ` of at least ${min}` : '';
}

const whole = (value: number | undefined): number | undefined =>
  value === undefined || Number.isInteger(value) ? value : undefined;

export const duration = (range: Range = {}): Kind<Duration, number> => ({
  expected: `a duration in milliseconds or such as '10s'${between(range)}`,
  parse: (raw) => inRange(quantity(raw, MILLISECONDS), range),
});

export const size = (range: Range = {}): Kind<Size, number> => ({
  expected: `a size in bytes or such as '64kb'${between(range)}`,
  parse: (raw) => inRange(whole(quantity(raw, BYTES)), range),
});

export const integer = (range: Range = {}): Kind<number | string, number> => ({
  expected: `a whole number${between(range)}`,
  parse: (raw) => inRange(whole(quantity(raw, {})), range),
});

export const decimal = (range: Range = {}): Kind<number | string, number> => ({
  expected: `a number${between(range)}`,
  parse: (raw) => inRange(quantity(raw, {}), range),
});

const rateOf = (units: Record<string, number>, example: string): Kind<Rate, ResolvedRate> => ({
  expected: `a rate such as '${example}', at least 1 in a window of 1ms to 30d`,
  parse(raw) {
    const parts = typeof raw === 'string' ? raw.split('/') : asParts(raw);
    if (parts?.length !== 2) return undefined;
    const limit = inRange(whole(quantity(parts[0], units)), { min: 1 });
    const window = inRange(quantity(parts[1], MILLISECONDS), { min: 1, max: 30 * 86_400_000 });
    return limit === undefined || window === undefined ? undefined : Object.freeze({ limit, window });
  },
});

function asParts(raw: unknown): unknown[] | undefined {
  if (typeof raw !== 'object' || raw === null) return undefined;
  const { limit, window, ...rest } = raw as Record<string, unknown>;
  return Object.keys(rest).length === 0 ? [limit, window] : undefined;
}

export const rate = (): Kind<Rate, ResolvedRate> => rateOf({}, '20/1s');
export const byteRate = (): Kind<Rate, ResolvedRate> => rateOf(BYTES, '8mb/4s');

const TRUTH: ReadonlyMap<string, boolean> = new Map([
  ['true', true],
  ['false', false],
  ['1', true],
  ['0', false],
  ['yes', true],
  ['no', false],
  ['on', true],
  ['off', false],
]);

export const boolean = (): Kind<boolean | string, boolean> => ({
  expected: 'true or false',
  parse: (raw) => (typeof raw === 'object' ? undefined : TRUTH.get(String(raw).trim().toLowerCase())),
});

export const choice = <const T extends string>(...values: T[]): Kind<T, T> => ({
  expected: `one of ${values.map((value) => `'${value}'`).join(', ')}`,
  parse: (raw) => values.find((value) => value === (typeof raw === 'string' ? raw.trim() : raw)),
});

/** Text of one line that can stand in a header or a file name. */
export const text = (expected = 'text'): Kind<string, string> => ({
  expected: `${expected} of one line, not empty`,
  parse: (raw) => (typeof raw === 'string' && /^[\t\x20-\x7e\x80-\u{10ffff}]+$/u.test(raw) ? raw : undefined),
});

/** A header value that we send: visible ASCII and spaces (RFC 9110, section 5.5). */
export const headerValue = (): Kind<string, string> => ({
  expected: 'a header value of visible ASCII characters',
  parse: (raw) =>
    typeof raw === 'string' && /^[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?$/.test(raw) ? raw : undefined,
});

/** Commas separate; `problem` says what is wrong with the values, or nothing. */
export const list = (
  expected: string,
  problem?: (values: readonly string[]) => string | undefined,
): Kind<List, readonly string[]> => ({
  expected: `a list of ${expected}`,
  parse(raw) {
    const values = asList(raw);
    return values === undefined || problem?.(values) !== undefined ? undefined : Object.freeze([...values]);
  },
  why(raw) {
    const values = asList(raw);
    return values && problem?.(values);
  },
});

function asList(raw: unknown): readonly string[] | undefined {
  const values =
    typeof raw === 'string'
      ? raw
          .split(',')
          .map((value) => value.trim())
          .filter(Boolean)
      : raw;
  const texts = (value: unknown): value is string => typeof value === 'string' && value !== '';
  return Array.isArray(values) && values.every(texts) ? values : undefined;
}

/** What only code can give: functions, classes, PEM buffers. */
export const code = <T>(expected: string, accepts: (value: unknown) => boolean): Kind<T, T> => ({
  expected,
  parse: (raw) => (accepts(raw) ? (raw as T) : undefined),
});

/** What makes a list wrong, said for its error; the rooms of the guards know. */

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

export const addressProblem = (values: readonly string[]): string | undefined => firstProblem(parseAddressList(values));
export const originProblem = (values: readonly string[]): string | undefined =>
  firstProblem(parseAllowedOrigins(values));
export const hostProblem = (values: readonly string[]): string | undefined => firstProblem(parseAllowedHosts(values));

export function subprotocolProblem(values: readonly string[]): string | undefined {
  const bad = values.find((value) => !TOKEN.test(value));
  if (bad !== undefined) return `'${bad}' is not a token`;
  return new Set(values).size === values.length ? undefined : 'a subprotocol is named twice';
}

const firstProblem = (parsed: unknown): string | undefined => (Array.isArray(parsed) ? String(parsed[0]) : undefined);
