import { describe, expect, it } from '@jest/globals';
import { type Chain, readChain } from '../../lib/cli/doctor/certificates.js';
import type { Deployment, TlsFacts } from '../../lib/cli/doctor/deployment.js';
import { CHECKS, examine, hasFindings } from '../../lib/cli/doctor/examine.js';
import type { Finding } from '../../lib/cli/doctor/finding.js';
import { type MachineReader, readMachine } from '../../lib/cli/doctor/machine.js';
import { valueText } from '../../lib/cli/doctor/print.js';
import {
  type Asked,
  type ClusterFacts,
  lookAtRedis,
  parseInfo,
  type RedisClient,
  type RedisFacts,
  type RedisLook,
  type SentinelFacts,
} from '../../lib/cli/doctor/redis.js';
import { inconsistencies } from '../../lib/config/consistency.js';
import { reportSettings } from '../../lib/config/report.js';
import { readSettings, settingsOf } from '../../lib/config/resolve.js';
import type { SecureWsOptions } from '../../lib/config/settings.js';
import { issue, type Pair } from '../support/certificates.js';

const MIB = 1024 ** 2;
const GIB = 1024 ** 3;
const DAY = 86_400_000;
const NOW = Date.parse('2026-11-26T12:00:00Z');

const REDIS: Asked<RedisFacts> = {
  address: 'redis.internal:6379',
  mode: 'standalone',
  server: 'redis',
  version: '7.0.15',
  role: 'master',
  evictionPolicy: 'noeviction',
  maxMemory: GIB,
  usedMemory: 10 * MIB,
  latency: 0.4,
  clockAhead: 3,
};
const redisLook = (facts: Partial<RedisFacts> = {}): RedisLook => ({
  kind: 'single',
  address: 'redis.internal:6379',
  servers: [{ ...REDIS, ...facts }],
  sentinels: [],
  nodes: [],
});
const asked = <Facts>(good: Facts, all: readonly (Partial<Facts> | string)[]): Asked<Facts>[] =>
  all.map((each, at) => ({
    address: `10.0.0.${at}:1`,
    ...(typeof each === 'string' ? { failed: each } : { ...good, ...each }),
  }));
const SENTINEL: SentinelFacts = { status: 'ok', master: { host: '10.0.0.1', port: 6379 }, replicas: 1, sentinels: 3 };
/** The Sentinels of a deployment, each with its report or its failure. */
const sentinels = (...all: (Partial<SentinelFacts> | string)[]): { redis: RedisLook } => ({
  redis: { ...redisLook(), kind: 'sentinel', sentinels: asked(SENTINEL, all) },
});
const CLUSTER: ClusterFacts = { state: 'ok', slots: 16_384, masters: [{ host: '10.0.0.1', port: 6379, replicas: 1 }] };
const cluster = (...all: (Partial<ClusterFacts> | string)[]): { redis: RedisLook } => ({
  redis: { ...redisLook({ mode: 'cluster' }), kind: 'cluster', nodes: asked(CLUSTER, all) },
});

const TLS: TlsFacts = {
  where: 'gateway /feed at port 8443',
  certFile: 'fullchain.pem',
  keyFile: 'key.pem',
  keyMode: 0o100640,
  chain: {
    state: 'public',
    leaf: {
      subject: 'CN=feed.example',
      notBefore: NOW - 10 * DAY,
      notAfter: NOW + 60 * DAY,
      names: ['DNS:feed.example'],
      selfSigned: false,
      rsaBits: undefined,
    },
    others: [],
  },
};

/** The options of a good deployment: behind a private proxy, in a container, with a cluster. */
const GOOD: SecureWsOptions = {
  proxy: { trusted: ['10.0.0.0/8'], requireTls: true },
  connections: { allowedOrigins: ['https://app.example'] },
};

function deployment(options: SecureWsOptions = GOOD, facts: Partial<Deployment> = {}): Deployment {
  const { settings, sources, problems } = readSettings(options, { get: () => undefined, names: [] });
  return {
    settings,
    sources,
    report: reportSettings(settings, sources, []),
    problems,
    warnings: [],
    gateways: undefined,
    httpsServer: false,
    tls: [TLS],
    machine: {
      descriptors: 65_536,
      somaxconn: 4096,
      memoryLimit: { bytes: GIB, cgroup: 2, file: '/sys/fs/cgroup/memory.max' },
      totalMemory: 16 * GIB,
      heapLimit: 700 * MIB,
    },
    variable: (name) => ({ KUBERNETES_SERVICE_HOST: '10.0.0.1' })[name],
    production: true,
    workers: 4,
    isClustered: true,
    redis: redisLook(),
    nodeVersion: 'v24.4.0',
    wsVersion: '8.23.0',
    now: NOW,
    ...facts,
  };
}

const findings = (given: Deployment): readonly Finding[] => examine(given, []).findings;
const machine = (part: Partial<Deployment['machine']>): Partial<Deployment> => ({
  machine: { ...deployment().machine, ...part },
});
const chain = (
  part: Partial<Chain['leaf']>,
  state: 'public' | 'incomplete' | 'self-signed' | 'unordered' = 'public',
) => ({
  tls: [{ ...TLS, chain: { state, others: [], leaf: { ...(TLS.chain as Chain).leaf, ...part } } } as TlsFacts],
});

/** A good deployment with one fact changed, and the finding expected then: check, severity, and part of its text. */
const PROVOKED: readonly (readonly [string, Deployment, string, Finding['severity'], RegExp, string?])[] = [
  [
    'an invalid setting',
    deployment({ ...GOOD, messages: { maxSize: 'huge' } }),
    'settings',
    'error',
    /messages\.maxSize \(WEBSOCKETS_MAX_SIZE\)/,
  ],
  [
    'an unknown variable',
    deployment(GOOD, { warnings: ['unknown variable WEBSOCKETS_MAX_SIZ'] }),
    'settings',
    'warning',
    /MAX_SIZ/,
  ],
  [
    'few descriptors',
    deployment(GOOD, machine({ descriptors: 4096 })),
    'descriptors',
    'error',
    /11100 file descriptors; the process may have 4096/,
    'WEBSOCKETS_MAX_CONNECTIONS=2996',
  ],
  ['hardly any descriptors', deployment(GOOD, machine({ descriptors: 256 })), 'descriptors', 'error', /may have 256/],
  [
    'a short queue of the kernel',
    deployment(GOOD, machine({ somaxconn: 128 })),
    'backlog',
    'warning',
    /somaxconn is 128/,
  ],
  [
    'a small container',
    deployment(GOOD, machine({ memoryLimit: { bytes: 512 * MIB, cgroup: 1, file: 'f' }, heapLimit: 300 * MIB })),
    'memory',
    'error',
    /cgroup v1/,
    'WEBSOCKETS_BUFFER_BUDGET=186mb',
  ],
  [
    'a tiny container',
    deployment(GOOD, machine({ memoryLimit: { bytes: 128 * MIB, cgroup: 2, file: 'f' }, heapLimit: 64 * MIB })),
    'memory',
    'error',
    /may have 128 MiB/,
  ],
  [
    'a small machine',
    deployment(GOOD, machine({ memoryLimit: undefined, totalMemory: 400 * MIB })),
    'memory',
    'error',
    /the machine has 400 MiB/,
  ],
  [
    'a heap larger than the container',
    deployment(GOOD, machine({ heapLimit: 4 * GIB })),
    'heap',
    'warning',
    /4096 MiB/,
    'NODE_OPTIONS=--max-old-space-size=716',
  ],
  [
    'every address as a trusted proxy',
    deployment({ ...GOOD, proxy: { trusted: ['0.0.0.0/0'], requireTls: true } }),
    'trusted-proxies',
    'error',
    /covers the whole internet/,
    'WEBSOCKETS_TRUSTED_PROXIES=10.0.0.0/8',
  ],
  [
    'every IPv6 address as a trusted proxy',
    deployment({ ...GOOD, proxy: { trusted: ['::/0', 'loopback'], requireTls: true } }),
    'trusted-proxies',
    'error',
    /covers the whole internet/,
    'WEBSOCKETS_TRUSTED_PROXIES=loopback',
  ],
  [
    'every address as a trusted proxy, in another notation',
    deployment({ ...GOOD, proxy: { trusted: ['::ffff:0.0.0.0/96'], requireTls: true } }),
    'trusted-proxies',
    'error',
    /covers the whole internet/,
  ],
  [
    'half of all addresses as trusted proxies',
    deployment({ ...GOOD, proxy: { trusted: ['128.0.0.0/1'], requireTls: true } }),
    'trusted-proxies',
    'error',
    /covers the whole internet/,
  ],
  [
    'a private range with its public neighbours',
    deployment({ ...GOOD, proxy: { trusted: ['172.16.0.0/11'], requireTls: true } }),
    'trusted-proxies',
    'warning',
    /a range of public addresses/,
  ],
  [
    'a public range of a CDN',
    deployment({ ...GOOD, proxy: { trusted: ['104.16.0.0/13'], requireTls: true } }),
    'trusted-proxies',
    'warning',
    /a range of public addresses/,
  ],
  [
    'a public proxy',
    deployment({ ...GOOD, proxy: { trusted: ['203.0.113.7'], requireTls: true } }),
    'trusted-proxies',
    'note',
    /is a public address/,
  ],
  [
    'no trusted proxy on Kubernetes',
    deployment({ ...GOOD, proxy: { requireTls: true } }, { httpsServer: true }),
    'behind-proxy',
    'warning',
    /Kubernetes/,
    'WEBSOCKETS_TRUSTED_PROXIES=uniquelocal',
  ],
  ['all origins', deployment({ ...GOOD, connections: { allowedOrigins: ['*'] } }), 'origins', 'warning', /contains \*/],
  [
    'a plaintext origin',
    deployment({ ...GOOD, connections: { allowedOrigins: ['http://app.example', 'https://b.example'] } }),
    'origins',
    'warning',
    /not HTTPS/,
    'WEBSOCKETS_ALLOWED_ORIGINS=https://app.example,https://b.example',
  ],
  [
    'plaintext in production',
    deployment({ ...GOOD, proxy: { trusted: ['10.0.0.0/8'] } }),
    'plaintext',
    'warning',
    /without TLS are served in production/,
    'WEBSOCKETS_REQUIRE_TLS=true',
  ],
  [
    'TLS required where no port has TLS',
    deployment({ proxy: { requireTls: true } }, { tls: [], variable: () => undefined }),
    'plaintext',
    'error',
    /neither a certificate nor a trusted proxy/,
  ],
  [
    'processes without a cluster',
    deployment(GOOD, { isClustered: false, redis: undefined }),
    'workers',
    'warning',
    /4 processes/,
    'WEBSOCKETS_CLUSTER_URL=redis://redis.internal:6379',
  ],
  [
    'no pings',
    deployment({ ...GOOD, keepalive: { pingInterval: null } }),
    'dead-peers',
    'warning',
    /pingInterval/,
    'WEBSOCKETS_PING_INTERVAL=20s',
  ],
  [
    'a probe token that is still set',
    deployment({ ...GOOD, probe: { token: 'x'.repeat(32) } }),
    'probe-token',
    'note',
    /probe\.token is set/,
  ],
  [
    'an expired certificate',
    deployment(GOOD, chain({ notAfter: NOW - DAY })),
    'certificates',
    'error',
    /expired on 2026-11-25/,
  ],
  [
    'a certificate that expires in days',
    deployment(GOOD, chain({ notAfter: NOW + 3 * DAY })),
    'certificates',
    'error',
    /in 3 days/,
  ],
  [
    'a certificate that expires in weeks',
    deployment(GOOD, chain({ notAfter: NOW + 15 * DAY })),
    'certificates',
    'warning',
    /in 15 days/,
  ],
  [
    'a certificate that is not valid yet',
    deployment(GOOD, chain({ notBefore: NOW + DAY })),
    'certificates',
    'error',
    /not valid before/,
  ],
  [
    'a self-signed certificate',
    deployment(GOOD, chain({}, 'self-signed')),
    'certificates',
    'warning',
    /is self-signed/,
  ],
  [
    'an incomplete chain',
    deployment(GOOD, chain({}, 'incomplete')),
    'certificates',
    'warning',
    /does not lead to an authority/,
  ],
  [
    'a chain out of order',
    deployment(GOOD, chain({}, 'unordered')),
    'certificates',
    'error',
    /not issued by the one that follows it/,
  ],
  ['a certificate without names', deployment(GOOD, chain({ names: [] })), 'certificates', 'error', /subjectAltName/],
  ['a short key', deployment(GOOD, chain({ rsaBits: 1024 })), 'certificates', 'error', /1024 bits/],
  [
    'a private key that every user can read',
    deployment(GOOD, { tls: [{ ...TLS, keyMode: 0o100644 }] }),
    'key-file',
    'warning',
    /mode 644/,
  ],
  [
    'an unreachable Redis',
    deployment(GOOD, { redis: { ...redisLook(), servers: [{ address: 'r:1', failed: 'ECONNREFUSED' }] } }),
    'redis',
    'error',
    /cannot be queried: ECONNREFUSED/,
  ],
  ['an old Redis', deployment(GOOD, { redis: redisLook({ version: '6.0.16' }) }), 'redis', 'error', /version 6\.0\.16/],
  ['a replica', deployment(GOOD, { redis: redisLook({ role: 'slave' }) }), 'redis', 'error', /a slave/],
  [
    'a Redis that evicts',
    deployment(GOOD, { redis: redisLook({ evictionPolicy: 'allkeys-lru' }) }),
    'redis',
    'warning',
    /allkeys-lru/,
  ],
  [
    'a full Redis',
    deployment(GOOD, { redis: redisLook({ usedMemory: 0.95 * GIB }) }),
    'redis',
    'warning',
    /are in use/,
  ],
  [
    'a slow Redis',
    deployment(GOOD, { redis: redisLook({ latency: 40 }) }),
    'redis',
    'warning',
    /40\.0 ms/,
    'WEBSOCKETS_CLUSTER_TIMEOUT=200ms',
  ],
  [
    'a Redis slower than the timeout',
    deployment(GOOD, { redis: redisLook({ latency: 150 }) }),
    'redis',
    'error',
    /150\.0 ms/,
  ],
  ['a wrong clock', deployment(GOOD, { redis: redisLook({ clockAhead: -7000 }) }), 'redis', 'warning', /7 s behind/],
  [
    'a Redis without an address',
    deployment(GOOD, { redis: { ...redisLook(), failed: 'it is not a URL', servers: [] } }),
    'redis',
    'error',
    /cannot be queried: it is not a URL/,
  ],
  [
    'a node of a cluster given as a single Redis',
    deployment(GOOD, { redis: redisLook({ mode: 'cluster' }) }),
    'redis',
    'error',
    /a node of a Redis Cluster/,
  ],
  ['an unreachable Sentinel', deployment(GOOD, sentinels({}, {}, 'ECONNREFUSED')), 'redis', 'warning', /ECONNREFUSED/],
  [
    'Sentinels that disagree',
    deployment(GOOD, sentinels({}, { master: { host: '10.0.0.9', port: 6379 } })),
    'redis',
    'error',
    /different masters/,
  ],
  ['a master that is down', deployment(GOOD, sentinels({ status: 'odown' }, {})), 'redis', 'error', /odown/],
  ['a master without a replica', deployment(GOOD, sentinels({ replicas: 0 }, {})), 'redis', 'warning', /no replica/],
  ['one Sentinel', deployment(GOOD, sentinels({ sentinels: 1 })), 'redis', 'warning', /the only Sentinel/],
  ['two Sentinels', deployment(GOOD, sentinels({ sentinels: 2 }, {})), 'redis', 'warning', /are 2 Sentinels/],
  ['one Sentinel of several in the URL', deployment(GOOD, sentinels({})), 'redis', 'note', /names one of 3/],
  ['a cluster that has failed', deployment(GOOD, cluster({ state: 'fail' })), 'redis', 'error', /is fail/],
  ['a cluster without all slots', deployment(GOOD, cluster({ slots: 16_000 })), 'redis', 'error', /16000 of 16384/],
  [
    'a cluster that one node sees as smaller',
    deployment(GOOD, cluster({}, { state: 'fail', slots: 5461 })),
    'redis',
    'error',
    /5461 of 16384/,
  ],
  ['an unreachable node', deployment(GOOD, cluster({}, 'ECONNREFUSED')), 'redis', 'warning', /ECONNREFUSED/],
  [
    'masters without replicas',
    deployment(GOOD, cluster({ masters: [{ host: 'm', port: 1, replicas: 0 }] })),
    'redis',
    'note',
    /1 of 1 masters/,
  ],
  [
    'a Node version past its end of life',
    deployment(GOOD, { nodeVersion: 'v20.19.0' }),
    'node',
    'warning',
    /since 2026-04-30/,
  ],
  [
    'a Node version near its end of life',
    deployment(GOOD, { nodeVersion: 'v22.1.0', now: Date.parse('2027-04-01'), tls: [] }),
    'node',
    'note',
    /reaches its end of life/,
  ],
  ['an old ws', deployment(GOOD, { wsVersion: '8.17.0' }), 'ws', 'error', /8\.17\.0/],
  ['an ancient ws', deployment(GOOD, { wsVersion: '7.5.10' }), 'ws', 'error', /no longer maintained/],
];

describe('the checks of doctor', () => {
  it('find nothing in a good deployment, and all run', () => {
    const report = examine(deployment(), []);
    expect(report.findings).toEqual([]);
    expect(report.checks).toEqual(Object.keys(CHECKS).map((check) => ({ check, status: 'passed' })));
    expect(hasFindings(report, true)).toBe(false);
    for (const given of [sentinels({}, {}, {}), cluster({}, {})]) expect(findings(deployment(GOOD, given))).toEqual([]);
  });

  it('report that a Redis client of the application is not queried', () => {
    const report = examine(deployment(GOOD, { redis: undefined, workers: 4 }), []);
    expect(report.findings).toEqual([]);
    expect(report.checks.find(({ check }) => check === 'redis')?.reason).toMatch(/a client or a store of its own/);
  });

  it.each(PROVOKED.map((row) => [row[0], row] as const))('find %s', (_, [, given, check, severity, words, line]) => {
    const found = findings(given);
    expect(found.map((each) => [each.check, each.severity])).toEqual([[check, severity]]);
    const [finding] = found;
    expect(finding!.what).toMatch(words);
    for (const text of [finding!.why, finding!.fix]) expect(text.length).toBeGreaterThan(10);
    if (line !== undefined) expect(finding!.set.map(({ variable, value }) => `${variable}=${value}`)).toContain(line);
  });

  it('each have a case that provokes them', () => {
    expect([...new Set(PROVOKED.map(([, , check]) => check))].sort()).toEqual(Object.keys(CHECKS).sort());
  });

  it('report a trusted range of all addresses once', () => {
    const options = { ...GOOD, proxy: { trusted: ['0.0.0.0/0'], requireTls: true } };
    const given = deployment(options);
    const { warnings } = inconsistencies({ ...given, gateways: [] });
    expect(warnings).toHaveLength(1);
    expect(findings({ ...given, warnings }).map(({ check }) => check)).toEqual(['trusted-proxies']);
  });

  it('suggest values that resolve the finding', () => {
    const first = deployment(
      GOOD,
      machine({ memoryLimit: { bytes: 512 * MIB, cgroup: 2, file: 'f' }, heapLimit: 300 * MIB }),
    );
    const said = Object.fromEntries(findings(first)[0]!.set.map(({ variable, value }) => [variable, value]));
    const second = readSettings(GOOD, { get: (name) => said[name], names: [] });
    expect(said).not.toEqual({});
    expect(
      findings({
        ...first,
        settings: second.settings,
        report: reportSettings(second.settings, second.sources, []),
      }),
    ).toEqual([]);
  });

  it('count a warning as a finding, a note only with --strict', () => {
    const [warning, note] = [
      deployment(GOOD, machine({ somaxconn: 128 })),
      deployment({ ...GOOD, proxy: { trusted: ['203.0.113.7'], requireTls: true } }),
    ].map((each) => examine(each, []));
    expect([hasFindings(warning!, false), hasFindings(note!, false), hasFindings(note!, true)]).toEqual([
      true,
      false,
      true,
    ]);
  });

  it("examine the gateways' own options", () => {
    const base = deployment();
    const gateway = (name: string, port: number, own: [string, unknown][]) => ({
      name,
      port,
      settings: settingsOf(base.settings, { own: new Map(own), path: name, noTls: false }),
    });
    const gateways = [
      gateway('/open', 0, [['connections.allowedOrigins', ['*']]]),
      gateway('/kept', 0, []),
      gateway('/silent', 0, [['keepalive.pingTimeout', null]]),
    ];
    expect(findings({ ...base, gateways }).map(({ check, where }) => [check, where])).toEqual([
      ['origins', 'gateway /open'],
      ['dead-peers', 'gateway /silent'],
    ]);
    const plain = deployment({ ...GOOD, proxy: { trusted: ['10.0.0.0/8'], requireTls: false } });
    const ports = { ...plain, httpsServer: true, gateways: [gateway('/own at port 8080', 8080, [])] };
    expect(findings(ports).map(({ check, what }) => [check, /\/own at port 8080/.test(what)])).toEqual([
      ['plaintext', true],
    ]);
  });
});

describe('readMachine', () => {
  const reader = (files: Record<string, string>): MachineReader => ({
    read: (path) => files[path],
    totalMemory: 8 * GIB,
    heapLimit: 2 * GIB,
  });
  const LIMITS =
    'Limit                     Soft Limit           Hard Limit           Units\nMax open files            1024                 524288               files\n';

  it.each([
    ['returns nothing when no file can be read', {}, undefined, undefined],
    ['returns the soft limit of open files', { '/proc/self/limits': LIMITS }, 1024, undefined],
    [
      'returns no limit of open files when it is unlimited',
      { '/proc/self/limits': LIMITS.replace('1024  ', 'unlimited') },
      Number.POSITIVE_INFINITY,
      undefined,
    ],
    [
      'reads cgroup v2 from inside the container',
      { '/proc/self/cgroup': '0::/\n', '/sys/fs/cgroup/memory.max': '536870912\n' },
      undefined,
      536870912,
    ],
    [
      'reads cgroup v2 without a limit',
      { '/proc/self/cgroup': '0::/\n', '/sys/fs/cgroup/memory.max': 'max\n' },
      undefined,
      undefined,
    ],
    [
      'reads cgroup v2 and takes the smallest limit of its parents',
      {
        '/proc/self/cgroup': '0::/kube/pod/app\n',
        '/sys/fs/cgroup/kube/pod/app/memory.max': 'max',
        '/sys/fs/cgroup/kube/pod/memory.max': '3000000',
        '/sys/fs/cgroup/kube/memory.max': '9000000',
      },
      undefined,
      3000000,
    ],
    [
      'reads cgroup v2 with a throttling limit below the hard limit',
      {
        '/proc/self/cgroup': '0::/a\n',
        '/sys/fs/cgroup/a/memory.max': '5000000',
        '/sys/fs/cgroup/a/memory.high': '4000000',
      },
      undefined,
      4000000,
    ],
    [
      'reads a hybrid hierarchy',
      { '/proc/self/cgroup': '4:memory:/\n0::/x\n', '/sys/fs/cgroup/unified/x/memory.max': '7000000' },
      undefined,
      7000000,
    ],
    [
      'reads cgroup v1',
      {
        '/proc/self/cgroup': '5:cpu,cpuacct:/d/1\n4:memory:/d/1\n',
        '/sys/fs/cgroup/memory/d/1/memory.limit_in_bytes': '8000000',
      },
      undefined,
      8000000,
    ],
    [
      'reads cgroup v1 from inside under its outer name',
      { '/proc/self/cgroup': '4:memory:/docker/ab\n', '/sys/fs/cgroup/memory/memory.limit_in_bytes': '6000000' },
      undefined,
      6000000,
    ],
    [
      'reads cgroup v1 without a limit',
      { '/proc/self/cgroup': '4:memory:/\n', '/sys/fs/cgroup/memory/memory.limit_in_bytes': '9223372036854771712' },
      undefined,
      undefined,
    ],
  ] as const)('%s', (_, files, descriptors, memory) => {
    const read = readMachine(reader(files));
    expect([read.descriptors, read.memoryLimit?.bytes]).toEqual([descriptors, memory]);
  });

  it('reads the limits of a running process', () => {
    const files = { '/proc/42/limits': LIMITS.replace('1024', '4096'), '/proc/sys/net/core/somaxconn': '4096\n' };
    expect(readMachine(reader(files), 42)).toMatchObject({ descriptors: 4096, somaxconn: 4096 });
    expect(readMachine(reader(files)).descriptors).toBeUndefined();
  });
});

describe('readChain', () => {
  let made: { root: Pair; leaf: Pair; other: Pair } | undefined;
  const pairs = () => {
    const root = issue('Root', { isCa: true });
    return (made ??= { root, leaf: issue('leaf.example', { ca: root }), other: issue('other') });
  };

  it('classifies a certificate by its chain', () => {
    const { root, leaf, other } = pairs();
    const none = () => [];
    expect(readChain(leaf.cert, none)).toMatchObject({ state: 'incomplete', others: [] });
    expect(readChain(leaf.cert + root.cert, none)).toMatchObject({ state: 'private' });
    expect(readChain(leaf.cert + other.cert, none)).toMatchObject({ state: 'unordered' });
    expect(readChain(root.cert + leaf.cert, none)).toMatchObject({ state: 'unordered' });
    const { leaf: self, state } = readChain(other.cert, none);
    expect(state).toBe('self-signed');
    expect(self).toMatchObject({
      subject: 'CN=other',
      selfSigned: true,
      names: expect.arrayContaining(['DNS:localhost']),
    });
    expect(self.notAfter).toBeGreaterThan(Date.now());
    expect(() => readChain('nothing', none)).toThrow('no certificate');
  });

  it('classifies a chain as public when Node knows the authority', async () => {
    const { X509Certificate } = await import('node:crypto');
    const { root, leaf } = pairs();
    const known = () => [new X509Certificate(root.cert)];
    expect(readChain(leaf.cert, known).state).toBe('public');
    expect(readChain(leaf.cert + root.cert, known).state).toBe('public');
  });
});

describe('lookAtRedis', () => {
  const INFO =
    '# Server\r\nredis_version:7.2.4\r\nvalkey_version:8.0.1\r\nredis_mode:standalone\r\nrole:master\r\nmaxmemory:0\r\nused_memory:12\r\nmaxmemory_policy:noeviction\r\n';
  const client = (over: Partial<RedisClient> = {}): RedisClient => ({
    connect: async () => undefined,
    info: async () => INFO,
    call: () => Promise.reject(new Error('ERR This instance has cluster support disabled')),
    time: async () => [Math.floor(Date.now() / 1000) + 60, 0],
    disconnect: () => undefined,
    on: () => undefined,
    ...over,
  });

  it('reads a single Redis', async () => {
    const look = await lookAtRedis('redis://user:secret@cache:6379/2', async () => client());
    expect(look).toMatchObject({
      kind: 'single',
      servers: [{ address: 'cache:6379', server: 'valkey', version: '8.0.1', role: 'master' }],
    });
    expect((look.servers[0] as RedisFacts).clockAhead).toBeGreaterThan(55_000);
    expect(JSON.stringify(look)).not.toContain('secret');
    expect(parseInfo('a:b:c\n# x\n').get('a')).toBe('b:c');
  });

  it('returns a failure as a value without secrets, and disconnects', async () => {
    let ended = 0;
    const failing = client({
      connect: () => Promise.reject(new Error('WRONGPASS for redis://user:secret@cache')),
      disconnect: () => ended++,
    });
    expect(await lookAtRedis('redis://user:secret@cache:1', async () => failing)).toMatchObject({
      servers: [{ address: 'cache:1', failed: 'WRONGPASS for redis://…@cache' }],
    });
    expect(ended).toBe(1);
    expect((await lookAtRedis('no address with secret')).failed).toMatch(/^it is not a URL redis:/);
  });

  it('asks the Sentinels in turn, and reads the master that the first reachable one names', async () => {
    const lines = (name: string) =>
      `redis_mode:sentinel\r\nsentinel_masters:2\r\nmaster0:name=other,status=ok,address=10.9.9.9:1,slaves=1,sentinels=1\r\nmaster1:name=${name},status=ok,address=fd00::7:6380,slaves=2,sentinels=3\r\n`;
    const told: string[] = [];
    const look = await lookAtRedis(
      'rediss+sentinel://user:secret@s1,s2:7,s3,s4/main?sentinelPassword=hidden',
      async ({ host, port, password, tls }) => {
        told.push(`${host} ${port} ${password} ${tls}`);
        if (host === 's1') return client({ connect: () => Promise.reject(new Error('down')) });
        if (host === 's2') return client({ info: async () => lines('a.different.name') });
        if (host === 's4') return client();
        return client(host === 's3' ? { info: async () => lines('main') } : {});
      },
    );
    expect(look.failed).toBeUndefined();
    expect(look.sentinels).toMatchObject([
      { address: 's1:26379', failed: 'down' },
      { address: 's2:7', failed: 'it watches no master of the name in the URL' },
      { address: 's3:26379', status: 'ok', master: { host: 'fd00::7', port: 6380 }, replicas: 2, sentinels: 3 },
      { address: 's4:26379', failed: 'it is not a Sentinel' },
    ]);
    expect(look.servers).toMatchObject([{ address: '[fd00::7]:6380', role: 'master' }]);
    expect(told).toEqual([
      's1 26379 hidden true',
      's2 7 hidden true',
      's3 26379 hidden true',
      's4 26379 hidden true',
      'fd00::7 6380 secret true',
    ]);
    const none = await lookAtRedis('redis+sentinel://s1/main', async () => client());
    expect(none).toMatchObject({ failed: 'no Sentinel names the master', servers: [] });
  });

  it('reads each master of a Redis Cluster', async () => {
    const call: RedisClient['call'] = async (_, what) =>
      what === 'INFO'
        ? 'cluster_state:ok\r\ncluster_slots_ok:16384\r\n'
        : [
            [0, 99, ['10.0.0.1', 1, 'id', []], ['10.0.0.2', 1, 'id', []]],
            [100, 199, ['', 7000, 'id', []]],
            [200, 16_383, ['10.0.0.1', 1, 'id', []], ['10.0.0.2', 1, 'id', []]],
          ];
    const look = await lookAtRedis('redis+cluster://n1:7000,n2:7000', async ({ host }) =>
      host === 'n2' ? client() : client({ call }),
    );
    expect(look.nodes).toMatchObject([
      { address: 'n1:7000', state: 'ok', slots: 16_384 },
      { address: 'n2:7000', failed: 'it is not a node of a Redis Cluster' },
    ]);
    expect(look.servers.map(({ address }) => address)).toEqual(['10.0.0.1:1', 'n1:7000']);
    const none = await lookAtRedis('redis+cluster://n1', async () => client());
    expect(none).toMatchObject({ failed: 'no node describes the cluster', servers: [] });
  });
});

describe('valueText', () => {
  it.each([
    ['http.openTimeout', 10_000, '10s'],
    ['keepalive.maxLifetime', 90 * DAY, '90d'],
    ['messages.maxSize', 1_048_576, '1mb'],
    ['messages.maxSize', 1000, '1000'],
    ['messages.rate', { limit: 1000, window: 5000 }, '1000/5s'],
    ['messages.byteRate', { limit: 8 * MIB, window: 4000 }, '8mb/4s'],
    ['connections.max', 10_000, '10000'],
    ['connections.deniedIps', [], 'none'],
    ['proxy.trusted', ['10.0.0.0/8', '::1'], '10.0.0.0/8,::1'],
    ['serverHeader', null, 'removed'],
    ['connections.allowedHosts', undefined, '–'],
  ])('formats %s %j', (path, value, text) => expect(valueText({ path, value })).toBe(text));
});
