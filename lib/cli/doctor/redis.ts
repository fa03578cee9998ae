import { isIP } from 'node:net';
import { loadIoredis } from '../../cluster/redis/client.js';
import { parseRedisUrl, type RedisAddress } from '../../cluster/redis/url.js';
import { safeText, withoutCredentials } from '../terminal.js';

/** What a Redis server reports about itself. */
export interface RedisFacts {
  readonly server: 'redis' | 'valkey';
  readonly version: string;
  readonly mode: string;
  readonly role: string;
  readonly evictionPolicy: string;
  /** Bytes; 0 is no limit. */
  readonly maxMemory: number;
  readonly usedMemory: number;
  /** Milliseconds, the median of several round trips. */
  readonly latency: number;
  /** Milliseconds by which its clock is ahead of ours, as far as the round trip allows to measure it. */
  readonly clockAhead: number;
}

/** What a Sentinel reports about the master of `cluster.url`. */
export interface SentinelFacts {
  /** `ok`, or `sdown`, `odown` and others. */
  readonly status: string;
  readonly master: Host;
  readonly replicas: number;
  /** Sentinels that watch this master, itself included. */
  readonly sentinels: number;
}

/** What a node of a Redis Cluster reports about the whole. */
export interface ClusterFacts {
  readonly state: string;
  /** Of 16 384, those that have a node that is not failing. */
  readonly slots: number;
  readonly masters: readonly (Host & { readonly replicas: number })[];
}

/** The answer of one host (without credentials), or why there is none. */
export type Asked<Facts> = { readonly address: string } & (Facts | { readonly failed: string });

/** What was found at `cluster.url`. */
export interface RedisLook {
  readonly kind: RedisAddress['kind'];
  /** The hosts of the URL, without credentials. */
  readonly address: string;
  /** Set where no server that stores data could be found: the reason. */
  readonly failed?: string;
  /** Servers that store data: the one, the master, or the masters of a Redis Cluster. */
  readonly servers: readonly Asked<RedisFacts>[];
  /** Each Sentinel of the URL. */
  readonly sentinels: readonly Asked<SentinelFacts>[];
  /** Each node of the URL of a Redis Cluster. */
  readonly nodes: readonly Asked<ClusterFacts>[];
}

interface Host {
  readonly host: string;
  readonly port: number;
}

/** A server to connect to. */
export interface RedisTarget extends Host {
  readonly username: string | undefined;
  readonly password: string | undefined;
  readonly db: number;
  readonly tls: boolean;
}

/**
 * The commands that are sent. The permissions that `docs/cluster.md` lists include them: a user of Redis that is good for
 * the application is good for doctor.
 */
export interface RedisClient {
  connect(): Promise<unknown>;
  info(): Promise<string>;
  time(): Promise<(string | number)[]>;
  call(command: string, ...args: string[]): Promise<unknown>;
  disconnect(): void;
  on(event: 'error', listener: (error: Error) => void): unknown;
}

export type RedisConnector = (target: RedisTarget) => Promise<RedisClient>;

const TIMEOUT = 2000;
const ROUND_TRIPS = 7;
const ALL_SLOTS = 16_384;
/** Masters of a Redis Cluster that are queried, at the same time. */
const MAX_MASTERS = 64;

/** Queries what a URL names. Failures are returned as values; takes a few seconds at most. */
export async function lookAtRedis(written: string, connect: RedisConnector = connectTo): Promise<RedisLook> {
  const parsed = parseRedisUrl(written);
  const nothing = { servers: [], sentinels: [], nodes: [] };
  // The sentence repeats nothing of the URL.
  if (typeof parsed === 'string')
    return { kind: 'single', address: 'the configured address', failed: `it is not ${parsed}`, ...nothing };
  const { kind, hosts, username, password, db, tls } = parsed;
  const address = hosts.map(addressOf).join(',');
  const target = (host: Host): RedisTarget => ({ host: host.host, port: host.port, username, password, db, tls });
  const look = (host: Host) => ask(target(host), connect, redisFacts);
  if (kind === 'single') return { ...nothing, kind, address, servers: [await look(hosts[0]!)] };
  if (kind === 'sentinel') {
    const { sentinelUsername, sentinelPassword } = parsed;
    const credentials = { username: sentinelUsername, password: sentinelPassword, db: 0 };
    const sentinels = await Promise.all(
      hosts.map((host) =>
        ask({ ...target(host), ...credentials }, connect, (client) => sentinelFacts(client, parsed.master!)),
      ),
    );
    const told = sentinels.find((each) => !('failed' in each));
    if (told === undefined || 'failed' in told)
      return { ...nothing, kind, address, sentinels, failed: 'no Sentinel names the master' };
    return { ...nothing, kind, address, sentinels, servers: [await look(told.master)] };
  }
  const nodes = await Promise.all(
    hosts.map((host) => ask(target(host), connect, (client) => clusterFacts(client, host.host))),
  );
  const told = nodes.find((each) => !('failed' in each));
  if (told === undefined || 'failed' in told)
    return { ...nothing, kind, address, nodes, failed: 'no node describes the cluster' };
  const servers = await Promise.all(told.masters.slice(0, MAX_MASTERS).map(look));
  return { ...nothing, kind, address, nodes, servers };
}

export const addressOf = ({ host, port }: Host): string =>
  host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;

async function ask<Facts extends object>(
  target: RedisTarget,
  connect: RedisConnector,
  question: (client: RedisClient) => Promise<Facts>,
): Promise<Asked<Facts>> {
  const address = addressOf(target);
  let client: RedisClient | undefined;
  // ioredis reports why a connection failed as an event, and rejects with 'Connection is closed'.
  let reported: unknown;
  try {
    const made = (client = await connect(target));
    made.on('error', (error) => {
      reported = error;
    });
    const answer = made.connect().then(() => question(made));
    return { address, ...(await within(TIMEOUT * 2, answer)) };
  } catch (error) {
    return { address, failed: wordsOf(reported ?? error) };
  } finally {
    client?.disconnect();
  }
}

function wordsOf(error: unknown): string {
  const { message, code } = (error ?? {}) as NodeJS.ErrnoException;
  return safeText(withoutCredentials(message || code || String(error)));
}

async function redisFacts(client: RedisClient): Promise<RedisFacts> {
  const info = parseInfo(await client.info());
  if (info.has('sentinel_masters')) throw new Error('it is a Sentinel, which needs redis+sentinel://host:port/name');
  const times: number[] = [];
  let clockAhead = 0;
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < ROUND_TRIPS; i++) {
    const [begun, before] = [performance.now(), Date.now()];
    const [seconds, microseconds] = (await client.time()).map(Number);
    const took = performance.now() - begun;
    times.push(took);
    // The shortest round trip tells the most.
    if (took < least) clockAhead = seconds! * 1000 + microseconds! / 1000 - (before + took / 2);
    least = Math.min(least, took);
  }
  return {
    server: info.has('valkey_version') ? 'valkey' : 'redis',
    version: info.get('valkey_version') ?? info.get('redis_version') ?? '0',
    mode: info.get('redis_mode') ?? info.get('server_mode') ?? 'standalone',
    role: info.get('role') ?? 'master',
    evictionPolicy: info.get('maxmemory_policy') ?? 'noeviction',
    maxMemory: Number(info.get('maxmemory') ?? 0),
    usedMemory: Number(info.get('used_memory') ?? 0),
    latency: times.sort((a, b) => a - b)[ROUND_TRIPS >> 1]!,
    clockAhead,
  };
}

const MASTER = /,status=([^,]*),address=([^,]*):(\d+),slaves=(\d+),sentinels=(\d+)$/;

async function sentinelFacts(client: RedisClient, name: string): Promise<SentinelFacts> {
  const info = parseInfo(await client.info());
  if (!info.has('sentinel_masters')) throw new Error('it is not a Sentinel');
  const line = [...info.entries()].find(
    ([key, value]) => /^master\d+$/.test(key) && value.startsWith(`name=${name},status=`),
  );
  const [, status, host, port, replicas, sentinels] = MASTER.exec(line?.[1] ?? '') ?? [];
  if (status === undefined) throw new Error('it watches no master of the name in the URL');
  return {
    status,
    master: { host: host!, port: Number(port) },
    replicas: Number(replicas),
    sentinels: Number(sentinels),
  };
}

/** A range of slots: first, last, its master, its replicas; each node is host, port and more. */
type SlotRange = [first: number, last: number, master: SlotNode, ...replicas: SlotNode[]];
type SlotNode = [host: string | null, port: number, ...rest: unknown[]];

async function clusterFacts(client: RedisClient, asked: string): Promise<ClusterFacts> {
  let info: Map<string, string>;
  try {
    info = parseInfo(String(await client.call('CLUSTER', 'INFO')));
  } catch (error) {
    if (/cluster support disabled/i.test((error as Error).message))
      throw new Error('it is not a node of a Redis Cluster');
    throw error;
  }
  const ranges = (await client.call('CLUSTER', 'SLOTS')) as SlotRange[];
  const masters = new Map<string, ClusterFacts['masters'][number]>();
  for (const [, , [name, port], ...replicas] of ranges) {
    // A node that does not know its own address is the one that was asked.
    const host = name === null || name === '' || name === '?' ? asked : name;
    masters.set(addressOf({ host, port }), { host, port, replicas: replicas.length });
  }
  return {
    state: info.get('cluster_state') ?? '',
    slots: Math.min(ALL_SLOTS, Number(info.get('cluster_slots_ok') ?? 0)),
    masters: [...masters.values()],
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
const connectTo: RedisConnector = async ({ host, port, username, password, db, tls }) => {
  const { Redis } = await loadIoredis();
  return new Redis({
    host,
    port,
    username,
    password,
    db,
    ...(tls ? { tls: isIP(host) === 0 ? { servername: host } : {} } : {}),
    lazyConnect: true,
    connectTimeout: TIMEOUT,
    disconnectTimeout: 200,
    commandTimeout: TIMEOUT,
    maxRetriesPerRequest: 0,
    enableOfflineQueue: false,
    disableClientInfo: true,
    protocol: 2,
    retryStrategy: () => null,
  }) as unknown as RedisClient;
};
