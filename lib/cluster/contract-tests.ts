import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import type { Claim, ClusterBus, ClusterStore, ClusterStoreOptions, StoredBan, UserClaim } from './contract.js';

/** A test for any runner: `it(name, run)`. */
export interface ContractTest {
  readonly name: string;
  run(): Promise<void>;
}

const WAIT = 5000;

/** Waits until a condition is true; fails with `what` after five seconds. */
async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const end = Date.now() + WAIT;
  while (!(await holds())) {
    assert.ok(Date.now() < end, `not within ${WAIT} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

const unique = (name: string): string => `${name}${randomBytes(6).toString('hex')}`;

interface Member {
  readonly id: string;
  readonly store: ClusterStore;
  readonly saved: StoredBan[];
  readonly removed: string[];
}

/**
 * Tests of the contract of `ClusterStore`, for any test runner. `make` returns a new store, not yet started, for one
 * more process of the same cluster.
 *
 * @example
 * for (const { name, run } of clusterStoreTests(() => new MyStore(url))) it(name, run);
 */
export function clusterStoreTests(make: () => ClusterStore | Promise<ClusterStore>): readonly ContractTest[] {
  const withNodes =
    (count: number, test: (nodes: Member[]) => Promise<void>): (() => Promise<void>) =>
    async () => {
      const nodes: Member[] = [];
      try {
        for (let each = 0; each < count; each++) nodes.push(await join());
        await until('all are seen', () => {
          for (const { store } of nodes) store.refresh();
          return nodes.every(({ store }) => sees(store, nodes));
        });
        await test(nodes);
      } finally {
        for (const { store } of nodes) await store.stop();
      }
    };

  async function join(options: Partial<ClusterStoreOptions> = {}): Promise<Member> {
    const member: Member = { id: unique('n').slice(0, 8), store: await make(), saved: [], removed: [] };
    await member.store.start({
      id: member.id,
      prefix: 'nsw',
      timeout: 1000,
      heartbeat: 200,
      lease: 2000,
      maxBans: 100,
      about: () => JSON.stringify({ name: member.id }),
      onChange: () => undefined,
      onBans: (saved, removed) => {
        member.saved.push(...saved);
        member.removed.push(...removed);
      },
      onBansLost: () => undefined,
      ...options,
    });
    return member;
  }

  const sees = (store: ClusterStore, nodes: readonly Member[]): boolean =>
    nodes.every(({ id }) => store.status.nodes.some((node) => node.id === id));

  /** The number of admitted attempts, of the given number of attempts at all nodes at the same time. */
  async function burst(nodes: readonly Member[], each: number, claims: () => readonly Claim[]): Promise<number> {
    const answers = await Promise.all(
      nodes.flatMap(({ store }) => Array.from({ length: each }, () => store.admit(claims()))),
    );
    return answers.filter(({ outcome }) => outcome === 'admitted').length;
  }

  const tests: Record<string, () => Promise<void>> = {
    'a process is visible to all, with its description, until it stops': withNodes(2, async ([a, b]) => {
      const seen = a!.store.status.nodes.find(({ id }) => id === b!.id);
      assert.equal(seen?.about, JSON.stringify({ name: b!.id }));
      assert.ok(a!.store.status.isAvailable && a!.store.status.leaseUntil > a!.store.now());
      await b!.store.stop();
      await until('it is gone', () => {
        a!.store.refresh();
        return !sees(a!.store, [b!]);
      });
    }),
    'a limit is exact over all processes, however many attempts come at once': withNodes(3, async (nodes) => {
      const name = unique('t');
      assert.equal(await burst(nodes, 20, () => [{ name, max: 25 }]), 25);
    }),
    'an attempt is counted under all names or under none': withNodes(2, async (nodes) => {
      const shard = unique('t');
      const [wide, narrow] = [`{${shard}}:wide`, `{${shard}}:narrow`];
      const both = [
        { name: wide, max: 8 },
        { name: narrow, max: 3 },
      ];
      assert.equal(await burst(nodes, 5, () => both), 3);
      assert.deepEqual(await nodes[0]!.store.admit(both), { outcome: 'refused', claim: 1, wait: undefined });
      assert.equal(await burst(nodes, 5, () => [{ name: wide, max: 8 }]), 5);
    }),
    'a burst that meets different limits fills each of them exactly': withNodes(3, async (nodes) => {
      const shard = unique('t');
      const [total, addresses] = [`{${shard}}`, Array.from({ length: 10 }, (_, n) => `a${n}{${shard}}`)];
      let at = 0;
      const next = () => [
        { name: addresses[at++ % 10]!, max: 5 },
        { name: total, max: 37 },
      ];
      assert.equal(await burst(nodes, 100, next), 37);
    }),
    'limits of different shards are never exceeded, and an attempt that one refuses is not counted in another':
      withNodes(2, async (nodes) => {
        const wide = { name: unique('t'), max: 8 };
        const narrow = { name: unique('t'), max: 3 };
        const { store } = nodes[1]!;
        const fill = (what: string, claims: readonly Claim[], from: number, to: number): Promise<void> =>
          until(what, async () => {
            if (from < to && (await store.admit(claims)).outcome === 'admitted') from++;
            return from === to;
          });
        const both = await burst(nodes, 5, () => [wide, narrow]);
        assert.ok(both <= 3, `${both} of 3`);
        await fill('the narrow one is full', [wide, narrow], both, 3);
        await fill('the wide one is full', [wide], 0, 5);
        assert.equal((await store.admit([wide])).outcome, 'refused');
        assert.equal((await store.admit([narrow])).outcome, 'refused');
      }),
    'a released connection makes room in every process': withNodes(2, async ([a, b]) => {
      const claims = [{ name: unique('t'), max: 2 }];
      assert.equal(await burst([a!], 3, () => claims), 2);
      assert.equal((await b!.store.admit(claims)).outcome, 'refused');
      a!.store.release(claims);
      await until('there is room', async () => (await b!.store.admit(claims)).outcome === 'admitted');
      assert.equal((await a!.store.admit(claims)).outcome, 'refused');
    }),
    'the connections of a stopped process no longer count': withNodes(2, async ([a, b]) => {
      const claims = [{ name: unique('t'), max: 2 }];
      assert.equal(await burst([a!], 2, () => claims), 2);
      await a!.store.stop();
      b!.store.refresh();
      let taken = 0;
      await until('there is room', async () => {
        if ((await b!.store.admit(claims)).outcome === 'admitted') taken++;
        return taken === 2;
      });
    }),
    'a rate applies over all processes, returns the waiting time, and a refused attempt is not charged': withNodes(
      2,
      async (nodes) => {
        const claims = [{ name: unique('a'), rate: { limit: 10, window: 600 } }];
        const admitted = await burst(nodes, 20, () => claims);
        // One token is refilled every 60 ms, and the burst itself takes time.
        assert.ok(admitted >= 10 && admitted <= 20, `${admitted} of a burst of 10 in 600 ms`);
        const answer = await nodes[0]!.store.admit(claims);
        if (answer.outcome === 'refused') assert.ok(answer.wait! > 0 && answer.wait! <= 100, `wait ${answer.wait}`);
        await until('the bucket has room', async () => (await nodes[1]!.store.admit(claims)).outcome === 'admitted');
      },
    ),
    'either all rates are charged or none, before connections are counted': withNodes(1, async ([a]) => {
      const shard = unique('a');
      const slow = { name: `slow{${shard}}`, rate: { limit: 1, window: 60_000 } };
      const fast = { name: `fast{${shard}}`, rate: { limit: 2, window: 60_000 } };
      const full = { name: `full{${shard}}`, max: 0 };
      assert.equal((await a!.store.admit([slow])).outcome, 'admitted');
      const refused = await a!.store.admit([fast, slow]);
      assert.ok(refused.outcome === 'refused' && refused.claim === 1 && refused.wait! > 50_000);
      assert.deepEqual(await a!.store.admit([fast, full]), { outcome: 'refused', claim: 1, wait: undefined });
      assert.equal((await a!.store.admit([fast])).outcome, 'admitted');
      assert.equal((await a!.store.admit([fast])).outcome, 'refused');
    }),
    'connections of a user are refused past the limit': withNodes(2, async ([a, b]) => {
      const claims: UserClaim[] = [{ name: unique('u'), max: 3, onLimit: 'refuse' }];
      const answers = await Promise.all(
        [a!, b!].flatMap(({ store }) => ['1', '2', '3'].map((id) => store.admitUser(claims, id))),
      );
      assert.equal(answers.filter(({ outcome }) => outcome === 'admitted').length, 3);
      assert.ok(answers.some((answer) => answer.outcome === 'refused' && answer.claim === 0));
    }),
    'or displace the oldest, in any process': withNodes(2, async ([a, b]) => {
      const user = `u:{${unique('u')}}`;
      const claims: UserClaim[] = [
        { name: `${user}:a`, max: 2, onLimit: 'closeOldest' },
        { name: `${user}:b`, max: 9, onLimit: 'closeOldest' },
      ];
      for (const [store, id] of [
        [a!.store, 'first'],
        [b!.store, 'second'],
      ] as const) {
        assert.deepEqual(await store.admitUser(claims, id), { outcome: 'admitted', displaced: [] });
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      assert.deepEqual(await b!.store.admitUser(claims, 'third'), {
        outcome: 'admitted',
        displaced: [{ node: a!.id, id: 'first' }],
      });
      b!.store.releaseUser(claims, 'second');
      b!.store.releaseUser(claims, 'second');
      await until('a place is free', async () => {
        const answer = await a!.store.admitUser(claims, 'fourth');
        return answer.outcome === 'admitted' && answer.displaced.length === 0;
      });
    }),
    'a ban and its end reach all other processes, also those that join later': withNodes(2, async ([a, b]) => {
      const ban: StoredBan = { id: unique('ip:'), until: a!.store.now() + 60_000, value: '{"reason":"x y"}' };
      assert.equal(await a!.store.saveBan(ban), true);
      await until('it is told', () => {
        b!.store.refresh();
        return b!.saved.some(({ id }) => id === ban.id);
      });
      assert.deepEqual(
        b!.saved.find(({ id }) => id === ban.id),
        ban,
      );
      assert.equal(
        a!.saved.some(({ id }) => id === ban.id),
        false,
      );
      const late = await join();
      await until('it is told later', () => late.saved.some(({ id }) => id === ban.id));
      await late.store.stop();
      assert.equal(await b!.store.removeBan(ban.id), true);
      await until('its end is told', () => {
        a!.store.refresh();
        return a!.removed.includes(ban.id);
      });
    }),
    'a value can be taken once': withNodes(2, async ([a, b]) => {
      const name = unique('k:');
      assert.equal(await a!.store.put(name, 'value', 60_000), true);
      assert.equal(await b!.store.put(name, 'other', 60_000), false);
      const taken = await Promise.all([a!, b!, a!, b!].map(({ store }) => store.take(name)));
      assert.deepEqual(
        taken.filter((value) => value !== null),
        ['value'],
      );
      assert.equal(await a!.store.put(name, 'brief', 20), true);
      await new Promise((resolve) => setTimeout(resolve, 60));
      assert.equal(await b!.store.take(name), null);
    }),
    'calls after the end neither throw nor reject': withNodes(1, async ([a]) => {
      await a!.store.stop();
      assert.equal((await a!.store.admit([{ name: unique('t'), max: 1 }])).outcome, 'unavailable');
      assert.equal(
        (await a!.store.admitUser([{ name: unique('u'), max: 1, onLimit: 'refuse' }], '1')).outcome,
        'unavailable',
      );
      assert.equal(await a!.store.saveBan({ id: 'x', until: 1, value: '' }), false);
      assert.equal(await a!.store.put(unique('k:'), '', 1000), false);
      assert.equal(await a!.store.take(unique('k:')), undefined);
      await a!.store.stop();
    }),
  };
  return Object.entries(tests).map(([name, run]) => ({ name, run }));
}

/** Tests of the contract of `ClusterBus`: `make` returns a bus for one more process. */
export function clusterBusTests(make: () => ClusterBus | Promise<ClusterBus>): readonly ContractTest[] {
  const withBuses =
    (count: number, test: (buses: { bus: ClusterBus; heard: string[] }[]) => Promise<void>): (() => Promise<void>) =>
    async () => {
      const buses: { bus: ClusterBus; heard: string[] }[] = [];
      try {
        for (let each = 0; each < count; each++) {
          const heard: string[] = [];
          const bus = await make();
          buses.push({ bus, heard });
          await bus.start({
            timeout: 1000,
            receive: (channel, message) => heard.push(`${channel} ${message}`),
            onChange: () => undefined,
          });
        }
        await test(buses);
      } finally {
        for (const { bus } of buses) await bus.stop();
      }
    };
  /** Publishes until a message has arrived everywhere, because subscriptions take time. */
  const settle = (channel: string, buses: readonly { bus: ClusterBus; heard: string[] }[]): Promise<void> =>
    until('subscriptions hold', async () => {
      await buses[0]!.bus.publish(channel, 'settle');
      await new Promise((resolve) => setTimeout(resolve, 20));
      return buses.every(({ heard }) => heard.includes(`${channel} settle`));
    });
  const without = (heard: readonly string[]): string[] => heard.filter((each) => !each.endsWith(' settle'));

  const tests: Record<string, () => Promise<void>> = {
    'a message reaches all subscribers, including its publisher, and no other process': withBuses(3, async (buses) => {
      const channel = unique('c');
      const [a, b, c] = buses as [(typeof buses)[0], (typeof buses)[0], (typeof buses)[0]];
      a.bus.subscribe(channel);
      b.bus.subscribe(channel);
      await settle(channel, [a, b]);
      assert.equal(await a.bus.publish(channel, 'héllo\n😀'), true);
      await until('it arrives', () => [a, b].every(({ heard }) => heard.includes(`${channel} héllo\n😀`)));
      assert.deepEqual(c.heard, []);
      b.bus.unsubscribe(channel);
      await until('it is left alone', async () => {
        const before = b.heard.length;
        await a.bus.publish(channel, 'settle');
        await new Promise((resolve) => setTimeout(resolve, 50));
        return b.heard.length === before;
      });
    }),
    'messages of one publisher keep their order': withBuses(2, async (buses) => {
      const channel = unique('c');
      buses[1]!.bus.subscribe(channel);
      await settle(channel, [{ ...buses[1]!, bus: buses[0]!.bus }]);
      const sent = Array.from({ length: 500 }, (_, index) => `m${index}`);
      await Promise.all(sent.map((message) => buses[0]!.bus.publish(channel, message)));
      await until('all arrive', () => without(buses[1]!.heard).length >= sent.length);
      assert.deepEqual(
        without(buses[1]!.heard),
        sent.map((message) => `${channel} ${message}`),
      );
    }),
    'a message of 1 MiB is delivered': withBuses(2, async (buses) => {
      const channel = unique('c');
      buses[1]!.bus.subscribe(channel);
      await settle(channel, [{ ...buses[1]!, bus: buses[0]!.bus }]);
      const message = 'x'.repeat(1024 * 1024);
      assert.equal(await buses[0]!.bus.publish(channel, message), true);
      await until('it arrives', () => buses[1]!.heard.includes(`${channel} ${message}`));
    }),
    'subscriptions survive a reconnect': withBuses(1, async (buses) => {
      const channel = unique('c');
      buses[0]!.bus.subscribe(channel);
      await settle(channel, buses);
      buses[0]!.bus.reset();
      const before = buses[0]!.heard.length;
      await until('messages arrive again', async () => {
        await buses[0]!.bus.publish(channel, 'again');
        await new Promise((resolve) => setTimeout(resolve, 20));
        return buses[0]!.heard.length > before;
      });
    }),
    'calls after the end neither throw nor reject': withBuses(1, async (buses) => {
      await buses[0]!.bus.stop();
      assert.equal(await buses[0]!.bus.publish(unique('c'), 'x'), false);
      assert.equal(buses[0]!.bus.isAvailable, false);
      buses[0]!.bus.subscribe(unique('c'));
      buses[0]!.bus.reset();
    }),
  };
  return Object.entries(tests).map(([name, run]) => ({ name, run }));
}
