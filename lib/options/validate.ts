import { ValidateBy, type ValidationError, validateSync } from 'class-validator';
import { invalidValue } from './problems.js';
import { type NamedRow, ROWS } from './rows.js';

/** A value to check, and how to name its place in an error. */
export interface Candidate {
  readonly raw: unknown;
  readonly where: string;
}

/** One property per row, each a candidate; the constraint of a row is its kind. */
class Candidates {
  [path: string]: Candidate;
}

function accepts(row: NamedRow['row'], value: unknown): boolean {
  if (value === null) return row.removable;
  return row.parse(value) !== undefined;
}

for (const entry of ROWS) {
  ValidateBy({
    name: entry.path,
    validator: {
      validate: (candidate?: Candidate) => candidate === undefined || accepts(entry.row, candidate.raw),
      defaultMessage: (args) => {
        const { raw, where } = args!.value as Candidate;
        return invalidValue(entry, raw, where);
      },
    },
  })(Candidates.prototype, entry.path);
}

/** The problems of all candidates, in the order of the table. */
export function validate(candidates: ReadonlyMap<string, Candidate>): string[] {
  const subject = Object.assign(new Candidates(), Object.fromEntries(candidates));
  return validateSync(subject, { forbidUnknownValues: false }).flatMap((error: ValidationError) =>
    Object.values(error.constraints ?? {}),
  );
}
