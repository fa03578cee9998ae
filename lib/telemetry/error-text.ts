import { type RequestValues, withoutValues } from './redact.js';

const MAX_WORDS = 300;
/** Cut only after the values of a request are out: half of one is one too. */
const MAX_READ = 16 * 1024;
const PLACES = 3;

/**
 * An error for the log: what it says, in few words and without what it carries along, and where it arose. Without any
 * value of `request`, where it comes from code that has seen one. Reading what was thrown may throw again.
 */
export function errorText(error: unknown, request?: RequestValues): string {
  return `${errorWords(error, request)} ${placeOf(error)}`.trimEnd();
}

/** The same without the place. */
export function errorWords(error: unknown, request?: RequestValues): string {
  const words = wordsOf(error).slice(0, MAX_READ);
  return (request === undefined ? words : withoutValues(words, request)).slice(0, MAX_WORDS);
}

function wordsOf(error: unknown): string {
  try {
    // What a parser could not read it repeats in quotes, and that may be a cookie.
    const words = String(error);
    return error instanceof SyntaxError ? words.replace(/".*"/s, '"…"') : words;
  } catch {
    return 'something that has no text';
  }
}

/** The uppermost places of its stack, where its message does not stand. */
function placeOf(error: unknown): string {
  try {
    const { stack, message } = error as Error;
    if (typeof stack !== 'string') return '';
    const at = stack.indexOf(message);
    // It has another message than it was made with, which may look like a place.
    if (at < 0) return '';
    const places = stack
      .slice(at + message.length)
      .split('\n')
      .filter((each) => /^\s+at /.test(each));
    return places
      .slice(0, PLACES)
      .map((each) => each.trim())
      .join(' ');
  } catch {
    return '';
  }
}
