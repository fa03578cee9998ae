import { type Group, isRow, type Row } from './row.js';
import { TABLE } from './table.js';

/** A row with its path: `messages.maxSize`. */
export interface NamedRow {
  readonly path: string;
  readonly group: string | undefined;
  readonly key: string;
  readonly row: Row;
}

function* named(group: Group, name?: string): Generator<NamedRow> {
  for (const [key, value] of Object.entries(group)) {
    if (isRow(value)) yield { path: name === undefined ? key : `${name}.${key}`, group: name, key, row: value };
    else yield* named(value, key);
  }
}

/** All rows of the table, in its order. */
export const ROWS: readonly NamedRow[] = [...named(TABLE as unknown as Group)];
export const PATHS: readonly string[] = ROWS.map(({ path }) => path);
/** The variables of all settings. */
export const VARIABLES: readonly string[] = [
  ...ROWS.flatMap(({ row }) => (row.variable === undefined ? [] : [row.variable])),
];
const BY_PATH = new Map(ROWS.map((entry) => [entry.path, entry]));
export const rowAt = (path: string): NamedRow | undefined => BY_PATH.get(path);
