import { type RequestValues, withoutValues } from './redact.js';

const MAX_WORDS = 300;
/** The text is truncated only after the values of a request were removed, because part of a value could remain. */
const MAX_READ = 16 * 1024;
const PLACES = 3;

/**
 * Describes an error for the log: its message, shortened, without additional properties, and where it occurred. If the
 * code that failed has seen a request, its values are removed. Reading the thrown value can throw again.
 */
export function errorText(error: unknown, request?: RequestValues): string {
  return `${errorWords(error, request)} ${placeOf(error)}`.trimEnd();
}

/** The same without the location. */
export function errorWords(error: unknown, request?: RequestValues): string {
  const words = wordsOf(error).slice(0, MAX_READ);
  return (request === undefined ? words : withoutValues(words, request)).slice(0, MAX_WORDS);
}

function wordsOf(error: unknown): string {
  try {
    // Parsers repeat text that they could not parse in quotes, and it may be a cookie.
    const words = String(error);
    return error instanceof SyntaxError ? words.replace(/".*"/s, '"…"') : words;
  } catch {
    return 'a thrown value without a text';
  }
}

/** The first lines of the stack, if they do not contain the message. */
function placeOf(error: unknown): string {
  try {
    const { stack, message } = error as Error;
    if (typeof stack !== 'string') return '';
    const at = stack.indexOf(message);
    // The message was changed after the error was created; the old one in the stack may look like a location.
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
