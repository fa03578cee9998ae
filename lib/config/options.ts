// Written from the option table by `node scripts/option-table.mjs`: change lib/config/table*.ts, not this file.

import type { ClusterBus, ClusterStore } from '../cluster/contract.js';
import type { ForeignUpgrades, GuardLike, MessageParser, RedisClientLike } from './code-types.js';
import type { Duration, List, Rate, Size } from './kinds.js';

/** Limits on HTTP request and response heads while they arrive. */
export interface HttpOptions {
  /**
   * Maximum length of the request line (for the client: of the status line) and of a header line, including CRLF. A
   * longer request line gets 414, a longer header line 431.
   *
   * Default: `8192`. Unit of a plain number: bytes. Variable: `WEBSOCKETS_MAX_LINE_LENGTH`. Scope: port.
   */
  readonly maxLineLength?: Size;
  /**
   * Maximum number of header lines; a repeated name counts each time. One more gets 431.
   *
   * Default: `128`. Variable: `WEBSOCKETS_MAX_NUM_HEADERS`. Scope: port.
   */
  readonly maxNumHeaders?: number | string;
  /**
   * Maximum size of the body of an HTTP response that the outbound client accepts. (An upgrade request with a body
   * always gets 400.)
   *
   * Default: `1mb`. Unit of a plain number: bytes. Variable: `WEBSOCKETS_MAX_BODY_SIZE`. Scope: application.
   */
  readonly maxBodySize?: Size;
  /**
   * Maximum time from TCP accept to the 101, including the TLS handshake; arriving bytes do not extend it. After it, an
   * incomplete request head gets 408 (a connection that has sent nothing is closed), and a complete one 503.
   *
   * Default: `10s`. Unit of a plain number: milliseconds. Variable: `WEBSOCKETS_OPEN_TIMEOUT`. Scope: port.
   */
  readonly openTimeout?: Duration;
}

/** Where dedicated ports listen. */
export interface ListenOptions {
  /**
   * Host name or address that dedicated ports listen on.
   *
   * Default: all. Variable: `WEBSOCKETS_HOST`. Scope: gateway.
   */
  readonly host?: string;
}

/** TLS of dedicated ports. */
export interface TlsOptions {
  /**
   * PEM file with the certificate chain of dedicated ports; read again when it changes. `tls: null` on a gateway
   * disables TLS on its port.
   *
   * Default: none. Variable: `WEBSOCKETS_TLS_CERT`. Scope: port.
   */
  readonly certFile?: string;
  /**
   * PEM file with the private key of the certificate. Changed files are used only if the key matches the certificate.
   *
   * Default: none. Variable: `WEBSOCKETS_TLS_KEY`. Scope: port.
   */
  readonly keyFile?: string;
  /**
   * PEM file with the certificate authorities that may issue client certificates.
   *
   * Default: none. Variable: `WEBSOCKETS_TLS_CA`. Scope: port.
   */
  readonly caFile?: string;
  /**
   * The certificate chain itself, in place of the file.
   *
   * Default: none. Code only. Scope: port.
   */
  readonly cert?: string | Buffer;
  /**
   * The private key itself, in place of the file.
   *
   * Default: none. Code only. Scope: port.
   */
  readonly key?: string | Buffer;
  /**
   * The authorities themselves, in place of the file.
   *
   * Default: none. Code only. Scope: port.
   */
  readonly ca?: string | Buffer;
  /**
   * Minimum TLS version on dedicated ports.
   *
   * Default: `TLSv1.2`. Variable: `WEBSOCKETS_TLS_MIN_VERSION`. Scope: port.
   */
  readonly minVersion?: 'TLSv1.2' | 'TLSv1.3';
  /**
   * Requires a client certificate; needs `tls.caFile` or `tls.ca`. A client without a certificate that verifies is
   * refused; guards read a verified one as `attempt.certificate`.
   *
   * Default: `false`. Variable: `WEBSOCKETS_TLS_REQUEST_CERT`. Scope: port.
   */
  readonly requestCert?: boolean | string;
}

/** Reverse proxies and load balancers in front of the application. */
export interface ProxyOptions {
  /**
   * Proxies whose forwarding headers are believed: CIDRs, addresses, or the names `loopback`, `linklocal`,
   * `uniquelocal` and `unix` (all peers of a Unix domain socket). Trusted proxies are exempt from the checks at accept
   * and from limits per address.
   *
   * Default: none. Variable: `WEBSOCKETS_TRUSTED_PROXIES`. Scope: application.
   */
  readonly trusted?: List;
  /**
   * Forwarding headers that are read, from the right: `x-forwarded` (`X-Forwarded-For`, and `X-Forwarded-Proto` with
   * `https` or `wss`) or `forwarded` (RFC 7239). The others are ignored.
   *
   * Default: `x-forwarded`. Variable: `WEBSOCKETS_PROXY_HEADER`. Scope: application.
   */
  readonly header?: 'x-forwarded' | 'forwarded';
  /**
   * Versions of the PROXY protocol that trusted proxies (`proxy.trusted`) must use. They must send a valid header
   * before all other bytes, also before TLS; otherwise the connection is reset. The address in the header is then the
   * peer address for all checks and limits. Bytes of other peers are never read as such a header.
   *
   * Default: `off`. Variable: `WEBSOCKETS_PROXY_PROTOCOL`. Scope: port.
   */
  readonly protocol?: 'off' | 'v1' | 'v2' | 'any';
  /**
   * Refuses (403) every connection that neither uses TLS itself nor is reported as TLS by the nearest trusted proxy.
   *
   * Default: false; must be set under `NODE_ENV=production` if neither TLS nor a trusted proxy is configured. Variable:
   * `WEBSOCKETS_REQUIRE_TLS`. Scope: application.
   */
  readonly requireTls?: boolean | string;
}

/** Limits on connections, and who may connect. */
export interface ConnectionsOptions {
  /**
   * Maximum number of connections. One more gets 503 with `Retry-After`; on a dedicated port it is reset at accept,
   * before TLS.
   *
   * Default: `10000`. Variable: `WEBSOCKETS_MAX_CONNECTIONS`. Scope: application and gateway.
   */
  readonly max?: number | string;
  /**
   * Maximum number of connections of one address. One more gets 429 with `Retry-After`; on a dedicated port it is reset
   * at accept, unless it comes from a trusted proxy.
   *
   * Default: `100`. Variable: `WEBSOCKETS_MAX_CONNECTIONS_PER_IP`. Scope: application and gateway.
   */
  readonly maxPerIp?: number | string;
  /**
   * Length of the IPv6 prefix that counts as one address. Addresses that embed IPv4 (mapped, NAT64) count as IPv4; a
   * /48 may use eight times the limits of one prefix.
   *
   * Default: `64`. Variable: `WEBSOCKETS_IPV6_PREFIX`. Scope: application.
   */
  readonly ipv6Prefix?: number | string;
  /**
   * Maximum number of connections of one user; users are distinguished by the key of the principal. See
   * `connections.onUserLimit`.
   *
   * Default: none. Variable: `WEBSOCKETS_MAX_CONNECTIONS_PER_USER`. Scope: application and gateway.
   */
  readonly maxPerUser?: number | string;
  /**
   * What happens above `connections.maxPerUser`: `refuse` refuses the new connection (429), `closeOldest` closes the
   * user's oldest one (1008).
   *
   * Default: `refuse`. Variable: `WEBSOCKETS_ON_USER_LIMIT`. Scope: application and gateway.
   */
  readonly onUserLimit?: 'refuse' | 'closeOldest';
  /**
   * Maximum rate of upgrade attempts of one address, whatever their result; attempts that this rate refuses do not
   * count. More get 429 with `Retry-After`.
   *
   * Default: `100/10s`. Unit of a plain number: per window. Variable: `WEBSOCKETS_CONNECTION_RATE`. Scope: application.
   */
  readonly rate?: Rate;
  /**
   * Maximum number of pending handshakes: connections between accept and the 101, including unfinished request heads
   * and refusals that are still being written. When full, the oldest pending handshake of the busiest address is
   * dropped. All unfinished heads together may take 16 MiB.
   *
   * Default: `1000`. Variable: `WEBSOCKETS_MAX_PENDING`. Scope: application.
   */
  readonly maxPending?: number | string;
  /**
   * Maximum number of pending handshakes of one address. When full, the oldest pending handshake of that address is
   * dropped.
   *
   * Default: `50`. Variable: `WEBSOCKETS_MAX_PENDING_PER_IP`. Scope: application.
   */
  readonly maxPendingPerIp?: number | string;
  /**
   * Maximum time for all asynchronous guards of an attempt together (after it the attempt gets 503, and the
   * `AbortSignal` of the guards fires), and for `handleConnection` (after it the connection ends with 1011).
   *
   * Default: `5s`. Unit of a plain number: milliseconds. Variable: `WEBSOCKETS_GUARD_TIMEOUT`. Scope: application and
   * gateway.
   */
  readonly guardTimeout?: Duration;
  /**
   * The only addresses that may connect. Other peers are reset at accept, before TLS and HTTP; other clients behind a
   * trusted proxy get 403 (if the proxy reports no address, its own address is checked).
   *
   * Default: all. Variable: `WEBSOCKETS_ALLOWED_IPS`. Scope: application.
   */
  readonly allowedIps?: List;
  /**
   * Addresses that may not connect, checked like `connections.allowedIps`, over which it takes precedence.
   *
   * Default: none. Variable: `WEBSOCKETS_DENIED_IPS`. Scope: application.
   */
  readonly deniedIps?: List;
  /**
   * Origins of pages that may connect: exact scheme, host and port; `https://*.example.com` for one or more labels; `*`
   * for any origin; `self` for the same origin; `null` and `file://` must be listed. By default an `Origin` must have
   * the host and port of `Host`, and the scheme of the connection if that is known; a request without `Origin` (not
   * from a page) is accepted. From a loopback peer that is not a trusted proxy, `Host` must then also be `localhost`,
   * `*.localhost` or an IP literal (DNS rebinding). Others get 403; the log has the values that were compared.
   *
   * Default: same origin. Variable: `WEBSOCKETS_ALLOWED_ORIGINS`. Scope: application and gateway.
   */
  readonly allowedOrigins?: List;
  /**
   * Accepted values of `Host`; the port is compared only if the entry has one. Others get 403.
   *
   * Default: any. Variable: `WEBSOCKETS_ALLOWED_HOSTS`. Scope: application.
   */
  readonly allowedHosts?: List;
  /**
   * Subprotocols in order of preference. A subprotocol that a client offers is selected only if it is listed here or
   * chosen by a guard.
   *
   * Default: none. Variable: `WEBSOCKETS_SUBPROTOCOLS`. Scope: gateway.
   */
  readonly subprotocols?: List;
}

/** Temporary bans. */
export interface BansOptions {
  /**
   * Number of attempts of one address (and eight times as many of a /48) that guards may refuse with 401 or 403 before
   * the address is banned for `bans.time`. `10/10m` is a good value if `proxy.trusted` lists every proxy; all users
   * behind an unlisted proxy share its address.
   *
   * Default: off. Unit of a plain number: per window. Variable: `WEBSOCKETS_BAN_FAILURES`. Scope: application. `null`
   * removes it.
   */
  readonly failures?: Rate | null;
  /**
   * Default duration of a ban of `SecureWsBans`, and duration of the first ban after failures; each further ban of the
   * same address takes twice as long, up to 24h.
   *
   * Default: `15m`. Unit of a plain number: milliseconds. Variable: `WEBSOCKETS_BAN_TIME`. Scope: application.
   */
  readonly time?: Duration;
  /**
   * Maximum number of bans. When full, the ban that ends soonest is dropped.
   *
   * Default: `10000`. Variable: `WEBSOCKETS_MAX_BANS`. Scope: application.
   */
  readonly max?: number | string;
}

/** State that the processes of an application share. */
export interface ClusterOptions {
  /**
   * URL of the Redis or Valkey (6.2 and newer) over which the processes of the application share limits, bans,
   * broadcasts and disconnects: `redis://`, `rediss://`, `redis+sentinel://host:port,host:port/name` or
   * `redis+cluster://host:port,host:port`. Needs the package `ioredis`.
   *
   * Default: none. Variable: `WEBSOCKETS_CLUSTER_URL`. Scope: application.
   */
  readonly url?: string;
  /**
   * In place of `cluster.url`: an ioredis client (`Redis` or `Cluster`) of the application. The library opens two
   * connections with its options, and does not use the client itself.
   *
   * Default: none. Code only. Scope: application.
   */
  readonly client?: RedisClientLike;
  /**
   * In place of Redis, together with `cluster.bus`: a `ClusterStore`, which keeps the counts of all processes.
   *
   * Default: none. Code only. Scope: application.
   */
  readonly store?: ClusterStore;
  /**
   * In place of Redis, together with `cluster.store`: a `ClusterBus`, which carries messages between processes.
   *
   * Default: none. Code only. Scope: application.
   */
  readonly bus?: ClusterBus;
  /**
   * Prefix of every key and channel. Applications that share a Redis need different prefixes.
   *
   * Default: `nsw`. Variable: `WEBSOCKETS_CLUSTER_PREFIX`. Scope: application.
   */
  readonly prefix?: string;
  /**
   * Maximum time to wait for an answer of Redis, or of other processes.
   *
   * Default: `100ms`. Unit of a plain number: milliseconds. Variable: `WEBSOCKETS_CLUSTER_TIMEOUT`. Scope: application.
   */
  readonly timeout?: Duration;
  /**
   * Time between two renewals of the lease.
   *
   * Default: `2s`. Unit of a plain number: milliseconds. Variable: `WEBSOCKETS_CLUSTER_HEARTBEAT`. Scope: application.
   */
  readonly heartbeat?: Duration;
  /**
   * Duration of the lease of a process. The connections of a process that has not renewed its lease for this time no
   * longer count.
   *
   * Default: `10s`. Unit of a plain number: milliseconds. Variable: `WEBSOCKETS_CLUSTER_LEASE`. Scope: application.
   */
  readonly lease?: Duration;
  /**
   * What happens while Redis does not answer. `local`: each process applies the limits by itself; `share`: each process
   * applies the limits divided by the number of processes last known, rounded up; `closed`: new connections get 503.
   *
   * Default: `local`. Variable: `WEBSOCKETS_CLUSTER_ON_FAILURE`. Scope: application.
   */
  readonly onFailure?: 'local' | 'share' | 'closed';
  /**
   * Secret with which processes sign the messages to each other (HMAC-SHA256); messages that are not signed with it are
   * dropped and counted. Without it, anyone who can publish in Redis can broadcast, disconnect and ban.
   *
   * Default: none. Variable: `WEBSOCKETS_CLUSTER_SECRET`. Scope: application.
   */
  readonly secret?: string;
}

/** Limits on messages and handlers. */
export interface MessagesOptions {
  /**
   * Maximum size of a message after decompression and reassembly; a declared length is checked before the payload
   * arrives. A larger message ends the connection with 1009.
   *
   * Default: `1mb`. Unit of a plain number: bytes. Variable: `WEBSOCKETS_MAX_SIZE`. Scope: gateway.
   */
  readonly maxSize?: Size;
  /**
   * Maximum number of values and keys of a JSON message, counted before it is parsed; a message with more is malformed.
   * Each counts as 64 bytes in byte rates, and in queue and buffer limits until the handler has settled. With a
   * `messageParser`, only text that begins like a JSON object or array is counted. A message that would take more than
   * 20 bytes of memory for each byte of its text, beyond 4 KiB, is malformed, too.
   *
   * Default: `10000`. Variable: `WEBSOCKETS_MAX_NODES`. Scope: gateway.
   */
  readonly maxNodes?: number | string;
  /**
   * Maximum number of fragments of a message; more end the connection with 1008. Every 16 fragments count as one
   * message in `messages.rate`.
   *
   * Default: `1024`. Variable: `WEBSOCKETS_MAX_FRAGMENTS`. Scope: gateway.
   */
  readonly maxFragments?: number | string;
  /**
   * Maximum time from the first to the last byte of a message, plus the time for its received bytes at 16 KiB/s; also
   * for a message of one frame. After it the connection ends with 1008.
   *
   * Default: `30s`. Unit of a plain number: milliseconds. Variable: `WEBSOCKETS_ASSEMBLY_TIMEOUT`. Scope: gateway.
   */
  readonly assemblyTimeout?: Duration;
  /**
   * Maximum message rate of one connection. Above it the connection ends with 1008.
   *
   * Default: `1000/5s`. Unit of a plain number: per window. Variable: `WEBSOCKETS_MESSAGE_RATE`. Scope: gateway.
   */
  readonly rate?: Rate;
  /**
   * Maximum rate of decompressed bytes of one connection. Above it reading pauses.
   *
   * Default: `8mb/4s`. Unit of a plain number: bytes per window. Variable: `WEBSOCKETS_BYTE_RATE`. Scope: gateway.
   */
  readonly byteRate?: Rate;
  /**
   * Maximum rate of decompressed bytes of all connections of one address. Above it reading pauses.
   *
   * Default: `16mb/4s`. Unit of a plain number: bytes per window. Variable: `WEBSOCKETS_BYTE_RATE_PER_IP`. Scope:
   * application.
   */
  readonly byteRatePerIp?: Rate;
  /**
   * Maximum rate of pings and unsolicited pongs of one connection. Above it the connection ends with 1008.
   *
   * Default: `20/1s`. Unit of a plain number: per window. Variable: `WEBSOCKETS_CONTROL_RATE`. Scope: gateway.
   */
  readonly controlRate?: Rate;
  /**
   * Maximum number of messages of one connection that are being handled or are waiting, unparsed. At this limit the
   * socket is not read; messages that arrived in the same read also wait, within the buffer limits.
   *
   * Default: `16`. Variable: `WEBSOCKETS_MAX_QUEUE`. Scope: gateway.
   */
  readonly maxQueue?: number | string;
  /**
   * Maximum size of the messages of one connection that are being handled or are waiting. At this limit the socket is
   * not read.
   *
   * Default: `messages.maxSize`. Unit of a plain number: bytes. Variable: `WEBSOCKETS_MAX_QUEUE_BYTES`. Scope: gateway.
   */
  readonly maxQueueBytes?: Size;
  /**
   * Maximum number of handlers of one connection that run at the same time; with 1, messages are handled in order. A
   * handler that returns an observable counts until the observable is subscribed to.
   *
   * Default: `1`. Variable: `WEBSOCKETS_CONCURRENCY`. Scope: gateway.
   */
  readonly concurrency?: number | string;
  /**
   * Maximum number of observables of one connection that have not completed. One more is answered with an `exception`
   * event.
   *
   * Default: `16`. Variable: `WEBSOCKETS_MAX_STREAMS`. Scope: gateway.
   */
  readonly maxStreams?: number | string;
  /**
   * Maximum time of a handler. After it the message is answered with an `exception` event, and its place in the queue
   * is free.
   *
   * Default: `60s`. Unit of a plain number: milliseconds. Variable: `WEBSOCKETS_HANDLER_TIMEOUT`. Scope: gateway.
   * `null` removes it.
   */
  readonly handlerTimeout?: Duration | null;
  /**
   * Maximum rate of malformed messages and messages with an unknown event; each is answered with an `exception` event.
   * Above it the connection ends with 1008.
   *
   * Default: `10/1m`. Unit of a plain number: per window. Variable: `WEBSOCKETS_STRIKES`. Scope: gateway.
   */
  readonly strikes?: Rate;
}

/** Limits on memory that is held for peers. */
export interface BuffersOptions {
  /**
   * Maximum number of unsent bytes of one connection, checked after the socket has taken what it accepts; a message is
   * always accepted if nothing is unsent. Above it the connection ends with 1013, and later sends fail.
   *
   * Default: `4mb`. Unit of a plain number: bytes. Variable: `WEBSOCKETS_MAX_BUFFERED`. Scope: gateway.
   */
  readonly maxBuffered?: Size;
  /**
   * Number of unsent bytes above which reading from the peer pauses. Then only the last of its pings is answered, when
   * all bytes have been sent (RFC 6455, section 5.5.3).
   *
   * Default: `64kb`. Unit of a plain number: bytes. Variable: `WEBSOCKETS_WRITE_LIMIT`. Scope: gateway.
   */
  readonly writeLimit?: Size;
  /**
   * Maximum time until the oldest unsent byte is sent, plus the time for all unsent bytes at 4 KiB/s. After it the
   * connection is terminated (TCP is reset), even if the peer answers pings.
   *
   * Default: `30s`. Unit of a plain number: milliseconds. Variable: `WEBSOCKETS_STALL_TIMEOUT`. Scope: gateway.
   */
  readonly stallTimeout?: Duration;
  /**
   * Maximum number of bytes held for all peers together: request heads, incomplete and waiting messages, unsent bytes.
   * Above it connections are closed (1013) until 90 % are left: the largest connection of the address that holds most
   * is closed first. A connection that holds less than 64 KiB, or less than `buffers.budget` / `connections.max` if
   * that is smaller, is never closed. New connections get 503 only when no connection can be closed.
   *
   * Default: `256mb`. Unit of a plain number: bytes. Variable: `WEBSOCKETS_BUFFER_BUDGET`. Scope: application.
   */
  readonly budget?: Size;
  /**
   * Maximum number of bytes held for one address. Above it the largest connection of that address is closed (1013).
   *
   * Default: `32mb`. Unit of a plain number: bytes. Variable: `WEBSOCKETS_BUFFERS_PER_IP`. Scope: application.
   */
  readonly maxPerIp?: Size;
}

/** Pings, timeouts and the lifetime of connections. */
export interface KeepaliveOptions {
  /**
   * Time between pings.
   *
   * Default: `20s`. Unit of a plain number: milliseconds. Variable: `WEBSOCKETS_PING_INTERVAL`. Scope: gateway. `null`
   * removes it.
   */
  readonly pingInterval?: Duration | null;
  /**
   * Maximum time until the matching pong arrives. After it the connection is terminated.
   *
   * Default: `20s`. Unit of a plain number: milliseconds. Variable: `WEBSOCKETS_PING_TIMEOUT`. Scope: gateway. `null`
   * removes it.
   */
  readonly pingTimeout?: Duration | null;
  /**
   * Time without a message in either direction after which the connection ends with 1000. Pongs do not count as
   * messages.
   *
   * Default: none. Unit of a plain number: milliseconds. Variable: `WEBSOCKETS_IDLE_TIMEOUT`. Scope: gateway.
   */
  readonly idleTimeout?: Duration;
  /**
   * Age at which a connection ends with 1001, with ±10 % jitter.
   *
   * Default: none. Unit of a plain number: milliseconds. Variable: `WEBSOCKETS_MAX_LIFETIME`. Scope: gateway.
   */
  readonly maxLifetime?: Duration;
  /**
   * Maximum time from the first close frame to the end of the TCP connection. After it the socket is destroyed.
   *
   * Default: `10s`. Unit of a plain number: milliseconds. Variable: `WEBSOCKETS_CLOSE_TIMEOUT`. Scope: gateway.
   */
  readonly closeTimeout?: Duration;
}

/** permessage-deflate (RFC 7692). */
export interface CompressionOptions {
  /**
   * `shared`: compression without a context per connection; `dedicated`: a context per connection, for as many
   * connections as fit `compression.budget`, while further connections get `shared`; `off`: no compression.
   *
   * Default: `shared`. Variable: `WEBSOCKETS_COMPRESSION`. Scope: gateway.
   */
  readonly mode?: 'shared' | 'dedicated' | 'off';
  /**
   * Base-two logarithm of the compression window (RFC 7692, section 7.1.2).
   *
   * Default: `12`. Variable: `WEBSOCKETS_COMPRESSION_WINDOW_BITS`. Scope: application.
   */
  readonly windowBits?: number | string;
  /**
   * The `memLevel` of zlib: a higher value uses more memory and compresses better.
   *
   * Default: `5`. Variable: `WEBSOCKETS_COMPRESSION_MEM_LEVEL`. Scope: application.
   */
  readonly memLevel?: number | string;
  /**
   * The compression level of zlib: a higher value uses more CPU and compresses better.
   *
   * Default: `3`. Variable: `WEBSOCKETS_COMPRESSION_LEVEL`. Scope: application.
   */
  readonly level?: number | string;
  /**
   * Minimum size of a message that is compressed.
   *
   * Default: `256`. Unit of a plain number: bytes. Variable: `WEBSOCKETS_COMPRESSION_THRESHOLD`. Scope: application.
   */
  readonly threshold?: Size;
  /**
   * Maximum memory of all `dedicated` contexts together, at their measured size in Node.
   *
   * Default: `64mb`. Unit of a plain number: bytes. Variable: `WEBSOCKETS_COMPRESSION_BUDGET`. Scope: application.
   */
  readonly budget?: Size;
  /**
   * Maximum ratio of inflated to received bytes of a message. Above it the connection ends with 1009.
   *
   * Default: none. Variable: `WEBSOCKETS_MAX_RATIO`. Scope: gateway.
   */
  readonly maxRatio?: number | string;
}

/** Shutdown. */
export interface ShutdownOptions {
  /**
   * Maximum time that a shutdown takes to close connections and await handlers; `0` terminates all connections at once.
   *
   * Default: `5s`. Unit of a plain number: milliseconds. Variable: `WEBSOCKETS_DRAIN_TIMEOUT`. Scope: application.
   */
  readonly drainTimeout?: Duration;
}

/** `nest-secure-ws probe`. */
export interface ProbeOptions {
  /**
   * Allows `nest-secure-ws probe` with the same token to attack this server from other machines: the response to an
   * upgrade request with a nonce in `Nest-Secure-Ws-Probe` contains its HMAC, also if the request is refused. Remove
   * the token after the test.
   *
   * Default: none. Variable: `WEBSOCKETS_PROBE_TOKEN`. Scope: application.
   */
  readonly token?: string;
}

/** The operators' page. */
export interface DashboardOptions {
  /**
   * Token with which operators log in to the page of `SecureWsDashboardModule`, unless the module has a `token` or
   * `guards` of its own. At least 32 characters.
   *
   * Default: none. Variable: `WEBSOCKETS_DASHBOARD_TOKEN`. Scope: application.
   */
  readonly token?: string;
}

/** The outbound client. */
export interface ClientOptions {
  /**
   * `User-Agent` header of the outbound client. An empty variable removes it too.
   *
   * Default: `Node.js/x.y.z nest-secure-ws/X.Y`. Variable: `WEBSOCKETS_USER_AGENT`. Scope: application. `null` removes
   * it.
   */
  readonly userAgentHeader?: string | null;
  /**
   * Maximum number of redirects that the client follows in one call.
   *
   * Default: `10`. Variable: `WEBSOCKETS_MAX_REDIRECTS`. Scope: application.
   */
  readonly maxRedirects?: number | string;
  /**
   * Follows a redirect to an address that is not as widely reachable. The order is public, private, loopback,
   * link-local.
   *
   * Default: `false`. Code only. Scope: application.
   */
  readonly allowPrivateRedirects?: boolean | string;
  /**
   * Upper bound of the first delay of `reconnecting`, which is random from 0 to this value.
   *
   * Default: `5s`. Unit of a plain number: milliseconds. Variable: `WEBSOCKETS_BACKOFF_INITIAL_DELAY`. Scope:
   * application.
   */
  readonly backoffInitialDelay?: Duration;
  /**
   * The second delay of `reconnecting`.
   *
   * Default: `3.1s`. Unit of a plain number: milliseconds. Variable: `WEBSOCKETS_BACKOFF_MIN_DELAY`. Scope:
   * application.
   */
  readonly backoffMinDelay?: Duration;
  /**
   * Factor by which each further delay grows.
   *
   * Default: `1.618`. Variable: `WEBSOCKETS_BACKOFF_FACTOR`. Scope: application.
   */
  readonly backoffFactor?: number | string;
  /**
   * Maximum delay, even if the server asks for a longer one with `Retry-After`.
   *
   * Default: `90s`. Unit of a plain number: milliseconds. Variable: `WEBSOCKETS_BACKOFF_MAX_DELAY`. Scope: application.
   */
  readonly backoffMaxDelay?: Duration;
}

/** The options of `SecureWsModule.forRoot()`. All are optional; each takes precedence over its environment variable. */
export interface SecureWsOptions {
  /** Limits on HTTP request and response heads while they arrive. */
  readonly http?: HttpOptions;
  /**
   * `Server` header of the 101 and of every refusal. An empty variable removes it too.
   *
   * Default: `Node.js/x.y.z nest-secure-ws/X.Y`. Variable: `WEBSOCKETS_SERVER`. Scope: port. `null` removes it.
   */
  readonly serverHeader?: string | null;
  /** Where dedicated ports listen. */
  readonly listen?: ListenOptions;
  /** TLS of dedicated ports. */
  readonly tls?: TlsOptions;
  /** Reverse proxies and load balancers in front of the application. */
  readonly proxy?: ProxyOptions;
  /** Limits on connections, and who may connect. */
  readonly connections?: ConnectionsOptions;
  /** Temporary bans. */
  readonly bans?: BansOptions;
  /** State that the processes of an application share. */
  readonly cluster?: ClusterOptions;
  /** Limits on messages and handlers. */
  readonly messages?: MessagesOptions;
  /** Limits on memory that is held for peers. */
  readonly buffers?: BuffersOptions;
  /** Pings, timeouts and the lifetime of connections. */
  readonly keepalive?: KeepaliveOptions;
  /** permessage-deflate (RFC 7692). */
  readonly compression?: CompressionOptions;
  /** Shutdown. */
  readonly shutdown?: ShutdownOptions;
  /** `nest-secure-ws probe`. */
  readonly probe?: ProbeOptions;
  /** The operators' page. */
  readonly dashboard?: DashboardOptions;
  /**
   * Where new connections are checked first. `auto`: on Node's internal handles, before Node creates sockets, if this
   * version of Node supports it; `off`: on sockets, through Node's public interface only.
   *
   * Default: `auto`. Variable: `WEBSOCKETS_NATIVE_ACCEPT`. Scope: application.
   */
  readonly nativeAccept?: 'auto' | 'off';
  /**
   * What happens to upgrades for a path without a gateway. `auto`: they are passed to other `upgrade` listeners of the
   * server, or get 404 if there are none; `refuse`: they get 404.
   *
   * Default: `auto`. Variable: `WEBSOCKETS_FOREIGN_UPGRADES`. Scope: application.
   */
  readonly foreignUpgrades?: 'auto' | 'refuse';
  /**
   * Paths on the application's own port whose upgrades another library answers (socket.io, graphql-ws). Before the
   * library receives such an upgrade, it passes the same checks and guards as upgrades of gateways; it holds a slot
   * until its socket closes.
   *
   * Default: none. Code only. Scope: application.
   */
  readonly foreign?: readonly ForeignUpgrades[];
  /**
   * Admission guards in order: classes, instances or functions. The application's guards run before a gateway's;
   * `beforeBuiltIn(guard)` runs before the built-in checks.
   *
   * Default: none. Code only. Scope: application and gateway.
   */
  readonly guards?: readonly GuardLike[];
  /**
   * Function that converts a message (text as a string, binary as a Buffer) to `{ event, data }`, as with Nest's
   * `WsAdapter`. A message for which it returns nothing is dropped without an answer.
   *
   * Default: JSON. Code only. Scope: application and gateway.
   */
  readonly messageParser?: MessageParser;
  /**
   * Keeps the upgrade request as `socket.request`, which costs memory per connection.
   *
   * Default: `false`. Code only. Scope: application and gateway.
   */
  readonly keepRequest?: boolean;
  /** The outbound client. */
  readonly client?: ClientOptions;
}

/**
 * The options of `@SecureGateway()` for a gateway on the application's port: its path, and every setting that a gateway
 * or a port can have.
 */
export interface SecureGatewayOptions {
  /**
   * Path of the gateway, or a pattern such as `/rooms/:id` or `/files/*rest`. Default: `/`; on a dedicated port, every
   * path that no other gateway on that port has.
   */
  readonly path?: string;
  /** Limits on HTTP request and response heads while they arrive. */
  readonly http?: Pick<HttpOptions, 'maxLineLength' | 'maxNumHeaders' | 'openTimeout'>;
  /**
   * `Server` header of the 101 and of every refusal. An empty variable removes it too.
   *
   * Default: `Node.js/x.y.z nest-secure-ws/X.Y`. Variable: `WEBSOCKETS_SERVER`. Scope: port. `null` removes it.
   */
  readonly serverHeader?: string | null;
  /** Reverse proxies and load balancers in front of the application. */
  readonly proxy?: Pick<ProxyOptions, 'protocol'>;
  /** Limits on connections, and who may connect. */
  readonly connections?: Pick<
    ConnectionsOptions,
    'max' | 'maxPerIp' | 'maxPerUser' | 'onUserLimit' | 'guardTimeout' | 'allowedOrigins' | 'subprotocols'
  >;
  /** Limits on messages and handlers. */
  readonly messages?: Pick<
    MessagesOptions,
    | 'maxSize'
    | 'maxNodes'
    | 'maxFragments'
    | 'assemblyTimeout'
    | 'rate'
    | 'byteRate'
    | 'controlRate'
    | 'maxQueue'
    | 'maxQueueBytes'
    | 'concurrency'
    | 'maxStreams'
    | 'handlerTimeout'
    | 'strikes'
  >;
  /** Limits on memory that is held for peers. */
  readonly buffers?: Pick<BuffersOptions, 'maxBuffered' | 'writeLimit' | 'stallTimeout'>;
  /** Pings, timeouts and the lifetime of connections. */
  readonly keepalive?: KeepaliveOptions;
  /** permessage-deflate (RFC 7692). */
  readonly compression?: Pick<CompressionOptions, 'mode' | 'maxRatio'>;
  /**
   * Admission guards in order: classes, instances or functions. The application's guards run before a gateway's;
   * `beforeBuiltIn(guard)` runs before the built-in checks.
   *
   * Default: none. Code only. Scope: application and gateway.
   */
  readonly guards?: readonly GuardLike[];
  /**
   * Function that converts a message (text as a string, binary as a Buffer) to `{ event, data }`, as with Nest's
   * `WsAdapter`. A message for which it returns nothing is dropped without an answer.
   *
   * Default: JSON. Code only. Scope: application and gateway.
   */
  readonly messageParser?: MessageParser;
  /**
   * Keeps the upgrade request as `socket.request`, which costs memory per connection.
   *
   * Default: `false`. Code only. Scope: application and gateway.
   */
  readonly keepRequest?: boolean;
}

/** The options of `@SecureGateway(port)` for a gateway with a dedicated port. */
export interface SecurePortOptions extends SecureGatewayOptions {
  /** Where dedicated ports listen. */
  readonly listen?: ListenOptions;
  /** TLS of dedicated ports. `null` disables TLS on this port even if the application's settings have certificates. */
  readonly tls?: TlsOptions | null;
}
