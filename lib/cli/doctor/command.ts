import type { Command } from 'commander';
import { wholeNumber } from '../arguments.js';
import { Exit, type Io, jsonText } from '../terminal.js';
import { examineApplication } from './application.js';
import { type DoctorRequest, diagnose } from './collect.js';
import { DoctorVariables, readEnvironment } from './environment.js';
import { hasFindings } from './examine.js';
import { printReport } from './print.js';

interface Options extends DoctorRequest {
  readonly json: boolean;
  readonly strict: boolean;
  readonly brief: boolean;
}

const HELP = `
Examples:
  npx nest-secure-ws doctor                              .env and environment of this folder
  npx nest-secure-ws doctor --env-file .env.production --production
  npx nest-secure-ws doctor --app dist/app.module.js     with options set in code
  npx nest-secure-ws doctor --pid $(pgrep -f main.js)    the limits of the running process
  npx nest-secure-ws doctor --json | jq '.findings[] | select(.severity == "error")'

--app loads the module and constructs its providers; no lifecycle hook runs, and no port is opened.
Exit code: 0 no findings, 1 errors or warnings (with --strict: notes count), 2 could not run.`;

/** Adds `doctor` to the program; `done` gets the exit code. */
export function addDoctor(program: Command, io: Io, done: (code: number) => void): void {
  program
    .command('doctor')
    .description('check the settings against the machine and report problems')
    .option('--app <file>', 'a built file that exports the application module, such as dist/app.module.js')
    .option('--env-file <file>', 'read this file in place of .env')
    .option('--pid <number>', 'read the limits of this running process', wholeNumber(1))
    .option('--workers <number>', 'processes that run the application, over all machines', wholeNumber(1))
    .option('--production', 'check as under NODE_ENV=production', false)
    .option('--https', 'main.ts sets httpsOptions: the shared port uses TLS', false)
    .option('--brief', 'show only settings that are not defaults', false)
    .option('--json', 'print one JSON document (schema nest-secure-ws/doctor/1)', false)
    .option('--strict', 'notes count as findings', false)
    .addHelpText('after', HELP)
    .action(async (options: Options) => done(await doctor(options, io)));
}

async function doctor(options: Options, io: Io): Promise<number> {
  const variables = new DoctorVariables(io, options.envFile);
  const report =
    options.app === undefined
      ? await diagnose(options, readEnvironment(variables, options), variables)
      : await examineApplication(options, variables, io);
  if (options.json) io.stdout.write(jsonText(report));
  else printReport(report, io, options);
  return hasFindings(report, options.strict) ? Exit.FINDINGS : Exit.FINE;
}
