import { type Command, Option } from 'commander';
import { size } from '../../config/kinds.js';
import { readSettings } from '../../config/resolve.js';
import { rowAt } from '../../config/rows.js';
import { parsedBy, timeOption, wholeNumber } from '../arguments.js';
import { DoctorVariables } from '../doctor/environment.js';
import { columns, Exit, type Io, jsonText, mebibytes, Progress, painter, widthOf, wrap } from '../terminal.js';
import { readCorpus } from './corpus.js';
import { type Preference, WORTH } from './recommend.js';
import { type TunedRow, type TuneReport, tune } from './tune.js';

interface Options {
  readonly prefer: Preference;
  readonly connections?: number;
  readonly memory: number;
  readonly time: number;
  readonly envFile?: string;
  readonly json: boolean;
  readonly strict: boolean;
}

const HELP = `
Examples:
  npx nest-secure-ws tune messages/                      every file is one message
  npx nest-secure-ws tune messages/ --prefer cpu         CPU is scarcer than bandwidth
  npx nest-secure-ws tune messages/ --memory 512mb       dedicated contexts may take this much
  npx nest-secure-ws tune messages/ --strict --json      in a pipeline: exit 1 if the current settings are worse

Collect a few hundred messages of your application in a folder: one per file, or one per line of a .jsonl file.
Exit code: 0 measured, 1 with --strict if other settings are better than the current ones, 2 could not run.`;

/** Adds `tune` to the program; `done` gets the exit code. */
export function addTune(program: Command, io: Io, done: (code: number) => void): void {
  program
    .command('tune')
    .description('measure compression on your own messages and recommend settings')
    .argument('<folder>', 'of messages: one per file, or one per line of .jsonl files')
    .addOption(
      new Option(
        '--prefer <what>',
        `what 1 % of size is worth, in CPU: balanced ${WORTH.balanced} %, size ${WORTH.size} %, cpu ${WORTH.cpu} %`,
      )
        .choices(Object.keys(WORTH))
        .default('balanced'),
    )
    .option(
      '--memory <size>',
      'memory that dedicated contexts may take, such as 512mb; 0: recommend none',
      parsedBy(size()),
      0,
    )
    .option('--connections <number>', 'number of connections (default: connections.max)', wholeNumber(1))
    .addOption(timeOption('time for speed measurements', 1, 600, 20))
    .option('--env-file <file>', 'read the current settings from this file instead of .env')
    .option('--json', 'print one JSON document (schema nest-secure-ws/tune/1)', false)
    .option('--strict', 'exit 1 if other settings are better than the current ones', false)
    .addHelpText('after', HELP)
    .action(async (folder: string, options: Options) => done(await runTune(folder, options, io)));
}

async function runTune(folder: string, options: Options, io: Io): Promise<number> {
  const messages = readCorpus(folder);
  const { settings } = readSettings({}, { get: new DoctorVariables(io, options.envFile).get, names: [] });
  const progress = new Progress(io.stderr);
  const defaultOf = (path: string): number => rowAt(path)!.row.parse(rowAt(path)!.row.default) as number;
  let report: TuneReport;
  try {
    report = await tune(
      messages,
      {
        ...options,
        connections: options.connections ?? settings.connections.max,
        current: settings.compression,
        defaults: {
          windowBits: defaultOf('compression.windowBits'),
          memLevel: defaultOf('compression.memLevel'),
          level: defaultOf('compression.level'),
          threshold: defaultOf('compression.threshold'),
        },
        onProgress: (text) => progress.show(text),
      },
      io,
    );
  } catch (error) {
    if (!io.signal.aborted) throw error;
    return Exit.COULD_NOT_RUN;
  } finally {
    progress.clear();
  }
  if (options.json) io.stdout.write(jsonText(report));
  else printTune(folder, report, io);
  return options.strict && report.improves ? Exit.FINDINGS : Exit.FINE;
}

/** The text report: the table, the recommendation, and the lines for `.env`. */
export function printTune(folder: string, report: TuneReport, io: Io): void {
  const paint = painter(io);
  const width = widthOf(io.stdout);
  const line = (text = '') => io.stdout.write(`${text}\n`);
  line(
    paint('bold', `${report.messages} messages in ${folder}, ${sizeOf(report.bytes)}; median ${report.median} bytes`),
  );
  line();
  const head = ['', 'mode', 'window / memory', 'level', 'threshold', 'per connection', 'size', 'CPU a message'];
  const cells = report.rows.map((row) => [isChosen(row, report) ? '*' : '', ...cellsOf(row)]);
  const [title = '', ...lines] = columns([head, ...cells], '  ', [
    'left',
    'left',
    'right',
    'right',
    'right',
    'right',
    'right',
    'right',
  ]);
  line(paint('dim', title));
  for (const [at, text] of lines.entries()) {
    if (report.rows[at]!.varies !== report.rows[at - 1]?.varies) line();
    line(isChosen(report.rows[at]!, report) ? paint('green', text) : text);
  }
  line();
  for (const text of words(report)) line(wrap(text, width));
  line();
  for (const { variable, value } of report.set) line(`  ${paint('green', `${variable}=${value}`)}`);
}

function words(report: TuneReport): string[] {
  const { recommended, dedicated, current, connections } = report;
  const { tuning, size: part, cpu } = recommended;
  if (tuning === undefined) return ['Compression saves less than 10 % of these messages: leave it off.'];
  const said = [
    `Recommended: ${percent(1 - part)} of the bytes are saved, for ${micros(cpu)} of CPU a message, compressed and inflated.`,
  ];
  if (!report.improves) said.push('The current settings are as good.');
  else if (current.tuning !== undefined)
    said.push(`The current settings save ${percent(1 - current.size)} for ${micros(current.cpu)}.`);
  if (tuning.mode === 'shared' && dedicated.size < part * 0.95 && dedicated.memory !== undefined)
    said.push(
      `Dedicated contexts would save ${percent(1 - dedicated.size)} and take ${mebibytes(dedicated.memory * connections)} for ${connections} connections; --memory allows them.`,
    );
  return said;
}

/** The recommended row is among the last that were measured, or is the one without compression. */
const isChosen = (row: TunedRow, { recommended }: TuneReport): boolean =>
  (row.varies === 'threshold' || row.varies === undefined) &&
  JSON.stringify(row.tuning) === JSON.stringify(recommended.tuning);

function cellsOf({ tuning, memory, size: part, cpu }: TunedRow): string[] {
  const measured = [
    memory === undefined ? '–' : `${(memory / 1024).toFixed(memory < 102_400 ? 1 : 0)} KiB`,
    percent(part),
    micros(cpu),
  ];
  if (tuning === undefined) return ['off', '–', '–', '–', ...measured];
  const { mode, windowBits, memLevel, level, threshold } = tuning;
  return [mode, `${windowBits} / ${memLevel}`, String(level), String(threshold), ...measured];
}

const percent = (part: number): string => `${(100 * part).toFixed(1)} %`;
const micros = (value: number): string => `${value.toFixed(value < 100 ? 1 : 0)} µs`;
const sizeOf = (bytes: number): string => (bytes < 1024 ** 2 ? `${Math.ceil(bytes / 1024)} KiB` : mebibytes(bytes));
