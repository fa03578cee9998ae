import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { defaultEnvironment } from '../lib/config/environment.js';
import { invalidValue } from '../lib/config/problems.js';
import { resolveSettings } from '../lib/config/resolve.js';
import { PATHS, ROWS, VARIABLES } from '../lib/config/rows.js';

const NOTHING = { get: () => undefined, names: [] };
/** Options without a variable. */
const CODE_ONLY = [
  'tls.cert',
  'tls.key',
  'tls.ca',
  'foreign',
  'guards',
  'messageParser',
  'keepRequest',
  'client.allowPrivateRedirects',
  'cluster.client',
  'cluster.store',
  'cluster.bus',
];

describe('the option table', () => {
  it.each(ROWS.map((entry) => [entry.path, entry] as const))('describes %s completely', (path, entry) => {
    const { row } = entry;
    expect(row.means).toMatch(/^[A-Z`].*[.)]$/);
    expect(row.means).not.toMatch(/Removable|Code only/);
    if (row.variable === undefined) expect(CODE_ONLY).toContain(path);
    else expect(row.variable).toMatch(/^WEBSOCKETS_[A-Z0-9]+(_[A-Z0-9]+)*$/);
    if (row.default !== undefined) expect(row.parse(row.default)).not.toBeUndefined();
    const value = row.parse(row.default);
    if (row.variable !== undefined && value !== undefined && row.type !== 'List')
      expect(row.parse(row.show(value))).toEqual(value);
    const problem = invalidValue(entry, Symbol('x'), '');
    for (const part of [path, row.variable ?? '', row.noun, row.expected ?? '']) expect(problem).toContain(part);
  });

  it('has no name twice', () => {
    expect(new Set(PATHS).size).toBe(PATHS.length);
    expect(new Set(VARIABLES).size).toBe(VARIABLES.length);
  });

  it('has the defaults of the contract', () => {
    const { settings } = resolveSettings({}, NOTHING);
    expect(settings).toMatchObject({
      http: { maxLineLength: 8192, maxNumHeaders: 128, maxBodySize: 1_048_576, openTimeout: 10_000 },
      proxy: { trusted: [], header: 'x-forwarded', requireTls: false },
      connections: {
        max: 10_000,
        maxPerIp: 100,
        ipv6Prefix: 64,
        onUserLimit: 'refuse',
        rate: { limit: 100, window: 10_000 },
        maxPending: 1000,
        maxPendingPerIp: 50,
        guardTimeout: 5000,
        deniedIps: [],
        subprotocols: [],
      },
      messages: {
        maxSize: 1_048_576,
        maxFragments: 1024,
        assemblyTimeout: 30_000,
        rate: { limit: 1000, window: 5000 },
        byteRate: { limit: 8 * 1024 ** 2, window: 4000 },
        byteRatePerIp: { limit: 16 * 1024 ** 2, window: 4000 },
        controlRate: { limit: 20, window: 1000 },
        maxQueue: 16,
        concurrency: 1,
        maxStreams: 16,
        handlerTimeout: 60_000,
        strikes: { limit: 10, window: 60_000 },
      },
      buffers: {
        maxBuffered: 4 * 1024 ** 2,
        writeLimit: 65_536,
        stallTimeout: 30_000,
        budget: 256 * 1024 ** 2,
        maxPerIp: 32 * 1024 ** 2,
      },
      keepalive: { pingInterval: 20_000, pingTimeout: 20_000, closeTimeout: 10_000 },
      compression: { mode: 'shared', windowBits: 12, memLevel: 5, threshold: 256, budget: 64 * 1024 ** 2 },
      shutdown: { drainTimeout: 5000 },
      nativeAccept: 'auto',
      foreignUpgrades: 'auto',
      keepRequest: false,
      client: {
        maxRedirects: 10,
        allowPrivateRedirects: false,
        backoffInitialDelay: 5000,
        backoffMinDelay: 3100,
        backoffFactor: 1.618,
        backoffMaxDelay: 90_000,
      },
    });
    for (const path of [
      'connections.maxPerUser',
      'connections.allowedIps',
      'connections.allowedOrigins',
      'connections.allowedHosts',
      'keepalive.idleTimeout',
      'keepalive.maxLifetime',
      'compression.maxRatio',
      'listen.host',
      'tls.certFile',
    ])
      expect([path, at(settings, path)]).toEqual([path, undefined]);
  });

  it('resolves to deeply frozen values', () => {
    const { settings } = resolveSettings(
      { messages: { rate: { limit: 1, window: '1s' } }, proxy: { trusted: ['loopback'] } },
      NOTHING,
    );
    const open: string[] = [];
    const look = (value: unknown, path: string): void => {
      if (typeof value !== 'object' || value === null) return;
      if (!Object.isFrozen(value)) open.push(path);
      for (const [key, inner] of Object.entries(value)) look(inner, `${path}.${key}`);
    };
    look(settings, 'settings');
    expect(open).toEqual([]);
  });

  it.each([
    ['keepalive.maxLifetime', '90d', 90 * 86_400_000],
    ['keepalive.maxLifetime', ' 1.5 h ', 5_400_000],
    ['messages.maxSize', '64kb', 65_536],
    ['messages.maxSize', '1MB', 1_048_576],
    ['shutdown.drainTimeout', 0, 0],
    ['shutdown.drainTimeout', '0', 0],
    ['compression.threshold', 0, 0],
    ['messages.rate', { limit: '20', window: 1000 }, { limit: 20, window: 1000 }],
    ['messages.byteRate', '1kb/250ms', { limit: 1024, window: 250 }],
    ['connections.allowedIps', '10.0.0.0/8, ::1,', ['10.0.0.0/8', '::1']],
    ['proxy.requireTls', 'yes', true],
  ])('parses %s = %j', (path, written, expected) => {
    const [group = '', key = ''] = path.split('.');
    expect(at(resolveSettings({ [group]: { [key]: written } }, NOTHING).settings, path)).toEqual(expected);
    const variable = ROWS.find((entry) => entry.path === path)!.row.variable;
    expect(
      at(resolveSettings({}, { get: (name) => (name === variable ? written : undefined), names: [] }).settings, path),
    ).toEqual(expected);
  });

  it.each([
    ['messages.maxSize', -1],
    ['messages.maxSize', Number.NaN],
    ['messages.maxSize', Number.POSITIVE_INFINITY],
    ['messages.maxSize', '1e3'],
    ['messages.maxSize', '0x10'],
    ['messages.maxSize', 1.5],
    ['messages.maxSize', true],
    ['messages.maxQueue', 0],
    ['keepalive.pingInterval', 0],
    ['keepalive.idleTimeout', null],
    ['messages.rate', '20'],
    ['messages.rate', '0/1s'],
    ['messages.rate', '20/31d'],
    ['messages.rate', { limit: 1, window: 1, burst: 2 }],
    ['connections.allowedIps', '10.0.0.0/33'],
    ['connections.allowedOrigins', 'example.com'],
    ['connections.subprotocols', ['a', 'a']],
    ['connections.ipv6Prefix', 47],
    ['serverHeader', 'a\r\nb'],
    ['keepRequest', 'true'],
    ['proxy.requireTls', 'perhaps'],
  ])('refuses %s = %p and names it', (path, written) => {
    const [group = '', key] = path.split('.');
    const options = key === undefined ? { [group]: written } : { [group]: { [key]: written } };
    expect(() => resolveSettings(options, NOTHING)).toThrow(path);
  });

  it.each(['', ' ', '\t'])(
    'treats an empty variable (%j) as unset, except that it removes the identification headers',
    (empty) => {
      const { settings, sources } = resolveSettings({}, { get: () => empty, names: [] });
      const defaults = resolveSettings({}, NOTHING).settings;
      expect(settings).toEqual({
        ...defaults,
        serverHeader: null,
        client: { ...defaults.client, userAgentHeader: null },
      });
      expect([...sources].filter(([, source]) => source !== 'default').map(([path]) => path)).toEqual([
        'serverHeader',
        'client.userAgentHeader',
      ]);
    },
  );

  it.each(['none', ' None '])('treats %j in a variable as null where the option is removable', (none) => {
    const removable = ROWS.filter(({ row }) => row.removable);
    expect(removable.map(({ path }) => path)).toEqual(
      expect.arrayContaining(['serverHeader', 'messages.handlerTimeout', 'keepalive.pingInterval']),
    );
    const variables = new Set(removable.map(({ row }) => row.variable));
    const { settings } = resolveSettings({}, { get: (name) => (variables.has(name) ? none : undefined), names: [] });
    for (const { path } of removable) expect([path, at(settings, path)]).toEqual([path, null]);
    expect(() =>
      resolveSettings({}, { get: (name) => (name === 'WEBSOCKETS_MAX_SIZE' ? none : undefined), names: [] }),
    ).toThrow('WEBSOCKETS_MAX_SIZE (messages.maxSize)');
  });

  it('refuses values that JSON cannot represent, and names the option', () => {
    const circular: Record<string, unknown> = {};
    circular['self'] = circular;
    for (const written of [circular, 10n, () => 1, Symbol('x'), { toString: null }])
      expect(() => resolveSettings({ messages: { maxSize: written as never } }, NOTHING)).toThrow('messages.maxSize');
  });

  it('stops the start when .env is unreadable, but not when it is missing', () => {
    const folder = mkdtempSync(join(tmpdir(), 'nest-secure-ws-'));
    try {
      expect(defaultEnvironment(folder).get('WEBSOCKETS_MAX_SIZE')).toBeUndefined();
      writeFileSync(join(folder, '.env'), 'WEBSOCKETS_MAX_SIZE=2kb\nOTHER=1\n');
      expect(defaultEnvironment(folder)).toMatchObject({ names: expect.arrayContaining(['WEBSOCKETS_MAX_SIZE']) });
      expect(defaultEnvironment(folder).get('WEBSOCKETS_MAX_SIZE')).toBe('2kb');
      rmSync(join(folder, '.env'));
      mkdirSync(join(folder, '.env'));
      expect(() => defaultEnvironment(folder)).toThrow('EISDIR');
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it('shows no secret in errors', () => {
    expect(() => resolveSettings({ tls: { key: 7 as never } }, NOTHING)).toThrow(
      'tls.key: the value (not shown) is not a PEM text or Buffer',
    );
  });
});

const at = (settings: object, path: string): unknown =>
  path.split('.').reduce<unknown>((value, key) => (value as Record<string, unknown>)[key], settings);
