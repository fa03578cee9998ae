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
      'Proxies whose forwarding headers are believed: CIDRs, addresses, or `loopback`, `linklocal`, `uniquelocal`, `unix` (all peers of a Unix domain socket). Trusted proxies are exempt from the checks at accept and from limits per address.',
  }),
  header: row(choice('x-forwarded', 'forwarded'), {
    scope: 'a',
    variable: 'WEBSOCKETS_PROXY_HEADER',
    default: 'x-forwarded',
    means:
      'Family of forwarding headers that is read, from the right: `x-forwarded` (`X-Forwarded-For`, `X-Forwarded-Proto` with `https` or `wss`) or `forwarded` (RFC 7239). The other one is ignored.',
  }),
  protocol: row(choice('off', 'v1', 'v2', 'any'), {
    scope: 'p',
    variable: 'WEBSOCKETS_PROXY_PROTOCOL',
    default: 'off',
    means:
      'Versions of the PROXY protocol that trusted proxies (`proxy.trusted`) must speak before anything else, TLS included; a connection of theirs without a valid header is reset. From then on the address that the header names counts everywhere. What others send is never read as a header.',
  }),
  requireTls: row(boolean(), {
    scope: 'a',
    variable: 'WEBSOCKETS_REQUIRE_TLS',
    default: false,
    defaultText:
      'false; must be chosen under `NODE_ENV=production` where neither TLS nor a trusted proxy is configured',
    means: 'Refuses (403) every connection that is neither TLS here nor said to be TLS by the nearest trusted proxy.',
  }),
} as const;

export const CONNECTIONS_ROWS = {
  max: row(integer({ min: 1 }), {
    scope: 'ag',
    variable: 'WEBSOCKETS_MAX_CONNECTIONS',
    default: 10_000,
    means:
      'Most connections at once. One more gets 503 with `Retry-After`; on a dedicated port it is reset at accept, before TLS.',
  }),
  maxPerIp: row(integer({ min: 1 }), {
    scope: 'ag',
    variable: 'WEBSOCKETS_MAX_CONNECTIONS_PER_IP',
    default: 100,
    means:
      'Most connections of one address. One more gets 429 with `Retry-After`; on a dedicated port it is reset at accept, unless it comes from a trusted proxy.',
  }),
  ipv6Prefix: row(integer({ min: 48, max: 128 }), {
    scope: 'a',
    variable: 'WEBSOCKETS_IPV6_PREFIX',
    default: 64,
    means:
      'Bits of an IPv6 address that count as one address. Addresses that embed IPv4 (mapped, NAT64) count as IPv4; a /48 may hold eight times the limits of a prefix.',
  }),
  maxPerUser: optional(integer({ min: 1 }), {
    scope: 'ag',
    variable: 'WEBSOCKETS_MAX_CONNECTIONS_PER_USER',
    means: 'Most connections of one user, told apart by the key of the principal. See `connections.onUserLimit`.',
  }),
  onUserLimit: row(choice('refuse', 'closeOldest'), {
    scope: 'ag',
    variable: 'WEBSOCKETS_ON_USER_LIMIT',
    default: 'refuse',
    means:
      "What happens past `connections.maxPerUser`: the new connection is refused (429), or the user's oldest one is closed (1008).",
  }),
  rate: row(rate(), {
    scope: 'a',
    variable: 'WEBSOCKETS_CONNECTION_RATE',
    default: '100/10s',
    means:
      'Attempts of one address, whatever becomes of them; one that is refused by this rate costs nothing. More get 429 with `Retry-After`.',
  }),
  maxPending: row(integer({ min: 1 }), {
    scope: 'a',
    variable: 'WEBSOCKETS_MAX_PENDING',
    default: 1000,
    means:
      'Most handshakes between accept and the 101, unfinished heads and refusals that are still being written included. When full, the oldest pending handshake of the busiest address is dropped. Unfinished heads hold at most 16 MiB together.',
  }),
  maxPendingPerIp: row(integer({ min: 1 }), {
    scope: 'a',
    variable: 'WEBSOCKETS_MAX_PENDING_PER_IP',
    default: 50,
    means: 'Most pending handshakes of one address; one more drops its oldest.',
  }),
  guardTimeout: row(duration({ min: 1 }), {
    scope: 'ag',
    variable: 'WEBSOCKETS_GUARD_TIMEOUT',
    default: '5s',
    means:
      'Time for all asynchronous guards of an attempt together (then 503, and their `AbortSignal` fires), and for `handleConnection` (then 1011).',
  }),
  allowedIps: optional(list('CIDRs, addresses or loopback, linklocal, uniquelocal, unix', addressProblem), {
    scope: 'a',
    variable: 'WEBSOCKETS_ALLOWED_IPS',
    defaultText: 'all',
    means:
      "The only addresses that may connect. A peer's own address is judged at accept, before TLS and HTTP, and dropped without an answer; an address behind a trusted proxy gets 403 (where the proxy names none, its own address counts).",
  }),
  deniedIps: row(list('CIDRs, addresses or loopback, linklocal, uniquelocal, unix', addressProblem), {
    scope: 'a',
    variable: 'WEBSOCKETS_DENIED_IPS',
    default: [],
    defaultText: 'none',
    means: 'Addresses that may not connect, judged as `connections.allowedIps`. Wins over it.',
  }),
  allowedOrigins: optional(
    list("origins such as 'https://app.example' or 'https://*.example.com', '*', 'null' or 'self'", originProblem),
    {
      scope: 'ag',
      variable: 'WEBSOCKETS_ALLOWED_ORIGINS',
      defaultText: 'same origin',
      means:
        'Origins of pages that may connect: exact scheme, host and port; `https://*.example.com` for one or more labels; `*` for any; `self` for the same origin; `null` and `file://` must be named. By default an `Origin` must have the host and port of `Host`, and its scheme where ours is known; a request without `Origin` (not a browser) passes. From a loopback peer that is no trusted proxy, `Host` must then be `localhost`, `*.localhost` or an IP literal (DNS rebinding). Others get 403; the log says what was compared.',
    },
  ),
  allowedHosts: optional(list("hosts such as 'app.example' or '*.example.com'", hostProblem), {
    scope: 'a',
    variable: 'WEBSOCKETS_ALLOWED_HOSTS',
    defaultText: 'any',
    means: 'Accepted values of `Host`; a port is compared only where one is named. Others get 403.',
  }),
  subprotocols: row(list('subprotocol tokens, none twice', subprotocolProblem), {
    scope: 'g',
    variable: 'WEBSOCKETS_SUBPROTOCOLS',
    default: [],
    defaultText: 'none',
    restricts: false,
    means:
      'Subprotocols in order of preference. What a client offers is answered only when it is listed here or chosen by a guard.',
  }),
} as const;

export const BANS_ROWS = {
  failures: removable(rate(), {
    scope: 'a',
    variable: 'WEBSOCKETS_BAN_FAILURES',
    defaultText: 'off',
    means:
      'Attempts of one address (and eight times as many of a /48) that guards may refuse with 401 or 403 before it is banned for `bans.time`. `10/10m` is a good value where `proxy.trusted` names every proxy: all users behind another one share an address.',
  }),
  time: row(duration({ min: 1 }), {
    scope: 'a',
    variable: 'WEBSOCKETS_BAN_TIME',
    default: '15m',
    means:
      'Length of a ban of `SecureWsBans` for which none is given, and of the first ban after failures, which doubles up to 24h.',
  }),
  max: row(integer({ min: 1 }), {
    scope: 'a',
    variable: 'WEBSOCKETS_MAX_BANS',
    default: 10_000,
    means: 'Most bans that are kept; past it those that end soonest are dropped.',
  }),
} as const;
