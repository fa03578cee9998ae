import { byteRate, choice, decimal, duration, integer, rate, size } from './kinds.js';
import { optional, removable, row } from './row.js';

export const MESSAGES_ROWS = {
  maxSize: row(size({ min: 1, max: 2 ** 30 }), {
    scope: 'g',
    variable: 'WEBSOCKETS_MAX_SIZE',
    default: '1mb',
    means:
      'Maximum size of a message after decompression and reassembly; a declared length is checked before the payload arrives. A larger message ends the connection with 1009.',
  }),
  maxNodes: row(integer({ min: 1, max: 100_000_000 }), {
    scope: 'g',
    variable: 'WEBSOCKETS_MAX_NODES',
    default: 10_000,
    means:
      'Maximum number of values and keys of a JSON message, counted before it is parsed; a message with more is malformed. Each counts as 64 bytes in byte rates, and in queue and buffer limits until the handler has settled. With a `messageParser`, only text that begins like a JSON object or array is counted. A message that would take more than 20 bytes of memory for each byte of its text, beyond 4 KiB, is malformed, too.',
  }),
  maxFragments: row(integer({ min: 1, max: 1_000_000 }), {
    scope: 'g',
    variable: 'WEBSOCKETS_MAX_FRAGMENTS',
    default: 1024,
    means:
      'Maximum number of fragments of a message; more end the connection with 1008. Every 16 fragments count as one message in `messages.rate`.',
  }),
  assemblyTimeout: row(duration({ min: 1 }), {
    scope: 'g',
    variable: 'WEBSOCKETS_ASSEMBLY_TIMEOUT',
    default: '30s',
    means:
      'Maximum time from the first to the last byte of a message, plus the time for its received bytes at 16 KiB/s; also for a message of one frame. After it the connection ends with 1008.',
  }),
  rate: row(rate(), {
    scope: 'g',
    variable: 'WEBSOCKETS_MESSAGE_RATE',
    default: '1000/5s',
    means: 'Maximum message rate of one connection. Above it the connection ends with 1008.',
  }),
  byteRate: row(byteRate(), {
    scope: 'g',
    variable: 'WEBSOCKETS_BYTE_RATE',
    default: '8mb/4s',
    means: 'Maximum rate of decompressed bytes of one connection. Above it reading pauses.',
  }),
  byteRatePerIp: row(byteRate(), {
    scope: 'a',
    variable: 'WEBSOCKETS_BYTE_RATE_PER_IP',
    default: '16mb/4s',
    means: 'Maximum rate of decompressed bytes of all connections of one address. Above it reading pauses.',
  }),
  controlRate: row(rate(), {
    scope: 'g',
    variable: 'WEBSOCKETS_CONTROL_RATE',
    default: '20/1s',
    means: 'Maximum rate of pings and unsolicited pongs of one connection. Above it the connection ends with 1008.',
  }),
  maxQueue: row(integer({ min: 1, max: 1_000_000 }), {
    scope: 'g',
    variable: 'WEBSOCKETS_MAX_QUEUE',
    default: 16,
    means:
      'Maximum number of messages of one connection that are being handled or are waiting, unparsed. At this limit the socket is not read; messages that arrived in the same read also wait, within the buffer limits.',
  }),
  maxQueueBytes: optional(size({ min: 1 }), {
    scope: 'g',
    variable: 'WEBSOCKETS_MAX_QUEUE_BYTES',
    defaultText: '`messages.maxSize`',
    means:
      'Maximum size of the messages of one connection that are being handled or are waiting. At this limit the socket is not read.',
  }),
  concurrency: row(integer({ min: 1, max: 10_000 }), {
    scope: 'g',
    variable: 'WEBSOCKETS_CONCURRENCY',
    default: 1,
    restricts: false,
    means:
      'Maximum number of handlers of one connection that run at the same time; with 1, messages are handled in order. A handler that returns an observable counts until the observable is subscribed to.',
  }),
  maxStreams: row(integer({ min: 1, max: 10_000 }), {
    scope: 'g',
    variable: 'WEBSOCKETS_MAX_STREAMS',
    default: 16,
    means:
      'Maximum number of observables of one connection that have not completed. One more is answered with an `exception` event.',
  }),
  handlerTimeout: removable(duration({ min: 1 }), {
    scope: 'g',
    variable: 'WEBSOCKETS_HANDLER_TIMEOUT',
    default: '60s',
    means:
      'Maximum time of a handler. After it the message is answered with an `exception` event, and its place in the queue is free.',
  }),
  strikes: row(rate(), {
    scope: 'g',
    variable: 'WEBSOCKETS_STRIKES',
    default: '10/1m',
    means:
      'Maximum rate of malformed messages and messages with an unknown event; each is answered with an `exception` event. Above it the connection ends with 1008.',
  }),
} as const;

export const BUFFERS_ROWS = {
  maxBuffered: row(size({ min: 1 }), {
    scope: 'g',
    variable: 'WEBSOCKETS_MAX_BUFFERED',
    default: '4mb',
    means:
      'Maximum number of unsent bytes of one connection, checked after the socket has taken what it accepts; a message is always accepted if nothing is unsent. Above it the connection ends with 1013, and later sends fail.',
  }),
  writeLimit: row(size({ min: 1 }), {
    scope: 'g',
    variable: 'WEBSOCKETS_WRITE_LIMIT',
    default: '64kb',
    means:
      'Number of unsent bytes above which reading from the peer pauses. Then only the last of its pings is answered, when all bytes have been sent (RFC 6455, section 5.5.3).',
  }),
  stallTimeout: row(duration({ min: 1 }), {
    scope: 'g',
    variable: 'WEBSOCKETS_STALL_TIMEOUT',
    default: '30s',
    means:
      'Maximum time until the oldest unsent byte is sent, plus the time for all unsent bytes at 4 KiB/s. After it the connection is terminated (TCP is reset), even if the peer answers pings.',
  }),
  budget: row(size({ min: 1024 ** 2 }), {
    scope: 'a',
    variable: 'WEBSOCKETS_BUFFER_BUDGET',
    default: '256mb',
    means:
      'Maximum number of bytes held for all peers together: request heads, incomplete and waiting messages, unsent bytes. Above it connections are closed (1013) until 90 % are left: the largest connection of the address that holds most is closed first. A connection that holds less than 64 KiB, or less than `buffers.budget` / `connections.max` if that is smaller, is never closed. New connections get 503 only when no connection can be closed.',
  }),
  maxPerIp: row(size({ min: 64 * 1024 }), {
    scope: 'a',
    variable: 'WEBSOCKETS_BUFFERS_PER_IP',
    default: '32mb',
    means:
      'Maximum number of bytes held for one address. Above it the largest connection of that address is closed (1013).',
  }),
} as const;

export const KEEPALIVE_ROWS = {
  pingInterval: removable(duration({ min: 1 }), {
    scope: 'g',
    variable: 'WEBSOCKETS_PING_INTERVAL',
    default: '20s',
    means: 'Time between pings.',
  }),
  pingTimeout: removable(duration({ min: 1 }), {
    scope: 'g',
    variable: 'WEBSOCKETS_PING_TIMEOUT',
    default: '20s',
    means: 'Maximum time until the matching pong arrives. After it the connection is terminated.',
  }),
  idleTimeout: optional(duration({ min: 1 }), {
    scope: 'g',
    variable: 'WEBSOCKETS_IDLE_TIMEOUT',
    means:
      'Time without a message in either direction after which the connection ends with 1000. Pongs do not count as messages.',
  }),
  maxLifetime: optional(duration({ min: 1 }), {
    scope: 'g',
    variable: 'WEBSOCKETS_MAX_LIFETIME',
    means: 'Age at which a connection ends with 1001, with ±10 % jitter.',
  }),
  closeTimeout: row(duration({ min: 1 }), {
    scope: 'g',
    variable: 'WEBSOCKETS_CLOSE_TIMEOUT',
    default: '10s',
    means:
      'Maximum time from the first close frame to the end of the TCP connection. After it the socket is destroyed.',
  }),
} as const;

export const COMPRESSION_ROWS = {
  mode: row(choice('shared', 'dedicated', 'off'), {
    scope: 'g',
    variable: 'WEBSOCKETS_COMPRESSION',
    default: 'shared',
    restricts: false,
    means:
      '`shared`: compression without a context per connection; `dedicated`: a context per connection, for as many connections as fit `compression.budget`, while further connections get `shared`; `off`: no compression.',
  }),
  windowBits: row(integer({ min: 9, max: 15 }), {
    scope: 'a',
    variable: 'WEBSOCKETS_COMPRESSION_WINDOW_BITS',
    default: 12,
    restricts: false,
    means: 'Base-two logarithm of the compression window (RFC 7692, section 7.1.2).',
  }),
  memLevel: row(integer({ min: 1, max: 9 }), {
    scope: 'a',
    variable: 'WEBSOCKETS_COMPRESSION_MEM_LEVEL',
    default: 5,
    restricts: false,
    means: 'The `memLevel` of zlib: a higher value uses more memory and compresses better.',
  }),
  level: row(integer({ min: 1, max: 9 }), {
    scope: 'a',
    variable: 'WEBSOCKETS_COMPRESSION_LEVEL',
    default: 3,
    restricts: false,
    means: 'The compression level of zlib: a higher value uses more CPU and compresses better.',
  }),
  threshold: row(size(), {
    scope: 'a',
    variable: 'WEBSOCKETS_COMPRESSION_THRESHOLD',
    default: 256,
    restricts: false,
    means: 'Minimum size of a message that is compressed.',
  }),
  budget: row(size(), {
    scope: 'a',
    variable: 'WEBSOCKETS_COMPRESSION_BUDGET',
    default: '64mb',
    means: 'Maximum memory of all `dedicated` contexts together, at their measured size in Node.',
  }),
  maxRatio: optional(decimal({ min: 1 }), {
    scope: 'g',
    variable: 'WEBSOCKETS_MAX_RATIO',
    means: 'Maximum ratio of inflated to received bytes of a message. Above it the connection ends with 1009.',
  }),
} as const;

export const SHUTDOWN_ROWS = {
  drainTimeout: row(duration(), {
    scope: 'a',
    variable: 'WEBSOCKETS_DRAIN_TIMEOUT',
    default: '5s',
    restricts: false,
    means:
      'Maximum time that a shutdown takes to close connections and await handlers; `0` terminates all connections at once.',
  }),
} as const;
