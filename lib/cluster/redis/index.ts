import type { ClusterBus, ClusterStore } from '../contract.js';
import { RedisBus } from './bus.js';
import { type Connector, connectorLike, connectorOf, loadIoredis, type RedisClient } from './client.js';
import { RedisStore } from './store.js';
import { parseRedisUrl } from './url.js';

export { isRedisClient, type RedisClient } from './client.js';
export { parseRedisUrl } from './url.js';

/**
 * Creates a store and a bus on one Redis, with two connections. Throws an `Error` that says which package to install if
 * ioredis is missing. An unreachable Redis is not an error.
 */
export async function redisCluster(
  where: { readonly url: string } | { readonly client: RedisClient },
  prefix: string,
): Promise<{ readonly store: ClusterStore; readonly bus: ClusterBus }> {
  const connect = await connectorTo(where);
  const store = new RedisStore(connect('commands'), prefix);
  return { store, bus: new RedisBus(connect('messages'), store.link) };
}

async function connectorTo(where: { url: string } | { client: RedisClient }): Promise<Connector> {
  if ('client' in where) return connectorLike(where.client);
  const address = parseRedisUrl(where.url);
  if (typeof address === 'string') throw new TypeError(`cluster.url must be ${address}`);
  return connectorOf(await loadIoredis(), address);
}
