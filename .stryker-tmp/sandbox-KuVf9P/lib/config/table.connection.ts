// @ts-nocheck
import { byteRate, choice, decimal, duration, integer, rate, size } from './kinds.js';
import { optional, removable, row } from './row.js';

export const MESSAGES_ROWS = {
  maxSize: row(size({ min: 1, max: 2 ** 30 }), {
    scope: 'g',
    variable: 'WEBSOCKETS_MAX_SIZE',
    default: '1mb',
    means: 'of a message, after decompression and reassembly; a declared length counts. 1009',
  }),
  maxFragments: row(integer({ min: 1, max: 1_000_000 }), {
    scope: 'g',
    variable: 'WEBSOCKETS_MAX_FRAGMENTS',
    default: 1024,
    means: 'of a message. 1008; every 16 fragments cost one message of the rate',
  }),
  assemblyTimeout: row(duration({ min: 1 }), {
    scope: 'g',
    variable: 'WEBSOCKETS_ASSEMBLY_TIMEOUT',
    default: '30s',
    means: 'from the first byte of a message to its last, single frames too, plus its received size at 16 KiB/s. 1008',
  }),
  rate: row(rate(), {
    scope: 'g',
    variable: 'WEBSOCKETS_MESSAGE_RATE',
    default: '1000/5s',
    means: 'messages per connection. 1008',
  }),
  byteRate: row(byteRate(), {
    scope: 'g',
    variable: 'WEBSOCKETS_BYTE_RATE',
    default: '8mb/4s',
    means: 'decompressed bytes per connection. Reading pauses',
  }),
  byteRatePerIp: row(byteRate(), {
    scope: 'a',
    variable: 'WEBSOCKETS_BYTE_RATE_PER_IP',
    default: '16mb/4s',
    means: 'decompressed bytes per address. Reading pauses',
  }),
  controlRate: row(rate(), {
    scope: 'g',
    variable: 'WEBSOCKETS_CONTROL_RATE',
    default: '20/1s',
    means: 'pings, unasked pongs. 1008',
  }),
  maxQueue: row(integer({ min: 1, max: 1_000_000 }), {
    scope: 'g',
    variable: 'WEBSOCKETS_MAX_QUEUE',
    default: 16,
    means:
      'messages of one connection being handled or waiting, unparsed while they wait; past it nothing more is read from the socket (what one read had brought waits too, inside the budget)',
  }),
  maxQueueBytes: optional(size({ min: 1 }), {
    scope: 'g',
    variable: 'WEBSOCKETS_MAX_QUEUE_BYTES',
    defaultText: '`messages.maxSize`',
    means: 'bytes of the same, likewise',
  }),
  concurrency: row(integer({ min: 1, max: 10_000 }), {
    scope: 'g',
    variable: 'WEBSOCKETS_CONCURRENCY',
    default: 1,
    means: 'handlers of one connection at once; 1 keeps order. An observable counts until it is subscribed',
  }),
  maxStreams: row(integer({ min: 1, max: 10_000 }), {
    scope: 'g',
    variable: 'WEBSOCKETS_MAX_STREAMS',
    default: 16,
    means: 'observables of one connection still emitting; one more gets an `exception`',
  }),
  handlerTimeout: removable(duration({ min: 1 }), {
    scope: 'g',
    variable: 'WEBSOCKETS_HANDLER_TIMEOUT',
    default: '60s',
    means: 'an `exception`, and its place in the queue is free. Removable',
  }),
  strikes: row(rate(), {
    scope: 'g',
    variable: 'WEBSOCKETS_STRIKES',
    default: '10/1m',
    means: 'malformed or unknown messages tolerated, each answered with an `exception`; past it 1008',
  }),
} as const;

export const BUFFERS_ROWS = {
  maxBuffered: row(size({ min: 1 }), {
    scope: 'g',
    variable: 'WEBSOCKETS_MAX_BUFFERED',
    default: '4mb',
    means:
      'bytes queued towards one peer, judged after the socket was given what it takes; a message on an empty queue is always taken. 1013, and every later send is refused',
  }),
  writeLimit: row(size({ min: 1 }), {
    scope: 'g',
    variable: 'WEBSOCKETS_WRITE_LIMIT',
    default: '64kb',
    means:
      'above it nothing more is read from that peer; of its pings only the last is answered, on drain (RFC 6455, 5.5.3)',
  }),
  stallTimeout: row(duration({ min: 1 }), {
    scope: 'g',
    variable: 'WEBSOCKETS_STALL_TIMEOUT',
    default: '30s',
    means:
      'the oldest queued byte must have left within it, plus the queue at 4 KiB/s: terminated (TCP is reset), even if it answers pings',
  }),
  budget: row(size({ min: 1024 ** 2 }), {
    scope: 'a',
    variable: 'WEBSOCKETS_BUFFER_BUDGET',
    default: '256mb',
    means:
      'all that is held for peers: heads, incomplete and waiting messages, output. Past it ends the largest connection of the address that holds most (1013), down to 90 %; a connection that holds under 64 KiB is never chosen; 503 to newcomers only when nothing is left to choose',
  }),
  maxPerIp: row(size({ min: 64 * 1024 }), {
    scope: 'a',
    variable: 'WEBSOCKETS_BUFFERS_PER_IP',
    default: '32mb',
    means: "the same of one address; past it that address's largest connection ends (1013)",
  }),
} as const;

export const KEEPALIVE_ROWS = {
  pingInterval: removable(duration({ min: 1 }), {
    scope: 'g',
    variable: 'WEBSOCKETS_PING_INTERVAL',
    default: '20s',
    means: 'between pings. Removable',
  }),
  pingTimeout: removable(duration({ min: 1 }), {
    scope: 'g',
    variable: 'WEBSOCKETS_PING_TIMEOUT',
    default: '20s',
    means: 'no matching pong: terminated. Removable',
  }),
  idleTimeout: optional(duration({ min: 1 }), {
    scope: 'g',
    variable: 'WEBSOCKETS_IDLE_TIMEOUT',
    means: 'no message either way (pongs do not count). 1000',
  }),
  maxLifetime: optional(duration({ min: 1 }), {
    scope: 'g',
    variable: 'WEBSOCKETS_MAX_LIFETIME',
    means: '±10 % jitter. 1001',
  }),
  closeTimeout: row(duration({ min: 1 }), {
    scope: 'g',
    variable: 'WEBSOCKETS_CLOSE_TIMEOUT',
    default: '10s',
    means: 'from the first close frame to the end of TCP; then destroyed',
  }),
} as const;

export const COMPRESSION_ROWS = {
  mode: row(choice('shared', 'dedicated', 'off'), {
    scope: 'g',
    variable: 'WEBSOCKETS_COMPRESSION',
    default: 'shared',
    means:
      '`shared`: no context per connection; `dedicated`: contexts, as many as fit `compression.budget`, later connections get `shared`; `off`',
  }),
  windowBits: row(integer({ min: 9, max: 15 }), {
    scope: 'a',
    variable: 'WEBSOCKETS_COMPRESSION_WINDOW_BITS',
    default: 12,
    means: 'base-two logarithm of the window (RFC 7692, 7.1.2)',
  }),
  memLevel: row(integer({ min: 1, max: 9 }), {
    scope: 'a',
    variable: 'WEBSOCKETS_COMPRESSION_MEM_LEVEL',
    default: 5,
    means: 'memory that zlib spends on compressing',
  }),
  level: row(integer({ min: 1, max: 9 }), {
    scope: 'a',
    variable: 'WEBSOCKETS_COMPRESSION_LEVEL',
    default: 3,
    means: 'effort that zlib spends on compressing',
  }),
  threshold: row(size(), {
    scope: 'a',
    variable: 'WEBSOCKETS_COMPRESSION_THRESHOLD',
    default: 256,
    means: 'messages under it go plain',
  }),
  budget: row(size(), {
    scope: 'a',
    variable: 'WEBSOCKETS_COMPRESSION_BUDGET',
    default: '64mb',
    means: 'for `dedicated` contexts, at what one really costs',
  }),
  maxRatio: optional(decimal({ min: 1 }), {
    scope: 'g',
    variable: 'WEBSOCKETS_MAX_RATIO',
    means: 'inflated to received bytes of a message. 1009',
  }),
} as const;

export const SHUTDOWN_ROWS = {
  drainTimeout: row(duration(), {
    scope: 'a',
    variable: 'WEBSOCKETS_DRAIN_TIMEOUT',
    default: '5s',
    means: 'how long a shutdown may take to say goodbye; `0`: terminate at once',
  }),
} as const;
