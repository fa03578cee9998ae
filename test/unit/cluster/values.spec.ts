import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { Breaker } from '../../../lib/cluster/breaker.js';
import type { ClusterBus, ClusterBusOptions } from '../../../lib/cluster/contract.js';
import { MessageCodec } from '../../../lib/cluster/messages.js';
import { Messenger } from '../../../lib/cluster/messenger.js';
import { PARTITIONS, Partitions, partitionOf } from '../../../lib/cluster/partitions.js';
import { parseRedisUrl } from '../../../lib/cluster/redis/url.js';
import { Requests } from '../../../lib/cluster/requests.js';
import { FallbackShare, SharedRefusals } from '../../../lib/cluster/shared-refusals.js';

describe('Breaker', () => {
  const make = () => {
    const clock = { now: 0 };
    const states: string[] = [];
    return {
      clock,
      states,
      breaker: new Breaker(
        () => clock.now,
        (state) => states.push(state),
      ),
    };
  };
  const fail = (breaker: Breaker, times: number) => {
    for (let each = 0; each < times; each++) breaker.failed();
  };

  it('opens at the fifth consecutive failure', () => {
    const { breaker } = make();
    fail(breaker, 4);
    breaker.succeeded();
    fail(breaker, 4);
    expect(breaker.state).toBe('closed');
    breaker.failed();
    expect(breaker.state).toBe('open');
    expect(breaker.allows(false)).toBe(false);
  });

  it('allows one probe after 1 s, and nothing else', () => {
    const { breaker, clock, states } = make();
    fail(breaker, 5);
    clock.now = 999;
    expect(breaker.allows(true)).toBe(false);
    clock.now = 1000;
    expect(breaker.allows(false)).toBe(false);
    expect(breaker.allows(true)).toBe(true);
    expect(breaker.allows(true)).toBe(false);
    expect(breaker.allows(false)).toBe(false);
    breaker.succeeded();
    expect(breaker.allows(false)).toBe(true);
    expect(states).toEqual(['open', 'probing', 'closed']);
  });

  it('doubles the pause with each failed probe up to 30 s, and begins with 1 s after that time without failures', () => {
    const { breaker, clock } = make();
    fail(breaker, 5);
    const pauses: number[] = [];
    for (let each = 0; each < 8; each++) {
      pauses.push(breaker.remaining);
      clock.now += breaker.remaining;
      expect(breaker.allows(true)).toBe(true);
      breaker.failed();
    }
    expect(pauses).toEqual([1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
    clock.now += 30_000;
    breaker.allows(true);
    breaker.succeeded();
    clock.now += 30_000;
    fail(breaker, 5);
    expect(breaker.remaining).toBe(1000);
  });

  it('continues to double the pause if only probes succeed', () => {
    const { breaker, clock, states } = make();
    const pauses: number[] = [];
    for (let each = 0; each < 7; each++) {
      clock.now += 10;
      fail(breaker, 5);
      pauses.push(breaker.remaining);
      clock.now += breaker.remaining;
      expect(breaker.allows(true)).toBe(true);
      breaker.succeeded();
    }
    expect(pauses).toEqual([1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
    expect(states.slice(0, 4)).toEqual(['open', 'probing', 'closed', 'open']);
  });

  it('ignores an answer to a request made before it opened', () => {
    const { breaker } = make();
    fail(breaker, 5);
    breaker.succeeded();
    expect(breaker.state).toBe('open');
    breaker.hurry();
    expect(breaker.remaining).toBe(0);
  });
});

describe('cluster messages', () => {
  const make = (id: string, secret?: string) => {
    const clock = { now: 1_700_000_000_000, up: 1_000_000 };
    const codec = new MessageCodec(
      id,
      secret,
      () => clock.now,
      () => clock.up,
    );
    codec.subscribed('c');
    clock.up += 100_000;
    return { clock, codec };
  };
  const SECRET = 'a secret of more than thirty-two characters';

  it('are decoded as they were encoded, whatever the payload', () => {
    const [a, b] = [make('a', SECRET), make('b', SECRET)];
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (payload) => {
        expect(b.codec.decode('c', a.codec.encode('c', 'cast', payload))).toEqual({ from: 'a', kind: 'cast', payload });
      }),
    );
    expect(b.codec.counts).toEqual({ malformed: 0, unsigned: 0, replayed: 0, gaps: 0 });
  });

  it('are dropped without the secret, with another secret, changed, or from another channel', () => {
    const [a, b] = [make('a', SECRET), make('b', SECRET)];
    b.codec.subscribed('d');
    const genuine = a.codec.encode('c', 'ban', '{"id":"x"}');
    const forged = [
      make('a').codec.encode('c', 'ban', '{"id":"x"}'),
      make('a', `${SECRET}!`).codec.encode('c', 'ban', '{"id":"x"}'),
      genuine.replace('ban', 'unban'),
      genuine.replace('"x"', '"y"'),
      genuine.replace('1 a 1', '1 a 2'),
      genuine.replace('1 a', '1 z'),
      `${genuine} `,
    ];
    for (const message of forged) expect(b.codec.decode('c', message)).toBeUndefined();
    expect(b.codec.decode('d', genuine)).toBeUndefined();
    expect(b.codec.counts.unsigned).toBe(forged.length + 1);
    expect(b.codec.decode('c', genuine)).toBeDefined();
  });

  it.each(['', 'x', '\n', '1 a 1 1 cast -', '2 a 1 1 cast -\n', '1 a x 1 cast -\n', `1 ${'a'.repeat(600)} 1 1 c -\n`])(
    'are dropped when malformed: %j',
    (message) => {
      const { codec } = make('b');
      expect(codec.decode('c', message)).toBeUndefined();
      expect(codec.counts.malformed).toBe(1);
    },
  );

  it('are dropped when they are larger than any message of a process', () => {
    const { codec } = make('b');
    const [small, large] = [1, 5].map((mib) => `1 a 1 1700000000000 cast -\n${'x'.repeat(mib * 1024 * 1024)}`);
    expect(codec.decode('c', large!)).toBeUndefined();
    expect(codec.counts.malformed).toBe(1);
    expect(codec.decode('c', small!)).toBeDefined();
  });

  it('are dropped when repeated, too old, or sent before the subscription', () => {
    const [a, b] = [make('a', SECRET), make('b', SECRET)];
    const first = a.codec.encode('c', 'cast', '1');
    const second = a.codec.encode('c', 'cast', '2');
    expect(b.codec.decode('c', second)).toBeDefined();
    expect(b.codec.decode('c', second)).toBeUndefined();
    expect(b.codec.decode('c', first)).toBeUndefined();
    const third = a.codec.encode('c', 'cast', '3');
    b.clock.now += 61_000;
    expect(b.codec.decode('c', third)).toBeUndefined();
    expect(b.codec.counts.replayed).toBe(3);
    const late = make('late', SECRET);
    late.codec.subscribed('c');
    late.clock.now += 5000;
    late.clock.up += 1000;
    expect(late.codec.decode('c', third)).toBeUndefined();
  });

  it('that are missing are counted per publisher and channel', () => {
    const [a, b, c] = [make('a'), make('b'), make('c')];
    const sent = Array.from({ length: 10 }, (_, n) => a.codec.encode('c', 'cast', `${n}`));
    for (const n of [0, 1, 4, 9]) expect(b.codec.decode('c', sent[n]!)).toBeDefined();
    expect(b.codec.counts.gaps).toBe(6);
    b.codec.decode('c', c.codec.encode('c', 'cast', ''));
    expect(b.codec.counts.gaps).toBe(6);
    // Messages missed while not subscribed are not a gap.
    b.codec.subscribed('c');
    expect(b.codec.decode('c', a.codec.encode('c', 'cast', ''))).toBeDefined();
    expect(b.codec.counts.gaps).toBe(6);
  });

  it('of unknown publishers use bounded memory', () => {
    const { codec } = make('b');
    for (let n = 0; n < 3000; n++) codec.decode('c', `1 s${n} 1 1700000000000 cast -\n`);
    expect(codec.counts.replayed).toBe(3000 - 1024);
  });
});

describe('parseRedisUrl', () => {
  const single = { kind: 'single', tls: false, username: undefined, password: undefined, db: 0, master: undefined };
  it.each([
    ['redis://localhost', { ...single, hosts: [{ host: 'localhost', port: 6379 }] }],
    ['rediss://r.example:7000/3', { ...single, tls: true, db: 3, hosts: [{ host: 'r.example', port: 7000 }] }],
    ['redis://u:p%40ss@[::1]:1', { ...single, username: 'u', password: 'p@ss', hosts: [{ host: '::1', port: 1 }] }],
    ['redis://:p:q@h', { ...single, password: 'p:q', hosts: [{ host: 'h', port: 6379 }] }],
    [
      'redis+sentinel://a,b:2/main?db=2&sentinelPassword=s',
      {
        kind: 'sentinel',
        master: 'main',
        db: 2,
        sentinelPassword: 's',
        hosts: [
          { host: 'a', port: 26379 },
          { host: 'b', port: 2 },
        ],
      },
    ],
    ['rediss+cluster://a:1,b:2', { kind: 'cluster', tls: true }],
  ])('parses %s', (url, expected) => expect(parseRedisUrl(url)).toMatchObject(expected));

  it.each([
    'http://h',
    'redis:///',
    'redis://a,b',
    'redis://h:0',
    'redis://h:99999',
    'redis://h/x',
    'redis://h?x=1',
    'redis+sentinel://a',
    'redis+cluster://a/1',
    'redis://%zz@h',
  ])('refuses %s without repeating it', (url) => {
    const problem = parseRedisUrl(url);
    expect(typeof problem).toBe('string');
    expect(problem).not.toContain(url);
  });
});

describe('SharedRefusals and FallbackShare', () => {
  it('SharedRefusals expire, are bounded, and accept new ones when there is room again', () => {
    const clock = { now: 0 };
    const refusals = new SharedRefusals(() => clock.now, 3);
    expect(refusals.add({ name: 'a', kind: 'rate', until: 100 })).toBe(true);
    expect(refusals.add({ name: 'a', kind: 'rate', until: 90 })).toBe(false);
    refusals.add({ name: 'b', kind: 'room', until: 100 });
    refusals.clear('a');
    refusals.clear('b');
    expect([refusals.of('a')?.until, refusals.of('b')]).toEqual([100, undefined]);
    clock.now = 100;
    expect(refusals.of('a')).toBeUndefined();
    for (const name of 'abcdef') refusals.add({ name, kind: 'room', until: 200 });
    expect(refusals.size).toBe(3);
    expect(refusals.of('f')).toBeDefined();
    refusals.clearRoom();
    expect(refusals.size).toBe(0);
  });

  it('FallbackShare gives each of three processes a third, rounded up', () => {
    const clock = { now: 0 };
    const share = new FallbackShare(() => clock.now);
    const room = (held: number) => share.judge([{ name: 't', max: 10, held }], 3);
    expect([room(3), room(4), room(5)]).toEqual([-1, -1, 0]);
    const attempts = Array.from({ length: 9 }, () =>
      share.judge([{ name: 'a', held: 0, rate: { limit: 10, window: 1000 } }], 3),
    );
    expect(attempts.filter((claim) => claim < 0).length).toBe(4);
    clock.now += 250;
    expect(share.judge([{ name: 'a', held: 0, rate: { limit: 10, window: 1000 } }], 3)).toBe(-1);
  });

  it('FallbackShare remembers a bounded number of names', () => {
    const share = new FallbackShare(() => 0);
    for (let n = 0; n < 70_000; n++) share.judge([{ name: `a${n}`, held: 0, rate: { limit: 1, window: 1000 } }], 1);
    const known = (n: number) => share.judge([{ name: `a${n}`, held: 0, rate: { limit: 1, window: 1000 } }], 1) === 0;
    expect([known(0), known(69_999)]).toEqual([false, true]);
  });
});

describe('room partitions', () => {
  it('are 64, spread evenly over all names', () => {
    const counts = new Array<number>(PARTITIONS).fill(0);
    for (let n = 0; n < 64_000; n++) counts[partitionOf(`room-${n}`)]!++;
    expect(Math.min(...counts)).toBeGreaterThan(700);
    expect(Math.max(...counts)).toBeLessThan(1300);
  });

  it('are subscribed to at their first member, and unsubscribed at the sweep after their last', () => {
    const log: string[] = [];
    const partitions = new Partitions(
      (n) => log.push(`+${n}`),
      (n) => log.push(`-${n}`),
    );
    const at = partitionOf('x');
    for (let round = 0; round < 100; round++) {
      partitions.opened('x');
      partitions.closed('x');
    }
    partitions.opened('x');
    partitions.sweep();
    expect(log).toEqual([`+${at}`]);
    partitions.closed('x');
    partitions.sweep();
    expect(log).toEqual([`+${at}`, `-${at}`]);
    partitions.closed('x');
    partitions.opened('x');
    expect(log.at(-1)).toBe(`+${at}`);
  });
});

describe('Requests', () => {
  it('end with the last answer, a sufficient answer or the timeout, and are bounded', async () => {
    const sent: string[] = [];
    const requests = new Requests(30, async (id) => {
      sent.push(id);
      return true;
    });
    const all = requests.ask('count', null, ['a', 'b']);
    requests.answered(sent[0]!, 'a', 1);
    requests.answered(sent[0]!, 'a', 9);
    requests.answered(sent[0]!, 'stranger', 9);
    requests.answered('unknown', 'a', 9);
    requests.answered(sent[0]!, 'b', 2);
    expect(await all).toEqual([1, 2]);
    const first = requests.ask('online', null, ['a', 'b'], (answer) => answer === 1);
    requests.answered(sent[1]!, 'b', 1);
    expect(await first).toEqual([1]);
    const late = requests.ask('count', null, ['a', 'b']);
    requests.answered(sent[2]!, 'a', 5);
    expect(await late).toEqual([5]);
    const many = Array.from({ length: 1100 }, () => requests.ask('count', null, ['a']));
    expect(requests.size).toBe(1000);
    requests.close();
    expect((await Promise.all(many)).flat()).toEqual([]);
    expect(await requests.ask('count', null, [])).toEqual([]);
    expect(await new Requests(10_000, async () => false).ask('count', null, ['a'])).toEqual([]);
  });
});

describe('the start of a process in a cluster', () => {
  it('does not wait when its test message has already arrived', async () => {
    let options: ClusterBusOptions | undefined;
    const bus: ClusterBus = {
      isAvailable: true,
      async start(given) {
        options = given;
        given.onChange();
      },
      stop: async () => undefined,
      async publish(channel, message) {
        options!.receive(channel, message);
        return true;
      },
      subscribe: () => undefined,
      unsubscribe: () => undefined,
      reset: () => undefined,
    };
    const messenger = new Messenger(bus, 'process1', {
      ...{ prefix: 'nsw', secret: undefined, now: () => Date.now() },
      // With ten times the delay the start would wait longer than the test's timeout.
      timeout: 60_000,
      deliver: () => undefined,
      hear: () => undefined,
      onChange: () => undefined,
      onMismatch: () => undefined,
      isStoreUp: () => true,
    });
    await messenger.start();
    expect(messenger.isAlive).toBe(true);
    await messenger.greet();
  });
});
