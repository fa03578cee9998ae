// Written from the option table by `node scripts/option-table.mjs`: change lib/config/table*.ts, not this file.

import type { ClusterBus, ClusterStore } from '../cluster/contract.js';
import type { ForeignUpgrades, GuardLike, MessageParser, RedisClientLike } from './code-types.js';
import type { Duration, List, Rate, Size } from './kinds.js';

/** Limits of the HTTP head, while it arrives. */
export interface HttpOptions {
  /**
   * Longest request line (or status line, for the client) and longest header line, CRLF included. A longer request line
   * gets 414, a longer header line 431.
   *
   * Default: `8192`. Unit of a plain number: bytes. Variable: `WEBSOCKETS_MAX_LINE_LENGTH`. Scope: port.
   */
  readonly maxLineLength?: Size;
  /**
   * Most header lines of a head; a name that repeats counts each time. One more gets 431.
   *
   * Default: `128`. Variable: `WEBSOCKETS_MAX_NUM_HEADERS`. Scope: port.
   */
  readonly maxNumHeaders?: number | string;
  /**
   * Largest body of an HTTP response that the outbound client accepts. (An upgrade request must not have a body: 400.)
   *
   * Default: `1mb`. Unit of a plain number: bytes. Variable: `WEBSOCKETS_MAX_BODY_SIZE`. Scope: application.
   */
  readonly maxBodySize?: Size;
  /**
   * Time from TCP accept, TLS handshake included, to the 101; arriving bytes do not extend it. An incomplete head gets
   * 408 (a connection that sent nothing is closed), a complete one 503.
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
   * PEM file with the certificate chain of dedicated ports; read again when it changes. `tls: null` on a gateway: its
   * port speaks no TLS.
   *
   * Default: none. Variable: `WEBSOCKETS_TLS_CERT`. Scope: port.
   */
  readonly certFile?: string;
  /**
   * PEM file with the private key of the certificate. A changed set of files that do not fit together is not used.
   *
   * Default: none. Variable: `WEBSOCKETS_TLS_KEY`. Scope: port.
   */
  readonly keyFile?: string;
  /**
   * PEM file with the certificate authorities that client certificates must come from.
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
   * Lowest version of TLS on dedicated ports.
   *
   * Default: `TLSv1.2`. Variable: `WEBSOCKETS_TLS_MIN_VERSION`. Scope: port.
   */
  readonly minVersion?: 'TLSv1.2' | 'TLSv1.3';
  /**
   * Asks for a client certificate; needs a CA. A certificate that does not verify is refused, a verified one reaches
   * guards as `attempt.certificate`.
   *
   * Default: `false`. Variable: `WEBSOCKETS_TLS_REQUEST_CERT`. Scope: port.
   */
  readonly requestCert?: boolean | string;
}

/** Reverse proxies and load balancers in front of the application. */
export interface ProxyOptions {
  /**
   * Proxies whose forwarding headers are believed: CIDRs, addresses, or `loopback`, `linklocal`, `uniquelocal`, `unix`
   * (all peers of a Unix domain socket). Trusted proxies are exempt from the checks at accept and from limits per
   * address.
   *
   * Default: none. Variable: `WEBSOCKETS_TRUSTED_PROXIES`. Scope: application.
   */
  readonly trusted?: List;
  /**
   * Family of forwarding headers that is read, from the right: `x-forwarded` (`X-Forwarded-For`, `X-Forwarded-Proto`
   * with `https` or `wss`) or `forwarded` (RFC 7239). The other one is ignored.
   *
   * Default: `x-forwarded`. Variable: `WEBSOCKETS_PROXY_HEADER`. Scope: application.
   */
  readonly header?: 'x-forwarded' | 'forwarded';
  /**
   * Versions of the PROXY protocol that trusted proxies (`proxy.trusted`) must speak before anything else, TLS
   * included; a connection of theirs without a valid header is reset. From then on the address that the header names
   * counts everywhere. What others send is never read as a header.
   *
   * Default: `off`. Variable: `WEBSOCKETS_PROXY_PROTOCOL`. Scope: port.
   */
  readonly protocol?: 'off' | 'v1' | 'v2' | 'any';
  /**
   * Refuses (403) every connection that is neither TLS here nor said to be TLS by the nearest trusted proxy.
   *
   * Default: false; must be chosen under `NODE_ENV=production` where neither TLS nor a trusted proxy is configured.
   * Variable: `WEBSOCKETS_REQUIRE_TLS`. Scope: application.
   */
  readonly requireTls?: boolean | string;
}

/** Who may connect, and how often. */
export interface ConnectionsOptions {
  /**
   * Most connections at once. One more gets 503 with `Retry-After`; on a dedicated port it is reset at accept, before
   * TLS.
   *
   * Default: `10000`. Variable: `WEBSOCKETS_MAX_CONNECTIONS`. Scope: application and gateway.
   */
  readonly max?: number | string;
  /**
   * Most connections of one address. One more gets 429 with `Retry-After`; on a dedicated port it is reset at accept,
   * unless it comes from a trusted proxy.
   *
   * Default: `100`. Variable: `WEBSOCKETS_MAX_CONNECTIONS_PER_IP`. Scope: application and gateway.
   */
  readonly maxPerIp?: number | string;
  /**
   * Bits of an IPv6 address that count as one address. Addresses that embed IPv4 (mapped, NAT64) count as IPv4; a /48
   * may hold eight times the limits of a prefix.
   *
   * Default: `64`. Variable: `WEBSOCKETS_IPV6_PREFIX`. Scope: application.
   */
  readonly ipv6Prefix?: number | string;
  /**
   * Most connections of one user, told apart by the key of the principal. See `connections.onUserLimit`.
   *
   * Default: none. Variable: `WEBSOCKETS_MAX_CONNECTIONS_PER_USER`. Scope: application and gateway.
   */
  readonly maxPerUser?: number | string;
  /**
   * What happens past `connections.maxPerUser`: the new connection is refused (429), or the user's oldest one is closed
   * (1008).
   *
   * Default: `refuse`. Variable: `WEBSOCKETS_ON_USER_LIMIT`. Scope: application and gateway.
   */
  readonly onUserLimit?: 'refuse' | 'closeOldest';
  /**
   * Attempts of one address, whatever becomes of them; one that is refused by this rate costs nothing. More get 429
   * with `Retry-After`.
   *
   * Default: `100/10s`. Unit of a plain number: per window. Variable: `WEBSOCKETS_CONNECTION_RATE`. Scope: application.
   */
  readonly rate?: Rate;
  /**
   * Most handshakes between accept and the 101, unfinished heads and refusals that are still being written included.
   * When full, the oldest pending handshake of the busiest address is dropped. Unfinished heads hold at most 16 MiB
   * together.
   *
   * Default: `1000`. Variable: `WEBSOCKETS_MAX_PENDING`. Scope: application.
   */
  readonly maxPending?: number | string;
  /**
   * Most pending handshakes of one address; one more drops its oldest.
   *
   * Default: `50`. Variable: `WEBSOCKETS_MAX_PENDING_PER_IP`. Scope: application.
   */
  readonly maxPendingPerIp?: number | string;
  /**
   * Time for all asynchronous guards of an attempt together (then 503, and their `AbortSignal` fires), and for
   * `handleConnection` (then 1011).
   *
   * Default: `5s`. Unit of a plain number: milliseconds. Variable: `WEBSOCKETS_GUARD_TIMEOUT`. Scope: application and
   * gateway.
   */
  readonly guardTimeout?: Duration;
  /**
   * The only addresses that may connect. A peer's own address is judged at accept, before TLS and HTTP, and dropped
   * without an answer; an address behind a trusted proxy gets 403 (where the proxy names none, its own address counts).
   *
   * Default: all. Variable: `WEBSOCKETS_ALLOWED_IPS`. Scope: application.
   */
  readonly allowedIps?: List;
  /**
   * Addresses that may not connect, judged as `connections.allowedIps`. Wins over it.
   *
   * Default: none. Variable: `WEBSOCKETS_DENIED_IPS`. Scope: application.
   */
  readonly deniedIps?: List;
  /**
   * Origins of pages that may connect: exact scheme, host and port; `https://*.example.com` for one or more labels; `*`
   * for any; `self` for the same origin; `null` and `file://` must be named. By default an `Origin` must have the host
   * and port of `Host`, and its scheme where ours is known; a request without `Origin` (not a browser) passes. From a
   * loopback peer that is no trusted proxy, `Host` must then be `localhost`, `*.localhost` or an IP literal (DNS
   * rebinding). Others get 403; the log says what was compared.
   *
   * Default: same origin. Variable: `WEBSOCKETS_ALLOWED_ORIGINS`. Scope: application and gateway.
   */
  readonly allowedOrigins?: List;
  /**
   * Accepted values of `Host`; a port is compared only where one is named. Others get 403.
   *
   * Default: any. Variable: `WEBSOCKETS_ALLOWED_HOSTS`. Scope: application.
   */
  readonly allowedHosts?: List;
  /**
   * Subprotocols in order of preference. What a client offers is answered only when it is listed here or chosen by a
   * guard.
   *
   * Default: none. Variable: `WEBSOCKETS_SUBPROTOCOLS`. Scope: gateway.
   */
  readonly subprotocols?: List;
}

/** Temporary bans. */
export interface BansOptions {
  /**
   * Attempts of one address (and eight times as many of a /48) that guards may refuse with 401 or 403 before it is
   * banned for `bans.time`. `10/10m` is a good value where `proxy.trusted` names every proxy: all users behind another
   * one share an address.
   *
   * Default: off. Unit of a plain number: per window. Variable: `WEBSOCKETS_BAN_FAILURES`. Scope: application. `null`
   * removes it.
   */
  readonly failures?: Rate | null;
  /**
   * Length of a ban of `SecureWsBans` for which none is given, and of the first ban after failures, which doubles up to
   * 24h.
   *
   * Default: `15m`. Unit of a plain number: milliseconds. Variable: `WEBSOCKETS_BAN_TIME`. Scope: application.
   */
  readonly time?: Duration;
  /**
   * Most bans that are kept; past it those that end soonest are dropped.
   *
   * Default: `10000`. Variable: `WEBSOCKETS_MAX_BANS`. Scope: application.
   */
  readonly max?: number | string;
}

/** What the processes of an application share. */
export interface ClusterOptions {
  /**
   * Redis or Valkey (6.2 and newer) over which the processes of the application share limits, bans, broadcasts and
   * disconnects: `redis://`, `rediss://`, `redis+sentinel://host:port,host:port/name` or
   * `redis+cluster://host:port,host:port`. Needs the package `ioredis`.
   *
   * Default: none. Variable: `WEBSOCKETS_CLUSTER_URL`. Scope: application.
   */
  readonly url?: string;
  /**
   * In place of `cluster.url`: an ioredis client (`Redis` or `Cluster`) of the application, whose options are used for
   * two connections of the library's own.
   *
   * Default: none. Code only. Scope: application.
   */
  readonly client?: RedisClientLike;
  /**
   * In place of Redis, together with `cluster.bus`: what counts over all processes.
   *
   * Default: none. Code only. Scope: application.
   */
  readonly store?: ClusterStore;
  /**
   * In place of Redis, together with `cluster.store`: what carries messages between processes.
   *
   * Default: none. Code only. Scope: application.
   */
  readonly bus?: ClusterBus;
  /**
   * Begins every key and channel. Applications that share a Redis need different ones.
   *
   * Default: `nsw`. Variable: `WEBSOCKETS_CLUSTER_PREFIX`. Scope: application.
   */
  readonly prefix?: string;
  /**
   * Longest wait for one answer of Redis, or of other processes.
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
   * A process that has not renewed its lease for so long counts for nothing; its connections free their slots.
   *
   * Default: `10s`. Unit of a plain number: milliseconds. Variable: `WEBSOCKETS_CLUSTER_LEASE`. Scope: application.
   */
  readonly lease?: Duration;
  /**
   * While Redis does not answer. `local`: the limits hold in each process alone; `share`: each limit divided by the
   * number of processes last known, rounded up; `closed`: new connections get 503.
   *
   * Default: `local`. Variable: `WEBSOCKETS_CLUSTER_ON_FAILURE`. Scope: application.
   */
  readonly onFailure?: 'local' | 'share' | 'closed';
  /**
   * Signs what processes tell each other (HMAC-SHA256); messages that are not signed with it are dropped and counted.
   * Without it whoever can publish in Redis can broadcast and disconnect.
   *
   * Default: none. Variable: `WEBSOCKETS_CLUSTER_SECRET`. Scope: application.
   */
  readonly secret?: string;
}

/** What a peer may send. */
export interface MessagesOptions {
  /**
   * Largest message, after decompression and reassembly; a declared length counts before its bytes arrive. A larger one
   * ends the connection with 1009.
   *
   * Default: `1mb`. Unit of a plain number: bytes. Variable: `WEBSOCKETS_MAX_SIZE`. Scope: gateway.
   */
  readonly maxSize?: Size;
  /**
   * Most values and keys of a JSON message, counted before it is parsed; a message with more is malformed. Each counts
   * as 64 bytes in byte rates, queue and buffer budgets until its handler has settled. With a `messageParser`, text
   * that begins as a JSON object or array is counted.
   *
   * Default: `10000`. Variable: `WEBSOCKETS_MAX_NODES`. Scope: gateway.
   */
  readonly maxNodes?: number | string;
  /**
   * Most fragments of a message; more: 1008. Every 16 fragments cost one message of `messages.rate`.
   *
   * Default: `1024`. Variable: `WEBSOCKETS_MAX_FRAGMENTS`. Scope: gateway.
   */
  readonly maxFragments?: number | string;
  /**
   * Time from the first byte of a message to its last, plus its received size at 16 KiB/s; holds for single frames too.
   * Later: 1008.
   *
   * Default: `30s`. Unit of a plain number: milliseconds. Variable: `WEBSOCKETS_ASSEMBLY_TIMEOUT`. Scope: gateway.
   */
  readonly assemblyTimeout?: Duration;
  /**
   * Messages of one connection. More: 1008.
   *
   * Default: `1000/5s`. Unit of a plain number: per window. Variable: `WEBSOCKETS_MESSAGE_RATE`. Scope: gateway.
   */
  readonly rate?: Rate;
  /**
   * Decompressed bytes of one connection. Past it reading pauses.
   *
   * Default: `8mb/4s`. Unit of a plain number: bytes per window. Variable: `WEBSOCKETS_BYTE_RATE`. Scope: gateway.
   */
  readonly byteRate?: Rate;
  /**
   * Decompressed bytes of all connections of one address. Past it reading pauses.
   *
   * Default: `16mb/4s`. Unit of a plain number: bytes per window. Variable: `WEBSOCKETS_BYTE_RATE_PER_IP`. Scope:
   * application.
   */
  readonly byteRatePerIp?: Rate;
  /**
   * Pings and unasked pongs of one connection. More: 1008.
   *
   * Default: `20/1s`. Unit of a plain number: per window. Variable: `WEBSOCKETS_CONTROL_RATE`. Scope: gateway.
   */
  readonly controlRate?: Rate;
  /**
   * Messages of one connection that are being handled or wait, unparsed. Past it nothing more is read from the socket;
   * what one read had already brought waits too, within the budget.
   *
   * Default: `16`. Variable: `WEBSOCKETS_MAX_QUEUE`. Scope: gateway.
   */
  readonly maxQueue?: number | string;
  /**
   * Bytes of the same messages, with the same effect.
   *
   * Default: `messages.maxSize`. Unit of a plain number: bytes. Variable: `WEBSOCKETS_MAX_QUEUE_BYTES`. Scope: gateway.
   */
  readonly maxQueueBytes?: Size;
  /**
   * Handlers of one connection that run at once; 1 keeps order. An observable counts until it is subscribed to.
   *
   * Default: `1`. Variable: `WEBSOCKETS_CONCURRENCY`. Scope: gateway.
   */
  readonly concurrency?: number | string;
  /**
   * Observables of one connection that still emit. One more is answered with an `exception`.
   *
   * Default: `16`. Variable: `WEBSOCKETS_MAX_STREAMS`. Scope: gateway.
   */
  readonly maxStreams?: number | string;
  /**
   * Time of a handler. Past it its message is answered with an `exception` and its place in the queue is free.
   *
   * Default: `60s`. Unit of a plain number: milliseconds. Variable: `WEBSOCKETS_HANDLER_TIMEOUT`. Scope: gateway.
   * `null` removes it.
   */
  readonly handlerTimeout?: Duration | null;
  /**
   * Malformed or unknown messages that are tolerated, each answered with an `exception`. More: 1008.
   *
   * Default: `10/1m`. Unit of a plain number: per window. Variable: `WEBSOCKETS_STRIKES`. Scope: gateway.
   */
  readonly strikes?: Rate;
}

/** What is held for peers. */
export interface BuffersOptions {
  /**
   * Bytes that wait to be sent to one peer, judged after the socket was given what it takes; a message on an empty
   * queue is always accepted. Past it the connection ends with 1013 and every later send is refused.
   *
   * Default: `4mb`. Unit of a plain number: bytes. Variable: `WEBSOCKETS_MAX_BUFFERED`. Scope: gateway.
   */
  readonly maxBuffered?: Size;
  /**
   * Unsent bytes above which nothing more is read from that peer. Of its pings only the last is answered then, when the
   * queue has drained (RFC 6455, section 5.5.3).
   *
   * Default: `64kb`. Unit of a plain number: bytes. Variable: `WEBSOCKETS_WRITE_LIMIT`. Scope: gateway.
   */
  readonly writeLimit?: Size;
  /**
   * Time in which the oldest unsent byte must leave, plus the queue at 4 KiB/s. Past it the connection is terminated
   * (TCP is reset), even if the peer answers pings.
   *
   * Default: `30s`. Unit of a plain number: milliseconds. Variable: `WEBSOCKETS_STALL_TIMEOUT`. Scope: gateway.
   */
  readonly stallTimeout?: Duration;
  /**
   * Bytes that are held for all peers together: heads, incomplete and waiting messages, output. Past it the largest
   * connection of the address that holds most ends (1013), until 90 % are left; a connection that holds less than 64
   * KiB, or than `buffers.budget` / `connections.max` where that is less, is never chosen. New connections get 503 only
   * when there is nothing left to choose.
   *
   * Default: `256mb`. Unit of a plain number: bytes. Variable: `WEBSOCKETS_BUFFER_BUDGET`. Scope: application.
   */
  readonly budget?: Size;
  /**
   * Bytes that are held for one address. Past it that address's largest connection ends (1013).
   *
   * Default: `32mb`. Unit of a plain number: bytes. Variable: `WEBSOCKETS_BUFFERS_PER_IP`. Scope: application.
   */
  readonly maxPerIp?: Size;
}

/** How long connections live. */
export interface KeepaliveOptions {
  /**
   * Time between pings.
   *
   * Default: `20s`. Unit of a plain number: milliseconds. Variable: `WEBSOCKETS_PING_INTERVAL`. Scope: gateway. `null`
   * removes it.
   */
  readonly pingInterval?: Duration | null;
  /**
   * Time in which the matching pong must arrive. Later the connection is terminated.
   *
   * Default: `20s`. Unit of a plain number: milliseconds. Variable: `WEBSOCKETS_PING_TIMEOUT`. Scope: gateway. `null`
   * removes it.
   */
  readonly pingTimeout?: Duration | null;
  /**
   * Time without a message in either direction (pongs do not count) after which the connection ends with 1000.
   *
   * Default: none. Unit of a plain number: milliseconds. Variable: `WEBSOCKETS_IDLE_TIMEOUT`. Scope: gateway.
   */
  readonly idleTimeout?: Duration;
  /**
   * Age, ±10 % jitter, at which a connection ends with 1001.
   *
   * Default: none. Unit of a plain number: milliseconds. Variable: `WEBSOCKETS_MAX_LIFETIME`. Scope: gateway.
   */
  readonly maxLifetime?: Duration;
  /**
   * Time from the first close frame to the end of TCP. Later the socket is destroyed.
   *
   * Default: `10s`. Unit of a plain number: milliseconds. Variable: `WEBSOCKETS_CLOSE_TIMEOUT`. Scope: gateway.
   */
  readonly closeTimeout?: Duration;
}

/** permessage-deflate (RFC 7692). */
export interface CompressionOptions {
  /**
   * `shared`: no context per connection; `dedicated`: contexts, as many as fit `compression.budget`, later connections
   * get `shared`; `off`: none.
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
   * Memory that zlib spends on compressing.
   *
   * Default: `5`. Variable: `WEBSOCKETS_COMPRESSION_MEM_LEVEL`. Scope: application.
   */
  readonly memLevel?: number | string;
  /**
   * CPU that zlib spends on compressing.
   *
   * Default: `3`. Variable: `WEBSOCKETS_COMPRESSION_LEVEL`. Scope: application.
   */
  readonly level?: number | string;
  /**
   * Smallest message that is compressed.
   *
   * Default: `256`. Unit of a plain number: bytes. Variable: `WEBSOCKETS_COMPRESSION_THRESHOLD`. Scope: application.
   */
  readonly threshold?: Size;
  /**
   * Memory of all `dedicated` contexts together, at what one really costs.
   *
   * Default: `64mb`. Unit of a plain number: bytes. Variable: `WEBSOCKETS_COMPRESSION_BUDGET`. Scope: application.
   */
  readonly budget?: Size;
  /**
   * Largest ratio of inflated to received bytes of a message. More: 1009.
   *
   * Default: none. Variable: `WEBSOCKETS_MAX_RATIO`. Scope: gateway.
   */
  readonly maxRatio?: number | string;
}

/** Shutdown. */
export interface ShutdownOptions {
  /**
   * Time that a shutdown may take to close connections and await handlers; `0` terminates them at once.
   *
   * Default: `5s`. Unit of a plain number: milliseconds. Variable: `WEBSOCKETS_DRAIN_TIMEOUT`. Scope: application.
   */
  readonly drainTimeout?: Duration;
}

/** The command line. */
export interface ProbeOptions {
  /**
   * Consent to be attacked by `nest-secure-ws probe` from other machines: an upgrade request with a nonce in
   * `Nest-Secure-Ws-Probe` is answered with its HMAC, whatever becomes of it. Remove it when you are done.
   *
   * Default: none. Variable: `WEBSOCKETS_PROBE_TOKEN`. Scope: application.
   */
  readonly token?: string;
}

/** The page for operators. */
export interface DashboardOptions {
  /**
   * What operators log in to the page of `SecureWsDashboardModule` with, where that has neither a `token` nor `guards`
   * of its own. At least 32 characters.
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
   * Most redirects that the client follows in one call.
   *
   * Default: `10`. Variable: `WEBSOCKETS_MAX_REDIRECTS`. Scope: application.
   */
  readonly maxRedirects?: number | string;
  /**
   * Follows a redirect from a public address to a loopback, private or link-local one.
   *
   * Default: `false`. Code only. Scope: application.
   */
  readonly allowPrivateRedirects?: boolean | string;
  /**
   * The first delay of `reconnecting` is random between 0 and this.
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
   * Growth of each later delay.
   *
   * Default: `1.618`. Variable: `WEBSOCKETS_BACKOFF_FACTOR`. Scope: application.
   */
  readonly backoffFactor?: number | string;
  /**
   * Longest delay, also where the server asks for a longer one with `Retry-After`.
   *
   * Default: `90s`. Unit of a plain number: milliseconds. Variable: `WEBSOCKETS_BACKOFF_MAX_DELAY`. Scope: application.
   */
  readonly backoffMaxDelay?: Duration;
}

/** The options of `SecureWsModule.forRoot()`. All are optional; each wins over its environment variable. */
export interface SecureWsOptions {
  /** Limits of the HTTP head, while it arrives. */
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
  /** Who may connect, and how often. */
  readonly connections?: ConnectionsOptions;
  /** Temporary bans. */
  readonly bans?: BansOptions;
  /** What the processes of an application share. */
  readonly cluster?: ClusterOptions;
  /** What a peer may send. */
  readonly messages?: MessagesOptions;
  /** What is held for peers. */
  readonly buffers?: BuffersOptions;
  /** How long connections live. */
  readonly keepalive?: KeepaliveOptions;
  /** permessage-deflate (RFC 7692). */
  readonly compression?: CompressionOptions;
  /** Shutdown. */
  readonly shutdown?: ShutdownOptions;
  /** The command line. */
  readonly probe?: ProbeOptions;
  /** The page for operators. */
  readonly dashboard?: DashboardOptions;
  /**
   * Where connections are judged first. `auto`: on Node's handles, before Node makes sockets of them, where this
   * version of Node is known; `off`: on sockets, through Node's public interface alone.
   *
   * Default: `auto`. Variable: `WEBSOCKETS_NATIVE_ACCEPT`. Scope: application.
   */
  readonly nativeAccept?: 'auto' | 'off';
  /**
   * Upgrades for a path without a gateway. `auto`: they go to other `upgrade` listeners of the server where there are
   * any, else 404; `refuse`: 404.
   *
   * Default: `auto`. Variable: `WEBSOCKETS_FOREIGN_UPGRADES`. Scope: application.
   */
  readonly foreignUpgrades?: 'auto' | 'refuse';
  /**
   * Paths on the application's own port whose upgrades another library answers (socket.io, graphql-ws): they pass the
   * same checks and guards as those of gateways, and hold a slot until their socket closes, before that library is told
   * of them.
   *
   * Default: none. Code only. Scope: application.
   */
  readonly foreign?: readonly ForeignUpgrades[];
  /**
   * Admission guards in order: classes, instances or functions. The application's run before a gateway's;
   * `beforeBuiltIn(guard)` runs before the built-in checks.
   *
   * Default: none. Code only. Scope: application and gateway.
   */
  readonly guards?: readonly GuardLike[];
  /**
   * Turns a message (text as a string, binary as a Buffer) into `{ event, data }`, as with Nest's `WsAdapter`. A
   * message for which it returns nothing is dropped without an answer.
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
 * The options of `@SecureGateway()` for a gateway that shares the application's port: its path, and every setting that
 * a gateway or a port may have of its own.
 */
export interface SecureGatewayOptions {
  /**
   * Path of the gateway, or a pattern such as `/rooms/:id` or `/files/*rest`. Default: `/`; on a dedicated port every
   * path that no other gateway there has.
   */
  readonly path?: string;
  /** Limits of the HTTP head, while it arrives. */
  readonly http?: Pick<HttpOptions, 'maxLineLength' | 'maxNumHeaders' | 'openTimeout'>;
  /**
   * `Server` header of the 101 and of every refusal. An empty variable removes it too.
   *
   * Default: `Node.js/x.y.z nest-secure-ws/X.Y`. Variable: `WEBSOCKETS_SERVER`. Scope: port. `null` removes it.
   */
  readonly serverHeader?: string | null;
  /** Reverse proxies and load balancers in front of the application. */
  readonly proxy?: Pick<ProxyOptions, 'protocol'>;
  /** Who may connect, and how often. */
  readonly connections?: Pick<
    ConnectionsOptions,
    'max' | 'maxPerIp' | 'maxPerUser' | 'onUserLimit' | 'guardTimeout' | 'allowedOrigins' | 'subprotocols'
  >;
  /** What a peer may send. */
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
  /** What is held for peers. */
  readonly buffers?: Pick<BuffersOptions, 'maxBuffered' | 'writeLimit' | 'stallTimeout'>;
  /** How long connections live. */
  readonly keepalive?: KeepaliveOptions;
  /** permessage-deflate (RFC 7692). */
  readonly compression?: Pick<CompressionOptions, 'mode' | 'maxRatio'>;
  /**
   * Admission guards in order: classes, instances or functions. The application's run before a gateway's;
   * `beforeBuiltIn(guard)` runs before the built-in checks.
   *
   * Default: none. Code only. Scope: application and gateway.
   */
  readonly guards?: readonly GuardLike[];
  /**
   * Turns a message (text as a string, binary as a Buffer) into `{ event, data }`, as with Nest's `WsAdapter`. A
   * message for which it returns nothing is dropped without an answer.
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
  /**
   * TLS of dedicated ports. `null`: this port speaks no TLS even where the application's settings name certificates.
   */
  readonly tls?: TlsOptions | null;
}
