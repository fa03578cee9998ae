import { safeText, withoutCredentials } from '../terminal.js';

/** What a Redis server says of itself. */
export interface RedisFacts {
  /** Host and port, without credentials. */
  readonly address: string;
  readonly server: 'redis' | 'valkey';
  readonly version: string;
  readonly role: string;
  readonly evictionPolicy: string;
  /** Bytes; 0 is no limit. */
  readonly maxMemory: number;
  readonly usedMemory: number;
  /** Milliseconds, the median of several round trips. */
  readonly latency: number;
  /** Milliseconds by which its clock is ahead of ours, as far as the round trip lets one tell. */
  readonly clockAhead: number;
}

export type RedisLook = RedisFacts | { readonly address: string; readonly failed: string };

/** The commands that are sent; ioredis has them all. */
export interface RedisClient {
  connect(): Promise<unknown>;
  info(): Promise<string>;
  time(): Promise<(string | number)[]>;
  ping(): Promise<unknown>;
  disconnect(): void;
  on(event: 'error', listener: (error: Error) => void): unknown;
}

export type RedisConnector = (url: URL) => Promise<RedisClient>;

const TIMEOUT = 2000;
const PINGS = 7;

/** Queries a server. Failures are returned as values; takes a few seconds at most. */
export async function lookAtRedis(written: string, connect: RedisConnector = connectorOf()): Promise<RedisLook> {
  let url: URL;
  try {
    url = new URL(written);
  } catch {
    return { address: 'the configured address', failed: 'it is not a URL' };
  }
  const address = url.host;
  if (url.protocol !== 'redis:' && url.protocol !== 'rediss:')
    return { address, failed: `doctor speaks to redis:// and rediss://, not to ${url.protocol}//` };
  let client: RedisClient | undefined;
  try {
    client = await connect(url);
    client.on('error', () => undefined);
    return await within(TIMEOUT * 2, facts(client, address));
  } catch (error) {
    return { address, failed: safeText(withoutCredentials((error as Error)?.message || String(error))) };
  } finally {
    client?.disconnect();
  }
}

async function facts(client: RedisClient, address: string): Promise<RedisFacts> {
  await client.connect();
  const info = parseInfo(await client.info());
  const times: number[] = [];
  for (let i = 0; i < PINGS; i++) {
    const begun = performance.now();
    await client.ping();
    times.push(performance.now() - begun);
  }
  const before = Date.now();
  const [seconds, microseconds] = (await client.time()).map(Number);
  const middle = (before + Date.now()) / 2;
  return {
    address,
    server: info.has('valkey_version') ? 'valkey' : 'redis',
    version: info.get('valkey_version') ?? info.get('redis_version') ?? '0',
    role: info.get('role') ?? 'master',
    evictionPolicy: info.get('maxmemory_policy') ?? 'noeviction',
    maxMemory: Number(info.get('maxmemory') ?? 0),
    usedMemory: Number(info.get('used_memory') ?? 0),
    latency: times.sort((a, b) => a - b)[PINGS >> 1]!,
    clockAhead: seconds! * 1000 + microseconds! / 1000 - middle,
  };
}

export function parseInfo(text: string): Map<string, string> {
  const pairs = text.split(/\r?\n/).map((line) => /^([a-z0-9_]+):(.*)$/.exec(line));
  return new Map(pairs.flatMap((pair) => (pair === null ? [] : [[pair[1]!, pair[2]!] as const])));
}

async function within<T>(timeout: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${timeout} ms`)), timeout);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** ioredis is an optional peer: it is loaded only where a cluster is configured. */
function connectorOf(): RedisConnector {
  return async (url) => {
    const { Redis } = await import('ioredis').catch(() => {
      throw new Error('ioredis is not installed: npm install ioredis');
    });
    return new Redis(url.href, {
      lazyConnect: true,
      connectTimeout: TIMEOUT,
      commandTimeout: TIMEOUT,
      maxRetriesPerRequest: 0,
      enableOfflineQueue: false,
      retryStrategy: () => null,
    }) as unknown as RedisClient;
  };
}
