// @ts-nocheck
export const MAX_WORDS = 300;
const PLACES = 3;

/** What an error says, in few words and without what it carries along. Reading what was thrown may throw again. */
export function errorWords(error: unknown, max = MAX_WORDS): string {
  try {
    // What a parser could not read it repeats in quotes, and that may be a cookie.
    const words = String(error);
    return (error instanceof SyntaxError ? words.replace(/".*"/s, '"…"') : words).slice(0, max);
  } catch {
    return 'something that has no text';
  }
}

/** Where an error arose: the uppermost places of its stack. */
export function errorPlace(error: unknown): string {
  try {
    const { stack } = error as Error;
    if (typeof stack !== 'string') return '';
    const places = stack.split('\n').filter((each) => /^\s+at /.test(each));
    return places
      .slice(0, PLACES)
      .map((each) => each.trim())
      .join(' ');
  } catch {
    return '';
  }
}
