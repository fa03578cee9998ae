import { Command, CommanderError } from 'commander';
import { VERSION } from '../version.js';
import { loadApplication } from './doctor/application.js';
import { addDoctor } from './doctor/command.js';
import { addProbe } from './probe/command.js';
import { CannotRun, Exit, type Io, painter, printableLines } from './terminal.js';
import { addTune } from './tune/command.js';
import { answerMemory } from './tune/tune.js';

export type { Io, Output } from './terminal.js';

/** Internal commands, for processes that a command starts. */
const INTERNAL: Readonly<Record<string, (args: readonly string[]) => Promise<void>>> = {
  __application: loadApplication,
  __memory: answerMemory,
};

const HELP = `
Examples:
  npx nest-secure-ws doctor                      check settings against this machine
  npx nest-secure-ws probe ws://localhost:3000   attack your own server
  npx nest-secure-ws tune messages/              recommend compression settings

Each command prints more with --help. Exit code: 0 fine, 1 findings, 2 could not run.`;

/** Runs the command line and returns the exit code. Wrong input and hostile peers do not make it throw. */
export async function main(args: readonly string[], io: Io): Promise<number> {
  const internal = INTERNAL[args[0] ?? ''];
  if (internal !== undefined) {
    await internal(args.slice(1));
    return Exit.FINE;
  }
  let code: number = Exit.FINE;
  const program = new Command('nest-secure-ws')
    .description('Checks a deployment of nest-secure-ws, attacks your own server, tunes compression.')
    .version(VERSION)
    .addHelpText('after', HELP)
    .configureOutput({
      writeOut: (text) => io.stdout.write(text),
      writeErr: (text) => io.stderr.write(text),
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    })
    .exitOverride();
  const done = (result: number) => {
    code = result;
  };
  addDoctor(program, io, done);
  addProbe(program, io, done);
  addTune(program, io, done);
  try {
    await program.parseAsync(args as string[], { from: 'user' });
    return code;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? Exit.FINE : Exit.COULD_NOT_RUN;
    if (!(error instanceof CannotRun)) throw error;
    io.stderr.write(
      `${painter({ stdout: io.stderr, env: io.env })('red', 'nest-secure-ws:')} ${printableLines(error.message)}\n`,
    );
    return Exit.COULD_NOT_RUN;
  }
}
