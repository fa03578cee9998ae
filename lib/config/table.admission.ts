import {
  addressProblem,
  boolean,
  choice,
  duration,
  hostProblem,
  integer,
  list,
  originProblem,
  rate,
  subprotocolProblem,
} from './kinds.js';
import { optional, removable, row } from './row.js';
export const PROXY_ROWS = {
  trusted: row(list('CIDRs, addresses or loopback, linklocal, uniquelocal, unix', addressProblem), {
    scope: 'a',
    variable: 'WEBSOCKETS_TRUSTED_PROXIES',
    default: [],
    defaultText: 'none',
    means:
      'Proxies whose forwarding headers are believed: CIDRs, addresses, or the names `loopback`, `linklocal`, `uniquelocal` and `unix` (all peers of a Unix domain socket). Trusted proxies are exempt from the checks at accept and from limits per address.',
  }),
  header: row(choice('x-forwarded', 'forwarded'), {
    scope: 'a',
    variable: 'WEBSOCKETS_PROXY_HEADER',
    default: 'x-forwarded',
    means:
      'Forwarding headers that are read, from the right: `x-forwarded` (`X-Forwarded-For`, and `X-Forwarded-Proto` with `https` or `wss`) or `forwarded` (RFC 7239). The others are ignored.',
  }),
  protocol: row(choice('off', 'v1', 'v2', 'any'), {
    scope: 'p',
    variable: 'WEBSOCKETS_PROXY_PROTOCOL',
    default: 'off',
    means:
      'Versions of the PROXY protocol that trusted proxies (`proxy.trusted`) must use. They must send a valid header before all other bytes, also before TLS; otherwise the connection is reset. The address in the header is then the peer address for all checks and limits. Bytes of other peers are never read as such a header.',
  }),
  requireTls: row(boolean(), {
    scope: 'a',
    variable: 'WEBSOCKETS_REQUIRE_TLS',
    default: false,
    defaultText: 'false; must be set under `NODE_ENV=production` if neither TLS nor a trusted proxy is configured',
    means:
      'Refuses (403) every connection that neither uses TLS itself nor is reported as TLS by the nearest trusted proxy.',
  }),
} as const;

export const CONNECTIONS_ROWS = {
  max: row(integer({ min: 1 }), {
    scope: 'ag',
    variable: 'WEBSOCKETS_MAX_CONNECTIONS',
    default: 10_000,
    means:
      'Maximum number of connections. One more gets 503 with `Retry-After`; on a dedicated port it is reset at accept, before TLS.',
  }),
  maxPerIp: row(integer({ min: 1 }), {
    scope: 'ag',
    variable: 'WEBSOCKETS_MAX_CONNECTIONS_PER_IP',
    default: 100,
    means:
      'Maximum number of connections of one address. One more gets 429 with `Retry-After`; on a dedicated port it is reset at accept, unless it comes from a trusted proxy.',
  }),
  ipv6Prefix: row(integer({ min: 48, max: 128 }), {
    scope: 'a',
    variable: 'WEBSOCKETS_IPV6_PREFIX',
    default: 64,
    means:
      'Length of the IPv6 prefix that counts as one address. Addresses that embed IPv4 (mapped, NAT64) count as IPv4; a /48 may use eight times the limits of one prefix.',
  }),
  maxPerUser: optional(integer({ min: 1 }), {
    scope: 'ag',
    variable: 'WEBSOCKETS_MAX_CONNECTIONS_PER_USER',
    means:
      'Maximum number of connections of one user; users are distinguished by the key of the principal. See `connections.onUserLimit`.',
  }),
  onUserLimit: row(choice('refuse', 'closeOldest'), {
    scope: 'ag',
    variable: 'WEBSOCKETS_ON_USER_LIMIT',
    default: 'refuse',
    means:
      "What happens above `connections.maxPerUser`: `refuse` refuses the new connection (429), `closeOldest` closes the user's oldest one (1008).",
  }),
  rate: row(rate(), {
    scope: 'a',
    variable: 'WEBSOCKETS_CONNECTION_RATE',
    default: '100/10s',
    means:
      'Maximum rate of upgrade attempts of one address, whatever their result; attempts that this rate refuses do not count. More get 429 with `Retry-After`.',
  }),
  maxPending: row(integer({ min: 1 }), {
    scope: 'a',
    variable: 'WEBSOCKETS_MAX_PENDING',
    default: 1000,
    means:
      'Maximum number of pending handshakes: connections between accept and the 101, including unfinished request heads and refusals that are still being written. When full, the oldest pending handshake of the busiest address is dropped. All unfinished heads together may take 16 MiB.',
  }),
  maxPendingPerIp: row(integer({ min: 1 }), {
    scope: 'a',
    variable: 'WEBSOCKETS_MAX_PENDING_PER_IP',
    default: 50,
    means:
      'Maximum number of pending handshakes of one address. When full, the oldest pending handshake of that address is dropped.',
  }),
  guardTimeout: row(duration({ min: 1 }), {
    scope: 'ag',
    variable: 'WEBSOCKETS_GUARD_TIMEOUT',
    default: '5s',
    means:
      'Maximum time for all asynchronous guards of an attempt together (after it the attempt gets 503, and the `AbortSignal` of the guards fires), and for `handleConnection` (after it the connection ends with 1011).',
  }),
  allowedIps: optional(list('CIDRs, addresses or loopback, linklocal, uniquelocal, unix', addressProblem), {
    scope: 'a',
    variable: 'WEBSOCKETS_ALLOWED_IPS',
    defaultText: 'all',
    means:
      'The only addresses that may connect. Other peers are reset at accept, before TLS and HTTP; other clients behind a trusted proxy get 403 (if the proxy reports no address, its own address is checked).',
  }),
  deniedIps: row(list('CIDRs, addresses or loopback, linklocal, uniquelocal, unix', addressProblem), {
    scope: 'a',
    variable: 'WEBSOCKETS_DENIED_IPS',
    default: [],
    defaultText: 'none',
    means: 'Addresses that may not connect, checked like `connections.allowedIps`, over which it takes precedence.',
  }),
  allowedOrigins: optional(
    list("origins such as 'https://app.example' or 'https://*.example.com', '*', 'null' or 'self'", originProblem),
    {
      scope: 'ag',
      variable: 'WEBSOCKETS_ALLOWED_ORIGINS',
      defaultText: 'same origin',
      means:
        'Origins of pages that may connect: exact scheme, host and port; `https://*.example.com` for one or more labels; `*` for any origin; `self` for the same origin; `null` and `file://` must be listed. By default an `Origin` must have the host and port of `Host`, and the scheme of the connection if that is known; a request without `Origin` (not from a page) is accepted. From a loopback peer that is not a trusted proxy, `Host` must then also be `localhost`, `*.localhost` or an IP literal (DNS rebinding). Others get 403; the log has the values that were compared.',
    },
  ),
  allowedHosts: optional(list("hosts such as 'app.example' or '*.example.com'", hostProblem), {
    scope: 'a',
    variable: 'WEBSOCKETS_ALLOWED_HOSTS',
    defaultText: 'any',
    means: 'Accepted values of `Host`; the port is compared only if the entry has one. Others get 403.',
  }),
  subprotocols: row(list('subprotocol tokens, none twice', subprotocolProblem), {
    scope: 'g',
    variable: 'WEBSOCKETS_SUBPROTOCOLS',
    default: [],
    defaultText: 'none',
    restricts: false,
    means:
      'Subprotocols in order of preference. A subprotocol that a client offers is selected only if it is listed here or chosen by a guard.',
  }),
} as const;

export const BANS_ROWS = {
  failures: removable(rate(), {
    scope: 'a',
    variable: 'WEBSOCKETS_BAN_FAILURES',
    defaultText: 'off',
    means:
      'Number of attempts of one address (and eight times as many of a /48) that guards may refuse with 401 or 403 before the address is banned for `bans.time`. `10/10m` is a good value if `proxy.trusted` lists every proxy; all users behind an unlisted proxy share its address.',
  }),
  time: row(duration({ min: 1 }), {
    scope: 'a',
    variable: 'WEBSOCKETS_BAN_TIME',
    default: '15m',
    means:
      'Default duration of a ban of `SecureWsBans`, and duration of the first ban after failures; each further ban of the same address takes twice as long, up to 24h.',
  }),
  max: row(integer({ min: 1 }), {
    scope: 'a',
    variable: 'WEBSOCKETS_MAX_BANS',
    default: 10_000,
    means: 'Maximum number of bans. When full, the ban that ends soonest is dropped.',
  }),
} as const;
