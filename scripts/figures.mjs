// Writes the figures of bench/results/results.json into the documentation, between the markers `<!-- figures -->` and
// `<!-- /figures -->`: node scripts/figures.mjs
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const BEGIN = '<!-- figures -->\n';
const END = '<!-- /figures -->\n';

/** Rows of docs/performance.md: the benchmark's row, and the servers compared with bare `ws`. */
const TABLE = [
  'memory.idle.rss',
  'memory.further.heap',
  'memory.used.rss',
  'memory.compressed.rss',
  'echo.64.1',
  'echo.64.4',
  'echo.64.32',
  'echo.compressed',
  'broadcast.plain',
  'broadcast.compressed',
  'handshake.accepted',
  'handshake.429',
  'handshake.denied',
];

/** The text of each file, given the rows by id. Throws when the benchmark has no such row. */
export const FIGURES = { 'README.md': readmeText, 'docs/performance.md': performanceTable };

/** `text` with the figures of `results` between the markers. */
export function withFigures(name, text, results) {
  const begin = text.indexOf(BEGIN);
  const end = text.indexOf(END);
  if (begin < 0 || end < begin) throw new Error(`${name} needs the lines ${BEGIN.trim()} and ${END.trim()}`);
  const rows = new Map(results.rows.map((row) => [row.id, row]));
  const rowOf = (id) => {
    const row = rows.get(id);
    if (row === undefined) throw new Error(`the benchmark has no row ${id}: scripts/figures.mjs names it`);
    return row;
  };
  return text.slice(0, begin + BEGIN.length) + FIGURES[name](rowOf, results.machine) + text.slice(end);
}

const times = (server) => (server?.ratio ? `${server.ratio.median.toFixed(2)}×` : '–');

function readmeText(rowOf) {
  const ours = (id) => times(rowOf(id).servers.ours);
  return [
    `With all protections on, and relative to bare \`ws\`, an idle connection takes ${ours('memory.idle.rss')} the memory, and an echo takes`,
    `${ours('echo.64.32')} the CPU with 32 messages in flight and ${ours('echo.64.1')} with one. [What is measured, and how](docs/performance.md).`,
    '',
  ].join('\n');
}

function performanceTable(rowOf, { node, cores, cpu, date }) {
  const lines = TABLE.map((id) => {
    const { title, unit, servers } = rowOf(id);
    const { median } = servers.bare;
    const bare = `${median >= 100 ? median.toFixed(0) : median.toFixed(1)} ${unit}`;
    return `| ${title} | ${bare} | ${['ours', 'nestWs', 'nestIo'].map((key) => times(servers[key])).join(' | ')} |`;
  });
  return [
    `Node ${node}, ${cores} × ${cpu}, ${date.slice(0, 10)}; medians, relative to bare \`ws\` in the same turn.`,
    '',
    '| | bare ws | nest-secure-ws | Nest platform-ws | Nest platform-socket.io |',
    '|---|--:|--:|--:|--:|',
    ...lines,
    '',
  ].join('\n');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const results = JSON.parse(readFileSync('bench/results/results.json', 'utf8'));
  for (const name of Object.keys(FIGURES)) writeFileSync(name, withFigures(name, readFileSync(name, 'utf8'), results));
}
