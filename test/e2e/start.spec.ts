import { lookup } from 'node:dns/promises';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server as NetServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it, jest } from '@jest/globals';
import {
  type INestApplicationContext,
  Injectable,
  Logger,
  Module,
  type ModuleMetadata,
  type Type,
} from '@nestjs/common';
import { ConfigModule } from '@nestjs/config';
import { ApplicationConfig, NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { WsAdapter } from '@nestjs/platform-ws';
import { Test } from '@nestjs/testing';
import { MessageBody, SubscribeMessage, WebSocketGateway } from '@nestjs/websockets';
import { SocketModule } from '@nestjs/websockets/socket-module.js';
import {
  MessageRate,
  SecureGateway,
  type SecureGatewayOptions,
  SecureWsBroadcaster,
  SecureWsModule,
  type SecureWsOptions,
  type SecureWsOptionsFactory,
  SecureWsStats,
} from 'nest-secure-ws';
import { PLATFORMS, startApp, type TestApp } from '../support/app.js';
import { freePort } from '../support/ports.js';
import { RawClient, upgradeHead } from '../support/raw-client.js';

@SecureGateway()
class EchoGateway {
  @SubscribeMessage('echo') echo(@MessageBody() data: unknown) {
    return { event: 'echo', data };
  }
}

/** A new gateway class for each use, because decorators cannot be removed. */
function gatewayWith(
  options: SecureGatewayOptions & Record<string, unknown>,
  port?: number,
  name = 'SomeGateway',
): Type {
  const type = { [name]: class {} }[name] as Type;
  if (port === undefined) SecureGateway(options)(type);
  else SecureGateway(port, options)(type);
  return type;
}

const closing: { close(): unknown }[] = [];
const undo: (() => void)[] = [];
afterEach(async () => {
  for (const each of closing.splice(0).reverse()) await each.close();
  for (const each of undo.splice(0).reverse()) each();
});

async function start(...args: Parameters<typeof startApp>): Promise<TestApp> {
  const app = await startApp(...args);
  closing.push(app);
  return app;
}

async function speaks(port: number, host?: string, path = '/'): Promise<void> {
  const client = await RawClient.open({ port, host }, { path });
  client.send('echo', port);
  expect(await client.json()).toEqual({ event: 'echo', data: port });
  client.destroy();
}

const setEnvironment = (name: string, value: string) => {
  const before = process.env[name];
  process.env[name] = value;
  undo.push(() => {
    if (before === undefined) delete process.env[name];
    else process.env[name] = before;
  });
};

/** The lines of the error of a failed start. */
async function problemsOf(
  options: SecureWsOptions | object,
  gateways: Type[] = [],
  metadata: ModuleMetadata = {},
): Promise<string[]> {
  const error = await startApp({ options: options as SecureWsOptions, gateways, metadata }).then(
    (app) => app.close().then(() => new Error('it started')),
    (error: Error) => error,
  );
  const [first, ...lines] = error.message.split('\n');
  const settings = lines.length === 1 ? 'setting' : 'settings';
  if (lines.length > 0) expect(first).toBe(`nest-secure-ws: ${lines.length} invalid ${settings}:`);
  return lines.length > 0 ? lines.map((line) => line.replace(/^ {2}- /, '')) : [first!];
}

const serverHeader = async (port: number, path = '/none'): Promise<string | undefined> => {
  const client = await RawClient.connect({ port });
  const { headers } = await client.upgrade(upgradeHead(port, { path }));
  client.destroy();
  return headers['server'];
};

describe.each(PLATFORMS)('on %s', (platform) => {
  it('a gateway answers on the application’s port and on a dedicated port', async () => {
    const port = freePort();
    @SecureGateway(port, { path: '/own' })
    class OwnGateway extends EchoGateway {}
    const app = await start({ platform, gateways: [EchoGateway, OwnGateway] });
    await speaks(app.port);
    await speaks(port, undefined, '/own');
  });

  it('every server that the platform opens by default is protected', async () => {
    const app = await start({ platform, gateways: [EchoGateway], host: null });
    const addresses =
      platform === 'express'
        ? ['127.0.0.1', '::1']
        : (await lookup('localhost', { all: true })).map(({ address }) => address);
    for (const host of addresses) await speaks(app.port, host);
  });

  it('NestFactory needs no further call in main.ts', async () => {
    @Module({ imports: [SecureWsModule.forRoot()], providers: [EchoGateway] })
    class AppModule {}
    const options = { logger: false, abortOnError: false } as const;
    const app =
      platform === 'express'
        ? await NestFactory.create(AppModule, options)
        : await NestFactory.create(AppModule, new FastifyAdapter(), options);
    closing.push(app);
    await app.listen(0, '127.0.0.1');
    await speaks((app.getHttpServer().address() as { port: number }).port);
  });
});

describe('forRootAsync', () => {
  @Injectable()
  class Names {
    readonly name = 'from-names';
  }
  @Module({ providers: [Names], exports: [Names] })
  class NamesModule {}
  @Injectable()
  class Factory implements SecureWsOptionsFactory {
    async createSecureWsOptions(): Promise<SecureWsOptions> {
      return { serverHeader: 'from-class' };
    }
  }
  @Module({ providers: [Factory], exports: [Factory] })
  class FactoryModule {}

  it.each([
    [
      'useFactory, imports, inject',
      'from-names',
      () =>
        SecureWsModule.forRootAsync({
          imports: [NamesModule],
          inject: [Names],
          useFactory: async (names: unknown) => ({ serverHeader: (names as Names).name }),
        }),
    ],
    ['useClass', 'from-class', () => SecureWsModule.forRootAsync({ useClass: Factory })],
    [
      'useExisting',
      'from-class',
      () => SecureWsModule.forRootAsync({ imports: [FactoryModule], useExisting: Factory }),
    ],
  ])('accepts %s', async (_, expected, module) => {
    @Module({ providers: [EchoGateway] })
    class FeatureModule {
      constructor(readonly broadcaster: SecureWsBroadcaster) {}
    }
    const testing = await Test.createTestingModule({ imports: [module(), FeatureModule] }).compile();
    const app = testing.createNestApplication({ logger: false });
    closing.push(app);
    await app.listen(0, '127.0.0.1');
    const { port } = app.getHttpServer().address() as { port: number };
    expect(await serverHeader(port)).toBe(expected);
    expect(app.get(FeatureModule).broadcaster).toBeInstanceOf(SecureWsBroadcaster);
    await speaks(port);
  });

  it('names a factory that returns nothing', async () => {
    const compile = Test.createTestingModule({
      imports: [SecureWsModule.forRootAsync({ useFactory: () => undefined as never })],
    }).compile();
    await expect(compile).rejects.toThrow('SecureWsModule has no options');
  });
});

describe('the start fails with an explanation', () => {
  const failing = async (start: () => Promise<unknown>) =>
    start().then(
      () => 'it started',
      (error: Error) => error.message,
    );
  const listening =
    (build: (app: Awaited<ReturnType<typeof NestFactory.create>>) => void, metadata: ModuleMetadata, http2 = false) =>
    async () => {
      @Module(metadata)
      class AppModule {}
      const app = http2
        ? await NestFactory.create(AppModule, new FastifyAdapter({ http2: true } as object), {
            logger: false,
            abortOnError: false,
          })
        : await NestFactory.create(AppModule, { logger: false, abortOnError: false });
      closing.push(app);
      build(app as never);
      await app.listen(0, '127.0.0.1');
    };

  it('when the module is imported twice', async () => {
    @Module({ imports: [SecureWsModule.forRoot()] })
    class Feature {}
    expect(await failing(listening(() => undefined, { imports: [SecureWsModule.forRoot(), Feature] }))).toContain(
      'SecureWsModule is imported more than once',
    );
  });

  it('when it is imported without forRoot()', async () => {
    expect(await failing(listening(() => undefined, { imports: [SecureWsModule] }))).toContain(
      'import SecureWsModule.forRoot()',
    );
  });

  it('when another adapter has replaced its own', async () => {
    expect(
      await failing(
        listening((app) => app.useWebSocketAdapter(new WsAdapter(app)), {
          imports: [SecureWsModule.forRoot()],
          providers: [EchoGateway],
        }),
      ),
    ).toContain('Another WebSocket adapter');
  });

  it('over HTTP/2', async () => {
    expect(
      await failing(
        listening(() => undefined, { imports: [SecureWsModule.forRoot()], providers: [EchoGateway] }, true),
      ),
    ).toContain('HTTP/1.1 only');
  });

  it('when a dedicated port is in use', async () => {
    const server: NetServer = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    closing.push({ close: () => new Promise((resolve) => server.close(resolve)) });
    const { port } = server.address() as { port: number };
    const gateway = gatewayWith({ listen: { host: '127.0.0.1' } }, port);
    expect(await failing(() => startApp({ gateways: [gateway] }))).toContain('EADDRINUSE');
  });
});

describe('without an HTTP server', () => {
  const metadata = (port: number, options: SecureWsOptions = {}): Type => {
    @SecureGateway(port)
    class OwnGateway extends EchoGateway {}
    @Module({ imports: [SecureWsModule.forRoot(options)], providers: [EchoGateway, OwnGateway] })
    class AppModule {}
    return AppModule;
  };
  const refuses = async (port: number) => expect(RawClient.connect({ port })).rejects.toThrow('ECONNREFUSED');
  const silent = { logger: false, abortOnError: false } as const;

  it('createApplicationContext checks the settings and listens to no port', async () => {
    const port = freePort();
    const context: INestApplicationContext = await NestFactory.createApplicationContext(metadata(port), silent);
    closing.push(context);
    await refuses(port);
    context.get(SecureWsBroadcaster).emit('nobody');
    const wrong = { messages: { maxSize: 'lots' } } as const;
    await expect(NestFactory.createApplicationContext(metadata(port, wrong), silent)).rejects.toThrow(
      'messages.maxSize (WEBSOCKETS_MAX_SIZE)',
    );
  });

  it('a microservice, which binds gateways without a server, starts', async () => {
    const context = await NestFactory.createApplicationContext(metadata(freePort()), silent);
    closing.push(context);
    const { container } = context as unknown as { container: unknown };
    const config = context.get(ApplicationConfig);

    const sockets = new SocketModule();
    const inspector = { insertEntrypointDefinition: () => undefined };
    // The calls that NestMicroservice makes for the gateways of its modules.
    await sockets.register(container as never, config, inspector as never, {} as never);
    await sockets.close();
  });

  it('preview mode starts', async () => {
    const port = freePort();
    const app = await NestFactory.create(metadata(port), { ...silent, preview: true });
    closing.push(app);
    await app.init();
    await refuses(port);
  });

  it('dedicated ports listen at bootstrap, not at create; init() alone opens no HTTP server', async () => {
    const port = freePort();
    const app = await NestFactory.create(metadata(port), silent);
    closing.push(app);
    await refuses(port);
    await app.init();
    await speaks(port);
    expect(app.getHttpServer().listening).toBe(false);
  });
});

describe('settings', () => {
  it('are taken from the gateway, then forRoot(), then the environment, then the default', async () => {
    setEnvironment('WEBSOCKETS_SERVER', 'from-environment');
    const port = freePort();
    const gateways = [EchoGateway, gatewayWith({ serverHeader: 'from-gateway' }, port)];
    const app = await start({ gateways });
    expect(await serverHeader(app.port)).toBe('from-environment');
    expect(await serverHeader(port)).toBe('from-gateway');
    expect(
      await serverHeader((await start({ gateways: [EchoGateway], options: { serverHeader: 'from-options' } })).port),
    ).toBe('from-options');
    setEnvironment('WEBSOCKETS_SERVER', '');
    expect(await serverHeader((await start({ gateways: [EchoGateway] })).port)).toBeUndefined();
    expect(
      await serverHeader((await start({ gateways: [EchoGateway], options: { serverHeader: null } })).port),
    ).toBeUndefined();
  });

  it('are read from `.env` only without a ConfigModule; the process environment takes precedence', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'nest-secure-ws-'));
    const before = process.cwd();
    process.chdir(directory);
    undo.push(
      () => rmSync(directory, { recursive: true }),
      () => process.chdir(before),
    );
    writeFileSync('.env', 'WEBSOCKETS_SERVER=from-dot-env\n');
    writeFileSync('other.env', 'WEBSOCKETS_SERVER=from-other-env\n');
    expect(await serverHeader((await start({ gateways: [EchoGateway] })).port)).toBe('from-dot-env');
    const withConfig = async (options: object) =>
      serverHeader(
        (
          await start({
            gateways: [EchoGateway],
            metadata: { imports: [ConfigModule.forRoot({ ...options } as object)] },
          })
        ).port,
      );
    const clean = () => delete process.env['WEBSOCKETS_SERVER'];
    undo.push(clean);
    expect(await withConfig({ envFilePath: 'other.env' })).toBe('from-other-env');
    clean();
    expect(await withConfig({ ignoreEnvFile: true })).toMatch(/^Node\.js\//);
    expect(await withConfig({ ignoreEnvFile: true, load: [() => ({ WEBSOCKETS_SERVER: 'loaded' })] })).toBe('loaded');
    clean();
    setEnvironment('WEBSOCKETS_SERVER', 'from-process');
    expect(await serverHeader((await start({ gateways: [EchoGateway] })).port)).toBe('from-process');
  });

  it('may be typed values of a `validate` function', async () => {
    // ConfigModule leaves them in process.env.
    for (const name of ['MAX_SIZE', 'SUBPROTOCOLS', 'REQUIRE_TLS'])
      undo.push(() => delete process.env[`WEBSOCKETS_${name}`]);
    const metadata = {
      imports: [
        ConfigModule.forRoot({
          ignoreEnvFile: true,
          validate: (all: object) => ({
            ...all,
            WEBSOCKETS_MAX_SIZE: 10,
            WEBSOCKETS_SUBPROTOCOLS: ['a', 'b'],
            WEBSOCKETS_REQUIRE_TLS: false,
          }),
        }),
      ],
    };
    const app = await start({ gateways: [EchoGateway], metadata });
    const client = await RawClient.open({ port: app.port }, { headers: { 'Sec-WebSocket-Protocol': 'b' } });
    client.send('echo', 'more than ten bytes');
    expect(await client.closeFrame()).toMatchObject({ code: 1009 });
    client.destroy();
  });

  it('that are invalid are reported in one error, including those of gateways', async () => {
    setEnvironment('WEBSOCKETS_PING_INTERVAL', 'soon');
    setEnvironment('WEBSOCKETS_STRIKES', '');
    setEnvironment('WEBSOCKETS_REQUIRE_TLS', 'constructor');
    @SecureGateway({ path: '/two words', keepalive: { closeTimeout: '1 fortnight' } })
    class WrongGateway {
      @MessageRate('often') @SubscribeMessage('x') x() {}
    }
    const problems = await problemsOf(
      { messages: { maxSize: 'lots\n', rate: null, concurrency: 0 }, connections: { max: 1.5 } },
      [WrongGateway],
    );
    expect(problems).toHaveLength(9);
    for (const expected of [
      'messages.maxSize (WEBSOCKETS_MAX_SIZE): "lots\\n" is not a size from 1 to 1gb; expected bytes or \'64kb\'',
      "messages.rate (WEBSOCKETS_MESSAGE_RATE): null is not a rate; expected '20/1s'",
      'messages.concurrency (WEBSOCKETS_CONCURRENCY): 0 is not a whole number from 1 to 10000',
      'connections.max (WEBSOCKETS_MAX_CONNECTIONS): 1.5 is not a whole number of at least 1',
      "WEBSOCKETS_PING_INTERVAL (keepalive.pingInterval): \"soon\" is not a duration of at least 1ms; expected milliseconds or '10s', or 'none' to remove it",
      "WEBSOCKETS_REQUIRE_TLS (proxy.requireTls): \"constructor\" is not 'true' or 'false'",
      'path of WrongGateway: "/two words" is not a path',
      'keepalive.closeTimeout (WEBSOCKETS_CLOSE_TIMEOUT) of WrongGateway: "1 fortnight" is not a duration',
      '@MessageRate of WrongGateway.x: "often" is not a rate',
    ])
      expect(problems.join('\n')).toContain(expected);
  });

  it.each([
    [{ maxPayload: 1 }, "unknown option 'maxPayload', did you mean 'messages.maxSize'?"],
    [{ perMessageDeflate: true }, "unknown option 'perMessageDeflate', did you mean 'compression.mode'?"],
    [{ cors: {} }, "unknown option 'cors', did you mean 'connections.allowedOrigins'?"],
    [{ messages: { maxsize: 1 } }, "unknown option 'messages.maxsize', did you mean 'messages.maxSize'?"],
    [{ maxPerIp: 1 }, "unknown option 'maxPerIp', did you mean 'connections.maxPerIp'?"],
    [{ constructor: 1 }, "unknown option 'constructor'"],
    [{ messages: 7 }, 'messages: 7 is not an object of settings'],
  ])('report the unknown option %j', async (options, expected) => {
    expect(await problemsOf(options)).toEqual([expected]);
  });

  it.each([
    [gatewayWith({ namespace: 'x' }), "unknown option 'namespace' of SomeGateway, did you mean 'path'?"],
    [
      gatewayWith({ proxy: { trusted: 'loopback' } as object }),
      'proxy.trusted (WEBSOCKETS_TRUSTED_PROXIES) of SomeGateway: a gateway cannot have its own; set it in forRoot() or the environment',
    ],
    [
      gatewayWith({ listen: { host: '::1' } }),
      'listen.host of SomeGateway: needs a dedicated port, @SecureGateway(port, { … })',
    ],
    [gatewayWith({}, 70_000), 'the port of SomeGateway: 70000 is not a port from 0 to 65535'],
  ])('report an option that a gateway cannot have: %#', async (gateway, expected) => {
    expect(await problemsOf({}, [gateway])).toEqual([expected]);
  });

  it('report stock options of @WebSocketGateway with the names of this package', async () => {
    @WebSocketGateway({ path: '/plain', cors: true })
    class PlainGateway {}
    expect(await problemsOf({}, [PlainGateway])).toEqual([
      "unknown option 'cors' of PlainGateway, did you mean 'connections.allowedOrigins'?",
    ]);
  });

  it('of gateways that share a path or port must not contradict each other', async () => {
    const [one, two] = [
      gatewayWith({ path: 'chat', messages: { maxSize: 1 } }, undefined, 'One'),
      gatewayWith({ path: '/chat/', messages: { maxSize: '2' } }, undefined, 'Two'),
    ];
    expect(await problemsOf({}, [one, two])).toEqual([
      'messages.maxSize of Two is "2", of One it is 1: both are on path /chat',
    ]);
    const port = freePort();
    const [three, four] = [
      gatewayWith({ path: '/3', serverHeader: 'a' }, port, 'Three'),
      gatewayWith({ path: '/4', serverHeader: 'b' }, port, 'Four'),
    ];
    expect(await problemsOf({}, [three, four])).toEqual([
      `serverHeader of Four is "b", of Three it is "a": both are on port ${port}`,
    ]);
  });

  it('report a misspelt variable as an error with the right name, and other WEBSOCKETS_ variables as a warning', async () => {
    const warn = jest.spyOn(Logger.prototype, 'warn').mockImplementation(() => undefined);
    undo.push(() => warn.mockRestore());
    setEnvironment('WEBSOCKETS_PUBLIC_ADDRESS_OF_US', 'x');
    await start({});
    expect(warn.mock.calls).toEqual([['WEBSOCKETS_PUBLIC_ADDRESS_OF_US: unknown variable']]);
    setEnvironment('WEBSOCKETS_MAX_CONECTIONS', '1');
    setEnvironment('WEBSOCKET_MAX_SIZE', '1');
    expect(await problemsOf({})).toEqual([
      'WEBSOCKETS_MAX_CONECTIONS: there is no such variable, did you mean WEBSOCKETS_MAX_CONNECTIONS? Correct the name, or unset it',
      'WEBSOCKET_MAX_SIZE: there is no such variable, did you mean WEBSOCKETS_MAX_SIZE? Correct the name, or unset it',
    ]);
  });

  it('must decide about TLS with NODE_ENV=production', async () => {
    setEnvironment('NODE_ENV', 'production');
    expect(await problemsOf({}, [EchoGateway])).toEqual([
      expect.stringContaining('proxy.requireTls (WEBSOCKETS_REQUIRE_TLS): must be set'),
    ]);
    // TLS certificates that no port uses do not count.
    expect(await problemsOf({ tls: { certFile: 'server.pem', keyFile: 'server.key' } }, [EchoGateway])).toEqual([
      expect.stringContaining('because no port of a gateway has TLS and no proxy is trusted'),
    ]);
    setEnvironment('WEBSOCKETS_REQUIRE_TLS', 'false');
    await speaks((await start({ gateways: [EchoGateway] })).port);
  });
});

it('the settings are logged in a few lines, returned completely by stats, and checked against available memory', async () => {
  const [log, warn] = (['log', 'warn'] as const).map((level) =>
    jest.spyOn(Logger.prototype, level).mockImplementation(() => undefined),
  );
  undo.push(() => jest.restoreAllMocks());
  setEnvironment('WEBSOCKETS_MAX_QUEUE', '3');
  const gateway = gatewayWith({ path: '/report', messages: { maxSize: '2kb' }, keepRequest: true });
  const app = await start({
    gateways: [gateway],
    options: { buffers: { budget: '100000gb' }, tls: { key: 'a secret' }, keepalive: { pingTimeout: null } },
  });
  const { settings, worstCaseBytes, availableBytes } = app.app.get(SecureWsStats).settings();
  const said = (path: string) =>
    settings
      .filter((each) => each.path === path)
      .map(({ value, text, source, gateway, secret }) => [value, text, source, gateway, secret]);
  expect(said('messages.maxQueue')).toEqual([[3, '3', 'environment', undefined, false]]);
  expect(said('messages.maxSize')).toEqual([
    [1_048_576, '1mb', 'default', undefined, false],
    [2048, '2kb', 'gateway', '/report', false],
  ]);
  expect(said('tls.key')).toEqual([['(not shown)', '(not shown)', 'options', undefined, true]]);
  expect(worstCaseBytes).toBe(100_000 * 1024 ** 3 + 11_000 * 16 * 1024);
  expect(availableBytes).toBeLessThan(worstCaseBytes);
  const lines = log!.mock.calls.map(([text]) => String(text)).filter((text) => text.includes('settings'));
  expect(lines).toEqual([
    'settings from options: tls.key=(not shown), buffers.budget=100000gb, keepalive.pingTimeout=none',
    'settings from environment: messages.maxQueue=3',
    'settings from gateway /report: messages.maxSize=2kb, keepRequest=true',
    expect.stringMatching(
      /^all other settings have their defaults \(SecureWsStats\.settings\(\) lists them\); peers can take at most \d+mb of the \d+[mg]b that this process can use$/,
    ),
  ]);
  expect(JSON.stringify([...log!.mock.calls, ...warn!.mock.calls])).not.toContain('a secret');
  expect(warn!.mock.calls.map(([text]) => String(text))).toEqual([
    expect.stringContaining('tls.key has no effect: no gateway has a dedicated port'),
    expect.stringContaining('allow peers to take 102400172mb'),
  ]);
});

it('two applications may share gateway classes', async () => {
  const [one, two] = [await start({ gateways: [EchoGateway] }), await start({ gateways: [EchoGateway] })];
  await speaks(one.port);
  await one.close();
  await speaks(two.port);
});
