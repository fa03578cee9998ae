/** Minimum, median and maximum of a list of numbers. */
export function spread(samples) {
  const sorted = [...samples].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  return { min: sorted[0], median, max: sorted.at(-1) };
}

/** Ratios turn by turn: both values of a turn were measured under the same conditions. */
export function ratios(samples, base) {
  return spread(samples.map((sample, turn) => sample / base[turn]));
}
