import { describe, expect, it } from '@jest/globals';
import type { SecureGatewayOptions, SecurePortOptions, SecureWsOptions } from 'nest-secure-ws';
import { type GatewaySettingsAt, inconsistencies } from '../../../lib/config/consistency.js';
import { readGateway, resolveSettings, settingsOf } from '../../../lib/config/resolve.js';

const NOTHING = { get: () => undefined, names: [] };

interface GatewayAt {
  readonly port?: number;
  readonly options?: SecureGatewayOptions | SecurePortOptions;
}

function findings(options: SecureWsOptions, gateways: readonly GatewayAt[] = [{}], httpsServer = false) {
  const { settings, sources } = resolveSettings(options, NOTHING);
  const parts = gateways.map(({ port = 0, options = {} }): GatewaySettingsAt => {
    const reading = readGateway(options, 'Gateway', port !== 0);
    expect(reading.problems).toEqual([]);
    return {
      name: `${reading.path}${port === 0 ? '' : ` at port ${port}`}`,
      port,
      settings: settingsOf(settings, reading),
      own: reading.own.keys(),
    };
  });
  return inconsistencies({ settings, sources, gateways: parts, httpsServer });
}

const NONE = { problems: [], warnings: [] };
const text = (...parts: string[]): unknown =>
  expect.stringMatching(new RegExp(parts.map((part) => part.replace(/[.()*]/g, '\\$&')).join('.*')));

describe('conflicting settings', () => {
  it('are not reported for the defaults', () => {
    expect(findings({})).toEqual(NONE);
    expect(findings({}, [])).toEqual(NONE);
    expect(findings({ compression: { mode: 'dedicated' } }, [{ port: 8443 }])).toEqual(NONE);
  });

  it.each<[string, SecureWsOptions, string[]]>([
    [
      'all allowed addresses denied',
      { connections: { allowedIps: '10.1.0.0/16, 10.2.0.1, ::1, loopback', deniedIps: '10.0.0.0/8, ::/0, loopback' } },
      ['connections.deniedIps (WEBSOCKETS_DENIED_IPS) covers all of connections.allowedIps', 'no address can connect'],
    ],
  ])('%s stops the start', (_, options, parts) => {
    expect(findings(options).problems).toEqual([text(...parts)]);
  });

  it.each<[string, SecureWsOptions, string[]]>([
    [
      'a message above the share of its address',
      { messages: { maxSize: '40mb' } },
      [
        'messages.maxSize (WEBSOCKETS_MAX_SIZE) is 40mb, above buffers.maxPerIp (WEBSOCKETS_BUFFERS_PER_IP), which is 32mb',
        'can never be received',
      ],
    ],
    [
      'a message above the memory budget',
      { messages: { maxSize: '2mb' }, buffers: { budget: '1mb', maxPerIp: '8mb' } },
      ['messages.maxSize', 'above buffers.budget'],
    ],
    [
      'TLS required where no port has TLS',
      { proxy: { requireTls: true } },
      ['proxy.requireTls (WEBSOCKETS_REQUIRE_TLS) is true', 'gateway / has neither TLS nor a trusted proxy', '403'],
    ],
  ])('%s is a warning and does not stop the start', (_, options, parts) => {
    const { problems, warnings } = findings(options);
    expect(problems).toEqual([]);
    expect(warnings).toContainEqual(text(...parts));
  });

  it.each<[string, SecureWsOptions, GatewayAt[]?, boolean?]>([
    [
      'an allowed address outside the denied networks',
      { connections: { allowedIps: '10.0.0.0/8, 11.0.0.1', deniedIps: '10.0.0.0/8' } },
    ],
    ['a denied part of an allowed network', { connections: { allowedIps: '10.0.0.0/8', deniedIps: '10.0.0.0/16' } }],
    ['TLS required behind a trusted proxy', { proxy: { requireTls: true, trusted: '10.0.0.0/8' } }],
    ['TLS required on an HTTPS server', { proxy: { requireTls: true } }, [{}], true],
    [
      'TLS required on a dedicated port with TLS',
      { proxy: { requireTls: true } },
      [{ port: 8443, options: { tls: { certFile: 'a', keyFile: 'b' } } }],
    ],
  ])('%s is not reported', (...[, options, gateways, https]) => {
    expect(findings(options, gateways, https)).toEqual(NONE);
  });

  it('a gateway reports only its own conflicts, not those of the application again', () => {
    const big = { options: { path: '/big', messages: { maxSize: '40mb' } } };
    expect(findings({}, [big, {}])).toEqual({
      problems: [],
      warnings: [
        text('gateway /big: messages.maxSize (WEBSOCKETS_MAX_SIZE) is 40mb, above buffers.maxPerIp'),
        text('gateway /big: messages.maxSize (WEBSOCKETS_MAX_SIZE) is 40mb, above messages.byteRate'),
        text('gateway /big: messages.maxSize (WEBSOCKETS_MAX_SIZE) is 40mb, above messages.byteRatePerIp'),
      ],
    });
    const { warnings } = findings({ messages: { maxSize: '40mb' } }, [{}, { options: { path: '/2' } }]);
    expect(warnings.filter((each) => each.includes('never be received'))).toHaveLength(1);
  });

  it('proxy.requireTls names the one port of several that serves plaintext', () => {
    const tls = { certFile: 'a', keyFile: 'b' };
    expect(
      findings({ proxy: { requireTls: true } }, [{ port: 8443, options: { tls } }, { port: 8080 }]).warnings,
    ).toEqual([text('gateway / at port 8080 has neither TLS')]);
  });
});

describe('settings without effect beside others', () => {
  it.each<[string, SecureWsOptions, string[]]>([
    [
      'a message above half of the share of an address',
      { messages: { maxSize: '20mb', byteRate: '64mb/4s', byteRatePerIp: '64mb/4s' } },
      [
        'messages.maxSize (WEBSOCKETS_MAX_SIZE) is 20mb, more than half of buffers.maxPerIp (WEBSOCKETS_BUFFERS_PER_IP), which is 32mb',
        '1013',
      ],
    ],
    [
      'maxNodes too large for the share of an address',
      { messages: { maxNodes: 500_000 } },
      ['messages.maxSize', 'messages.maxNodes (WEBSOCKETS_MAX_NODES) is 500000', 'buffers.maxPerIp', '1013'],
    ],
    [
      'maxSize > maxQueueBytes',
      { messages: { maxQueueBytes: '64kb' } },
      ['messages.maxSize', 'above messages.maxQueueBytes', '64kb'],
    ],
    [
      'maxQueueBytes > maxPerIp',
      { messages: { maxQueueBytes: '64mb' } },
      ['messages.maxQueueBytes', 'above buffers.maxPerIp'],
    ],
    [
      'maxSize > byteRate',
      { messages: { byteRate: '64kb/1s' } },
      ['messages.maxSize', 'above messages.byteRate', 'nothing is read for 15s'],
    ],
    [
      'maxSize > byteRatePerIp',
      { messages: { byteRate: '1mb/8s', byteRatePerIp: '512kb/1s' } },
      ['messages.maxSize', 'messages.byteRatePerIp', '1s'],
    ],
    [
      'byteRate > byteRatePerIp',
      { messages: { byteRate: '8mb/1s' } },
      ['messages.byteRate', 'faster than messages.byteRatePerIp'],
    ],
    [
      'concurrency > maxQueue',
      { messages: { concurrency: 20 } },
      ['messages.concurrency (WEBSOCKETS_CONCURRENCY) is 20, above messages.maxQueue'],
    ],
    [
      'writeLimit > maxBuffered',
      { buffers: { writeLimit: '8mb' } },
      ['buffers.writeLimit', 'above buffers.maxBuffered'],
    ],
    ['maxBuffered > maxPerIp', { buffers: { maxBuffered: '64mb' } }, ['buffers.maxBuffered', 'above buffers.maxPerIp']],
    ['maxPerIp > budget', { buffers: { budget: '16mb' } }, ['buffers.maxPerIp', 'above buffers.budget']],
    [
      'maxPerIp > max',
      { connections: { maxPerIp: 20_000 } },
      ['connections.maxPerIp', 'above connections.max', 'one address'],
    ],
    [
      'maxPerUser > max',
      { connections: { maxPerUser: 20_000 } },
      ['connections.maxPerUser', 'above connections.max', 'one user'],
    ],
    ['maxPending > max', { connections: { maxPending: 20_000 } }, ['connections.maxPending', 'above connections.max']],
    [
      'maxPendingPerIp > maxPending',
      { connections: { maxPendingPerIp: 2000 } },
      ['connections.maxPendingPerIp', 'above connections.maxPending'],
    ],
    [
      'guardTimeout > openTimeout',
      { connections: { guardTimeout: '30s' } },
      ['connections.guardTimeout (WEBSOCKETS_GUARD_TIMEOUT) is 30s, above http.openTimeout'],
    ],
    [
      'a head above all heads',
      { http: { maxLineLength: '256kb' } },
      ['http.maxLineLength', 'http.maxNumHeaders', '16mb'],
    ],
    [
      'idleTimeout > maxLifetime',
      { keepalive: { idleTimeout: '2h', maxLifetime: '1h' } },
      ['keepalive.idleTimeout', 'above keepalive.maxLifetime'],
    ],
    [
      'pingInterval > maxLifetime',
      { keepalive: { maxLifetime: '10s' } },
      ['keepalive.pingInterval', 'above keepalive.maxLifetime'],
    ],
    [
      'dedicated contexts without memory left for them',
      { compression: { mode: 'dedicated', budget: '64kb' } },
      ['compression.mode', 'compression.budget', 'one context needs more memory'],
    ],
    [
      'backoffInitialDelay > backoffMaxDelay',
      { client: { backoffInitialDelay: '2m' } },
      ['client.backoffInitialDelay', 'above client.backoffMaxDelay'],
    ],
    [
      'backoffMinDelay > backoffMaxDelay',
      { client: { backoffMinDelay: '2m' } },
      ['client.backoffMinDelay', 'above client.backoffMaxDelay'],
    ],
    [
      'every address trusted as a proxy',
      { proxy: { trusted: '10.0.0.0/8, 0.0.0.0/0' } },
      ['proxy.trusted (WEBSOCKETS_TRUSTED_PROXIES) contains 0.0.0.0/0'],
    ],
    ['every IPv6 address trusted as a proxy', { proxy: { trusted: '::/0' } }, ['proxy.trusted', 'contains ::/0']],
    [
      'TLS files that no port uses',
      { tls: { certFile: 'server.pem' } },
      ['tls.certFile (WEBSOCKETS_TLS_CERT) has no effect: no gateway has a dedicated port', 'httpsOptions'],
    ],
    ['a host that no port uses', { listen: { host: '::1' } }, ['listen.host (WEBSOCKETS_HOST) has no effect']],
    [
      'proxy.header without a trusted proxy',
      { proxy: { header: 'forwarded' } },
      ['proxy.header (WEBSOCKETS_PROXY_HEADER) has no effect: proxy.trusted'],
    ],
    [
      'onUserLimit without maxPerUser',
      { connections: { onUserLimit: 'closeOldest' } },
      ['connections.onUserLimit', 'connections.maxPerUser', 'not set'],
    ],
    [
      'pingTimeout without pingInterval',
      { keepalive: { pingInterval: null, pingTimeout: '5s' } },
      ['keepalive.pingTimeout', 'no effect'],
    ],
    [
      'a compression level with compression off',
      { compression: { mode: 'off', level: 9 } },
      ['compression.level', 'no effect', 'off'],
    ],
    [
      'a budget for contexts outside dedicated mode',
      { compression: { budget: '1mb' } },
      ['compression.budget', 'no effect', "is not 'dedicated' anywhere"],
    ],
  ])('%s causes a warning', (_, options, parts) => {
    expect(findings(options)).toEqual({ problems: [], warnings: [text(...parts)] });
  });

  it.each<[string, SecureWsOptions, GatewayAt[]]>([
    [
      'TLS files used by a dedicated port',
      { tls: { certFile: 'a', keyFile: 'b' }, listen: { host: '::1' } },
      [{ port: 8443 }],
    ],
    ['TLS files in an application without gateways', { tls: { certFile: 'a', keyFile: 'b' } }, []],
    [
      'onUserLimit with maxPerUser of a gateway',
      { connections: { onUserLimit: 'closeOldest' } },
      [{ options: { connections: { maxPerUser: 2 } } }],
    ],
    [
      'a budget for the dedicated contexts of a gateway',
      { compression: { budget: '1mb' } },
      [{ options: { compression: { mode: 'dedicated' } } }],
    ],
    [
      'a compression level that only some gateways use',
      { compression: { level: 9 } },
      [{}, { options: { path: '/2', compression: { mode: 'off' } } }],
    ],
    ['an equal pair', { connections: { max: 100, maxPending: 100 }, buffers: { budget: '32mb' } }, [{}]],
  ])('%s is not reported', (_, options, gateways) => {
    expect(findings(options, gateways)).toEqual(NONE);
  });

  it('a gateway limit above the limit of the application is a warning', () => {
    const options = { path: '/x', connections: { max: 20_000, maxPerIp: 10 } };
    expect(findings({}, [{ options }]).warnings).toEqual([
      text(
        'gateway /x: connections.max (WEBSOCKETS_MAX_CONNECTIONS) is 20000, above that of the application, which is 10000',
      ),
    ]);
  });
});
