import { afterEach, describe, expect, it } from '@jest/globals';
import { type INestApplication, Injectable, Module, Optional, Scope, type Type } from '@nestjs/common';
import { ConfigModule } from '@nestjs/config';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { IoAdapter } from '@nestjs/platform-socket.io';
import { WsAdapter } from '@nestjs/platform-ws';
import { Test } from '@nestjs/testing';
import { SubscribeMessage, WebSocketGateway, WebSocketServer } from '@nestjs/websockets';
import { MessageRate, SecureGateway, SecureWsModule, UseAdmissionGuards } from 'nest-secure-ws';
import { PLATFORMS, startApp } from '../support/app.js';
import { freePort } from '../support/ports.js';
import { RawClient, upgradeHead } from '../support/raw-client.js';

/** Decorators of this package on a gateway that another adapter serves, and Nest's preview mode. */
const MESSAGE = /Another WebSocket adapter .* serves \w+Gateway, .*add SecureWsModule\.forRoot\(\) to the imports/;

@SecureGateway({ path: '/secure' })
class SecureOnlyGateway {}

@SecureGateway(freePort())
class OwnPortGateway {}

@WebSocketGateway({ path: '/guarded' })
@UseAdmissionGuards(() => false)
class GuardedGateway {
  afterInit = (): void => undefined;
}

@WebSocketGateway({ path: '/rated' })
class RatedGateway {
  @SubscribeMessage('x') @MessageRate('1/1s') x() {}
}

@WebSocketGateway({ path: '/inherits' })
class InheritingGateway extends RatedGateway {
  @WebSocketServer() server: unknown;
}

@Injectable({ scope: Scope.REQUEST })
class PerRequest {}

@SecureGateway({ path: '/scoped' })
class ScopedGateway {
  constructor(@Optional() readonly request: PerRequest) {}
}

@WebSocketGateway({ path: '/plain' })
class PlainGateway {}

const GATEWAYS = [SecureOnlyGateway, OwnPortGateway, GuardedGateway, RatedGateway, InheritingGateway, ScopedGateway];
const ADAPTERS = { ws: WsAdapter, 'socket.io': IoAdapter };

const apps: INestApplication[] = [];
afterEach(async () => {
  for (const app of apps.splice(0)) await app.close();
});

async function create(gateway: Type, platform: string, adapter: keyof typeof ADAPTERS): Promise<INestApplication> {
  @Module({ providers: [gateway, PerRequest] })
  class FeatureModule {}
  @Module({ imports: [FeatureModule] })
  class AppModule {}
  const http = platform === 'fastify' ? [new FastifyAdapter()] : [];
  const app = await NestFactory.create(AppModule, ...(http as []), { logger: false, abortOnError: false });
  app.useWebSocketAdapter(new ADAPTERS[adapter](app));
  apps.push(app);
  return app;
}

describe('without SecureWsModule', () => {
  const cases = GATEWAYS.flatMap((gateway) =>
    PLATFORMS.flatMap((platform) =>
      (Object.keys(ADAPTERS) as (keyof typeof ADAPTERS)[]).map((adapter) => [gateway.name, platform, adapter] as const),
    ),
  );
  it.each(cases)('%s does not start on %s with %s', async (name, platform, adapter) => {
    const app = await create(GATEWAYS.find((gateway) => gateway.name === name)!, platform, adapter);
    await expect(app.listen(0, '127.0.0.1')).rejects.toThrow(MESSAGE);
    expect((app.getHttpServer() as { listening: boolean }).listening).toBe(false);
  });

  it('a testing application does not start either, but the gateway class can be tested', async () => {
    const testing = await Test.createTestingModule({ providers: [SecureOnlyGateway] }).compile();
    expect(testing.get(SecureOnlyGateway)).toBeInstanceOf(SecureOnlyGateway);
    await testing.init();
    const app = testing.createNestApplication({ logger: false });
    app.useWebSocketAdapter(new WsAdapter(app));
    apps.push(app);
    await expect(app.init()).rejects.toThrow(MESSAGE);
  });

  it('other gateways start', async () => {
    const app = await create(PlainGateway, 'express', 'ws');
    await app.init();
  });
});

it('with SecureWsModule and another adapter in its place the application does not start', async () => {
  const testing = await Test.createTestingModule({
    imports: [SecureWsModule.forRoot()],
    providers: [SecureOnlyGateway],
  }).compile();
  const app = testing.createNestApplication({ logger: false });
  app.useWebSocketAdapter(new WsAdapter(app));
  apps.push(app);
  await expect(app.init()).rejects.toThrow('remove app.useWebSocketAdapter()');
});

it.each([
  [PlainGateway, undefined],
  [SecureOnlyGateway, 'remove app.useWebSocketAdapter()'],
])('with guarded upgrades of that adapter %p starts only if it is a plain gateway', async (gateway, words) => {
  const testing = await Test.createTestingModule({
    imports: [SecureWsModule.forRoot({ foreign: [{ path: '/plain', guards: [({ query }) => query.has('good')] }] })],
    providers: [gateway],
  }).compile();
  const app = testing.createNestApplication({ logger: false });
  app.useWebSocketAdapter(new WsAdapter(app));
  apps.push(app);
  const listening = app.listen(0, '127.0.0.1');
  if (words !== undefined) return expect(listening).rejects.toThrow(words);
  await listening;
  const { port } = app.getHttpServer().address() as { port: number };
  for (const [query, status] of [
    ['good', 101],
    ['bad', 403],
  ] as const) {
    const client = await RawClient.connect({ port });
    expect((await client.upgrade(upgradeHead(port, { path: `/plain?${query}` }))).status).toBe(status);
    client.destroy();
  }
});

it('with SecureWsModule all gateways start, and their instances have no new properties', async () => {
  const { app, close } = await startApp({ gateways: GATEWAYS, metadata: { providers: [PerRequest] } });
  expect(Object.keys(app.get(SecureOnlyGateway))).toEqual([]);
  expect(app.get(InheritingGateway).server).toBeDefined();
  await close();
});

describe('Nest’s preview mode', () => {
  const preview = async (imports: Parameters<typeof Module>[0]['imports'], platform = 'express') => {
    @Module({ imports: imports!, providers: [SecureOnlyGateway, OwnPortGateway] })
    class AppModule {}
    const http = platform === 'fastify' ? [new FastifyAdapter()] : [];
    const app = await NestFactory.create(AppModule, ...(http as []), {
      logger: false,
      preview: true,
      abortOnError: false,
    });
    await app.init();
    return app;
  };

  it.each(PLATFORMS)('inspects an application and ends: %s', async (platform) => {
    await preview([SecureWsModule.forRoot({ connections: { max: 10 } })], platform);
    await preview([SecureWsModule.forRootAsync({ useFactory: () => ({ connections: { max: 0 } }) })], platform);
    await preview([
      ConfigModule.forRoot({ load: [() => ({ WEBSOCKETS_MAX_SIZE: 'from load' })] }),
      SecureWsModule.forRoot(),
    ]);
  });

  it('checks the settings known without providers', async () => {
    await expect(preview([SecureWsModule.forRoot({ connections: { max: -1 } })])).rejects.toThrow('connections.max');
  });
});
