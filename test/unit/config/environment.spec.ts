import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Module } from '@nestjs/common';
import { ConfigModule, type ConfigModuleOptions, ConfigService } from '@nestjs/config';
import { ModulesContainer, NestFactory } from '@nestjs/core';
import { configServiceIn } from '../../../lib/compat/config-service.js';
import { defaultEnvironment, environmentOf } from '../../../lib/config/environment.js';
import { nearVariable } from '../../../lib/config/near-names.js';
import { readSettings } from '../../../lib/config/resolve.js';
import { VARIABLES } from '../../../lib/config/rows.js';
import { turn } from '../../support/time.js';

describe('nearVariable', () => {
  it.each([
    ['WEBSOCKETS_MAX_CONECTIONS', 'WEBSOCKETS_MAX_CONNECTIONS'],
    ['WEBSOCKET_MAX_SIZE', 'WEBSOCKETS_MAX_SIZE'],
    ['WEBSOCKETS_MAXSIZE', 'WEBSOCKETS_MAX_SIZE'],
    ['websockets_allowed_ips', 'WEBSOCKETS_ALLOWED_IPS'],
    ['WebSockets_Allowed_Ips', 'WEBSOCKETS_ALLOWED_IPS'],
    ['websocketsAllowedIps', 'WEBSOCKETS_ALLOWED_IPS'],
    ['WEBSOCKETS-ALLOWED-IPS', 'WEBSOCKETS_ALLOWED_IPS'],
    ['WEBSOCKETS.ALLOWED.IPS', 'WEBSOCKETS_ALLOWED_IPS'],
    ['WEB_SOCKETS_ALLOWED_IPS', 'WEBSOCKETS_ALLOWED_IPS'],
    ['WEBSOKCETS_ALLOWED_IPS', 'WEBSOCKETS_ALLOWED_IPS'],
    ['WEBSOCKETS_ALLOWED_IP', 'WEBSOCKETS_ALLOWED_IPS'],
    ['WEBSOCKETS_ALOWED_ORIGIN', 'WEBSOCKETS_ALLOWED_ORIGINS'],
    ['WEBSOCKETS__MAX_SIZE', 'WEBSOCKETS_MAX_SIZE'],
    ['WEBSOCKETS_MAX_SIZE_', 'WEBSOCKETS_MAX_SIZE'],
    ['WEBSOCKETS_CONNECTIONS_MAX', 'WEBSOCKETS_MAX_CONNECTIONS'],
    ['WEBSOCKETS_MESSAGES_MAX_SIZE', 'WEBSOCKETS_MAX_SIZE'],
    ['WEBSOCKETS_BUFFERS_MAX_PER_IP', 'WEBSOCKETS_BUFFERS_PER_IP'],
    ['WEBSOCKETS_PROXY_TRUSTED', 'WEBSOCKETS_TRUSTED_PROXIES'],
    ['WEBSOCKETS_TLS_CERT_FILE', 'WEBSOCKETS_TLS_CERT'],
    ['WEBSOCKETS_MAX_SIEZ', 'WEBSOCKETS_MAX_SIZE'],
    ['WEBSOCKETS_HSOT', 'WEBSOCKETS_HOST'],
    ['WEBSOCKET_SERVER', 'WEBSOCKETS_SERVER'],
  ])('%s suggests %s', (name, variable) => {
    expect(nearVariable(name)).toBe(variable);
  });

  it('finds every variable with a letter dropped, swapped or doubled, and in lower case', () => {
    for (const variable of VARIABLES) {
      const end = variable.length - 2;
      // A name one letter away from two variables may suggest either.
      for (const name of [
        variable.toLowerCase(),
        variable.replaceAll('_', '-'),
        variable.replace('WEBSOCKETS', 'WEBSOCKET'),
        `${variable.slice(0, end)}${variable.slice(end + 1)}`,
        `${variable.slice(0, end)}${variable.charAt(end)}${variable.slice(end)}`,
      ])
        expect([name, nearVariable(name) ?? 'nothing']).not.toEqual([name, 'nothing']);
    }
  });

  it.each([
    'WEBSOCKETS_PORT',
    'WEBSOCKETS_URL',
    'WEBSOCKETS_PATH',
    'WEBSOCKETS_ENABLED',
    'WEBSOCKETS_',
    'WEBSOCKETS',
    'WEBSOCKET',
    'WEBSOCKET_URL',
    'WEBPACK_MODE',
    'WEB_CONCURRENCY',
    'PATH',
    'HOST',
    'MAX_SIZE',
    'SOCKETS_MAX_SIZE',
    '',
    `WEBSOCKETS_${'X'.repeat(10_000)}`,
  ])('%.40s suggests no variable', (name) => {
    expect(nearVariable(name)).toBeUndefined();
  });

  it('are read quickly beside many unrelated variables', async () => {
    const names = Array.from({ length: 20_000 }, (_, index) => `SERVICE_${index}_PORT_8080_TCP_ADDR`);
    // If distances to all variables were measured for each name, the time limit of the test would pass.
    for (let round = 0; round < 40; round++) {
      expect(readSettings({}, { get: () => undefined, names }).warnings).toEqual([]);
      await turn();
    }
  });

  it('escapes and truncates the name in its warning', () => {
    const { warnings } = readSettings({}, { get: () => undefined, names: [`WEBSOCKETS_\n\x1b[2J${'x'.repeat(1000)}`] });
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).not.toMatch(/[\x00-\x1f]/);
    expect(warnings[0]!.length).toBeLessThan(200);
  });
});

describe('WEBSOCKETS_ variables that ConfigService does not return', () => {
  let folder: string;
  let before: NodeJS.ProcessEnv;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'nest-secure-ws-'));
    before = { ...process.env };
  });
  afterEach(() => {
    rmSync(folder, { recursive: true, force: true });
    for (const name of Object.keys(process.env)) if (!(name in before)) delete process.env[name];
  });

  /** Settings, problems and warnings of an application whose ConfigModule reads these files and this environment. */
  async function reading(options: ConfigModuleOptions, files: Record<string, string>, environment: object = {}) {
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
    Object.assign(process.env, environment);
    const envFilePath = [options.envFilePath ?? '.env'].flat().map((file) => join(folder, file));
    @Module({ imports: [ConfigModule.forRoot({ ...options, envFilePath })] })
    class AppModule {}
    const context = await NestFactory.createApplicationContext(AppModule, { logger: false });
    const { problems, warnings, settings } = readSettings({}, environmentOf(context.get(ConfigService), folder));
    await context.close();
    return { problems, warnings, settings };
  }

  const RESTRICTING = 'WEBSOCKETS_ALLOWED_IPS=10.0.0.0/8\nWEBSOCKETS_SERVER=x\n';
  const reported = {
    problems: [expect.stringMatching(/^WEBSOCKETS_ALLOWED_IPS \(connections\.allowedIps\): set in \.env, /)],
    warnings: [expect.stringMatching(/^WEBSOCKETS_SERVER \(serverHeader\): set in \.env, /)],
  };
  const keepsPort = (all: Record<string, unknown>) => ({ PORT: all['PORT'] });
  const schema = {
    '~standard': { version: 1, vendor: 'test', validate: (value: unknown) => ({ value: keepsPort(value as never) }) },
  } as never;

  it('are a warning when `validate` drops them, an error when they restrict access', async () => {
    expect(await reading({ validate: keepsPort }, { '.env': RESTRICTING })).toMatchObject(reported);
  });

  it('are reported when `ignoreEnvFile` is set or another file is read', async () => {
    expect(await reading({ ignoreEnvFile: true }, { '.env': RESTRICTING })).toMatchObject(reported);
    const files = { '.env': RESTRICTING, 'other.env': 'WEBSOCKETS_SERVER=y' };
    expect(await reading({ envFilePath: 'other.env' }, files)).toMatchObject({
      problems: reported.problems,
      warnings: [],
    });
  });

  it('are an error when only the process environment holds them and `skipProcessEnv` is set', async () => {
    const { problems } = await reading({ skipProcessEnv: true }, {}, { WEBSOCKETS_MAX_CONNECTIONS: '5' });
    expect(problems).toEqual([
      expect.stringContaining("WEBSOCKETS_MAX_CONNECTIONS (connections.max): set in the process's environment"),
    ]);
  });

  it.each<[string, ConfigModuleOptions, Record<string, string>]>([
    ['the defaults', {}, { '.env': RESTRICTING }],
    [
      'a validationSchema that drops them, because Nest merges them back',
      { validationSchema: schema },
      { '.env': RESTRICTING },
    ],
    ['another file', { envFilePath: 'other.env' }, { 'other.env': RESTRICTING }],
    [
      'expanded variables',
      { expandVariables: true },
      { '.env': `NETWORK_OF_TEST=10.0.0.0/8\nWEBSOCKETS_ALLOWED_IPS=\${NETWORK_OF_TEST}\n` },
    ],
    [
      '`load`',
      { ignoreEnvFile: true, load: [() => ({ WEBSOCKETS_ALLOWED_IPS: ['10.0.0.0/8'] })] },
      { '.env': 'WEBSOCKETS_ALLOWED_IPS=::1' },
    ],
    [
      'typed values',
      { validate: () => ({ WEBSOCKETS_ALLOWED_IPS: ['10.0.0.0/8'] }) },
      { '.env': 'WEBSOCKETS_ALLOWED_IPS=10.0.0.0/8' },
    ],
  ])('are read with %s', async (_, options, files) => {
    expect(await reading(options, files)).toMatchObject({
      problems: [],
      warnings: [],
      settings: { connections: { allowedIps: ['10.0.0.0/8'] } },
    });
  });

  it('are not reported when empty; near names are found in files and in `load`', async () => {
    expect(
      await reading({ ignoreEnvFile: true }, { '.env': 'WEBSOCKETS_ALLOWED_IPS=\nWEBSOCKETS_SERVER= \n' }),
    ).toMatchObject({
      problems: [],
      warnings: [],
    });
    const { problems } = await reading(
      { ignoreEnvFile: true, load: [() => ({ WEBSOCKETS_MAX_CONECTIONS: 1, websocketsServer: {}, websockets: {} })] },
      { '.env': 'WEBSOCKETS_ALOWED_IPS=::1' },
    );
    expect(problems).toEqual([
      expect.stringMatching(/^WEBSOCKETS_ALOWED_IPS: .* did you mean WEBSOCKETS_ALLOWED_IPS\?/),
      expect.stringMatching(/^WEBSOCKETS_MAX_CONECTIONS: .* did you mean WEBSOCKETS_MAX_CONNECTIONS\?/),
    ]);
  });

  it('are read by name from a ConfigService without internals', () => {
    const config = { get: () => undefined } as unknown as ConfigService;
    Object.assign(process.env, { WEBSOCKETS_MAX_QUEUE: '5' });
    expect(readSettings({}, environmentOf(config, folder)).problems).toEqual([
      expect.stringContaining('WEBSOCKETS_MAX_QUEUE'),
    ]);
  });

  it('near names in `.env` are reported without a ConfigModule', () => {
    writeFileSync(join(folder, '.env'), 'WEBSOCKETS_ALOWED_IPS=::1');
    expect(readSettings({}, defaultEnvironment(folder)).problems).toEqual([
      expect.stringContaining('WEBSOCKETS_ALOWED_IPS'),
    ]);
  });
});

describe('configServiceIn', () => {
  async function found(...imports: object[]) {
    class AppModule {}
    Module({ imports: imports as never[] })(AppModule);
    const app = await NestFactory.createApplicationContext(AppModule, { logger: false });
    const service = configServiceIn(app.get(ModulesContainer).values());
    await app.close();
    return service;
  }
  /** A module that provides `service`. */
  const providing = (module: new () => object, service: new () => object) => {
    Module({ providers: [service] })(module);
    return module;
  };

  it('finds the ConfigService of a ConfigModule, however it is imported', async () => {
    const options = { ignoreEnvFile: true, isGlobal: false };
    for (const module of [ConfigModule, ConfigModule.forRoot(options), ConfigModule.forFeature(() => ({}))])
      expect(await found(module)).toBe(ConfigService);
  });

  it('finds that of another copy of the package, under any name', async () => {
    class Minified {
      static get envVariablesLoaded() {
        return Promise.resolve();
      }
    }
    class Shortened {
      get() {}
      getOrThrow() {}
    }
    expect(await found(providing(Minified, Shortened))).toBe(Shortened);
  });

  it('does not take classes of the application with these names', async () => {
    const own = {
      ConfigModule: class {},
      ConfigService: class {
        get() {}
        getOrThrow() {}
      },
    };
    expect([own.ConfigModule.name, own.ConfigService.name]).toEqual(['ConfigModule', 'ConfigService']);
    expect(await found(providing(own.ConfigModule, own.ConfigService))).toBeUndefined();
    expect(await found()).toBeUndefined();
  });
});
