import { SERVERS, VARIANTS } from '../servers/index.mjs';

const title = (key) => ({ ...SERVERS, ...VARIANTS })[key].title;
const digits = (value) => (Math.abs(value) >= 100 ? value.toFixed(0) : value.toFixed(1));

/** One line of a server in a row: `11.3 µs (10.9–12.0), 0.82× (0.80–0.85)`. */
export function figure({ min, median, max, ratio }, unit) {
  const value = `${digits(median)} ${unit} (${digits(min)}–${digits(max)})`;
  return ratio ? `${value}, ${ratio.median.toFixed(2)}× (${ratio.min.toFixed(2)}–${ratio.max.toFixed(2)})` : value;
}

/** Whether ours met what the row asks: `goal`, `accepted`, `missed`, or nothing where nothing is asked. */
export function verdict(row, key) {
  const limit = row.limits[key];
  const ratio = row.servers[key]?.ratio?.median;
  if (!limit || ratio === undefined) return '';
  if (ratio <= limit.goal) return `goal ≤ ${limit.goal}× met`;
  return ratio <= limit.accepted ? `accepted (≤ ${limit.accepted}×)` : `missed (≤ ${limit.accepted}×)`;
}

export function textOf(row) {
  const lines = Object.entries(row.servers).map(([key, server]) =>
    `  ${title(key).padEnd(26)} ${figure(server, row.unit)}  ${verdict(row, key)}`.trimEnd(),
  );
  return [row.title, ...lines].join('\n');
}

/** The whole result as Markdown: one line per row and server. */
export function markdown({ machine, rows }) {
  const lines = rows.flatMap((row) =>
    Object.entries(row.servers).map(([key, server], at) => {
      const ratio = server.ratio ? `${server.ratio.median.toFixed(2)}×` : '–';
      const { median, min, max } = server;
      const cells = [at === 0 ? `**${row.title}**` : '', title(key), `${digits(median)} ${row.unit}`];
      return `| ${[...cells, `${digits(min)}–${digits(max)}`, ratio, verdict(row, key)].join(' | ')} |`;
    }),
  );
  return [
    `Node ${machine.node}, ${machine.cores} × ${machine.cpu}, ${machine.date}. Median of the turns; ratios turn by turn.`,
    '',
    '| | server | median | min–max | to bare ws | asked |',
    '|---|---|--:|--:|--:|---|',
    ...lines,
    '',
  ].join('\n');
}
