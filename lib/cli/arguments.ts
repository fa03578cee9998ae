import { InvalidArgumentError, Option } from 'commander';

/** A parser for commander: a whole number within bounds. */
export const wholeNumber =
  (min: number, max = Number.MAX_SAFE_INTEGER) =>
  (text: string): number => {
    const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
    if (value >= min && value <= max) return value;
    throw new InvalidArgumentError(
      `expected a whole number ${max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`}.`,
    );
  };

/** The option `--time <seconds>`, resolved to milliseconds; its bounds and default are in seconds. */
export function timeOption(description: string, min: number, max: number, byDefault: number): Option {
  const parse = wholeNumber(min, max);
  return new Option('--time <seconds>', description)
    .argParser((text) => parse(text) * 1000)
    .default(byDefault * 1000, String(byDefault));
}

/** A value as an option of the library would read it. */
export const parsedBy =
  <Value>({ parse, expected }: { parse(raw: unknown): Value | undefined; readonly expected?: string }) =>
  (text: string): Value => {
    const value = parse(text);
    if (value === undefined) throw new InvalidArgumentError(`expected ${expected ?? 'another value'}.`);
    return value;
  };
