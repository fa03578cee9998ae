import type { StoredBan } from '../../lib/cluster/contract.js';
import { type ClusterHost, ClusterNode, type ClusterRefusal } from '../../lib/cluster/node.js';
import { redisCluster } from '../../lib/cluster/redis/index.js';
import type { CastScope } from '../../lib/cluster/requests.js';
import type { LocalClaim } from '../../lib/cluster/shared-refusals.js';

/*
 * A process of a cluster without connections: it holds claims as told. Arguments: URL, options as JSON.
 * It answers each message `[what, …arguments]` with `{ answer }`.
 */
const [url = '', given = '{}'] = process.argv.slice(2);
const received: { scope: CastScope; text: string }[] = [];
const notices: string[] = [];
const bans = new Map<string, StoredBan>();
const disconnected: string[] = [];
const online = new Set<string>();
const displaced: string[] = [];

const host: ClusterHost = {
  deliver: (scope, text) => received.push({ scope, text }),
  disconnectUser: (key, code, reason) => {
    disconnected.push(`user ${key} ${code} ${reason}`);
    return online.delete(key) ? 2 : 0;
  },
  disconnectSocket(id) {
    disconnected.push(`socket ${id}`);
    return online.has(id) ? 1 : 0;
  },
  displace: (id) => displaced.push(id),
  view: (question) => ({ pid: process.pid, question }),
  connectionsOf: (key) => (online.has(key) ? 1 : 0),
  count: ({ room }) => (room === 'empty' ? 0 : 3),
  members: ({ room }) => [{ id: `${process.pid}-${room}`, userKey: undefined }],
  banned: (ban) => bans.set(ban.id, ban),
  unbanned: (id) => bans.delete(id),
  bans: () => bans.values(),
  notice: (sentence) => notices.push(sentence),
};
const { store, bus } = await redisCluster({ url }, 'nsw');
const node = new ClusterNode(store, bus, host, {
  prefix: 'nsw',
  timeout: 1000,
  heartbeat: 200,
  lease: 1500,
  onFailure: 'local',
  secret: undefined,
  maxBans: 100,
  about: () => ({ pid: process.pid }),
  ...(JSON.parse(given) as object),
});
await node.start();

/** Held claims, and the count of each name. */
const held: LocalClaim[][] = [];
const counts = new Map<string, number>();
function count(claims: readonly LocalClaim[], change: 1 | -1): void {
  for (const { name, max } of claims) if (max !== undefined) counts.set(name, (counts.get(name) ?? 0) + change);
}

type Told = Omit<LocalClaim, 'held'>;

async function admit(told: readonly Told[]): Promise<ClusterRefusal | undefined> {
  count(told as LocalClaim[], 1);
  const claims = told.map((claim) => ({ ...claim, held: counts.get(claim.name) ?? 0 }));
  const refusal = await node.admit(claims);
  if (refusal === undefined || refusal === 'alone') {
    held.push(claims);
    return undefined;
  }
  count(claims, -1);
  return refusal;
}

function release(claims: LocalClaim[]): void {
  count(claims, -1);
  node.release(claims);
}

const ways = {
  /**
   * Makes this many concurrent attempts; returns how many were admitted, the last refusal, and whether all were decided
   * in the turn of the event loop in which they were made.
   */
  async admit(told: readonly Told[], times = 1) {
    let isAtOnce = true;
    setImmediate(() => {
      isAtOnce = false;
    });
    const refusals = await Promise.all(Array.from({ length: times }, () => admit(told)));
    const admitted = refusals.filter((refusal) => refusal === undefined).length;
    return { admitted, last: refusals.at(-1), isAtOnce };
  },
  release(times: number) {
    for (const claims of held.splice(0, times)) release(claims);
    return held.length;
  },
  admitUser: (claims: Parameters<ClusterNode['admitUser']>[0], id: string) => node.admitUser(claims, id),
  releaseUser: (claims: Parameters<ClusterNode['admitUser']>[0], id: string) => node.releaseUser(claims, id),
  counts: () => Object.fromEntries([...counts].filter(([, count]) => count > 0)),
  state: () => node.state,
  received: () => received.splice(0),
  notices: () => notices.splice(0),
  bans: () => [...bans.keys()],
  displaced: () => displaced.splice(0),
  disconnected: () => disconnected.splice(0),
  online: (key: string) => online.add(key).size,
  cast: (scope: CastScope, text: string) => node.cast(scope, text),
  room: (name: string, isOpened: boolean) =>
    isOpened ? node.messenger.roomOpened(name) : node.messenger.roomClosed(name),
  ban(ban: StoredBan) {
    bans.set(ban.id, ban);
    node.ban(ban);
  },
  unban: (id: string) => node.unban(id),
  disconnectUser: (key: string) => node.disconnectUser(key, 1008, 'bye'),
  isOnline: (key: string) => node.isOnline(key),
  total: (room: string) => node.count({ room }),
  members: (room: string) => node.members({ room }),
  stop: () => node.stop(),
  put: (name: string, value: string) => node.put(name, value, 60_000),
  take: (name: string) => node.take(name),
  /** Sets the clock of this machine forward or back, as this process sees it. */
  setClock(change: number) {
    const { now } = Date;
    Date.now = () => now() + change;
  },
  /** Admits and releases at random for this many milliseconds: a few addresses and a total. */
  async churn(time: number, seed: number) {
    let random = seed;
    const next = (below: number) => {
      random = (Math.imul(random, 1_103_515_245) + 12_345) >>> 0;
      return (random >>> 8) % below;
    };
    const until = Date.now() + time;
    while (Date.now() < until) {
      const address = `a:{10.0.0.${next(20)}}:n`;
      const told = [
        { name: address, max: 10 },
        { name: 't:{t}:all', max: 60 },
      ];
      if (next(5) < 3) void admit(told);
      else if (held.length > 0) for (const claims of held.splice(next(held.length), 1)) release(claims);
      if (next(4) === 0) await new Promise((resolve) => setTimeout(resolve, next(4)));
    }
    await new Promise((resolve) => setTimeout(resolve, 300));
    return held.length;
  },
};

process.on('message', async ([what, ...rest]: [keyof typeof ways, ...never[]]) => {
  const answer: unknown = await (ways[what] as (...args: never[]) => unknown)(...rest);
  process.send!({ answer: answer ?? null });
  if (what === 'stop') process.disconnect();
});
process.send!({ ready: node.id });
