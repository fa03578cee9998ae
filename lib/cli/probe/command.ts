import type { Command } from 'commander';
import { timeOption, wholeNumber } from '../arguments.js';
import { DoctorVariables } from '../doctor/environment.js';
import { CannotRun, Exit, type Io, jsonText, Progress, safeText } from '../terminal.js';
import { Arena, type Headers } from './arena.js';
import { Budget, LIMITS } from './budget.js';
import { chooseTarget, requireConsent } from './consent.js';
import { printProbe } from './print.js';
import { checkOnly, hasFindings, ProbeRun } from './run.js';
import { parseProbeUrl } from './target.js';

interface Options {
  readonly header: readonly string[];
  readonly message: string;
  readonly only: readonly string[];
  readonly quick: boolean;
  readonly time: number;
  readonly pid?: number;
  readonly envFile?: string;
  readonly insecure: boolean;
  readonly json: boolean;
  readonly strict: boolean;
}

const HELP = `
Examples:
  npx nest-secure-ws probe ws://localhost:3000/chat
  npx nest-secure-ws probe ws://localhost:3000/chat --quick        skip slow attacks: takes seconds
  npx nest-secure-ws probe ws://localhost:3000/chat --header 'Cookie: session=…'
  npx nest-secure-ws probe ws://localhost:3000 --only origin,bomb
  npx nest-secure-ws probe ws://localhost:3000 --message '{"event":"say","data":{"text":"$DATA"}}'
  WEBSOCKETS_PROBE_TOKEN=… npx nest-secure-ws probe wss://staging.example/chat

Attacks servers on this machine, and servers that prove that they have the same WEBSOCKETS_PROBE_TOKEN. A run takes at
most ${LIMITS.time / 1000} s, ${LIMITS.connections} connections and ${LIMITS.bytes / 1024 ** 2} MiB. Do not run it in production.
Exit code: 0 all held, 1 an attack was accepted or the server ended (with --strict: notes count), 2 could not run.`;

const collect = (value: string, before: readonly string[]): readonly string[] => [...before, value];

/** Adds `probe` to the program; `done` gets the exit code. */
export function addProbe(program: Command, io: Io, done: (code: number) => void): void {
  program
    .command('probe')
    .description('attack your own WebSocket server and report what it refuses')
    .argument('<url>', 'ws:// or wss://, with the path of a gateway')
    .option('--header <line>', "a header of every request, such as 'Cookie: a=b'; may be repeated", collect, [])
    .option(
      '--message <text>',
      'a message that the server understands; $DATA is replaced by text',
      '{"event":"echo","data":"$DATA"}',
    )
    .option(
      '--only <names>',
      'attacks or groups, with commas between them',
      (value: string) => value.split(',').map((name) => name.trim()),
      [],
    )
    .option('--quick', 'skip slow attacks', false)
    .addOption(timeOption('stop after so many seconds', 1, LIMITS.time / 1000, LIMITS.time / 1000))
    .option(
      '--pid <number>',
      "the server's process, to measure its memory and CPU; found by itself on Linux",
      wholeNumber(1),
    )
    .option('--env-file <file>', 'read WEBSOCKETS_PROBE_TOKEN from this file in place of .env')
    .option('--insecure', 'accept a certificate that does not verify (not verified on this machine)', false)
    .option('--json', 'print one JSON document (schema nest-secure-ws/probe/1)', false)
    .option('--strict', 'notes count as findings', false)
    .addHelpText('after', HELP)
    .action(async (url: string, options: Options) => done(await probe(url, options, io)));
}

async function probe(text: string, options: Options, io: Io): Promise<number> {
  checkOnly(options.only);
  const headers = parseHeaders(options.header);
  const token = new DoctorVariables(io, options.envFile).get('WEBSOCKETS_PROBE_TOKEN');
  const target = await chooseTarget(parseProbeUrl(text), { verify: !options.insecure, signal: io.signal });
  const arena = new Arena(target, new Budget(options.time, io.signal), headers, options.message);
  await requireConsent(arena, token === '' ? undefined : token);
  const progress = new Progress(io.stderr);
  const run = new ProbeRun(arena, { ...options, signal: io.signal, onProgress: (line) => progress.show(line) });
  const report = await run.run().finally(() => progress.clear());
  if (options.json) io.stdout.write(jsonText(report));
  else printProbe(report, io);
  if (io.signal.aborted) return Exit.COULD_NOT_RUN;
  return hasFindings(report, options.strict) ? Exit.FINDINGS : Exit.FINE;
}

const OURS = new Set([
  'host',
  'upgrade',
  'connection',
  'sec-websocket-key',
  'sec-websocket-version',
  'content-length',
  'transfer-encoding',
]);

/** The header lines that the user has given; headers that belong to the request itself cannot be set. */
export function parseHeaders(lines: readonly string[]): Headers {
  const headers: Record<string, string[]> = {};
  for (const line of lines) {
    const [, name, value = ''] = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\x20-\x7e\x80-\xff]*)$/.exec(line) ?? [];
    if (name === undefined)
      throw new CannotRun(`--header expects 'Name: value', not ${safeText(line.replace(/:.*/s, ': …'))}`);
    if (OURS.has(name.toLowerCase())) throw new CannotRun(`--header cannot set ${name}`);
    (headers[name] ??= []).push(value);
  }
  return headers;
}
