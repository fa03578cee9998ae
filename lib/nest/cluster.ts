import { hostname } from 'node:os';
import { type Ban, bansEqual, parseStoredBan, type SecureWsBans, storedBan } from '../admission/bans.js';
import type { ClusterNode, ClusterState } from '../cluster/node.js';
import type { RedisClient } from '../cluster/redis/index.js';
import type { Settings } from '../config/settings.js';
import type { SecureWsBroadcaster } from '../dispatch/broadcaster.js';
import type { ServerContext } from '../server/server-context.js';

/** The functions that an application provides to its cluster. */
export interface ClusterParts {
  readonly settings: Settings;
  readonly context: ServerContext;
  readonly broadcaster: SecureWsBroadcaster;
  readonly bans: SecureWsBans;
  /** Answers the dashboard of another process. */
  view(question: Record<string, unknown>): unknown;
  /** Writes one log line for each change of state. */
  log(sentence: string, status: ClusterState['status']): void;
}

/** Whether the settings configure a cluster. */
export const isClustered = ({ cluster }: Settings): boolean =>
  [cluster.url, cluster.client, cluster.store].some((each) => each !== undefined);

/**
 * Creates this application's member of the cluster, which has not joined yet. Throws if ioredis is needed and missing.
 */
export async function createClusterNode(parts: ClusterParts): Promise<ClusterNode> {
  const { settings, context, broadcaster, bans, log } = parts;
  const { url, client, store, bus, ...options } = settings.cluster;
  const { local } = broadcaster;
  // Loaded here: an application without a cluster pays neither memory nor time for it.
  const [{ ClusterNode }, { redisCluster }, { SharedAdmission }] = await Promise.all([
    import('../cluster/node.js'),
    import('../cluster/redis/index.js'),
    import('../cluster/shared-admission.js'),
  ]);
  const infrastructure =
    store !== undefined && bus !== undefined
      ? { store, bus }
      : await redisCluster(url === undefined ? { client: client as unknown as RedisClient } : { url }, options.prefix);
  const node: ClusterNode = new ClusterNode(
    infrastructure.store,
    infrastructure.bus,
    {
      deliver: (scope, text) => broadcaster.deliver(scope, text),
      disconnectUser: (key, code, reason) => local.disconnectUser(key, code, reason),
      disconnectSocket: (id, code, reason) => local.disconnectSocket(id, code, reason),
      displace: (id) => context.cluster?.displace(id),
      connectionsOf: (key) => context.users.count(key),
      count: (scope) => local.counted(scope),
      view: (question) => parts.view(question),
      members: (scope) => local.peers(scope).map(({ id, connection }) => ({ id, userKey: connection.peer.userKey })),
      banned(stored) {
        const ban = parseStoredBan(stored);
        const known = ban && context.bans.get(ban.id);
        if (ban !== undefined && !(known !== undefined && bansEqual(known, ban))) bans.apply(ban);
      },
      unbanned: (id) => context.bans.remove(id),
      bans: () => context.bans.list().map(storedBan),
      notice: log,
    },
    {
      ...options,
      maxBans: settings.bans.max,
      about: () => ({ host: hostname(), pid: process.pid, connections: context.connections.size }),
    },
  );
  const { max, maxPerIp, rate } = settings.connections;
  context.cluster = new SharedAdmission(node, { max, maxPerIp, rate }, context.collector?.cluster);
  return node;
}

/** Connects the bans of this application with those of the other processes. */
export const sharedBansOf = (node: ClusterNode) => ({
  banned: (ban: Ban) => node.ban(storedBan(ban)),
  unbanned: (id: string) => node.unban(id),
});
