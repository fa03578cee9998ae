import { CLIENTS, SERVERS, VARIANTS } from '../servers/index.mjs';

const all = { ...SERVERS, ...VARIANTS, ...CLIENTS };
const title = (key) => all[key].title;
const digits = (value) => (Math.abs(value) >= 100 ? value.toFixed(0) : value.toFixed(1));

/** One line of a server in a row: `11.3 µs (10.9–12.0), 0.82× (0.80–0.85)`. */
export function figure({ min, median, max, ratio }, unit) {
  const value = `${digits(median)} ${unit} (${digits(min)}–${digits(max)})`;
  return ratio ? `${value}, ${ratio.median.toFixed(2)}× (${ratio.min.toFixed(2)}–${ratio.max.toFixed(2)})` : value;
}

/** Whether ours met the requirement of the row: `goal`, `accepted`, `missed`, or nothing without a requirement. */
export function verdict(row, key) {
  const limit = row.limits[key];
  const server = row.servers[key];
  if (!limit || !server) return '';
  if ('max' in limit) return `${server.median <= limit.max ? 'met' : 'missed'} (≤ ${limit.max} ${row.unit})`;
  const ratio = server.ratio?.median;
  if (ratio === undefined) return '';
  if (ratio <= limit.goal) return `goal ≤ ${limit.goal}× met`;
  return ratio <= limit.accepted ? `accepted (≤ ${limit.accepted}×)` : `missed (≤ ${limit.accepted}×)`;
}

export function textOf(row) {
  const lines = Object.entries(row.servers).map(([key, server]) =>
    `  ${title(key).padEnd(26)} ${figure(server, row.unit)}  ${verdict(row, key)}`.trimEnd(),
  );
  return [row.title, ...lines].join('\n');
}

/** The whole result as Markdown: a line per row, a column per server; a server in another configuration has a line below. */
export function markdown({ machine, rows }) {
  const columns = Object.keys(SERVERS);
  return [
    `Node ${machine.node}, ${machine.cores} × ${machine.cpu}, ${machine.date.slice(0, 10)}.`,
    'Median of the turns (minimum–maximum), and the ratio to bare ws of the same turn.',
    '',
    `| | ${columns.map(title).join(' | ')} | asked |`,
    `|---|${'--:|'.repeat(columns.length)}---|`,
    ...rows.flatMap((row) => [lineOf(row, columns), ...variantLines(row, columns)]),
    '',
  ].join('\n');
}

function lineOf(row, columns) {
  const cells = columns.map((key) => cell(row, key));
  return `| ${[`${row.title}, ${row.unit}`, ...cells, verdict(row, 'ours')].join(' | ')} |`;
}

// A variant is in the column of the server that it is a variant of.
function variantLines(row, columns) {
  const variants = Object.keys({ ...VARIANTS, ...CLIENTS }).filter((key) => row.servers[key]);
  return variants.map((key) => {
    const home = columns.find((column) => SERVERS[column].file === all[key].file) ?? 'bare';
    const cells = columns.map((column) => (column === home ? cell(row, key) : ''));
    return `| – ${[title(key), ...cells, verdict(row, key)].join(' | ')} |`;
  });
}

function cell(row, key) {
  const server = row.servers[key];
  if (!server) return '–';
  const { min, median, max, ratio } = server;
  const figures = `${digits(median)} (${digits(min)}–${digits(max)})`;
  return ratio && key !== row.base ? `**${ratio.median.toFixed(2)}×** ${figures}` : figures;
}
