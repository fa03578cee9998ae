import type { Tuning } from './codecs.js';
import type { Speed } from './measure.js';

export type Preference = 'balanced' | 'size' | 'cpu';

/** How many per cent of CPU one per cent of size is worth. */
export const WORTH: Readonly<Record<Preference, number>> = { balanced: 4, size: 20, cpu: 1 };

export interface Row extends Speed {
  /** `undefined`: no compression. */
  readonly tuning: Tuning | undefined;
}

/** Savings below this are not worth the CPU. */
const LEAST_SAVING = 0.1;
/** Minimum saving of dedicated contexts over shared ones. */
const LEAST_DEDICATED = 0.15;
/** Differences below this count as noise: the earlier row is kept. */
const NOISE = 0.02;

/** The score of a row, where lower is better: one per cent of size counts as much as `WORTH` per cent of CPU. */
export const score = ({ size, cpu }: Speed, preference: Preference): number =>
  Math.log(size) + Math.log(Math.max(cpu, 0.1)) / WORTH[preference];

/** The best row, or the first one if no other is better by more than noise. */
export function best<R extends Speed>(rows: readonly R[], preference: Preference): R {
  const [first, ...others] = rows as readonly [R, ...R[]];
  const scored = others.map((row) => ({ row, score: score(row, preference) })).sort((a, b) => a.score - b.score);
  const winner = scored[0];
  return winner !== undefined && winner.score < score(first, preference) - NOISE ? winner.row : first;
}

/** Recommends `off` if compression saves too little. */
export const isWorthIt = ({ size }: Speed): boolean => size <= 1 - LEAST_SAVING;

/** Whether dedicated contexts save enough over `shared`, and fit the allowed memory. */
export function isDedicatedWorthIt(
  shared: Speed,
  dedicated: Speed,
  { perConnection, connections, allowed }: { perConnection: number; connections: number; allowed: number },
): boolean {
  return dedicated.size <= shared.size * (1 - LEAST_DEDICATED) && perConnection * connections <= allowed;
}
