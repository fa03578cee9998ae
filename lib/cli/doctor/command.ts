import type { Command } from 'commander';
import { wholeNumber } from '../arguments.js';
import { Exit, type Io } from '../terminal.js';
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
  npx nest-secure-ws doctor                              .env and the environment of this folder
  npx nest-secure-ws doctor --env-file .env.production --production
  npx nest-secure-ws doctor --app dist/app.module.js     options in code and of gateways too
  npx nest-secure-ws doctor --pid $(pgrep -f main.js)    the limits of the running process
  npx nest-secure-ws doctor --json | jq '.findings[] | select(.severity == "error")'

--app loads the module and constructs its providers; no hook runs, and nothing listens.
Exit code: 0 nothing found, 1 errors or warnings (with --strict: notes too), 2 could not run.`;

/** Adds `doctor` to the program; `done` gets the exit code. */
export function addDoctor(program: Command, io: Io, done: (code: number) => void): void {
  program
    .command('doctor')
    .description('read the settings and the machine, and say what does not fit')
    .option('--app <file>', 'a built module of the application, such as dist/app.module.js')
    .option('--env-file <file>', 'read this file in place of .env')
    .option('--pid <number>', 'read the limits of this running process', wholeNumber(1))
    .option('--workers <number>', 'processes that run the application, over all machines', wholeNumber(1))
    .option('--production', 'judge as under NODE_ENV=production', false)
    .option('--https', 'main.ts gives httpsOptions: the shared port speaks TLS', false)
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
  if (options.json) io.stdout.write(`${JSON.stringify(report, undefined, 2)}\n`);
  else printReport(report, io, options);
  return hasFindings(report, options.strict) ? Exit.FINDINGS : Exit.FINE;
}
