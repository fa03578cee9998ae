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
