import { fork } from 'node:child_process';
import { Socket as DatagramSocket } from 'node:dgram';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { Server } from 'node:net';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { NestApplicationOptions } from '@nestjs/common';
import type { AbstractHttpAdapter } from '@nestjs/core';
import { SecureWsRuntime } from '../../nest/runtime.js';
import { CannotRun, type Io, safeText, withoutCredentials } from '../terminal.js';
import { type DoctorRequest, diagnose, type Reading } from './collect.js';
import { DoctorVariables } from './environment.js';
import type { DoctorReport } from './examine.js';

const TIMEOUT = 60_000;

type Answer = { readonly report: DoctorReport } | { readonly failed: string };

/**
 * Loads the application in a separate process, and runs the checks there, so that everything that the application's
 * constructors print, keep open or break disappears with that process.
 */
export async function examineApplication(
  request: DoctorRequest,
  variables: DoctorVariables,
  io: Io,
): Promise<DoctorReport> {
  const env = { ...variables.merged, ...(request.production ? { NODE_ENV: 'production' } : {}) };
  const child = fork(io.self, ['__application', JSON.stringify({ ...request, cwd: io.cwd })], {
    cwd: io.cwd,
    env: env as NodeJS.ProcessEnv,
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  });
  const kill = () => child.kill('SIGKILL');
  const timer = setTimeout(kill, TIMEOUT);
  io.signal.addEventListener('abort', kill, { once: true });
  try {
    child.send({ env: io.env });
    const answered = once(child, 'message') as Promise<[Answer]>;
    const ended = once(child, 'exit') as Promise<[number | null, string | null]>;
    const [first, signal] = await Promise.race([answered, ended]);
    if (typeof first !== 'object' || first === null)
      throw new CannotRun(
        signal === 'SIGKILL' && !io.signal.aborted
          ? `${request.app} did not finish loading within ${TIMEOUT / 1000} s`
          : `${request.app} ended its process (${signal ?? first}) while loading: start the application to see why`,
      );
    if ('failed' in first) throw new CannotRun(first.failed);
    return first.report;
  } finally {
    clearTimeout(timer);
    io.signal.removeEventListener('abort', kill);
    kill();
  }
}

/** Entry point of the application's process; the argument contains the request as JSON. */
export async function loadApplication([text = '']: readonly string[]): Promise<void> {
  const request = JSON.parse(text) as DoctorRequest & { readonly cwd: string };
  const send = process.send?.bind(process);
  if (send === undefined) return;
  const [{ env }] = (await once(process, 'message')) as [{ env: Io['env'] }];
  let answer: Answer;
  try {
    answer = { report: await construct(request, new DoctorVariables({ cwd: request.cwd, env }, request.envFile)) };
  } catch (error) {
    answer = { failed: `${request.app}: ${safeText(withoutCredentials(messageOf(error)), 2000)}` };
  }
  if (!process.connected) return;
  // The command ends this process after it has read the answer; exiting here could lose the answer.
  const read = once(process, 'disconnect');
  send(answer);
  await read;
}

function messageOf(error: unknown): string {
  return (error as Error | undefined)?.message || String(error);
}

/** Constructs every provider and runs no hook: nothing is started. */
async function construct(request: DoctorRequest, variables: DoctorVariables): Promise<DoctorReport> {
  const file = resolve(request.app!);
  if (!existsSync(file)) throw new Error('there is no such file; build the application first');
  listenNowhere();
  const module = moduleOf((await import(pathToFileURL(file).href)) as Record<string, unknown>);
  const { NestFactory } = await import('@nestjs/core');
  const options: NestApplicationOptions = {
    logger: false,
    abortOnError: false,
    ...(request.https ? { httpsOptions: {} } : {}),
  };
  const app = await NestFactory.create(module, await adapterFor(file, request.https), options);
  return diagnose(request, read(app.get(SecureWsRuntime, { strict: false })), variables);
}

function read(runtime: SecureWsRuntime): Reading {
  const { settings, sources, problems, warnings, parts } = runtime.plan.check();
  return { settings, sources, problems, warnings, gateways: parts };
}

/** Makes `listen()` fail in this process, so that constructors of the application cannot open a port. */
function listenNowhere(): void {
  const refuse = (): never => {
    throw new Error(
      'it listens while it is loaded, and doctor opens no port: pass the file of the module (app.module.js), not main.js',
    );
  };
  Server.prototype.listen = refuse;
  DatagramSocket.prototype.bind = refuse;
}

const MODULE_KEYS = ['imports', 'providers', 'controllers', 'exports'];

const isModule = (value: unknown): value is new () => unknown =>
  typeof value === 'function' && MODULE_KEYS.some((key) => Reflect.hasOwnMetadata?.(key, value));

/** The export that is the application's module. Exports of CommonJS modules are in `default`. */
function moduleOf(exported: Record<string, unknown>): new () => unknown {
  const inner = typeof exported['default'] === 'object' ? (exported['default'] as Record<string, unknown> | null) : {};
  const all: Record<string, unknown> = { ...inner, ...exported };
  // `@Module({})` leaves no metadata, so the name decides.
  if (typeof all['AppModule'] === 'function') return all['AppModule'] as new () => unknown;
  const modules = [...new Set(Object.values(all).filter(isModule))];
  if (modules.length === 1) return modules[0]!;
  throw new Error(
    modules.length === 0
      ? 'it exports no Nest module'
      : `it exports several Nest modules, none of them AppModule: ${modules.map(({ name }) => name).join(', ')}`,
  );
}

const PLATFORMS = [
  ['@nestjs/platform-express', 'ExpressAdapter'],
  ['@nestjs/platform-fastify', 'FastifyAdapter'],
] as const;

/** The HTTP platform that the application has installed; its server never listens. */
async function adapterFor(file: string, https: boolean): Promise<AbstractHttpAdapter> {
  const require = createRequire(file);
  for (const [name, type] of PLATFORMS) {
    let path: string;
    try {
      path = require.resolve(name);
    } catch {
      continue;
    }
    const platform = (await import(pathToFileURL(path).href)) as Record<
      string,
      new (
        options?: object,
      ) => AbstractHttpAdapter
    >;
    return type === 'FastifyAdapter' && https ? new platform[type]!({ https: {} }) : new platform[type]!();
  }
  throw new Error(`none of ${PLATFORMS.map(([name]) => name).join(', ')} is installed next to it`);
}
