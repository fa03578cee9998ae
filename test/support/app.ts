import type { INestApplication, ModuleMetadata, Type } from '@nestjs/common';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { Test } from '@nestjs/testing';
import { SecureWsModule, type SecureWsOptions, SecureWsStats, type StatsSnapshot } from 'nest-secure-ws';
import 'reflect-metadata';

export type Platform = 'express' | 'fastify';
export const PLATFORMS: readonly Platform[] = ['express', 'fastify'];

export interface AppOptions {
  readonly platform?: Platform;
  readonly options?: SecureWsOptions;
  readonly gateways?: readonly Type[];
  readonly metadata?: ModuleMetadata;
  /** Default 127.0.0.1; `null`: the platform's own default. */
  readonly host?: string | null;
  /** Listens on a Unix domain socket instead. */
  readonly unix?: string;
  /** Node's options of an HTTPS server. */
  readonly https?: object;
}

export interface TestApp {
  readonly app: INestApplication;
  readonly port: number;
  stats(): StatsSnapshot;
  close(): Promise<void>;
}

/** A whole application on a free port. Logs nothing. */
export async function startApp({
  platform = 'express',
  options,
  gateways = [],
  metadata = {},
  host = '127.0.0.1',
  unix,
  https,
}: AppOptions): Promise<TestApp> {
  const builder = Test.createTestingModule({
    ...metadata,
    imports: [SecureWsModule.forRoot(options), ...(metadata.imports ?? [])],
    providers: [...gateways, ...(metadata.providers ?? [])],
  });
  const testing = await builder.compile();
  const nestOptions = { logger: false as const, ...(https === undefined ? {} : { httpsOptions: https }) };
  const app =
    platform === 'fastify'
      ? testing.createNestApplication(new FastifyAdapter((https === undefined ? {} : { https }) as object), nestOptions)
      : testing.createNestApplication(nestOptions);
  try {
    if (unix !== undefined) await app.listen(unix);
    else if (host === null) await app.listen(0);
    else await app.listen(0, host);
  } catch (error) {
    await app.close();
    throw error;
  }
  const { port } = app.getHttpServer().address() as { port: number };
  return { app, port, stats: () => app.get(SecureWsStats).snapshot(), close: () => app.close() };
}

/** Polls a condition every few milliseconds until it holds. Only a hang takes longer than the default time limit. */
export async function eventually(condition: () => boolean, timeout = 30_000): Promise<void> {
  const until = Date.now() + timeout;
  while (!condition()) {
    if (Date.now() > until) throw new Error(`not within ${timeout} ms: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
