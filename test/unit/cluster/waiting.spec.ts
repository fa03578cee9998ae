import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import type { AddressEntry } from '../../../lib/admission/address-table.js';
import type { GatewayCapacity } from '../../../lib/admission/capacity.js';
import type { UserLimits } from '../../../lib/admission/shared-slot.js';
import type { ClusterStore, ClusterStoreOptions, UserAnswer } from '../../../lib/cluster/contract.js';
import { MemoryCluster } from '../../../lib/cluster/memory.js';
import { type ClusterHost, ClusterNode, type ClusterNodeOptions } from '../../../lib/cluster/node.js';
import type { RedisClient } from '../../../lib/cluster/redis/client.js';
import { RedisLink, UNAVAILABLE } from '../../../lib/cluster/redis/link.js';
import { SharedAdmission, SharedConnection } from '../../../lib/cluster/shared-admission.js';

describe('a command that Redis does not answer', () => {
  beforeEach(() => {
    jest.useFakeTimers({ doNotFake: ['nextTick', 'queueMicrotask'] });
  });
  afterEach(() => {
    jest.useRealTimers();
  });

  function silentLink(): RedisLink {
    const client = { status: 'ready', on: () => undefined, disconnect: () => undefined } as unknown as RedisClient;
    const link = new RedisLink(
      client,
      () => undefined,
      () => Date.now(),
    );
    link.timeout = 100;
    return link;
  }

  it('is given up when the first of its callers has waited for the timeout', async () => {
    const link = silentLink();
    const settled: string[] = [];
    const never = () => new Promise(() => undefined);
    const since = Date.now();
    void link.ask(never).then(() => settled.push('first'));
    await jest.advanceTimersByTimeAsync(20);
    void link.ask(never).then(() => settled.push('second'));
    void link.ask(never, 'limits', undefined, { since, callers: 2 }).then(() => settled.push('third'));
    await jest.advanceTimersByTimeAsync(79);
    expect(settled).toEqual(['first', 'third']);
    await jest.advanceTimersByTimeAsync(20);
    expect(settled).toEqual(['first', 'third', 'second']);
    link.close();
  });

  it('is given up before the timeout has passed', async () => {
    const link = silentLink();
    const settled: string[] = [];
    const never = () => new Promise(() => undefined);
    void link.ask(never).then((answer) => settled.push(answer === UNAVAILABLE ? 'asked at 0 ms' : ''));
    await jest.advanceTimersByTimeAsync(5);
    void link.ask(never).then(() => settled.push('asked after 5 ms'));
    await jest.advanceTimersByTimeAsync(90);
    expect(settled).toEqual([]);
    // The timer of Node may be late by one millisecond.
    await jest.advanceTimersByTimeAsync(4);
    expect(settled).toEqual(['asked at 0 ms']);
    await jest.advanceTimersByTimeAsync(5);
    expect(settled).toEqual(['asked at 0 ms', 'asked after 5 ms']);
    link.close();
  });
});

describe('error replies of Redis', () => {
  const reply = (message: string) => () => Promise.reject(Object.assign(new Error(message), { name: 'ReplyError' }));
  const WRONG = 'WRONGTYPE Operation against a key holding the wrong kind of value script: 1c0e, on @user_script:12.';
  const NOT_NUMBER = "ERR user_script:32: attempt to perform arithmetic on a nil value (local 'have') script: 1c0e";

  it.each([
    ['other', 'NOPERM this user has no permissions to run the getdel command', 'closed'],
    ['other', WRONG, 'closed'],
    ['limits', WRONG, 'closed'],
    ['limits', NOT_NUMBER, 'closed'],
    ['limits', "OOM command not allowed when used memory > 'maxmemory'.", 'open'],
    ['limits', 'ERR Error running script (call to f_1c0e): @user_script:12: -OOM command not allowed', 'open'],
    ['limits', 'READONLY You can not write against a read only replica.', 'open'],
    ['limits', 'LOADING Redis is loading the dataset in memory', 'open'],
    ['lease', WRONG, 'open'],
  ] as const)('to a command for %s: %s: the breaker is %s', async (purpose, message, state) => {
    const client = { status: 'ready', on: () => undefined, disconnect: () => undefined } as unknown as RedisClient;
    const link = new RedisLink(
      client,
      () => undefined,
      () => 0,
    );
    for (let each = 0; each < 9; each++) expect(typeof (await link.ask(reply(message), purpose))).toBe('symbol');
    expect(link.breaker.state).toBe(state);
    expect(link.lastError).toBe(message);
    link.close();
  });

  it('to other commands do not keep the breaker from opening, neither do their answers', async () => {
    const client = { status: 'ready', on: () => undefined, disconnect: () => undefined } as unknown as RedisClient;
    const link = new RedisLink(
      client,
      () => undefined,
      () => 0,
    );
    for (let each = 0; each < 5; each++) {
      await link.ask(reply('OOM command not allowed'), 'limits');
      await link.ask(() => Promise.resolve(1), 'other');
    }
    expect(link.breaker.state).toBe('open');
    link.close();
  });

  it('to a command of several callers count for each of them', async () => {
    const client = { status: 'ready', on: () => undefined, disconnect: () => undefined } as unknown as RedisClient;
    const link = new RedisLink(
      client,
      () => undefined,
      () => 0,
    );
    const ask = (callers: number) => link.ask(reply('OOM not allowed'), 'limits', undefined, { since: 0, callers });
    await ask(4);
    expect([link.breaker.state, link.failures]).toEqual(['closed', 4]);
    await ask(3);
    expect([link.breaker.state, link.failures]).toEqual(['open', 7]);
    link.close();
  });

  it('the commands of one turn of the event loop are one write', async () => {
    const written: string[] = [];
    const stream = { cork: () => written.push('cork'), uncork: () => written.push('uncork') };
    const client = { status: 'ready', on: () => undefined, disconnect: () => undefined, stream };
    const link = new RedisLink(
      client as unknown as RedisClient,
      () => undefined,
      () => 0,
    );
    const send = () => Promise.resolve(written.push('command'));
    for (let turn = 0; turn < 2; turn++) {
      for (let each = 0; each < 2; each++) void link.ask(send, 'limits');
      link.atEndOfTurn(() => void link.ask(send, 'limits'));
      await new Promise((resolve) => setImmediate(resolve));
    }
    const turn = ['cork', 'command', 'command', 'command', 'uncork'];
    expect(written).toEqual([...turn, ...turn]);
    link.close();
  });
});

const LIMITS: UserLimits = { own: undefined, application: 1, onLimit: 'refuse' };
const ENTRY = { key: '192.0.2.1', site: undefined, isExempt: false, connections: 0 } as unknown as AddressEntry;
const GATEWAY = { id: '/', limits: {}, used: 0, countOf: () => 0 } as unknown as GatewayCapacity;

/** A store whose answers for users are given by the test. */
function storeOf(base: ClusterStore, isAway: boolean) {
  const pending: ((answer: UserAnswer) => void)[] = [];
  const released: string[] = [];
  let options: ClusterStoreOptions | undefined;
  const store: ClusterStore = {
    get status() {
      return base.status;
    },
    start: (given) => base.start((options = given)),
    stop: () => base.stop(),
    now: () => base.now(),
    admit: () => Promise.resolve({ outcome: isAway ? 'unavailable' : 'admitted' }),
    release: () => undefined,
    admitUser: () => new Promise((resolve) => pending.push(resolve)),
    releaseUser: (claims, id) => released.push(`${claims.length} ${id}`),
    refresh: () => undefined,
    saveBan: () => Promise.resolve(true),
    removeBan: () => Promise.resolve(true),
    put: () => Promise.resolve(true),
    take: () => Promise.resolve(null),
  };
  return { store, pending, released, options: () => options };
}

function admission(isAway: boolean, more: Partial<ClusterNodeOptions> = {}) {
  const cluster = new MemoryCluster();
  const store = storeOf(cluster.store(), isAway);
  const host = { notice: () => undefined, bans: () => [] } as unknown as ClusterHost;
  const options: ClusterNodeOptions = {
    prefix: 'nsw',
    timeout: 100,
    heartbeat: 60_000,
    lease: 200_000,
    onFailure: 'local',
    secret: undefined,
    maxBans: 1,
    about: () => ({}),
    ...more,
  };
  const node = new ClusterNode(store.store, cluster.bus(), host, options);
  const shared = new SharedAdmission(node, { max: 9, maxPerIp: 9, rate: { limit: 9, window: 1000 } });
  return { ...store, node, shared };
}

async function slot(shared: SharedAdmission): Promise<SharedConnection> {
  const answer = await shared.reserve(ENTRY, GATEWAY, 1);
  if (!(answer instanceof SharedConnection)) throw new Error('refused');
  return answer;
}

const settled = async (): Promise<void> => {
  for (let turn = 0; turn < 5; turn++) await Promise.resolve();
};

describe('the user of a connection, over all processes', () => {
  it('a handshake that has waited for the store in stage 6 does not wait for it again in stage 8', async () => {
    const { shared, pending } = admission(true);
    const connection = await slot(shared);
    // The store never answers.
    expect(await connection.takeUser('ada', LIMITS)).toBe(undefined);
    const ends: number[] = [];
    connection.opened({ context: {}, end: (code) => ends.push(code) });
    await settled();
    expect(ends).toEqual([]);
    // It answers later: the user has too many connections elsewhere.
    pending[0]!({ outcome: 'refused', claim: 0 });
    await settled();
    expect(ends).toEqual([1008]);
  });

  it('a store that answers decides in stage 8', async () => {
    const { shared, pending } = admission(false);
    const connection = await slot(shared);
    const answer = connection.takeUser('ada', LIMITS);
    pending[0]!({ outcome: 'refused', claim: 0 });
    expect(await answer).toMatchObject({ status: 429 });
  });

  it('reassigned twice before the store answers, it is counted for the last user only, and for nobody at its end', async () => {
    const { shared, pending, released } = admission(false);
    const connection = await slot(shared);
    const ends: number[] = [];
    connection.opened({ context: {}, end: (code) => ends.push(code) });
    connection.moveUser('ada', LIMITS);
    connection.moveUser('bob', LIMITS);
    connection.moveUser('eve', LIMITS);
    // The limit of a user that the connection no longer has does not end it.
    pending[0]!({ outcome: 'refused', claim: 0 });
    pending[1]!({ outcome: 'admitted', displaced: [] });
    pending[2]!({ outcome: 'admitted', displaced: [] });
    await settled();
    expect(ends).toEqual([]);
    expect(released).toEqual(['1 1']);
    connection.release();
    expect(released).toEqual(['1 1', '1 2']);
  });

  it('ended before the store answers, it is counted for nobody', async () => {
    const { shared, pending, released } = admission(false);
    const connection = await slot(shared);
    connection.moveUser('ada', LIMITS);
    connection.release();
    expect(released).toEqual([]);
    pending[0]!({ outcome: 'admitted', displaced: [] });
    await settled();
    expect(released).toEqual(['1 0']);
  });
});

describe("an application's own store and bus", () => {
  it('get cluster.prefix: the store with its options, the bus before each channel', async () => {
    const cluster = new MemoryCluster();
    const { store, options } = storeOf(cluster.store(), false);
    const bus = cluster.bus();
    const channels: string[] = [];
    const { subscribe } = bus;
    bus.subscribe = (channel) => {
      channels.push(channel);
      subscribe.call(bus, channel);
    };
    const host = { notice: () => undefined, bans: () => [] } as unknown as ClusterHost;
    const times = { timeout: 100, heartbeat: 60_000, lease: 200_000 };
    const more = { onFailure: 'local', secret: undefined, maxBans: 1, about: () => ({}) } as const;
    const node = new ClusterNode(store, bus, host, { prefix: 'shop', ...times, ...more });
    await node.start();
    expect(options()?.prefix).toBe('shop');
    expect(channels).toEqual(['shop:all', 'shop:ctl', `shop:n:${node.id}`]);
    await node.stop();
  });
});
