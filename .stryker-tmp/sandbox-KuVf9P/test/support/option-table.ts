// @ts-nocheck
import { type NamedRow, ROWS } from '../../lib/config/rows.js';

const BEGIN = '<!-- options -->';
const END = '<!-- /options -->';

const code = (value: unknown): string => `\`${String(value)}\``;

function defaultOf({ row }: NamedRow): string {
  if (row.defaultText !== undefined) return row.defaultText;
  return row.default === undefined ? '–' : String(row.default);
}

const SCOPES = { a: 'a', p: 'p', g: 'g', ag: 'a, g' } as const;

function line(entry: NamedRow): string {
  const { path, row } = entry;
  const cells = [
    code(path),
    row.variable === undefined ? '–' : code(row.variable),
    SCOPES[row.scope],
    defaultOf(entry),
    row.means,
  ];
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
}

/** The README's table of options, from the one place that knows them. */
export const optionTable = (): string =>
  [
    '| option | variable | scope | default | meaning and what a breach gets |',
    '|---|---|---|---|---|',
    ...ROWS.map(line),
  ].join('\n');

/** What stands between the markers, or `undefined` where there are none. */
export function tableIn(readme: string): string | undefined {
  const [begin, end] = [readme.indexOf(BEGIN), readme.indexOf(END)];
  return begin < 0 || end < begin ? undefined : readme.slice(begin + BEGIN.length, end).trim();
}

/** The text with a new table. Throws where the markers are missing. */
export function withTable(readme: string): string {
  if (tableIn(readme) === undefined) throw new Error(`the README needs a line ${BEGIN} and a line ${END}`);
  return `${readme.slice(0, readme.indexOf(BEGIN) + BEGIN.length)}\n${optionTable()}\n${readme.slice(readme.indexOf(END))}`;
}
