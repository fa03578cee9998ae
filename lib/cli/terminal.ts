import { printable } from '../telemetry/log.js';

/** What a command writes to and reads from; the executable passes the process's own, tests pass values. */
export interface Io {
  readonly stdout: Output;
  readonly stderr: Output;
  /** The process's environment. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal;
  /** The executable, for commands that need a process of their own. */
  readonly self: string;
}

export interface Output {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
}

/** Exit codes of every command. */
export const Exit = Object.freeze({ FINE: 0, FINDINGS: 1, COULD_NOT_RUN: 2 } as const);

/** The command cannot run: its message is printed without a stack, and the exit code is 2. */
export class CannotRun extends Error {
  override readonly name = 'CannotRun';
}

export type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan';
const CODES: Readonly<Record<Style, string>> = {
  bold: '1',
  dim: '2',
  red: '31',
  green: '32',
  yellow: '33',
  cyan: '36',
};

export type Paint = (style: Style, text: string) => string;

/** Colours on a terminal; plain text elsewhere, with `NO_COLOR`, and on a dumb terminal. */
export function painter({ stdout, env }: Pick<Io, 'stdout' | 'env'>): Paint {
  const isColoured = stdout.isTTY === true && !env['NO_COLOR'] && env['TERM'] !== 'dumb';
  return isColoured ? (style, text) => `\x1b[${CODES[style]}m${text}\x1b[0m` : (_, text) => text;
}

const MAX_WIDTH = 110;
export const widthOf = ({ columns }: Output): number => Math.min(columns ?? MAX_WIDTH, MAX_WIDTH);

/** Breaks text at spaces into lines of at most `width` characters, each behind `indent`. */
export function wrap(text: string, width: number, indent = ''): string {
  const room = Math.max(20, width - indent.length);
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > room) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  lines.push(line);
  return lines.map((each) => `${indent}${each}`).join('\n');
}

/** Rows in columns; the last column is not padded. */
export function columns(
  rows: readonly (readonly string[])[],
  indent = '  ',
  align: readonly ('left' | 'right')[] = [],
) {
  const widths = (rows[0] ?? []).map((_, at) => Math.max(...rows.map((row) => row[at]?.length ?? 0)));
  const cell = (text: string, at: number, last: boolean) => {
    if (align[at] === 'right') return text.padStart(widths[at]!);
    return last ? text : text.padEnd(widths[at]!);
  };
  return rows.map((row) =>
    `${indent}${row.map((text, at) => cell(text, at, at === row.length - 1)).join('  ')}`.trimEnd(),
  );
}

/** A status line at the bottom of a terminal that is overwritten; nothing if the output is not a terminal. */
export class Progress {
  private shown = false;

  constructor(private readonly output: Output) {}

  show(text: string): void {
    if (this.output.isTTY !== true) return;
    this.output.write(`\r\x1b[2K${text.slice(0, Math.max(10, widthOf(this.output) - 1))}`);
    this.shown = true;
  }

  clear(): void {
    if (this.shown) this.output.write('\r\x1b[2K');
    this.shown = false;
  }
}

/** Makes text from outside safe for a terminal: one line, no control characters, bounded length. */
export function safeText(text: string, max = 200): string {
  const oneLine = printable(text);
  return oneLine.length > max ? `${oneLine.slice(0, max - 1)}…` : oneLine;
}

/** The same for text of several lines. */
export const printableLines = (text: string): string => text.split('\n').map(printable).join('\n');

/** A document for `--json`. Text from outside is safe for a terminal there, too. */
export const jsonText = (document: unknown): string => `${printableLines(JSON.stringify(document, undefined, 2))}\n`;

/** Removes credentials from URLs in a text. */
export const withoutCredentials = (text: string): string => text.replace(/\/\/[^/@\s]*@/g, '//…@');

export const mebibytes = (bytes: number): string => `${Math.ceil(bytes / 1024 ** 2)} MiB`;
