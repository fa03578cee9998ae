import type { ModuleMetadata, Type } from '@nestjs/common';
import { MessageBody, SubscribeMessage } from '@nestjs/websockets';
import { SecureGateway, type SecureWsOptions } from 'nest-secure-ws';
import { type Platform, startApp, type TestApp } from '../../support/app.js';
import { selfSigned } from '../../support/certificates.js';
import { freePort } from '../../support/ports.js';
import { RawClient, type Response } from '../../support/raw-client.js';

/** A listener to test. */
export interface Setup {
  readonly name: string;
  readonly platform: Platform;
  readonly tls: boolean;
  /** On a dedicated port; otherwise on the application's port. */
  readonly own: boolean;
}

export const SETUPS: readonly Setup[] = (['express', 'fastify'] as const).flatMap((platform) =>
  [false, true].flatMap((tls) =>
    [false, true].map((own) => ({
      name: `${platform}, ${own ? 'dedicated' : 'shared'} port, ${tls ? 'TLS' : 'plaintext'}`,
      platform,
      tls,
      own,
    })),
  ),
);

/** One of each kind of listener, where the platform makes no difference. */
export const LISTENERS: readonly Setup[] = [SETUPS[0]!, SETUPS[1]!, SETUPS[6]!, SETUPS[7]!];

/** High limits for tests that are not about the limits per address. */
export const ROOMY = {
  rate: '1000000/1s',
  maxPerIp: 10_000,
  maxPending: 5_000,
  maxPendingPerIp: 5_000,
} as const;

export class RunningSetup {
  constructor(
    readonly test: TestApp,
    readonly setup: Setup,
    readonly port: number,
  ) {}

  connect(localAddress?: string): Promise<RawClient> {
    const tls = this.setup.tls ? { tls: {} } : {};
    return RawClient.connect({ port: this.port, ...tls, ...(localAddress === undefined ? {} : { localAddress }) });
  }

  /** Sends bytes on a new connection and waits for the response. */
  async ask(bytes: string | Buffer): Promise<Response> {
    const client = await this.connect();
    try {
      return await client.upgrade(bytes);
    } finally {
      client.destroy();
    }
  }

  /** Whether nothing remains of any connection, as every test must leave it. */
  get isEmpty(): boolean {
    const { connections, pending, slots, heldBytes, deadlines } = this.test.stats();
    return connections + pending + slots + heldBytes + deadlines === 0;
  }

  close(): Promise<void> {
    return this.test.close();
  }
}

export interface OpenOptions {
  readonly options?: SecureWsOptions;
  /** Creates the gateways; default one at `/` that echoes. */
  readonly gateways?: (...place: [] | [port: number]) => Type[];
  readonly metadata?: ModuleMetadata;
  /** `null`: the platform’s own default. */
  readonly host?: null;
}

export async function open(
  setup: Setup,
  { options = {}, gateways = echoes, metadata, host }: OpenOptions = {},
): Promise<RunningSetup> {
  const pair = setup.tls ? selfSigned() : undefined;
  const ownPort = setup.own ? freePort() : undefined;
  const test = await startApp({
    platform: setup.platform,
    gateways: ownPort === undefined ? gateways() : gateways(ownPort),
    options: {
      ...options,
      connections: { ...ROOMY, ...options.connections },
      ...(ownPort === undefined ? {} : { listen: { host: '127.0.0.1' }, ...(pair === undefined ? {} : { tls: pair }) }),
    },
    ...(pair !== undefined && ownPort === undefined ? { https: pair } : {}),
    ...(metadata === undefined ? {} : { metadata }),
    ...(host === undefined ? {} : { host }),
  });
  return new RunningSetup(test, setup, ownPort ?? test.port);
}

/** A gateway at `/` that returns what it receives. */
export function echoes(...place: [] | [port: number]): Type[] {
  const decorate = place.length === 1 ? SecureGateway(place[0], { path: '/' }) : SecureGateway();
  @decorate
  class EchoGateway {
    @SubscribeMessage('echo')
    echo(@MessageBody() data: unknown) {
      return { event: 'echo', data };
    }
  }
  return [EchoGateway];
}
