import { fork } from 'node:child_process';
import { once } from 'node:events';
import { showSize } from '../../config/kinds.js';
import { VERSION } from '../../version.js';
import type { Assignment } from '../doctor/finding.js';
import { CannotRun, type Io } from '../terminal.js';
import { codecsOf, type Tuning } from './codecs.js';
import { median, sampleOf, sum } from './corpus.js';
import { type Candidate, measureMemory, measureSpeed, type Speed } from './measure.js';
import { best, isDedicatedWorthIt, isWorthIt, type Preference, type Row, score } from './recommend.js';

/** A row of the table. */
export interface TunedRow extends Row {
  readonly tuning: Tuning | undefined;
  /** The setting that varies within the group of rows; absent for a row without a group. */
  readonly varies?: 'window' | 'level' | 'threshold';
  /** Bytes of memory that the row adds to a connection; `undefined` if not measured for this row. */
  readonly memory: number | undefined;
}

/** What `tune --json` prints. The name changes when a field is renamed or removed. */
export interface TuneReport {
  readonly schema: 'nest-secure-ws/tune/1';
  readonly version: string;
  readonly node: string;
  readonly messages: number;
  readonly bytes: number;
  /** Size in bytes of the median message. */
  readonly median: number;
  readonly prefer: Preference;
  readonly rows: readonly TunedRow[];
  /** The current settings. */
  readonly current: TunedRow;
  readonly recommended: TunedRow;
  /** The best row with dedicated contexts. */
  readonly dedicated: TunedRow;
  readonly connections: number;
  /** The recommended row is better than the current one by more than 5 % of the score. */
  readonly improves: boolean;
  readonly set: readonly Assignment[];
}

export interface TuneOptions {
  readonly prefer: Preference;
  readonly connections: number;
  /** Memory in bytes that the contexts of all connections may take. */
  readonly memory: number;
  /** Milliseconds for the measurements of speed. */
  readonly time: number;
  readonly current: { readonly mode: Tuning['mode'] | 'off' } & Omit<Tuning, 'mode'>;
  readonly defaults: Omit<Tuning, 'mode'>;
  readonly onProgress: (text: string) => void;
}

const WINDOWS = [9, 10, 11, 12, 13, 14, 15];
const LEVELS = [1, 2, 3, 4, 5, 6, 7, 8, 9];
const THRESHOLDS = [0, 64, 128, 256, 512, 1024];
const TURNS = 15;
/** One pass over this much takes about a tenth of a second. */
const SAMPLE_BYTES = 3 * 1024 * 1024;
const IMPROVES = 0.05;
const OFF: TunedRow = { tuning: undefined, size: 1, cpu: 0, memory: 0 };

/** Measures windows, levels and thresholds in this order, each with the best values found so far. */
export async function tune(messages: readonly Buffer[], options: TuneOptions, io: Io): Promise<TuneReport> {
  const sample = sampleOf(messages, SAMPLE_BYTES);
  const { prefer, defaults, current } = options;
  const measure = async (what: string, tunings: readonly Tuning[], share: number): Promise<Row[]> => {
    const candidates: Candidate[] = tunings.map((tuning) => ({ make: codecsOf(tuning), threshold: tuning.threshold }));
    const results: Speed[] = await measureSpeed(candidates, sample, {
      turns: TURNS,
      time: options.time * share,
      signal: io.signal,
      onTurn: (turn) => options.onProgress(`${what}: turn ${turn} of at most ${TURNS}`),
    });
    return results.map((speed, at) => ({ ...speed, tuning: tunings[at] }));
  };
  const windowed = (mode: Tuning['mode']) =>
    defaultFirst(WINDOWS, defaults.windowBits).map(
      (windowBits): Tuning => ({ ...defaults, mode, windowBits, memLevel: windowBits - 7 }),
    );
  const both = await measure('windows', [...windowed('shared'), ...windowed('dedicated')], 0.5);
  const shared = both.slice(0, WINDOWS.length);
  const dedicated = both.slice(WINDOWS.length);
  const bestShared = best(shared, prefer);
  const bestDedicated = best(dedicated, prefer);
  // If compression saves nothing, nothing else is measured.
  const isPointless = !isWorthIt(bestShared) && !isWorthIt(bestDedicated);
  const memoryOf = await memories(isPointless ? [] : [shared[0]!, ...dedicated], messages, options, io);
  const withMemory = (row: Row): TunedRow => ({ ...row, memory: memoryOf(row) });
  const isDedicated = isDedicatedWorthIt(bestShared, bestDedicated, {
    perConnection: memoryOf(bestDedicated) ?? Number.POSITIVE_INFINITY,
    connections: options.connections,
    allowed: options.memory,
  });
  const base = (isDedicated ? bestDedicated : bestShared).tuning!;
  const levels = await measure(
    'levels',
    defaultFirst(isPointless ? [defaults.level] : LEVELS, defaults.level).map((level) => ({ ...base, level })),
    0.25,
  );
  const leveled = best(levels, prefer).tuning!;
  const thresholds = await measure(
    'thresholds',
    defaultFirst(isPointless ? [defaults.threshold] : THRESHOLDS, defaults.threshold).map((threshold) => ({
      ...leveled,
      threshold,
    })),
    0.25,
  );
  const chosen = best(thresholds, prefer);
  const recommended = isWorthIt(chosen) ? withMemory(chosen) : OFF;
  const { mode, ...rest } = current;
  const now = mode === 'off' ? OFF : withMemory((await measure('current settings', [{ ...rest, mode }], 0.1))[0]!);
  return {
    schema: 'nest-secure-ws/tune/1',
    version: VERSION,
    node: process.version,
    messages: messages.length,
    bytes: sum(messages),
    median: median(messages),
    prefer,
    rows: [
      OFF,
      ...inOrder(both).map((row) => ({ ...withMemory(row), varies: 'window' as const })),
      ...inOrder(levels).map((row) => ({ ...withMemory(row), varies: 'level' as const })),
      ...inOrder(thresholds).map((row) => ({ ...withMemory(row), varies: 'threshold' as const })),
    ],
    current: now,
    recommended,
    dedicated: withMemory(bestDedicated),
    connections: options.connections,
    improves: improves(now, recommended, prefer),
    set: linesFor(recommended, options.connections),
  };
}

/** If no row is better by more than noise, the first one is kept: the default. */
const defaultFirst = (values: readonly number[], first: number): number[] => [
  first,
  ...values.filter((value) => value !== first),
];

const key = ({ mode, windowBits, memLevel, level, threshold }: Tuning): number =>
  (((mode === 'shared' ? 0 : 1) * 16 + windowBits) * 16 + memLevel) * 2 ** 20 + level * 2 ** 16 + threshold;

const inOrder = (rows: readonly Row[]): Row[] => [...rows].sort((a, b) => key(a.tuning!) - key(b.tuning!));

function improves(now: Row, then: Row, prefer: Preference): boolean {
  if (now.tuning === undefined || then.tuning === undefined) return now.tuning !== then.tuning;
  return score(then, prefer) < score(now, prefer) - IMPROVES;
}

function linesFor({ tuning, memory }: TunedRow, connections: number): Assignment[] {
  const line = (name: string, value: string | number) => ({
    variable: `WEBSOCKETS_COMPRESSION${name}`,
    value: String(value),
  });
  if (tuning === undefined) return [line('', 'off')];
  const lines = [
    line('', tuning.mode),
    line('_WINDOW_BITS', tuning.windowBits),
    line('_MEM_LEVEL', tuning.memLevel),
    line('_LEVEL', tuning.level),
    line('_THRESHOLD', tuning.threshold),
  ];
  if (tuning.mode === 'dedicated' && memory !== undefined)
    lines.push(line('_BUDGET', showSize(Math.ceil((memory * connections * 1.1) / 1024 ** 2) * 1024 ** 2)));
  return lines;
}

const MESSAGE = 2048;
const CONNECTIONS = { shared: 20_000, dedicated: 200 };

/** Measures the memory of a connection for these rows, each in a new process. All shared codecs need the same. */
async function memories(
  rows: readonly Row[],
  messages: readonly Buffer[],
  { onProgress }: TuneOptions,
  io: Io,
): Promise<(row: Row) => number | undefined> {
  const message = Buffer.concat(messages.slice(0, 200)).subarray(0, MESSAGE).toString('base64');
  const known = new Map<string, number>();
  const name = ({ mode, windowBits, memLevel }: Tuning) => (mode === 'shared' ? 'shared' : `${windowBits}/${memLevel}`);
  for (const [at, { tuning }] of rows.entries()) {
    onProgress(`memory: ${at + 1} of ${rows.length}`);
    known.set(name(tuning!), await memoryInChild(tuning!, message, io));
  }
  return ({ tuning }) => (tuning === undefined ? 0 : known.get(name(tuning)));
}

async function memoryInChild(tuning: Tuning, message: string, io: Io): Promise<number> {
  io.signal.throwIfAborted();
  const child = fork(io.self, ['__memory', JSON.stringify({ tuning, message })], {
    execArgv: [...process.execArgv, '--expose-gc'],
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  });
  const kill = () => child.kill('SIGKILL');
  io.signal.addEventListener('abort', kill, { once: true });
  try {
    const [answer] = await Promise.race([once(child, 'message'), once(child, 'exit')]);
    io.signal.throwIfAborted();
    if (typeof answer !== 'object' || answer === null)
      throw new CannotRun(`the process that measures memory has ended (${answer})`);
    return (answer as { bytes: number }).bytes;
  } finally {
    io.signal.removeEventListener('abort', kill);
    kill();
  }
}

/** Entry point of a process that measures memory; the argument contains the row as JSON. */
export async function answerMemory([text = '']: readonly string[]): Promise<void> {
  const { tuning, message } = JSON.parse(text) as { tuning: Tuning; message: string };
  const bytes = await measureMemory(codecsOf(tuning), Buffer.from(message, 'base64'), CONNECTIONS[tuning.mode]);
  if (process.send === undefined || !process.connected) return;
  // The command ends this process after it has read the answer.
  const read = once(process, 'disconnect');
  process.send({ bytes });
  await read;
}
