import ipaddr from 'ipaddr.js';
import { type Deployment, everySettings } from './deployment.js';
import { type Finding, type Severity, set } from './finding.js';

const PRIVATE = [
  '127.0.0.0/8',
  '10.0.0.0/8',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '169.254.0.0/16',
  // Shared address space of carriers and clouds (RFC 6598).
  '100.64.0.0/10',
  '::1/128',
  'fc00::/7',
  'fe80::/10',
].map((network) => ipaddr.parseCIDR(network));

/** Names of private networks. */
const NAMES = new Set(['loopback', 'linklocal', 'uniquelocal', 'unix']);

/** Public addresses in `proxy.trusted`. */
export function trustedProxies({ settings }: Deployment): Finding[] {
  return settings.proxy.trusted.flatMap((entry) => {
    const size = NAMES.has(entry.toLowerCase()) ? 'private' : publicSize(entry);
    if (size === 'private') return [];
    const severity: Severity = size === 'everybody' ? 'error' : size === 'range' ? 'warning' : 'note';
    return [
      {
        check: 'trusted-proxies',
        severity,
        what:
          size === 'everybody'
            ? `proxy.trusted contains ${entry}, which covers the whole internet.`
            : `proxy.trusted contains ${entry}, which ${size === 'range' ? 'is a range of public addresses' : 'is a public address'}.`,
        why: 'A client that connects from there can set the client address that is counted, allowed and logged, and is exempt from limits per address.',
        fix: 'List the addresses of your proxies only. For a CDN, restrict this port to its ranges with a firewall.',
        set: [set('WEBSOCKETS_TRUSTED_PROXIES', remaining(settings.proxy.trusted, entry))],
      },
    ];
  });
}

const remaining = (trusted: readonly string[], without: string): string =>
  trusted.filter((each) => each !== without).join(',') || '10.0.0.0/8';

/** Prefixes this short cover networks of many operators. */
const HUGE = { ipv4: 7, ipv6: 15 };

function publicSize(entry: string): 'private' | 'everybody' | 'range' | 'address' {
  const [network, bits] = ipaddr.parseCIDR(entry.includes('/') ? entry : `${entry}/${entry.includes(':') ? 128 : 32}`);
  const [address, prefix] = unmapped(network, bits);
  const inside = PRIVATE.some(
    ([outer, length]) => outer.kind() === address.kind() && prefix >= length && address.match([outer, length] as never),
  );
  if (inside) return 'private';
  if (prefix <= HUGE[address.kind()]) return 'everybody';
  return prefix === (address.kind() === 'ipv4' ? 32 : 128) ? 'address' : 'range';
}

/** `::ffff:10.0.0.0/104` is `10.0.0.0/8`. */
function unmapped(address: ipaddr.IPv4 | ipaddr.IPv6, bits: number): [ipaddr.IPv4 | ipaddr.IPv6, number] {
  if (address.kind() !== 'ipv6' || bits < 96) return [address, bits];
  const six = address as ipaddr.IPv6;
  return six.isIPv4MappedAddress() ? [six.toIPv4Address(), bits - 96] : [address, bits];
}

/** Variables set by platforms that put a proxy in front of every application. */
const PLATFORMS: readonly (readonly [variable: string, name: string])[] = [
  ['KUBERNETES_SERVICE_HOST', 'Kubernetes'],
  ['DYNO', 'Heroku'],
  ['FLY_APP_NAME', 'Fly.io'],
  ['RENDER', 'Render'],
  ['RAILWAY_ENVIRONMENT_NAME', 'Railway'],
  ['K_SERVICE', 'Cloud Run'],
  ['ECS_CONTAINER_METADATA_URI_V4', 'Amazon ECS'],
];

/** Behind an untrusted proxy all clients have the proxy's address. */
export function behindProxy({ settings, variable }: Deployment): Finding[] {
  const platform = PLATFORMS.find(([name]) => variable(name) !== undefined);
  if (platform === undefined || settings.proxy.trusted.length > 0) return [];
  return [
    {
      check: 'behind-proxy',
      severity: 'warning',
      what: `${platform[0]} says that this runs on ${platform[1]}, behind its proxy, and proxy.trusted is empty.`,
      why: `All clients then count as the proxy's one address: connections.maxPerIp (${settings.connections.maxPerIp}) and connections.rate hold for all of them together.`,
      fix: 'Trust the addresses from which the proxy connects.',
      set: [set('WEBSOCKETS_TRUSTED_PROXIES', 'uniquelocal')],
    },
  ];
}

/** `*` in the allowed origins, and plaintext origins in production. */
export function origins(deployment: Deployment): Finding[] {
  const told = new Set<readonly string[]>();
  return everySettings(deployment).flatMap(([where, settings]) => {
    const { allowedOrigins } = settings.connections;
    // Gateways without a list of their own share the application's: it is reported once.
    if (allowedOrigins === undefined || told.has(allowedOrigins)) return [];
    told.add(allowedOrigins);
    const findings: Finding[] = [];
    const check = { check: 'origins', where };
    if (allowedOrigins.includes('*'))
      findings.push({
        ...check,
        severity: 'warning',
        what: 'connections.allowedOrigins contains *: pages of every site may connect.',
        why: 'Browsers send the cookies of your users with the request: every page they visit can act in their name (cross-site WebSocket hijacking).',
        fix: 'List the origins of your own pages, or remove the option to allow the same origin only.',
        set: [set('WEBSOCKETS_ALLOWED_ORIGINS', 'https://app.example')],
      });
    const plain = allowedOrigins.filter((origin) => origin.startsWith('http://') && !isLocal(origin));
    if (deployment.production && plain.length > 0)
      findings.push({
        ...check,
        severity: 'warning',
        what: `connections.allowedOrigins contains ${plain.join(', ')}, which is not HTTPS.`,
        why: 'An attacker on the network path can modify a plaintext page and connect in the name of its user.',
        fix: 'Allow the https:// origin only.',
        set: [
          set(
            'WEBSOCKETS_ALLOWED_ORIGINS',
            allowedOrigins
              .map((origin) => (plain.includes(origin) ? origin.replace('http:', 'https:') : origin))
              .join(','),
          ),
        ],
      });
    return findings;
  });
}

const isLocal = (origin: string): boolean => /^http:\/\/(localhost|127\.|\[::1\])/.test(origin);

/** Plaintext in production. Problems that stop the start are reported by the `settings` check. */
export function plaintext({ settings, gateways, httpsServer, production, tls }: Deployment): Finding[] | string {
  if (!production) return 'NODE_ENV is not production';
  const { trusted, requireTls } = settings.proxy;
  const hasTls = httpsServer || tls.length > 0;
  // Of gateways that are known it is a problem of the settings.
  if (requireTls && trusted.length === 0 && !hasTls && gateways === undefined)
    return [
      {
        check: 'plaintext',
        severity: 'error',
        what: 'proxy.requireTls is true, but there is neither a certificate nor a trusted proxy that reports TLS.',
        why: 'Every connection is refused with 403.',
        fix: 'Trust the proxy that terminates TLS, configure a certificate, or pass --https to this command if main.ts sets httpsOptions.',
        set: [set('WEBSOCKETS_TRUSTED_PROXIES', 'uniquelocal')],
      },
    ];
  if (requireTls) return [];
  const plainPorts = (gateways ?? []).filter(({ port, settings: own }) => port !== 0 && !namesTls(own.tls));
  const isShared = gateways === undefined || gateways.some(({ port }) => port === 0);
  if (plainPorts.length === 0 && (httpsServer || !isShared)) return [];
  const which = plainPorts.length > 0 ? plainPorts.map(({ name }) => name).join(', ') : "the application's port";
  return [
    {
      check: 'plaintext',
      severity: 'warning',
      what: `Connections without TLS are served in production (${which}): proxy.requireTls is false.`,
      why: 'Messages, cookies and tokens can be read and modified on the network path.',
      fix:
        trusted.length > 0
          ? 'Require TLS: connections that the proxy reports as plaintext are then refused.'
          : 'Put a proxy with TLS before it, or configure tls.*.',
      set: [set('WEBSOCKETS_REQUIRE_TLS', 'true')],
    },
  ];
}

export const namesTls = ({ cert, certFile }: Deployment['settings']['tls']): boolean =>
  (cert ?? certFile) !== undefined;

/** Several processes without shared limits. */
export function workers({ workers: count, isClustered, settings }: Deployment): Finding[] {
  if (count < 2 || isClustered) return [];
  const { max, maxPerIp } = settings.connections;
  return [
    {
      check: 'workers',
      severity: 'warning',
      what: `${count} processes run this application, and there is no cluster.`,
      why: `Each process counts separately: together they admit ${max * count} connections and ${maxPerIp * count} of one address, and a broadcast reaches the connections of its own process only.`,
      fix: 'Share the limits and broadcasts through Redis or Valkey, or divide the limits by the number of processes.',
      set: [set('WEBSOCKETS_CLUSTER_URL', 'redis://redis.internal:6379')],
    },
  ];
}

/** Dead peers must be detected. */
export function deadPeers(deployment: Deployment): Finding[] {
  const told = new Set<unknown>();
  return everySettings(deployment).flatMap(([where, { keepalive }]) => {
    if (told.has(keepalive)) return [];
    told.add(keepalive);
    const { pingInterval, pingTimeout, idleTimeout } = keepalive;
    if ((pingInterval !== null && pingTimeout !== null) || idleTimeout !== undefined) return [];
    return [
      {
        check: 'dead-peers',
        severity: 'warning',
        where,
        what: 'keepalive.pingInterval or keepalive.pingTimeout is removed, and there is no keepalive.idleTimeout.',
        why: 'A peer whose network has failed keeps its slot until TCP times out, which can take hours.',
        fix: 'Enable pings, or set an idle timeout.',
        set: [set('WEBSOCKETS_PING_INTERVAL', '20s'), set('WEBSOCKETS_PING_TIMEOUT', '20s')],
      },
    ];
  });
}

/** The probe token should not stay configured. */
export function probeToken({ settings, production }: Deployment): Finding[] {
  if (!production || settings.probe.token === undefined) return [];
  return [
    {
      check: 'probe-token',
      severity: 'note',
      what: 'probe.token is set in production.',
      why: 'Everybody with the token can run nest-secure-ws probe against this server from another machine.',
      fix: 'Remove WEBSOCKETS_PROBE_TOKEN after probing.',
      set: [],
    },
  ];
}
