import { InvalidArgumentError } from 'commander';

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

/** Seconds, resolved to milliseconds. */
export const seconds = (min: number, max: number) => {
  const parse = wholeNumber(min, max);
  return (text: string): number => parse(text) * 1000;
};

/** A value as an option of the library would read it. */
export const parsedBy =
  <Value>({ parse, expected }: { parse(raw: unknown): Value | undefined; readonly expected?: string }) =>
  (text: string): Value => {
    const value = parse(text);
    if (value === undefined) throw new InvalidArgumentError(`expected ${expected ?? 'another value'}.`);
    return value;
  };
