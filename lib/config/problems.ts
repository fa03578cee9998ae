import type { NamedRow } from './rows.js';

/** One configuration error: one line of the message with which the start fails. */
export type Problem = string;

/** The configuration is invalid. `message` lists all problems together, one a line. */
export class ConfigurationError extends Error {
  override readonly name = 'ConfigurationError';

  constructor(readonly problems: readonly Problem[]) {
    super(
      `nest-secure-ws: ${problems.length} invalid ${problems.length === 1 ? 'setting' : 'settings'}:\n${problems.map((line) => `  - ${line}`).join('\n')}`,
    );
  }
}

/** A value as text for a log line: one line, without control characters, at most 120 characters. */
export function printable(value: unknown): string {
  const oneLine = escaped(typeof value === 'string' ? JSON.stringify(value) : (safeJson(value) ?? String(value)));
  return oneLine.length > 120 ? `${oneLine.slice(0, 117)}…` : oneLine;
}

/** Text without characters that a terminal or a log reader would interpret. */
export const escaped = (text: string): string =>
  text.replace(/[\x00-\x1f\x7f-\x9f\u2028\u2029]/g, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`);

function safeJson(value: unknown): string | undefined {
  try {
    return JSON.stringify(value);
  } catch {
    return undefined;
  }
}

/** `WEBSOCKETS_MAX_SIZE (messages.maxSize)`, or the other way round for an option that was set in code. */
export function nameOf({ path, row }: NamedRow, isVariable = false): string {
  if (row.variable === undefined) return path;
  return isVariable ? `${row.variable} (${path})` : `${path} (${row.variable})`;
}

/** `WEBSOCKETS_MAX_SIZE (messages.maxSize): "abc" is not a size; expected bytes or '64kb'`. */
export function invalidValue(entry: NamedRow, value: unknown, where: string, isVariable = false): Problem {
  const { row } = entry;
  const shown = row.secret ? 'the value (not shown)' : printable(value);
  const expected = [row.expected, row.removable && (isVariable ? "'none' to remove it" : 'null to remove it')]
    .filter(Boolean)
    .join(', or ');
  const why = row.secret ? undefined : row.why?.(value);
  return escaped(
    `${nameOf(entry, isVariable)}${where}: ${shown} is not ${row.noun}${expected && `; expected ${expected}`}${why === undefined ? '' : ` (${why})`}`,
  );
}

/** Option names of other libraries, and the corresponding options of this one. */
const KNOWN_ELSEWHERE: Readonly<Record<string, string>> = {
  maxPayload: 'messages.maxSize',
  maxFragments: 'messages.maxFragments',
  maxHttpBufferSize: 'messages.maxSize',
  perMessageDeflate: 'compression.mode',
  cors: 'connections.allowedOrigins',
  origins: 'connections.allowedOrigins',
  namespace: 'path',
  handleProtocols: 'connections.subprotocols',
  verifyClient: 'guards',
  allowRequest: 'guards',
  maxConnections: 'connections.max',
  closeTimeout: 'keepalive.closeTimeout',
  pingInterval: 'keepalive.pingInterval',
  pingTimeout: 'keepalive.pingTimeout',
  host: 'listen.host',
};

/** The known name that was probably meant, or `undefined`. */
export function suggest(name: string, known: readonly string[]): string | undefined {
  const last = name.slice(name.lastIndexOf('.') + 1);
  if (Object.hasOwn(KNOWN_ELSEWHERE, name)) return KNOWN_ELSEWHERE[name];
  const sameLeaf = known.find((candidate) => candidate.endsWith(`.${last}`));
  if (sameLeaf !== undefined) return sameLeaf;
  if (Object.hasOwn(KNOWN_ELSEWHERE, last)) return KNOWN_ELSEWHERE[last];
  const [best] = known
    .map((candidate) => ({ candidate, distance: editDistance(name.toLowerCase(), candidate.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance);
  return best !== undefined && best.distance <= Math.max(2, Math.floor(name.length / 4)) ? best.candidate : undefined;
}

/** Edits (insertions, deletions, substitutions, swaps of neighbours) between two short names. */
export function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const current = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      const isSwap = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      const swap = isSwap ? before[j - 2]! + 1 : Number.POSITIVE_INFINITY;
      current[j] = Math.min(substitution, swap, previous[j]! + 1, current[j - 1]! + 1);
    }
    before = previous;
    previous = current;
  }
  return previous[b.length]!;
}
