// node bench/compression/run.mjs [folder of messages]   prints Markdown; see README.md of the benchmarks.
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const folder = process.argv[2];
const KIB = 1024;
const PASSES = 3;

function child(script, ...args) {
  const path = fileURLToPath(new URL(script, import.meta.url));
  const output = execFileSync(process.execPath, ['--expose-gc', path, ...args], { timeout: 180_000, encoding: 'utf8' });
  return JSON.parse(output);
}
const measure = (row) =>
  child('row.mjs', JSON.stringify({ threshold: 256, passes: PASSES, ...row }), ...(folder ? [folder] : []));

const table = (head, rows) =>
  [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
const percent = (part) => `${(100 * part).toFixed(1)} %`;
const kib = (bytes) => (bytes < 100 * KIB ? (bytes / KIB).toFixed(1) : Math.round(bytes / KIB).toString());
const us = (value) => (value < 100 ? value.toFixed(1) : Math.round(value).toString());

const ours = (mode, windowBits, memLevel, level = 6) => ({ kind: 'ours', mode, windowBits, memLevel, level });
const PAIRS = [9, 10, 11, 12, 13, 14, 15].map((bits) => [bits, bits - 7]);

const base = measure(ours('shared', 12, 5));
const cells = (name, tuning, { memory, size, cpu }) => [
  name,
  tuning,
  kib(memory),
  percent(size),
  (size / base.size).toFixed(2),
  us(cpu),
  (cpu / base.cpu).toFixed(2),
];
const HEAD = [
  '',
  'window bits / memory level',
  'KiB per connection',
  'size',
  'size, relative',
  'CPU per message, µs',
  'CPU, relative',
];

const rows = [
  ['none', '', '0.0', '100.0 %', (1 / base.size).toFixed(2), '0.0', '0.00'],
  cells('**shared**', '**12 / 5**', base),
  ...PAIRS.filter(([bits]) => bits !== 12).map(([bits, mem]) =>
    cells('shared', `${bits} / ${mem}`, measure(ours('shared', bits, mem))),
  ),
  ...PAIRS.map(([bits, mem]) => cells('dedicated', `${bits} / ${mem}`, measure(ours('dedicated', bits, mem)))),
  cells('ws, defaults', '15 / 8', measure({ kind: 'ws', mode: 'default', threshold: 0 })),
  cells('ws, tuned', '12 / 5', measure({ kind: 'ws', mode: 'tuned' })),
];
const levels = [1, 2, 3, 4, 5, 6, 7, 8, 9].map((level) =>
  cells('shared', `level ${level}`, level === 6 ? base : measure(ours('shared', 12, 5, level))),
);
const memLevels = [1, 3, 5, 7, 8, 9].map((mem) =>
  cells('shared', `12 / ${mem}`, mem === 5 ? base : measure(ours('shared', 12, mem))),
);
const thresholds = [0, 64, 128, 256, 512, 1024].map((threshold) =>
  cells('shared', `threshold ${threshold}`, measure({ ...ours('shared', 12, 5), threshold })),
);
const borders = child('borders.mjs', '6').flatMap(({ size, deflate, inflate }) =>
  Object.entries({ deflate, inflate }).map(([work, { here, call, pool }]) => [
    work,
    size,
    here.cpu < 0.5 ? '–' : us(here.cpu),
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

Node ${process.version}. ${base.messages} messages, ${kib(base.plain)} KiB${folder ? '' : ', generated with a fixed seed'}, compressed and inflated again,
the median of ${PASSES} passes; messages under 256 bytes go plain. CPU is of all threads of the process, for both directions.
Memory is what compression adds to a connection after one message of 2 KiB each way. Trust the ratios.

${table(HEAD, rows)}

## Levels

${table(HEAD, levels)}

## Memory levels

One codec serves all connections, so this is no memory per connection.

${table(HEAD, memLevels)}

## Thresholds

${table(HEAD, thresholds)}

## On the calling thread, and in the thread pool

Microseconds of CPU for one message of so many bytes, level 6: on a kept stream, by a public synchronous call, in the
thread pool; and how long the last one takes.

${table(['', 'bytes', 'kept stream', 'public call', 'thread pool', 'thread pool, elapsed'], borders)}

## 40 bombs of 128 MiB at once

\`maxSize\` 1 MiB, beside one peer with small honest messages.

${table(['', 'refused with 1009', 'took', 'peak growth', 'event loop delay, largest', 'p99 of the honest peer'], bombs)}
`);
