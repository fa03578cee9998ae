import type { Environment } from './environment.js';
import { editDistance, escaped, suggest } from './problems.js';
import { ROWS, VARIABLES } from './rows.js';

const PREFIX = 'WEBSOCKETS_';
/** The prefix without what separates words. */
const COMPACT_PREFIX = 'WEBSOCKETS';

/** How a name of ours may be written, and the name itself. */
interface Spelling {
  /** Without prefix and separators. */
  readonly rest: string;
  /** Its words in alphabetical order: `CONNECTIONS_MAX` is `MAX_CONNECTIONS`. */
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

/** The variables as they are called, and as their options would be: `WEBSOCKETS_MESSAGES_MAX_SIZE`. */
const SPELLINGS: readonly Spelling[] = [
  ...VARIABLES.map((variable) => spelling(variable.slice(PREFIX.length), variable)),
  ...ROWS.flatMap(({ path, row: { variable } }) => (variable === undefined ? [] : [spelling(path, variable)])),
];

function spelling(name: string, variable: string): Spelling {
  const words = wordsOf(name);
  return { rest: words.join(''), words: [...words].sort().join(' '), variable };
}

/** Slips of the keyboard that are still the same word: one in a short name, two in a longer one. */
const slips = (rest: string): number => (rest.length <= 5 ? 1 : 2);

/** Names of the environment that are not ours: those nearly ours, and those that only begin so. */
export interface ForeignNames {
  /** Errors: a limit that somebody believes in does not hold. */
  readonly near: readonly string[];
  /** Warnings. */
  readonly unknown: readonly string[];
}

export function foreignNames({ names }: Environment): ForeignNames {
  const near: string[] = [];
  const unknown: string[] = [];
  for (const name of names) {
    // Windows does not tell cases apart.
    if (VARIABLES.includes(process.platform === 'win32' ? name.toUpperCase() : name)) continue;
    const meant = nearVariable(name);
    if (meant !== undefined)
      near.push(`${shown(name)}: there is no such variable; ${meant} is the name, correct it or unset it`);
    else if (name.toUpperCase().startsWith(PREFIX)) unknown.push(`${shown(name)}: unknown variable${hint(name)}`);
  }
  return { near, unknown };
}

/** A name is the environment's: it may be long, and hold anything. */
const shown = (name: string): string => escaped(name.length > 120 ? `${name.slice(0, 119)}…` : name);

function hint(name: string): string {
  const near = name.length > 120 ? undefined : suggest(name, VARIABLES);
  return near === undefined ? '' : `, did you mean ${near}?`;
}

/** The variable that was meant, whatever case, separators, order of words or slips of the keyboard the name has. */
export function nearVariable(name: string): string | undefined {
  if (name.length > 80) return undefined;
  const letters = compact(name);
  // Two slips leave one of the three parts whole: of most names no distance is measured.
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

/** The words behind the prefix in alphabetical order, where the prefix ends between two words. */
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
