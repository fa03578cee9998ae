import { AsyncLocalStorage, AsyncResource } from 'node:async_hooks';
import { constants, deflateRawSync } from 'node:zlib';
import { describe, expect, it } from '@jest/globals';
import { chargedBytes, SYNC_INFLATE_BYTES } from '../../../../lib/protocol/deflate/per-message-deflate.js';
import {
  type PoolTask,
  type PoolUser,
  WasteAllowance,
  workMillis,
  ZlibPool,
} from '../../../../lib/protocol/deflate/pool.js';
import { slowDeflate } from '../../../support/slow-deflate.js';
import { noiseOf, peerWith, resultOf, textOf, userOf } from './support.js';

const compressed = (data: Buffer): Buffer =>
  deflateRawSync(data, { windowBits: 12, finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4);

/** A pool whose steps the test ends one by one. */
class Bench {
  readonly pool: ZlibPool;
  /** Names of the steps in the order in which they started. */
  readonly began: string[] = [];
  private readonly open: { readonly name: string; end(): void }[] = [];

  constructor(maxJobs = 1) {
    this.pool = new ZlibPool(() => 0, maxJobs);
  }

  /** A task of this many steps, each of this many milliseconds. */
  add(user: PoolUser, name: string, steps = 1, millis = 10): void {
    let left = steps;
    const task: PoolTask = {
      step: (next) => {
        this.began.push(name);
        this.open.push({ name, end: () => next(--left === 0, millis) });
      },
    };
    this.pool.add(user, task);
  }

  /** Ends the oldest running step. */
  endOne(): void {
    this.open.shift()!.end();
  }

  endAll(): void {
    while (this.open.length > 0) this.endOne();
  }

  get running(): readonly string[] {
    return this.open.map(({ name }) => name);
  }
}

describe('ZlibPool', () => {
  it('runs a limited number of steps at once, and one per user, in order', () => {
    const bench = new Bench(2);
    const [a, b] = [userOf(), userOf()];
    for (const name of ['a1', 'a2', 'a3']) bench.add(a, name);
    expect(bench.running).toEqual(['a1']);
    bench.add(b, 'b1');
    bench.add(b, 'b2');
    expect(bench.running).toEqual(['a1', 'b1']);
    bench.endAll();
    expect(bench.began.filter((name) => name.startsWith('a'))).toEqual(['a1', 'a2', 'a3']);
    expect(bench.began.filter((name) => name.startsWith('b'))).toEqual(['b1', 'b2']);
    expect(bench.pool.users).toBe(0);
  });

  it('gives every group the same time, however many users and steps it has', () => {
    const bench = new Bench();
    for (let i = 0; i < 30; i++) bench.add(userOf('attacker'), 'attacker', 100, 10);
    for (let i = 0; i < 7; i++) bench.endOne();
    bench.add(userOf('honest'), 'honest', 8, 1);
    const before = bench.began.length;
    for (let i = 0; i < 12; i++) bench.endOne();
    // The honest user's eight steps of 1 ms cost less than the attacker's first step of 10 ms.
    expect(bench.began.slice(before, before + 9).filter((name) => name === 'honest').length).toBe(8);
    bench.endAll();
  });

  it('gives the users of a group the same time', () => {
    const bench = new Bench();
    const [large, small] = [userOf('address'), userOf('address')];
    bench.add(large, 'large', 50, 10);
    bench.add(small, 'small', 5, 2);
    const before = bench.began.length;
    for (let i = 0; i < 8; i++) bench.endOne();
    expect(bench.began.slice(before).filter((name) => name === 'small').length).toBe(5);
    bench.endAll();
  });

  it('runs every task in the end, however many new ones arrive', () => {
    const bench = new Bench();
    bench.add(userOf('a'), 'a', 3, 10);
    bench.add(userOf('b'), 'b', 3, 10);
    for (let i = 0; i < 40; i++) {
      bench.add(userOf(`new ${i}`), 'new', 1, 10);
      bench.endOne();
    }
    expect(bench.began.filter((name) => name === 'a').length).toBe(3);
    expect(bench.began.filter((name) => name === 'b').length).toBe(3);
    bench.endAll();
  });

  it('gives users who leave and return no more time than others', () => {
    const bench = new Bench();
    const [greedy, honest] = ['greedy', 'honest'].map((group) => userOf(group));
    bench.add(greedy!, 'greedy');
    bench.add(honest!, 'honest', 20);
    for (let i = 0; i < 30; i++) {
      bench.endOne();
      bench.add(greedy!, 'greedy');
    }
    const served = bench.began.filter((name) => name === 'honest').length;
    expect(served).toBeGreaterThanOrEqual(13);
    for (let i = 0; i < 100; i++) if (bench.running.length > 0) bench.endOne();
  });

  it('limits the tasks started at once, but always starts one for a user who has none', () => {
    const bench = new Bench();
    const begun = (): number => new Set(bench.began).size;
    for (let i = 0; i < 50; i++) bench.add(userOf('one address'), `one ${i}`, 1000);
    for (let i = 0; i < 200; i++) bench.endOne();
    expect(begun()).toBe(4);
    for (let address = 0; address < 10; address++)
      for (let i = 0; i < 10; i++) bench.add(userOf(address), `${address} ${i}`, 1000);
    for (let i = 0; i < 2000; i++) bench.endOne();
    expect(begun()).toBe(16);
    // Every task is still completed.
    expect(new Set(bench.began.slice(-500).map((name) => name.split(' ')[0])).size).toBe(11);
    for (let address = 100; address < 200; address++) bench.add(userOf(address), `${address}`, 1000);
    for (let i = 0; i < 2000; i++) bench.endOne();
    expect(begun()).toBe(64);
  });

  it('starts the next task when one has ended', () => {
    const bench = new Bench(2);
    for (let i = 0; i < 30; i++) bench.add(userOf('address'), `${i}`, 3);
    bench.endAll();
    expect([new Set(bench.began).size, bench.began.length, bench.pool.users]).toEqual([30, 90, 0]);
  });

  it('treats a user without a group as a group of its own', () => {
    const bench = new Bench();
    bench.add(userOf(), 'a', 9);
    bench.add(userOf(), 'b', 9);
    for (let i = 0; i < 8; i++) bench.endOne();
    expect(bench.began.filter((name) => name === 'b').length).toBe(4);
    bench.endAll();
  });

  it('does not recurse for steps that finish synchronously, and counts each step once', () => {
    const pool = new ZlibPool(() => 0, 1);
    const held: ((isDone: boolean, millis: number) => void)[] = [];
    const user = userOf();
    pool.add(user, { step: (next) => held.push(next) });
    let done = 0;
    for (let i = 0; i < 50_000; i++)
      pool.add(user, {
        step: (next) => {
          done++;
          next(true, 0);
          next(true, 0);
        },
      });
    held[0]!(true, 0);
    expect([done, pool.users]).toEqual([50_000, 0]);
  });
});

describe('WasteAllowance', () => {
  function allowance() {
    let now = 1000;
    const waste = new WasteAllowance(() => now);
    return {
      waste,
      /** Reports this much work on this many bytes, if the allowance permits it. */
      work: (millis: number, input: number, output: number): number | undefined => {
        if (!waste.allows(input)) return undefined;
        const started = waste.begin(input);
        now += millis;
        return waste.end(started, input, output);
      },
      pass: (millis: number) => {
        now += millis;
      },
    };
  }

  it('limits the synchronous time of input without output; later input may be synchronous again', () => {
    const { work, pass } = allowance();
    let times = 0;
    while (work(1.2, 4096, 0) !== undefined && times < 100) times++;
    expect(times).toBeGreaterThan(5);
    expect(times).toBeLessThan(15);
    pass(10_000);
    expect(work(1.2, 4096, 0)).toBeDefined();
  });

  it('does not count time explained by output, or longer than zlib can need', () => {
    const { work } = allowance();
    for (let i = 0; i < 10_000; i++) expect(work(0.6, 4096, 65_536)).toBeCloseTo(0.6);
    for (let i = 0; i < 10_000; i++) expect(work(1000, 300, 3000)).toBeCloseTo(workMillis(1000, 300, 3000));
  });

  it('counts time above that of an ordinary message, whatever the output', () => {
    const ordinary = allowance();
    for (let i = 0; i < 10_000; i++) expect(ordinary.work(0.1, 4096, 0)).toBeDefined();
    const slow = allowance();
    let times = 0;
    while (slow.work(2.4, 4096, 1000) !== undefined && times < 100) times++;
    expect(times).toBe(5);
  });

  it('does not measure tiny messages', () => {
    const { work } = allowance();
    while (work(1.2, 4096, 0) !== undefined);
    expect(work(5, 256, 0)).toBe(0);
    expect(work(5, 257, 0)).toBeUndefined();
  });
});

describe('compressed input without output', () => {
  it('inflates to an empty message, as with zlib', async () => {
    for (const bytes of [12, 100, 4000, 70_000]) {
      const { data, error, outputBytes } = await resultOf(peerWith(), slowDeflate(bytes));
      expect([bytes, data?.length, error, outputBytes]).toEqual([bytes, 0, undefined, 0]);
    }
  });

  it('is inflated synchronously up to SYNC_INFLATE_BYTES, and in the pool above', () => {
    for (const mode of ['shared', 'dedicated'] as const) {
      const peer = peerWith({ mode }, undefined, new ZlibPool(() => 0));
      expect(peer.inflate(slowDeflate(SYNC_INFLATE_BYTES - 64), false, userOf(), () => {})).toBeDefined();
      expect(peer.inflate(slowDeflate(SYNC_INFLATE_BYTES + 16), false, userOf(), () => {})).toBeUndefined();
      peer.close();
    }
  });

  it('is inflated in the pool once the allowance is spent', () => {
    let now = 0;
    const pool = new ZlibPool(() => (now += 2));
    const peer = peerWith({}, undefined, pool);
    const slow = slowDeflate(4000);
    let atOnce = 0;
    while (peer.inflate(slow, false, userOf(), () => {}) !== undefined && atOnce < 1000) atOnce++;
    expect(atOnce).toBeGreaterThan(2);
    expect(atOnce).toBeLessThan(50);
    peer.close();
  });

  it('is charged for its inflation time', async () => {
    for (const bytes of [3000, 65_536, 300_000]) {
      const data = slowDeflate(bytes);
      let now = 0;
      // Each step takes longer than zlib can need, so that the charge is that of the slowest inflation.
      const result = await resultOf(peerWith({}, undefined, new ZlibPool(() => (now += 1000))), data);
      expect(result.inputBytes).toBe(data.length);
      expect(result.millis).toBeCloseTo(workMillis(Infinity, data.length, 0));
      expect(chargedBytes(result)).toBeGreaterThan(1.5 * bytes);
    }
  });

  it('is charged for its bytes when it inflates quickly', async () => {
    const result = await resultOf(peerWith({}, undefined, new ZlibPool(() => 0)), slowDeflate(65_536));
    expect(result.millis).toBe(0);
    expect(chargedBytes(result)).toBe(result.inputBytes);
  });

  it('is charged by output when it has much, and by input when it does not compress', async () => {
    const pool = new ZlibPool(() => 0);
    const text = compressed(textOf(500_000));
    const result = await resultOf(peerWith({}, undefined, pool), text);
    expect([result.inputBytes, result.outputBytes, chargedBytes(result)]).toEqual([text.length, 500_000, 500_000]);
    const noise = compressed(noiseOf(3000));
    expect(chargedBytes(await resultOf(peerWith({}, undefined, pool), noise))).toBe(noise.length);
    expect(chargedBytes({ inputBytes: 10, outputBytes: 20, millis: 2 })).toBe(65_536);
  });

  it('is inflated in steps, so that other users get their turn', async () => {
    const order: string[] = [];
    const pool = new ZlibPool(undefined, 1);
    const slow = slowDeflate(600_000);
    const attackers = Array.from({ length: 4 }, () => {
      const peer = peerWith({}, undefined, pool);
      return resultOf(peer, slow, false, userOf('attacker')).then(() => order.push('attacker'));
    });
    const honest = resultOf(peerWith({}, undefined, pool), compressed(noiseOf(40_000)), false, userOf('honest'));
    await honest.then(() => order.push('honest'));
    expect(order).toEqual(['honest']);
    await Promise.all(attackers);
  });

  it('is counted in heldBytes while it is inflated', async () => {
    const seen: number[] = [];
    const pool = new ZlibPool(() => {
      seen.push(peer.heldBytes);
      return 0;
    });
    const peer = peerWith({}, undefined, pool);
    const result = await resultOf(peer, compressed(noiseOf(100_000)));
    expect([result.data?.length, peer.heldBytes]).toEqual([100_000, 0]);
    expect(Math.max(...seen)).toBe(100_000);
  });

  it('is refused with 1007 when it is truncated', async () => {
    const cut = slowDeflate(20_000).subarray(0, 10_000);
    expect((await resultOf(peerWith(), cut)).error?.code).toBe(1007);
  });
});

describe('ZlibPool callbacks', () => {
  it('run in the async context of their connection, whoever called, came before, or created the stream', async () => {
    const storage = new AsyncLocalStorage<string>();
    const seen: string[] = [];
    const work: Promise<void>[] = [];
    for (const mode of ['shared', 'dedicated'] as const) {
      for (let i = 0; i < 6; i++) {
        const name = `${mode} ${i}`;
        const resource = storage.run(name, () => new AsyncResource('TestConnection'));
        const user: PoolUser = { poolGroup: i % 2, runInContext: (callback) => resource.runInAsyncScope(callback) };
        const peer = peerWith({ mode });
        const note = (what: string) => seen.push(`${name} ${storage.getStore() === name} ${what}`);
        // Called in the async context of another connection.
        storage.run('a stranger', () => {
          work.push(
            new Promise((resolve) => {
              peer.inflate(compressed(noiseOf(100_000)), false, user, () => {
                note('inflated');
                peer.compress(noiseOf(100_000), true, user, () => {
                  note('compressed');
                  peer.close();
                  resolve();
                });
              });
            }),
          );
        });
      }
    }
    await Promise.all(work);
    expect(seen.length).toBe(24);
    expect(seen.filter((each) => !each.includes(' true '))).toEqual([]);
  });
});
