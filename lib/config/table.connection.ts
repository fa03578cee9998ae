import { byteRate, choice, decimal, duration, integer, rate, size } from './kinds.js';
import { optional, removable, row } from './row.js';

export const MESSAGES_ROWS = {
  maxSize: row(size({ min: 1, max: 2 ** 30 }), {
    scope: 'g',
    variable: 'WEBSOCKETS_MAX_SIZE',
    default: '1mb',
    means:
      'Largest message, after decompression and reassembly; a declared length counts before its bytes arrive. A larger one ends the connection with 1009.',
  }),
  maxNodes: row(integer({ min: 1, max: 100_000_000 }), {
    scope: 'g',
    variable: 'WEBSOCKETS_MAX_NODES',
    default: 10_000,
    means:
      'Most values and keys of a JSON message, counted before it is parsed; a message with more is malformed. Each counts as 64 bytes in byte rates, queue and buffer budgets until its handler has settled. With a `messageParser`, text that begins as a JSON object or array is counted.',
  }),
  maxFragments: row(integer({ min: 1, max: 1_000_000 }), {
    scope: 'g',
    variable: 'WEBSOCKETS_MAX_FRAGMENTS',
    default: 1024,
    means: 'Most fragments of a message; more: 1008. Every 16 fragments cost one message of `messages.rate`.',
  }),
  assemblyTimeout: row(duration({ min: 1 }), {
    scope: 'g',
    variable: 'WEBSOCKETS_ASSEMBLY_TIMEOUT',
    default: '30s',
    means:
      'Time from the first byte of a message to its last, plus its received size at 16 KiB/s; holds for single frames too. Later: 1008.',
  }),
  rate: row(rate(), {
    scope: 'g',
    variable: 'WEBSOCKETS_MESSAGE_RATE',
    default: '1000/5s',
    means: 'Messages of one connection. More: 1008.',
  }),
  byteRate: row(byteRate(), {
    scope: 'g',
    variable: 'WEBSOCKETS_BYTE_RATE',
    default: '8mb/4s',
    means: 'Decompressed bytes of one connection. Past it reading pauses.',
  }),
  byteRatePerIp: row(byteRate(), {
    scope: 'a',
    variable: 'WEBSOCKETS_BYTE_RATE_PER_IP',
    default: '16mb/4s',
    means: 'Decompressed bytes of all connections of one address. Past it reading pauses.',
  }),
  controlRate: row(rate(), {
    scope: 'g',
    variable: 'WEBSOCKETS_CONTROL_RATE',
    default: '20/1s',
    means: 'Pings and unasked pongs of one connection. More: 1008.',
  }),
  maxQueue: row(integer({ min: 1, max: 1_000_000 }), {
    scope: 'g',
    variable: 'WEBSOCKETS_MAX_QUEUE',
    default: 16,
    means:
      'Messages of one connection that are being handled or wait, unparsed. Past it nothing more is read from the socket; what one read had already brought waits too, within the budget.',
  }),
  maxQueueBytes: optional(size({ min: 1 }), {
    scope: 'g',
    variable: 'WEBSOCKETS_MAX_QUEUE_BYTES',
    defaultText: '`messages.maxSize`',
    means: 'Bytes of the same messages, with the same effect.',
  }),
  concurrency: row(integer({ min: 1, max: 10_000 }), {
    scope: 'g',
    variable: 'WEBSOCKETS_CONCURRENCY',
    default: 1,
    restricts: false,
    means:
      'Handlers of one connection that run at once; 1 keeps order. An observable counts until it is subscribed to.',
  }),
  maxStreams: row(integer({ min: 1, max: 10_000 }), {
    scope: 'g',
    variable: 'WEBSOCKETS_MAX_STREAMS',
    default: 16,
    means: 'Observables of one connection that still emit. One more is answered with an `exception`.',
  }),
  handlerTimeout: removable(duration({ min: 1 }), {
    scope: 'g',
    variable: 'WEBSOCKETS_HANDLER_TIMEOUT',
    default: '60s',
    means: 'Time of a handler. Past it its message is answered with an `exception` and its place in the queue is free.',
  }),
  strikes: row(rate(), {
    scope: 'g',
    variable: 'WEBSOCKETS_STRIKES',
    default: '10/1m',
    means: 'Malformed or unknown messages that are tolerated, each answered with an `exception`. More: 1008.',
  }),
} as const;

export const BUFFERS_ROWS = {
  maxBuffered: row(size({ min: 1 }), {
    scope: 'g',
    variable: 'WEBSOCKETS_MAX_BUFFERED',
    default: '4mb',
    means:
      'Bytes that wait to be sent to one peer, judged after the socket was given what it takes; a message on an empty queue is always accepted. Past it the connection ends with 1013 and every later send is refused.',
  }),
  writeLimit: row(size({ min: 1 }), {
    scope: 'g',
    variable: 'WEBSOCKETS_WRITE_LIMIT',
    default: '64kb',
    means:
      'Unsent bytes above which nothing more is read from that peer. Of its pings only the last is answered then, when the queue has drained (RFC 6455, section 5.5.3).',
  }),
  stallTimeout: row(duration({ min: 1 }), {
    scope: 'g',
    variable: 'WEBSOCKETS_STALL_TIMEOUT',
    default: '30s',
    means:
      'Time in which the oldest unsent byte must leave, plus the queue at 4 KiB/s. Past it the connection is terminated (TCP is reset), even if the peer answers pings.',
  }),
  budget: row(size({ min: 1024 ** 2 }), {
    scope: 'a',
    variable: 'WEBSOCKETS_BUFFER_BUDGET',
    default: '256mb',
    means:
      'Bytes that are held for all peers together: heads, incomplete and waiting messages, output. Past it the largest connection of the address that holds most ends (1013), until 90 % are left; a connection that holds less than 64 KiB, or than `buffers.budget` / `connections.max` where that is less, is never chosen. New connections get 503 only when there is nothing left to choose.',
  }),
  maxPerIp: row(size({ min: 64 * 1024 }), {
    scope: 'a',
    variable: 'WEBSOCKETS_BUFFERS_PER_IP',
    default: '32mb',
    means: "Bytes that are held for one address. Past it that address's largest connection ends (1013).",
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
    means: 'Time in which the matching pong must arrive. Later the connection is terminated.',
  }),
  idleTimeout: optional(duration({ min: 1 }), {
    scope: 'g',
    variable: 'WEBSOCKETS_IDLE_TIMEOUT',
    means: 'Time without a message in either direction (pongs do not count) after which the connection ends with 1000.',
  }),
  maxLifetime: optional(duration({ min: 1 }), {
    scope: 'g',
    variable: 'WEBSOCKETS_MAX_LIFETIME',
    means: 'Age, ±10 % jitter, at which a connection ends with 1001.',
  }),
  closeTimeout: row(duration({ min: 1 }), {
    scope: 'g',
    variable: 'WEBSOCKETS_CLOSE_TIMEOUT',
    default: '10s',
    means: 'Time from the first close frame to the end of TCP. Later the socket is destroyed.',
  }),
} as const;

export const COMPRESSION_ROWS = {
  mode: row(choice('shared', 'dedicated', 'off'), {
    scope: 'g',
    variable: 'WEBSOCKETS_COMPRESSION',
    default: 'shared',
    restricts: false,
    means:
      '`shared`: no context per connection; `dedicated`: contexts, as many as fit `compression.budget`, later connections get `shared`; `off`: none.',
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
    means: 'Memory that zlib spends on compressing.',
  }),
  level: row(integer({ min: 1, max: 9 }), {
    scope: 'a',
    variable: 'WEBSOCKETS_COMPRESSION_LEVEL',
    default: 3,
    restricts: false,
    means: 'CPU that zlib spends on compressing.',
  }),
  threshold: row(size(), {
    scope: 'a',
    variable: 'WEBSOCKETS_COMPRESSION_THRESHOLD',
    default: 256,
    restricts: false,
    means: 'Smallest message that is compressed.',
  }),
  budget: row(size(), {
    scope: 'a',
    variable: 'WEBSOCKETS_COMPRESSION_BUDGET',
    default: '64mb',
    means: 'Memory of all `dedicated` contexts together, at what one really costs.',
  }),
  maxRatio: optional(decimal({ min: 1 }), {
    scope: 'g',
    variable: 'WEBSOCKETS_MAX_RATIO',
    means: 'Largest ratio of inflated to received bytes of a message. More: 1009.',
  }),
} as const;

export const SHUTDOWN_ROWS = {
  drainTimeout: row(duration(), {
    scope: 'a',
    variable: 'WEBSOCKETS_DRAIN_TIMEOUT',
    default: '5s',
    restricts: false,
    means: 'Time that a shutdown may take to close connections and await handlers; `0` terminates them at once.',
  }),
} as const;
