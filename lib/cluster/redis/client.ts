import { isIP } from 'node:net';
import type { RedisAddress } from './url.js';

/** The part of the interface of a socket that joins writes. */
export interface Corkable {
  cork(): void;
  uncork(): void;
}

/** The part of the interface of an ioredis client (`Redis` or `Cluster`, 5.9.2 and newer) that is used here. */
export interface RedisClient {
  readonly status: string;
  readonly isCluster?: boolean;
  /** The connection of a client that is not a `Cluster`. Without it, each command is a write of its own. */
  readonly stream?: Partial<Corkable>;
  connect(): Promise<unknown>;
  disconnect(reconnect?: boolean): void;
  evalsha(sha: string, keys: number, ...rest: (string | number)[]): Promise<unknown>;
  eval(lua: string, keys: number, ...rest: (string | number)[]): Promise<unknown>;
  zrem(key: string, member: string): Promise<unknown>;
  publish(channel: string, message: string): Promise<unknown>;
  subscribe(...channels: string[]): Promise<unknown>;
  unsubscribe(...channels: string[]): Promise<unknown>;
  set(key: string, value: string, px: 'PX', ttl: number, nx: 'NX'): Promise<unknown>;
  getdel(key: string): Promise<string | null>;
  on(event: string, listener: (...args: never[]) => void): unknown;
  duplicate(...args: unknown[]): RedisClient;
}

/** Creates connections to one Redis; each one connects when `connect()` is called. */
export type Connector = (purpose: 'commands' | 'messages') => RedisClient;

/**
 * Milliseconds between attempts to reconnect: short, so that it is back soon, and random, so that processes do not
 * reconnect at the same time.
 */
const retry = (times: number): number => Math.min(1000, 50 * 2 ** Math.min(times, 5)) * (0.5 + Math.random() / 2);

/** Minimum milliseconds between two connections that are made because Redis is read-only. */
const FOLLOW_AFTER = 1000;

/**
 * Reconnects after the error of a master that has become a replica: its address may belong to another server now. One
 * that stays read-only is not asked again and again.
 */
function followMaster(): (error: Error) => boolean {
  let followed = Number.NEGATIVE_INFINITY;
  return (error) => {
    const now = performance.now();
    if (!error.message.startsWith('READONLY') || now - followed < FOLLOW_AFTER) return false;
    followed = now;
    return true;
  };
}

const COMMON = {
  lazyConnect: true,
  // No command waits for a connection or is sent again: it fails in time instead.
  enableOfflineQueue: false,
  autoResendUnfulfilledCommands: false,
  maxRetriesPerRequest: 0,
  // The bus itself subscribes again after a reconnect.
  autoResubscribe: false,
  connectTimeout: 5000,
  disconnectTimeout: 200,
  keepAlive: 10_000,
  disableClientInfo: true,
  // RESP2 needs half the CPU of RESP3 for each received message.
  protocol: 2,
  retryStrategy: retry,
};

const NAME = 'nest-secure-ws';

/**
 * Connects, and continues to try until the client is closed: ioredis gives up if a connection is lost while its
 * Sentinels are being queried. Returns a function that closes it.
 */
export function keepConnected(client: RedisClient): { connect(): void; close(): void } {
  let isClosed = false;
  let attempt = 0;
  let timer: NodeJS.Timeout | undefined;
  const connect = (): void => {
    // The reason was already emitted as an 'error'.
    if (!isClosed) client.connect().catch(() => undefined);
  };
  client.on('ready', () => {
    attempt = 0;
  });
  client.on('end', () => {
    if (isClosed) return;
    clearTimeout(timer);
    timer = setTimeout(connect, retry(attempt++)).unref();
  });
  return {
    connect,
    close() {
      if (isClosed) return;
      isClosed = true;
      clearTimeout(timer);
      client.disconnect();
    },
  };
}

interface Ioredis {
  readonly Redis: new (options: object) => RedisClient;
  readonly Cluster: new (nodes: readonly object[], options: object) => RedisClient;
}

/** Loads ioredis, which only applications with a cluster need. Throws an `Error` that says which package to install. */
export async function loadIoredis(): Promise<Ioredis> {
  try {
    const module: unknown = await import('ioredis');
    return module as Ioredis;
  } catch (error) {
    throw new Error(
      "cluster.url (WEBSOCKETS_CLUSTER_URL) needs the package 'ioredis', which could not be loaded: npm install ioredis",
      { cause: error },
    );
  }
}

export function connectorOf({ Redis, Cluster }: Ioredis, address: RedisAddress): Connector {
  const { kind, hosts, username, password, db, master } = address;
  const tls = (host: string) => (address.tls ? { tls: isIP(host) === 0 ? { servername: host } : {} } : {});
  return (purpose) => {
    const common = {
      ...COMMON,
      reconnectOnError: followMaster(),
      username,
      password,
      db,
      connectionName: `${NAME}-${purpose}`,
    };
    if (kind === 'single') return new Redis({ ...common, ...hosts[0], ...tls(hosts[0]!.host) });
    if (kind === 'sentinel')
      return new Redis({
        ...common,
        name: master,
        sentinels: hosts,
        sentinelUsername: address.sentinelUsername,
        sentinelPassword: address.sentinelPassword,
        sentinelRetryStrategy: retry,
        ...(address.tls ? { tls: {}, sentinelTLS: {}, enableTLSForSentinelMode: true } : {}),
      });
    const { retryStrategy: _retry, lazyConnect, enableOfflineQueue, ...redisOptions } = common;
    return new Cluster(hosts, {
      lazyConnect,
      enableOfflineQueue,
      clusterRetryStrategy: retry,
      maxRedirections: 4,
      redisOptions: { ...redisOptions, ...(address.tls ? { tls: {} } : {}) },
    });
  };
}

/** Creates connections with the options of the application's client, which itself is not used. */
export const connectorLike =
  (client: RedisClient): Connector =>
  (purpose) => {
    const own = { ...COMMON, reconnectOnError: followMaster(), connectionName: `${NAME}-${purpose}`, keyPrefix: '' };
    if (!client.isCluster) return client.duplicate(own);
    const { retryStrategy, lazyConnect, enableOfflineQueue, keyPrefix, ...redisOptions } = own;
    return client.duplicate([], {
      lazyConnect,
      enableOfflineQueue,
      keyPrefix,
      clusterRetryStrategy: retryStrategy,
      redisOptions: {
        ...(client as unknown as { options: { redisOptions?: object } }).options.redisOptions,
        ...redisOptions,
      },
    });
  };

/** Whether a value is valid as `cluster.client`. */
export const isRedisClient = (value: unknown): value is RedisClient =>
  typeof value === 'object' &&
  value !== null &&
  ['duplicate', 'evalsha', 'subscribe', 'publish'].every(
    (method) => typeof (value as Record<string, unknown>)[method] === 'function',
  );
