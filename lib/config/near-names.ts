import type { Environment } from './environment.js';
import { editDistance, escaped, suggest } from './problems.js';
import { ROWS, VARIABLES } from './rows.js';

const PREFIX = 'WEBSOCKETS_';
/** The prefix without separators. */
const COMPACT_PREFIX = 'WEBSOCKETS';

/** A variable and a possible spelling of it. */
interface Spelling {
  /** Without prefix and separators. */
  readonly rest: string;
  /** Its words in alphabetical order, so that `MAX_CONNECTIONS` and `CONNECTIONS_MAX` compare equal. */
  readonly words: string;
  readonly variable: string;
}

const compact = (name: string): string => name.toUpperCase().replace(/[^A-Z0-9]/g, '');
const wordsOf = (name: string): string[] =>
  name
    .replace(/([a-z0-9])([A-Z])/g, '$1_$2')
    .toUpperCase()
    .split(/[^A-Z0-9]+/)
    .filter(Boolean);

/** The names of the variables, and names derived from the option paths: `WEBSOCKETS_MESSAGES_MAX_SIZE`. */
const SPELLINGS: readonly Spelling[] = [
  ...VARIABLES.map((variable) => spelling(variable.slice(PREFIX.length), variable)),
  ...ROWS.flatMap(({ path, row: { variable } }) => (variable === undefined ? [] : [spelling(path, variable)])),
];

function spelling(name: string, variable: string): Spelling {
  const words = wordsOf(name);
  return { rest: words.join(''), words: [...words].sort().join(' '), variable };
}

/** The number of typing errors that still count as the same word: one in a short name, two in a longer one. */
const slips = (rest: string): number => (rest.length <= 5 ? 1 : 2);

/** Variables that this library does not have, but that look like its variables. */
export interface ForeignNames {
  /** Error texts for misspelt variables: the limit that was meant is not in effect. */
  readonly near: readonly string[];
  /** Warnings for other variables with the prefix. */
  readonly unknown: readonly string[];
}

export function foreignNames({ names }: Environment): ForeignNames {
  const near: string[] = [];
  const unknown: string[] = [];
  for (const name of names) {
    // Names of environment variables are case-insensitive on Windows.
    if (VARIABLES.includes(process.platform === 'win32' ? name.toUpperCase() : name)) continue;
    const meant = nearVariable(name);
    if (meant !== undefined)
      near.push(`${shown(name)}: there is no such variable, did you mean ${meant}? Correct the name, or unset it`);
    else if (name.toUpperCase().startsWith(PREFIX)) unknown.push(`${shown(name)}: unknown variable${hint(name)}`);
  }
  return { near, unknown };
}

/** Escapes and truncates a name, which comes from the environment and can contain anything. */
const shown = (name: string): string => escaped(name.length > 120 ? `${name.slice(0, 119)}…` : name);

function hint(name: string): string {
  const near = name.length > 120 ? undefined : suggest(name, VARIABLES);
  return near === undefined ? '' : `, did you mean ${near}?`;
}

/** The variable that was meant, despite another case, other separators, another order of words or typing errors. */
export function nearVariable(name: string): string | undefined {
  if (name.length > 80) return undefined;
  const letters = compact(name);
  // Two typing errors leave one of these three parts intact. The check avoids measuring distances for most names.
  if (!/WEB|SOCK|ETS/.test(letters.slice(0, 12))) return undefined;
  const words = wordsOf(name);
  for (const length of [10, 9, 11, 8, 12]) {
    const prefix = letters.slice(0, length);
    if (editDistance(prefix, COMPACT_PREFIX) > 2) continue;
    const rest = letters.slice(length);
    const ordered = orderedWords(words, prefix);
    const same = SPELLINGS.find((each) => each.rest === rest || each.words === ordered);
    if (same !== undefined) return same.variable;
  }
  for (const length of [10, 9, 11, 8, 12]) {
    const prefix = letters.slice(0, length);
    if (editDistance(prefix, COMPACT_PREFIX) > 2) continue;
    const rest = letters.slice(length);
    const [best] = SPELLINGS.filter((each) => Math.abs(each.rest.length - rest.length) <= 2)
      .map((each) => ({ ...each, distance: editDistance(rest, each.rest) }))
      .filter((each) => each.distance <= slips(each.rest))
      .sort((a, b) => a.distance - b.distance);
    if (best !== undefined) return best.variable;
  }
  return undefined;
}

/** The words after the prefix in alphabetical order, or `undefined` if the prefix ends within a word. */
function orderedWords(words: readonly string[], prefix: string): string | undefined {
  let length = 0;
  for (const [index, word] of words.entries()) {
    length += word.length;
    if (length === prefix.length)
      return words
        .slice(index + 1)
        .sort()
        .join(' ');
  }
  return undefined;
}
