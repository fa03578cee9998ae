// node bench/compression/run.mjs [folder of messages]   prints Markdown; needs a build, takes two or three minutes.
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const folder = process.argv[2];
const KIB = 1024;

function child(script, ...args) {
  const path = fileURLToPath(new URL(script, import.meta.url));
  const output = execFileSync(process.execPath, ['--expose-gc', path, ...args], { timeout: 180_000, encoding: 'utf8' });
  return JSON.parse(output);
}
const withDefaults = (row) => ({ threshold: 256, ...row });
const speed = (rows) => child('speed.mjs', JSON.stringify(rows.map(withDefaults)), ...(folder ? [folder] : []));
const memory = (row) => child('memory.mjs', JSON.stringify(withDefaults(row)));

const table = (head, rows) =>
  [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
const percent = (part) => `${(100 * part).toFixed(1)} %`;
const kib = (bytes) => (bytes < 100 * KIB ? (bytes / KIB).toFixed(1) : Math.round(bytes / KIB).toString());
const us = (value) => (value < 100 ? value.toFixed(1) : Math.round(value).toString());

const LEVEL = 3;
const ours = (mode, windowBits, memLevel, more) => ({
  kind: 'ours',
  mode,
  windowBits,
  memLevel,
  level: LEVEL,
  ...more,
});
const PAIRS = [9, 10, 11, 12, 13, 14, 15].map((bits) => [bits, bits - 7]);
const DEFAULT = ours('shared', 12, 5);

/** Named rows, relative to the first, which is the default. */
function compare(named, withMemory) {
  const { rows, ...corpus } = speed([DEFAULT, ...named.map(([, , row]) => row)]);
  const [base, ...results] = rows;
  const lines = results.map(({ size, cpu }, i) => {
    const [name, tuning, row] = named[i];
    const relative = [percent(size), (size / base.size).toFixed(2), us(cpu), (cpu / base.cpu).toFixed(2)];
    return [name, tuning, ...(withMemory ? [kib(memory(row))] : []), ...relative];
  });
  return { corpus, base, lines };
}
const SPEED = ['size', 'size, relative', 'CPU per message, µs', 'CPU, relative'];

const main = compare(
  [
    ...PAIRS.map(([bits, mem]) => ['shared', `${bits} / ${mem}`, ours('shared', bits, mem)]),
    ...PAIRS.map(([bits, mem]) => ['dedicated', `${bits} / ${mem}`, ours('dedicated', bits, mem)]),
    ['ws, defaults', '15 / 8', { kind: 'ws', mode: 'default', threshold: 0 }],
    ['ws, tuned', '12 / 5', { kind: 'ws', mode: 'tuned' }],
  ],
  true,
);
const none = ['none', '', '0.0', '100.0 %', (1 / main.base.size).toFixed(2), '0.0', '0.00'];
const tuned = (named) => compare(named.map(([name, row]) => ['shared', name, row])).lines;
const levels = tuned([1, 2, 3, 4, 5, 6, 7, 8, 9].map((level) => [`level ${level}`, ours('shared', 12, 5, { level })]));
const memLevels = tuned([1, 2, 3, 4, 5, 6, 7, 8, 9].map((mem) => [`12 / ${mem}`, ours('shared', 12, mem)]));
const thresholds = tuned(
  [0, 64, 128, 256, 512, 1024].map((threshold) => [`threshold ${threshold}`, ours('shared', 12, 5, { threshold })]),
);
const borders = child('borders.mjs', String(LEVEL)).flatMap(({ size, deflate, inflate }) =>
  Object.entries({ deflate, inflate }).map(([work, { here, call, pool }]) => [
    work,
    size,
    work === 'deflate' && size > 32768 ? '–' : us(here.cpu),
    us(call.cpu),
    us(pool.cpu),
    us(pool.wall),
  ]),
);
const bombs = ['shared', 'dedicated'].map((mode) => {
  const { refused, took, growth, delay, p99, echoes } = child('bombs.mjs', mode);
  return [
    mode,
    `${refused} of 40`,
    `${Math.round(took)} ms`,
    `${growth.toFixed(1)} MiB`,
    `${delay.toFixed(1)} ms`,
    `${p99.toFixed(1)} ms (${echoes})`,
  ];
});

console.log(`# What compression costs

Node ${process.version}. ${main.corpus.messages} messages, ${kib(main.corpus.plain)} KiB${folder ? '' : ', generated with a fixed seed'}: compressed and
inflated again through one connection, the rows of a table in turns, the best of many turns each. Messages under 256
bytes go plain, except with \`ws\` and its defaults. CPU is of all threads of the process, both directions together.
Memory is what compression adds to a connection after one message of 2 KiB each way. Trust the ratios.

${table(['', 'window bits / memory level', 'KiB per connection', ...SPEED], [none, ...main.lines])}

## Levels

${table(['', '', ...SPEED], levels)}

## Memory levels

One codec serves all connections, so this is no memory per connection.

${table(['', 'window bits / memory level', ...SPEED], memLevels)}

## Thresholds

${table(['', '', ...SPEED], thresholds)}

## On the calling thread, and in the thread pool

Microseconds of CPU for one message of so many bytes, level ${LEVEL}: on a kept stream, by a public synchronous call, in the
thread pool; and how long the last one takes.

${table(['', 'bytes', 'kept stream', 'public call', 'thread pool', 'thread pool, elapsed'], borders)}

## 40 bombs of 128 MiB at once

\`maxSize\` 1 MiB, beside one peer with small honest messages.

${table(['', 'refused with 1009', 'took', 'peak growth', 'event loop delay, largest', 'p99 of the honest peer'], bombs)}
`);
