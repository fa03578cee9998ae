// @ts-nocheck
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
import { optional, row } from './row.js';

export const PROXY_ROWS = {
  trusted: row(list('CIDRs, addresses or loopback, linklocal, uniquelocal, unix', addressProblem), {
    scope: 'a',
    variable: 'WEBSOCKETS_TRUSTED_PROXIES',
    default: [],
    defaultText: 'none',
    means:
      'CIDRs, or `loopback`, `linklocal`, `uniquelocal`, or `unix` (all peers of a Unix domain socket), whose forwarding headers are believed. Trusted proxies are exempt from stage 0 and from limits per address',
  }),
  header: row(choice('x-forwarded', 'forwarded'), {
    scope: 'a',
    variable: 'WEBSOCKETS_PROXY_HEADER',
    default: 'x-forwarded',
    means:
      '`x-forwarded` (`-For`, `-Proto`; `https` and `wss`) or `forwarded` (RFC 7239): exactly one family is read, from the right',
  }),
  requireTls: row(boolean(), {
    scope: 'a',
    variable: 'WEBSOCKETS_REQUIRE_TLS',
    default: false,
    defaultText: 'false; under `NODE_ENV=production` with neither TLS nor a trusted proxy configured it must be chosen',
    means: 'a connection that is neither TLS here nor said to be TLS by the nearest trusted proxy: 403',
  }),
} as const;

export const CONNECTIONS_ROWS = {
  max: row(integer({ min: 1 }), {
    scope: 'ag',
    variable: 'WEBSOCKETS_MAX_CONNECTIONS',
    default: 10_000,
    means:
      'connections at once. 503 with `Retry-After`; on a port of its own a full house is reset at accept, before TLS',
  }),
  maxPerIp: row(integer({ min: 1 }), {
    scope: 'ag',
    variable: 'WEBSOCKETS_MAX_CONNECTIONS_PER_IP',
    default: 100,
    means:
      'connections of one address. 429 with `Retry-After`; on a port of its own reset at accept, trusted proxies apart',
  }),
  ipv6Prefix: row(integer({ min: 48, max: 128 }), {
    scope: 'a',
    variable: 'WEBSOCKETS_IPV6_PREFIX',
    default: 64,
    means:
      'bits of an IPv6 address that count as one; addresses that embed IPv4 (mapped, NAT64) count as IPv4; a /48 may hold eight times the limits of a prefix',
  }),
  maxPerUser: optional(integer({ min: 1 }), {
    scope: 'ag',
    variable: 'WEBSOCKETS_MAX_CONNECTIONS_PER_USER',
    means: 'connections by the key of the principal. 429, or `closeOldest`',
  }),
  onUserLimit: row(choice('refuse', 'closeOldest'), {
    scope: 'ag',
    variable: 'WEBSOCKETS_ON_USER_LIMIT',
    default: 'refuse',
    means:
      'what happens past `maxPerUser`: the newcomer is refused, or the oldest connection of the user is closed (1008)',
  }),
  rate: row(rate(), {
    scope: 'a',
    variable: 'WEBSOCKETS_CONNECTION_RATE',
    default: '100/10s',
    means:
      'attempts per address, whatever becomes of them; a 429 itself is free, so a bucket recovers. 429 with `Retry-After`',
  }),
  maxPending: row(integer({ min: 1 }), {
    scope: 'a',
    variable: 'WEBSOCKETS_MAX_PENDING',
    default: 1000,
    means:
      'from accept to 101, unfinished heads and lingering refusals included; a full house drops the oldest of the address that has most. Unfinished heads hold at most 16 MiB together',
  }),
  maxPendingPerIp: row(integer({ min: 1 }), {
    scope: 'a',
    variable: 'WEBSOCKETS_MAX_PENDING_PER_IP',
    default: 50,
    means: 'the same of one address; one more drops its oldest',
  }),
  guardTimeout: row(duration({ min: 1 }), {
    scope: 'ag',
    variable: 'WEBSOCKETS_GUARD_TIMEOUT',
    default: '5s',
    means: 'for the asynchronous guards together (503, their `AbortSignal` fires), and for `handleConnection` (1011)',
  }),
  allowedIps: optional(list('CIDRs, addresses or loopback, linklocal, uniquelocal, unix', addressProblem), {
    scope: 'a',
    variable: 'WEBSOCKETS_ALLOWED_IPS',
    defaultText: 'all',
    means:
      "only these addresses. The socket's own address: dropped at accept, before TLS and HTTP, nothing written; an address behind a trusted proxy: 403, and where that names none its own counts",
  }),
  deniedIps: row(list('CIDRs, addresses or loopback, linklocal, uniquelocal, unix', addressProblem), {
    scope: 'a',
    variable: 'WEBSOCKETS_DENIED_IPS',
    default: [],
    defaultText: 'none',
    means: 'never these addresses, likewise',
  }),
  allowedOrigins: optional(
    list("origins such as 'https://app.example' or 'https://*.example.com', '*' or 'null'", originProblem),
    {
      scope: 'ag',
      variable: 'WEBSOCKETS_ALLOWED_ORIGINS',
      defaultText: 'same origin',
      means:
        'exact scheme, host, port; `https://*.example.com` one or more labels; `*` any; `null` must be named. Without it an `Origin` must have the host and port of `Host` and its scheme where ours is known; no `Origin` (not a browser) passes. From a loopback peer that is no trusted proxy, `Host` must then be `localhost`, `*.localhost` or an IP literal (DNS rebinding). 403, the log says what was compared',
    },
  ),
  allowedHosts: optional(list("hosts such as 'app.example' or '*.example.com'", hostProblem), {
    scope: 'a',
    variable: 'WEBSOCKETS_ALLOWED_HOSTS',
    defaultText: 'any',
    means: 'values of `Host`, with a port only where one is named. 403',
  }),
  subprotocols: row(list('subprotocol tokens, none twice', subprotocolProblem), {
    scope: 'g',
    variable: 'WEBSOCKETS_SUBPROTOCOLS',
    default: [],
    defaultText: 'none',
    means: 'in order of preference; nothing offered is echoed unless listed or chosen by a guard',
  }),
} as const;
