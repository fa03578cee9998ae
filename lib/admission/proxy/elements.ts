const isSpace = (text: string, index: number): boolean => text[index] === ' ' || text[index] === '\t';

function trimmed(text: string, start: number, end: number): string {
  while (start < end && isSpace(text, start)) start++;
  while (end > start && isSpace(text, end - 1)) end--;
  return text.slice(start, end);
}

/** The values of all header lines of a name (lower case), last line first. */
export function* valuesFromLast(rawHeaders: readonly string[], name: string): Generator<string> {
  for (let i = rawHeaders.length - 2; i >= 0; i -= 2) {
    const candidate = rawHeaders[i]!;
    if (candidate.length === name.length && candidate.toLowerCase() === name) yield rawHeaders[i + 1]!;
  }
}

/**
 * The elements of a list in all header lines of a name, from the right. Commas inside quotes part nothing when
 * `quoted`; quotes are matched from the right too, so that what a stranger left open further left cannot swallow
 * what a proxy appended.
 */
export function* elementsFromRight(rawHeaders: readonly string[], name: string, quoted: boolean): Generator<string> {
  for (const value of valuesFromLast(rawHeaders, name)) {
    let end = value.length;
    while (end >= 0) {
      const comma = quoted ? commaOutsideQuotes(value, end) : lastComma(value, end);
      yield trimmed(value, comma + 1, end);
      end = comma;
    }
  }
}

/** `lastIndexOf` takes a negative position for 0. */
const lastComma = (value: string, end: number): number => (end === 0 ? -1 : value.lastIndexOf(',', end - 1));

function commaOutsideQuotes(value: string, end: number): number {
  let isQuoted = false;
  for (let i = end - 1; i >= 0; i--) {
    if (value[i] === '"' && !isEscaped(value, i)) isQuoted = !isQuoted;
    else if (value[i] === ',' && !isQuoted) return i;
  }
  return -1;
}

function isEscaped(value: string, index: number): boolean {
  let backslashes = 0;
  while (value[index - 1 - backslashes] === '\\') backslashes++;
  return backslashes % 2 === 1;
}
