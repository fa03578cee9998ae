import { parseAllowedHosts } from '../admission/host.js';
import { parseAllowedOrigins } from '../admission/origin.js';
import { parseAddressList } from '../net/address-list.js';

/** A kind of value that a setting can have: the accepted input, and the form to which it is resolved. */
export interface Kind<Input, Value> {
  /** Only for type inference. */
  readonly input?: Input;
  /** Completes "… is not …" in an error text: `a size`. */
  readonly noun: string;
  /** Completes "expected …" in an error text, if `noun` alone does not explain the notation. */
  readonly expected?: string;
  /** The unit of a plain number, for documentation. */
  readonly unit?: string;
  /** The TypeScript type of the input, as the generated option interfaces name it. */
  readonly type: string;
  /** JSON schema of the input; `undefined` if it can only be given in code. */
  readonly schema: JsonSchema | undefined;
  /** The resolved value, or `undefined` if the input is invalid. */
  parse(raw: unknown): Value | undefined;
  /** A more precise reason than `noun` why this input is invalid. */
  why?(raw: unknown): string | undefined;
  /** A resolved value in the notation of a variable: `64kb`. */
  show(value: Value): string;
}

export type JsonSchema = Readonly<Record<string, unknown>>;

/** Milliseconds, or a string such as `'10s'`. */
export type Duration = number | string;
/** Bytes, or a string such as `'64kb'` or `'1mb'` (1 048 576). */
export type Size = number | string;
/** `'20/1s'` or its two parts. */
export type Rate = string | { readonly limit: number | string; readonly window: Duration };
/** A list of values, or one comma-separated string. */
export type List = readonly string[] | string;

/** A token bucket that holds `limit` tokens and is refilled within `window` milliseconds. */
export interface ResolvedRate {
  readonly limit: number;
  readonly window: number;
}

/** The first name with a factor is the one that is shown. */
const MILLISECONDS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  min: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
};
const BYTES: Readonly<Record<string, number>> = {
  b: 1,
  kb: 1024,
  k: 1024,
  mb: 1024 ** 2,
  m: 1024 ** 2,
  gb: 1024 ** 3,
  g: 1024 ** 3,
};

const NUMBER = /^\d+(?:\.\d+)?$/;
const WITH_UNIT = /^(\d+(?:\.\d+)?)\s*([a-z]+)$/i;

/** A plain number, or a number and a unit of `units`. */
function quantity(raw: unknown, units: Readonly<Record<string, number>>): number | undefined {
  if (typeof raw === 'number') return raw;
  if (typeof raw !== 'string') return undefined;
  const text = raw.trim();
  if (NUMBER.test(text)) return Number(text);
  const [, digits, unit] = WITH_UNIT.exec(text) ?? [];
  const factor = unit !== undefined && Object.hasOwn(units, unit.toLowerCase()) ? units[unit.toLowerCase()] : undefined;
  return factor === undefined ? undefined : Number(digits) * factor;
}

/** A quantity in the largest unit in which it is a whole number. */
function withUnit(value: number, units: Readonly<Record<string, number>>, smallest: string): string {
  const [name, factor] = Object.entries(units)
    .filter(([, factor]) => value !== 0 && value % factor === 0)
    .reduce((best, each) => (each[1] > best[1] ? each : best), [smallest, 1]);
  return factor === 1 ? `${value}${smallest}` : `${value / factor}${name}`;
}

export const showDuration = (value: number): string => withUnit(value, MILLISECONDS, 'ms');
export const showSize = (value: number): string => withUnit(value, BYTES, '');

interface Range {
  readonly min?: number;
  readonly max?: number;
}

const inRange = (value: number | undefined, { min = 0, max = Number.MAX_SAFE_INTEGER }: Range): number | undefined =>
  value !== undefined && Number.isFinite(value) && value >= min && value <= max ? value : undefined;

function between({ min, max }: Range, show: (value: number) => string = String): string {
  if (max !== undefined) return ` from ${show(min ?? 0)} to ${show(max)}`;
  return min ? ` of at least ${show(min)}` : '';
}

const whole = (value: number | undefined): number | undefined =>
  value === undefined || Number.isInteger(value) ? value : undefined;

const numberOrText = ({ min, max }: Range, pattern: string, type: 'number' | 'integer' = 'integer'): JsonSchema => ({
  anyOf: [
    { type, minimum: min ?? 0, ...(max === undefined ? {} : { maximum: max }) },
    { type: 'string', pattern },
  ],
});

/** Patterns list the letters of units in both cases, because JSON schema has no case-insensitive flag. */
const DIGITS = '\\d+(\\.\\d+)?\\s*';
const eitherCase = (units: Readonly<Record<string, number>>): string =>
  `(${Object.keys(units)
    .map((unit) => [...unit].map((letter) => `[${letter}${letter.toUpperCase()}]`).join(''))
    .join('|')})`;
const quantityPattern = (units: Readonly<Record<string, number>>): string => `${DIGITS}${eitherCase(units)}?`;
const DURATION_PATTERN = quantityPattern(MILLISECONDS);
const SIZE_PATTERN = quantityPattern(BYTES);

export const duration = (range: Range = {}): Kind<Duration, number> => ({
  noun: `a duration${between(range, showDuration)}`,
  expected: "milliseconds or '10s'",
  unit: 'milliseconds',
  type: 'Duration',
  schema: numberOrText(range, `^\\s*${DURATION_PATTERN}\\s*$`, 'number'),
  parse: (raw) => inRange(quantity(raw, MILLISECONDS), range),
  show: showDuration,
});

export const size = (range: Range = {}): Kind<Size, number> => ({
  noun: `a size${between(range, showSize)}`,
  expected: "bytes or '64kb'",
  unit: 'bytes',
  type: 'Size',
  schema: numberOrText(range, `^\\s*${SIZE_PATTERN}\\s*$`),
  parse: (raw) => inRange(whole(quantity(raw, BYTES)), range),
  show: showSize,
});

export const integer = (range: Range = {}): Kind<number | string, number> => ({
  noun: `a whole number${between(range)}`,
  type: 'number | string',
  schema: numberOrText(range, '^\\s*\\d+\\s*$'),
  parse: (raw) => inRange(whole(quantity(raw, {})), range),
  show: String,
});

export const decimal = (range: Range = {}): Kind<number | string, number> => ({
  noun: `a number${between(range)}`,
  type: 'number | string',
  schema: numberOrText(range, `^\\s*${DIGITS}$`, 'number'),
  parse: (raw) => inRange(quantity(raw, {}), range),
  show: String,
});

function rateOf(
  units: Readonly<Record<string, number>>,
  example: string,
  unit: string,
  showLimit: (value: number) => string,
): Kind<Rate, ResolvedRate> {
  const limit = Object.keys(units).length === 0 ? DIGITS : quantityPattern(units);
  return {
    noun: 'a rate',
    expected: `'${example}', at least 1 in a window of 1ms to 30d`,
    unit,
    type: 'Rate',
    schema: {
      anyOf: [
        { type: 'string', pattern: `^\\s*${limit}\\s*/\\s*${DURATION_PATTERN}\\s*$` },
        {
          type: 'object',
          properties: { limit: { type: ['number', 'string'] }, window: { type: ['number', 'string'] } },
          required: ['limit', 'window'],
          additionalProperties: false,
        },
      ],
    },
    parse(raw) {
      const parts = typeof raw === 'string' ? raw.split('/') : asParts(raw);
      if (parts?.length !== 2) return undefined;
      const limit = inRange(whole(quantity(parts[0], units)), { min: 1 });
      const window = inRange(quantity(parts[1], MILLISECONDS), { min: 1, max: 30 * 86_400_000 });
      return limit === undefined || window === undefined ? undefined : Object.freeze({ limit, window });
    },
    show: ({ limit, window }) => `${showLimit(limit)}/${showDuration(window)}`,
  };
}

function asParts(raw: unknown): unknown[] | undefined {
  if (typeof raw !== 'object' || raw === null) return undefined;
  const { limit, window, ...rest } = raw as Record<string, unknown>;
  return Object.keys(rest).length === 0 ? [limit, window] : undefined;
}

export const rate = (): Kind<Rate, ResolvedRate> => rateOf({}, '20/1s', 'per window', String);
export const byteRate = (): Kind<Rate, ResolvedRate> => rateOf(BYTES, '8mb/4s', 'bytes per window', showSize);

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
  noun: "'true' or 'false'",
  type: 'boolean | string',
  schema: { enum: [true, false, 0, 1, ...TRUTH.keys()] },
  parse: (raw) => (typeof raw === 'object' ? undefined : TRUTH.get(String(raw).trim().toLowerCase())),
  show: String,
});

export const choice = <const T extends string>(...values: T[]): Kind<T, T> => ({
  noun: `one of ${values.map((value) => `'${value}'`).join(', ')}`,
  type: values.map((value) => `'${value}'`).join(' | '),
  schema: { enum: values },
  parse: (raw) => values.find((value) => value === (typeof raw === 'string' ? raw.trim() : raw)),
  show: String,
});

/** One line of text that is valid in a header or a file name. */
export const text = (noun = 'text'): Kind<string, string> => ({
  noun: `${noun} of one line, not empty`,
  type: 'string',
  schema: { type: 'string', minLength: 1 },
  parse: (raw) => (typeof raw === 'string' && /^[\t\x20-\x7e\x80-\u{10ffff}]+$/u.test(raw) ? raw : undefined),
  show: String,
});

/** A random secret. Only its length and its characters can be checked. */
export const secret = (min: number): Kind<string, string> => ({
  noun: `a random secret of at least ${min} visible ASCII characters`,
  type: 'string',
  schema: { type: 'string', pattern: `^[!-~]{${min},1024}$` },
  parse: (raw) =>
    typeof raw === 'string' && raw.length >= min && raw.length <= 1024 && /^[\x21-\x7e]+$/.test(raw) ? raw : undefined,
  show: () => '(not shown)',
});

/** The value of a header that this library sends: visible ASCII and spaces (RFC 9110, section 5.5). */
export const headerValue = (): Kind<string, string> => ({
  noun: 'a header value of visible ASCII characters',
  type: 'string',
  schema: { type: 'string', pattern: '^[!-~]([\\t -~]*[!-~])?$' },
  parse: (raw) =>
    typeof raw === 'string' && /^[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?$/.test(raw) ? raw : undefined,
  show: String,
});

/** A comma-separated list. `problem` returns the reason why values are invalid, or `undefined`. */
export const list = (
  noun: string,
  problem?: (values: readonly string[]) => string | undefined,
): Kind<List, readonly string[]> => ({
  noun: `a list of ${noun}`,
  type: 'List',
  schema: { anyOf: [{ type: 'array', items: { type: 'string', minLength: 1 } }, { type: 'string' }] },
  parse(raw) {
    const values = asList(raw);
    return values === undefined || problem?.(values) !== undefined ? undefined : Object.freeze([...values]);
  },
  why(raw) {
    const values = asList(raw);
    return values && problem?.(values);
  },
  show: (values) => (values.length === 0 ? 'none' : values.join(',')),
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

/** A value that can only be given in code: functions, classes, PEM buffers. `type` is its TypeScript type. */
export const code = <T>(noun: string, type: string, accepts: (value: unknown) => boolean): Kind<T, T> => ({
  noun,
  type,
  schema: type === 'boolean' ? { type } : undefined,
  parse: (raw) => (accepts(raw) ? (raw as T) : undefined),
  show: (value) => (typeof value === 'boolean' ? String(value) : '(set in code)'),
});

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

/** The reasons why lists are invalid, for error texts. */
export const addressProblem = (values: readonly string[]): string | undefined => firstProblem(parseAddressList(values));
export const originProblem = (values: readonly string[]): string | undefined =>
  firstProblem(parseAllowedOrigins(values));
export const hostProblem = (values: readonly string[]): string | undefined => firstProblem(parseAllowedHosts(values));

export function subprotocolProblem(values: readonly string[]): string | undefined {
  const bad = values.find((value) => !TOKEN.test(value));
  if (bad !== undefined) return `'${bad}' is not a token`;
  return new Set(values).size === values.length ? undefined : 'a subprotocol is listed twice';
}

const firstProblem = (parsed: unknown): string | undefined => (Array.isArray(parsed) ? String(parsed[0]) : undefined);
