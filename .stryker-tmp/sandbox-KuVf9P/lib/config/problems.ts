// @ts-nocheck
import type { NamedRow } from './rows.js';

/** One thing that is wrong with the configuration: a line of the one message that the start fails with. */
export type Problem = string;

/** The configuration does not hold; `message` lists everything that is wrong with it. */
export class ConfigurationError extends Error {
  override readonly name = 'ConfigurationError';

  constructor(readonly problems: readonly Problem[]) {
    super(
      `nest-secure-ws: ${problems.length} setting(s) to mend:\n${problems.map((line) => `  - ${line}`).join('\n')}`,
    );
  }
}

/** A value as a log line may hold it: one line, no control characters, not too long. */
export function printable(value: unknown): string {
  const text = typeof value === 'string' ? `'${value}'` : (safeJson(value) ?? String(value));
  const oneLine = text.replace(
    /[\x00-\x1f\x7f-\x9f\u2028\u2029]/g,
    (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );
  return oneLine.length > 120 ? `${oneLine.slice(0, 117)}…` : oneLine;
}

function safeJson(value: unknown): string | undefined {
  try {
    return JSON.stringify(value);
  } catch {
    return undefined;
  }
}

/** "messages.maxSize (WEBSOCKETS_MAX_SIZE) is 'lots': expected a size …". */
export function invalidValue(entry: NamedRow, value: unknown, where: string): Problem {
  const { row, path } = entry;
  const name = row.variable === undefined ? path : `${path} (${row.variable})`;
  const removal = row.removable ? ', or null to remove it' : '';
  const why = row.why?.(value);
  const shown = row.secret ? '(a value not shown)' : printable(value);
  return `${name}${where} is ${shown}: expected ${row.expected}${removal}${why === undefined ? '' : ` (${why})`}`;
}

/** Names that users bring along from elsewhere, and ours. */
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

/** The known name that was probably meant, if one is near. */
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

/** Levenshtein's distance, one row at a time; names are short. */
function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const current = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      current[j] = Math.min(substitution, previous[j]! + 1, current[j - 1]! + 1);
    }
    previous = current;
  }
  return previous[b.length]!;
}
