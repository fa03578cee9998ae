import { SERVERS } from '../servers/index.mjs';

const SHOWN = [
  ['memory.idle.rss', 'Memory, idle connection'],
  ['memory.used.rss', 'Memory, after traffic'],
  ['memory.compressed.rss', 'Memory, compression on'],
  ['echo.64.1', 'CPU, echo, 1 in flight'],
  ['echo.64.4', 'CPU, echo, 4 in flight'],
  ['echo.64.32', 'CPU, echo, 32 in flight'],
  ['echo.compressed', 'CPU, compressed echo'],
  ['broadcast.plain', 'CPU, broadcast'],
  ['broadcast.compressed', 'CPU, compressed broadcast'],
  ['handshake.accepted', 'CPU, accepted handshake'],
  ['handshake.429', 'CPU, refused attempt (429)'],
  ['handshake.denied', 'CPU, denied address'],
];
const COMPARED = Object.keys(SERVERS).filter((key) => key !== 'bare');
const COLOURS = { ours: '#2da44e', nestWs: '#e0823d', nestIo: '#a475f9' };
const WIDTH = 860;
const LEFT = 210;
const RIGHT = 150;
const MAX = 3;
const BAR = 11;
const GAP = 16;
const TOP = 76;

const STYLE = `
  text { font: 12px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2328 }
  .title { font-size: 15px; font-weight: 600 }
  .soft { fill: #656d76; font-size: 11px }
  .grid { stroke: #8b949e; stroke-opacity: .28 }
  .one { stroke: #8b949e; stroke-width: 1.5; stroke-dasharray: 4 3 }
  @media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .soft { fill: #9198a1 } }`;

/** Horizontal bars of the ratio to bare ws, a group per row: an SVG for light and dark backgrounds. */
export function chart({ machine, rows }) {
  const groups = SHOWN.map(([id, label]) => ({ label, row: rows.find((row) => row.id === id) })).filter(
    ({ row }) => row?.servers.bare,
  );
  let y = TOP;
  const drawn = groups.map(({ label, row }) => {
    const group = drawGroup(label, row, y);
    y += group.height + GAP;
    return group.svg;
  });
  const body = [heading(machine), legend(), grid(y - GAP), ...drawn].join('\n');
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${y}" width="${WIDTH}" height="${y}" role="img" aria-label="Cost relative to bare ws, lower is better">
<style>${STYLE}
</style>
${body}
</svg>
`;
}

const x = (ratio) => LEFT + (Math.min(ratio, MAX) / MAX) * (WIDTH - LEFT - RIGHT);
const figure = (value) => (value >= 100 ? value.toFixed(0) : value.toFixed(1));
const text = (atX, atY, content, attributes = '') => `<text x="${atX}" y="${atY}" ${attributes}>${content}</text>`;

function heading({ node, cores, date }) {
  const how = `Node ${node}, ${cores} cores, ${date.slice(0, 10)}, median of the turns`;
  return (
    text(16, 24, 'Cost relative to bare ws (lower is better)', 'class="title"') + text(16, 42, how, 'class="soft"')
  );
}

function legend() {
  const line = `<line x1="${LEFT}" x2="${LEFT + 18}" y1="56" y2="56" class="one"/>${text(LEFT + 24, 60, 'bare ws', 'class="soft"')}`;
  const boxes = COMPARED.map((key, at) => {
    const left = LEFT + 100 + at * 150;
    const box = `<rect x="${left}" y="51" width="10" height="10" rx="2" fill="${COLOURS[key]}"/>`;
    return box + text(left + 15, 60, SERVERS[key].title, 'class="soft"');
  });
  return line + boxes.join('');
}

function grid(bottom) {
  return [0, 0.5, 1, 1.5, 2, 2.5, 3]
    .map(
      (ratio) =>
        `<line x1="${x(ratio)}" x2="${x(ratio)}" y1="${TOP - 8}" y2="${bottom}" class="${ratio === 1 ? 'one' : 'grid'}"/>`,
    )
    .join('');
}

function drawGroup(label, { unit, servers }, top) {
  const shown = COMPARED.filter((key) => servers[key]?.ratio);
  const height = Math.max(shown.length * (BAR + 2), 2 * BAR + 6);
  const middle = top + height / 2;
  const first = middle - (shown.length * (BAR + 2)) / 2;
  const bars = shown.map((key, at) => drawBar(servers[key], COLOURS[key], unit, first + at * (BAR + 2)));
  const name = text(LEFT - 12, middle - 2, label, 'text-anchor="end"');
  const base = text(
    LEFT - 12,
    middle + 12,
    `bare ws ${figure(servers.bare.median)} ${unit}`,
    'class="soft" text-anchor="end"',
  );
  return { height, svg: [name, base, ...bars].join('\n') };
}

function drawBar({ median, ratio }, colour, unit, y) {
  const end = x(ratio.median);
  const more = ratio.median > MAX ? ' →' : '';
  const bar = `<rect x="${LEFT}" y="${y}" width="${Math.max(end - LEFT, 1).toFixed(1)}" height="${BAR}" rx="2" fill="${colour}"/>`;
  const label = `${ratio.median.toFixed(2)}× · ${figure(median)} ${unit}${more}`;
  return bar + text((end + 6).toFixed(1), y + 9.5, label, 'class="soft"');
}
