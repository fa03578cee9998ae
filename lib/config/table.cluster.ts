import type { ClusterBus, ClusterStore } from '../cluster/contract.js';
import { isRedisClient } from '../cluster/redis/client.js';
import { parseRedisUrl } from '../cluster/redis/url.js';
import type { RedisClientLike } from './code-types.js';
import { choice, code, duration, type Kind, secret } from './kinds.js';
import { optional, row } from './row.js';

const redisUrl: Kind<string, string> = {
  noun: 'the URL of a Redis',
  expected:
    'redis://host:port, rediss://…, redis+sentinel://host:port,host:port/name or redis+cluster://host:port,host:port',
  type: 'string',
  schema: { type: 'string', pattern: '^rediss?(\\+sentinel|\\+cluster)?://' },
  parse: (raw) => (typeof raw === 'string' && typeof parseRedisUrl(raw) === 'object' ? raw : undefined),
  show: () => '(not shown)',
};

const prefix: Kind<string, string> = {
  noun: 'a prefix of 1 to 64 letters, digits and . _ -',
  type: 'string',
  schema: { type: 'string', pattern: '^[A-Za-z0-9._-]{1,64}$' },
  parse: (raw) => (typeof raw === 'string' && /^[A-Za-z0-9._-]{1,64}$/.test(raw) ? raw : undefined),
  show: String,
};

/** Whether a value has the methods of an interface. */
const has =
  (...methods: readonly string[]) =>
  (value: unknown): boolean =>
    typeof value === 'object' &&
    value !== null &&
    methods.every((method) => typeof (value as Record<string, unknown>)[method] === 'function');

export const CLUSTER_ROWS = {
  url: optional(redisUrl, {
    scope: 'a',
    variable: 'WEBSOCKETS_CLUSTER_URL',
    secret: true,
    means:
      'URL of the Redis or Valkey (6.2 and newer) over which the processes of the application share limits, bans, broadcasts and disconnects: `redis://`, `rediss://`, `redis+sentinel://host:port,host:port/name` or `redis+cluster://host:port,host:port`. Needs the package `ioredis`.',
  }),
  client: optional(code<RedisClientLike>('an ioredis client', 'RedisClientLike', isRedisClient), {
    scope: 'a',
    means:
      'In place of `cluster.url`: an ioredis client (`Redis` or `Cluster`) of the application. The library opens two connections with its options, and does not use the client itself.',
  }),
  store: optional(code<ClusterStore>('a ClusterStore', 'ClusterStore', has('start', 'admit', 'release')), {
    scope: 'a',
    means: 'In place of Redis, together with `cluster.bus`: a `ClusterStore`, which keeps the counts of all processes.',
  }),
  bus: optional(code<ClusterBus>('a ClusterBus', 'ClusterBus', has('start', 'publish', 'subscribe')), {
    scope: 'a',
    means:
      'In place of Redis, together with `cluster.store`: a `ClusterBus`, which carries messages between processes.',
  }),
  prefix: row(prefix, {
    scope: 'a',
    variable: 'WEBSOCKETS_CLUSTER_PREFIX',
    default: 'nsw',
    restricts: false,
    means: 'Prefix of every key and channel. Applications that share a Redis need different prefixes.',
  }),
  timeout: row(duration({ min: 1, max: 60_000 }), {
    scope: 'a',
    variable: 'WEBSOCKETS_CLUSTER_TIMEOUT',
    default: '100ms',
    restricts: false,
    means: 'Maximum time to wait for an answer of Redis, or of other processes.',
  }),
  heartbeat: row(duration({ min: 100, max: 3_600_000 }), {
    scope: 'a',
    variable: 'WEBSOCKETS_CLUSTER_HEARTBEAT',
    default: '2s',
    restricts: false,
    means: 'Time between two renewals of the lease.',
  }),
  lease: row(duration({ min: 500, max: 86_400_000 }), {
    scope: 'a',
    variable: 'WEBSOCKETS_CLUSTER_LEASE',
    default: '10s',
    restricts: false,
    means:
      'Duration of the lease of a process. The connections of a process that has not renewed its lease for this time no longer count.',
  }),
  onFailure: row(choice('local', 'share', 'closed'), {
    scope: 'a',
    variable: 'WEBSOCKETS_CLUSTER_ON_FAILURE',
    default: 'local',
    means:
      'What happens while Redis does not answer. `local`: each process applies the limits by itself; `share`: each process applies the limits divided by the number of processes last known, rounded up; `closed`: new connections get 503.',
  }),
  secret: optional(secret(32), {
    scope: 'a',
    variable: 'WEBSOCKETS_CLUSTER_SECRET',
    secret: true,
    means:
      'Secret with which processes sign the messages to each other (HMAC-SHA256); messages that are not signed with it are dropped and counted. Without it, anyone who can publish in Redis can broadcast, disconnect and ban.',
  }),
} as const;
