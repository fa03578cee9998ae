import { describe, expect, it } from '@jest/globals';
import { Fifo, type Waiting } from '../../../lib/connection/fifo.js';
import { Keepalive } from '../../../lib/connection/keepalive.js';
import { type HeldBytes, type Holder, MemoryBudget } from '../../../lib/connection/memory-budget.js';
import { Rates } from '../../../lib/connection/rates.js';
import { shifted } from '../../../lib/connection/read-gate.js';
import { Timed, TimerWheel } from '../../../lib/net/timer-wheel.js';
import { Random } from '../../support/random.js';
import { ManualClock } from '../../support/time.js';

class Asked extends Timed {
  readonly at: number[] = [];
  constructor(
    private readonly clock: ManualClock,
    private readonly again: (now: number) => number = () => Number.POSITIVE_INFINITY,
  ) {
    super();
  }

  onDue(now: number): number {
    this.at.push(this.clock.now());
    return this.again(now);
  }
}

describe('TimerWheel', () => {
  it('continues when onStall() reschedules or cancels its own or another deadline', () => {
    const clock = new ManualClock(1_000);
    const wheel = new TimerWheel(clock);
    const told: string[] = [];
    class Told extends Asked {
      constructor(
        private readonly name: string,
        private readonly act: () => void,
      ) {
        super(clock);
      }
      override onStall(): void {
        if (told.push(this.name) > 100) throw new Error('it never ends');
        this.act();
      }
    }
    const at = clock.now() + 20_000;
    const sooner: Told = new Told('sooner', () => wheel.schedule(sooner, clock.now() + 5_000));
    const leaving: Told = new Told('leaving', () => {
      wheel.cancel(leaving);
      wheel.cancel(other);
    });
    const other = new Told('other', () => undefined);
    const last = new Told('last', () => undefined);
    for (const timed of [sooner, leaving, other, last]) wheel.schedule(timed, at);
    clock.pass(100);
    clock.tick(3_000);
    expect(told).toEqual(['sooner', 'leaving', 'last']);
    clock.pass(20_000);
    expect([sooner, leaving, other, last].map((timed) => timed.at.length)).toEqual([1, 0, 0, 1]);
  });

  it.each([0.5, 1, 99, 100, 101, 12_345, 51_100, 51_200, 60_000, 3_600_000, 90 * 24 * 3_600_000])(
    'calls onDue() after %d ms, never early and within a tick',
    (delay) => {
      const clock = new ManualClock(1_000);
      const wheel = new TimerWheel(clock);
      const timed = new Asked(clock);
      wheel.schedule(timed, clock.now() + delay);
      // A quarter of a year is passed in steps longer than a round of the wheel.
      clock.tick(delay > 1e7 ? 40_000 : 100, delay + 200);
      expect(timed.at).toHaveLength(1);
      expect(timed.at[0]! - 1_000).toBeGreaterThanOrEqual(delay);
      expect(timed.at[0]! - 1_000).toBeLessThanOrEqual(delay + (delay > 1e7 ? 40_000 : 200));
      expect([wheel.size, clock.running]).toEqual([0, 0]);
    },
  );

  it('calls every deadline once after a stall longer than a round', () => {
    const clock = new ManualClock(1_000);
    const wheel = new TimerWheel(clock);
    const all = Array.from({ length: 1000 }, (_, at) => {
      const timed = new Asked(clock);
      wheel.schedule(timed, clock.now() + at * 97);
      return timed;
    });
    clock.tick(1000 * 97 + 100);
    expect(all.every(({ at }) => at.length === 1)).toBe(true);
  });

  it('keeps the earlier of two deadlines, repeats when onDue() says so, and forgets cancelled ones', () => {
    const clock = new ManualClock(1_000);
    const wheel = new TimerWheel(clock);
    const timed = new Asked(clock, (now) => (now < 3_000 ? now + 1_000 : Number.POSITIVE_INFINITY));
    wheel.schedule(timed, clock.now() + 5_000);
    wheel.schedule(timed, clock.now() + 500);
    wheel.schedule(timed, clock.now() + 9_000);
    const cancelled = new Asked(clock);
    wheel.schedule(cancelled, clock.now() + 100);
    wheel.cancel(cancelled);
    clock.pass(20_000);
    expect(timed.at.map((at) => at - 1_000)).toEqual([500, 1_500, 2_500]);
    expect(cancelled.at).toEqual([]);
  });

  it('allows onDue() to schedule and cancel itself and others', () => {
    const clock = new ManualClock(1_000);
    const wheel = new TimerWheel(clock);
    const victim = new Asked(clock);
    const late = new Asked(clock);
    const first: Asked = new Asked(clock, (now): number => {
      wheel.cancel(victim);
      wheel.schedule(late, now + 1);
      wheel.schedule(first, now + 50);
      return first.at.length < 2 ? now + 100_000 : Number.POSITIVE_INFINITY;
    });
    wheel.schedule(first, clock.now() + 100);
    wheel.schedule(victim, clock.now() + 100);
    clock.pass(400);
    expect(victim.at).toEqual([]);
    expect(late.at.length).toBeGreaterThan(0);
    expect(first.at.length).toBeGreaterThan(1);
  });

  it('visits each of 10 000 rescheduled deadlines once', () => {
    const clock = new ManualClock(1_000);
    const wheel = new TimerWheel(clock);
    const all = Array.from({ length: 10_000 }, (_, at) => {
      const timed = new Asked(clock);
      wheel.schedule(timed, clock.now() + 20_000 + (at % 20_000));
      return timed;
    });
    clock.pass(19_900);
    expect(all.some(({ at }) => at.length > 0)).toBe(false);
    clock.pass(20_300);
    expect(all.every(({ at }) => at.length === 1)).toBe(true);
  });
});

class Peer implements Holder {
  held = 0;
  isGivenUp = false;
  ended: string | undefined;
  killed = false;
  constructor(
    private readonly budget: MemoryBudget,
    readonly account: HeldBytes | undefined,
    private readonly keeps = 0,
  ) {}

  endForMemory(cause: string): void {
    this.budget.giveUp(this);
    this.isGivenUp = true;
    this.ended = cause;
    this.budget.settle(this, this.keeps);
  }

  kill(): void {
    this.killed = true;
  }
}

const KIB = 1024;

describe('MemoryBudget', () => {
  it('sums per address and in total, and returns to zero', () => {
    const budget = new MemoryBudget(1000 * KIB, 1000 * KIB);
    const account = { heldBytes: 0 };
    const peers = [new Peer(budget, account), new Peer(budget, account), new Peer(budget, undefined)];
    for (const [at, peer] of peers.entries()) budget.settle(peer, (at + 1) * 70 * KIB);
    expect([budget.held, account.heldBytes]).toEqual([420 * KIB, 210 * KIB]);
    for (const peer of peers) budget.settle(peer, 0);
    expect([budget.held, account.heldBytes]).toEqual([0, 0]);
  });

  it('ends the largest connection of an address above its share, and none below 64 KiB', () => {
    const budget = new MemoryBudget(10_000 * KIB, 200 * KIB);
    const account = { heldBytes: 0 };
    const [small, large, middle] = [1, 2, 3].map(() => new Peer(budget, account)) as [Peer, Peer, Peer];
    budget.settle(small, 63 * KIB);
    budget.settle(large, 100 * KIB);
    budget.settle(middle, 64 * KIB);
    expect([small.ended, large.ended, middle.ended]).toEqual([
      undefined,
      'address over its share of the buffers',
      undefined,
    ]);
    const tiny = Array.from({ length: 10 }, () => new Peer(budget, account));
    budget.settle(middle, 0);
    for (const peer of tiny) budget.settle(peer, 63 * KIB);
    expect(tiny.some(({ ended }) => ended !== undefined)).toBe(false);
  });

  it('allows a /48 eight times as much as one prefix', () => {
    const budget = new MemoryBudget(10_000 * KIB, 200 * KIB);
    const site = { heldBytes: 0 };
    const peers = Array.from({ length: 9 }, () => new Peer(budget, { heldBytes: 0, site }));
    for (const peer of peers.slice(0, 8)) budget.settle(peer, 199 * KIB);
    expect(peers.some(({ ended }) => ended !== undefined)).toBe(false);
    budget.settle(peers[8]!, 100 * KIB);
    expect(peers.filter(({ ended }) => ended !== undefined)).toHaveLength(1);
    expect(site.heldBytes).toBeLessThanOrEqual(1600 * KIB);
    for (const peer of peers) budget.settle(peer, 0);
    expect(site.heldBytes).toBe(0);
  });

  it('frees the total from the address that holds most, down to nine tenths', () => {
    const budget = new MemoryBudget(1000 * KIB, 10_000 * KIB);
    const [greedy, honest] = [{ heldBytes: 0 }, { heldBytes: 0 }];
    const one = new Peer(budget, honest);
    budget.settle(one, 300 * KIB);
    const many = Array.from({ length: 10 }, () => new Peer(budget, greedy));
    for (const peer of many) budget.settle(peer, 80 * KIB);
    expect(one.ended).toBeUndefined();
    expect(many.filter(({ ended }) => ended === 'buffer budget').length).toBeGreaterThan(1);
    expect(budget.held).toBeLessThanOrEqual(1000 * KIB);
  });

  it('does not charge others for the memory of ended connections, nor waits for it', () => {
    const budget = new MemoryBudget(1000 * KIB, 10_000 * KIB);
    const honest = new Peer(budget, { heldBytes: 0 });
    budget.settle(honest, 200 * KIB);
    const stuck = new Peer(budget, { heldBytes: 0 }, 900 * KIB);
    budget.settle(stuck, 900 * KIB);
    expect([honest.ended, stuck.ended]).toEqual([undefined, 'buffer budget']);
    expect(stuck.killed).toBe(true);
    budget.settle(stuck, 0);
    expect([budget.held, budget.full]).toEqual([200 * KIB, false]);
  });

  it('chooses the address that holds most, however little each of its connections holds', () => {
    // 46 addresses of a hundred connections of 62 KiB each, beside honest senders of 300 KB.
    const budget = new MemoryBudget(256 * 1024 * KIB, 32 * 1024 * KIB, 10_000);
    const honest = Array.from({ length: 10 }, () => new Peer(budget, { heldBytes: 0 }));
    for (const peer of honest) budget.settle(peer, 300 * KIB);
    const holders = Array.from({ length: 46 }, () => {
      const account = { heldBytes: 0 };
      return Array.from({ length: 100 }, () => new Peer(budget, account));
    });
    for (let at = 0; at < 100; at++) for (const peers of holders) budget.settle(peers[at]!, 62 * KIB);
    expect(honest.some(({ ended }) => ended !== undefined)).toBe(false);
    expect(holders.flat().filter(({ ended }) => ended !== undefined).length).toBeGreaterThan(400);
    expect([budget.held <= 256 * 1024 * KIB, budget.full]).toEqual([true, false]);
  });

  it('exempts only connections so small that all together cannot fill the total', () => {
    const budget = new MemoryBudget(1000 * KIB, 10_000 * KIB, 50);
    const peers = Array.from({ length: 50 }, () => new Peer(budget, { heldBytes: 0 }));
    for (const peer of peers) budget.settle(peer, 19 * KIB);
    expect([budget.full, peers.some(({ ended }) => ended !== undefined)]).toEqual([false, false]);
    for (const peer of peers) budget.settle(peer, 21 * KIB);
    expect(budget.full).toBe(false);
    expect(budget.held).toBeLessThanOrEqual(1000 * KIB);
  });

  it('counts memory of an address without a connection, and ends its connections for it', () => {
    const budget = new MemoryBudget(10_000 * KIB, 200 * KIB);
    const account = { heldBytes: 0 };
    const peer = new Peer(budget, account);
    budget.settle(peer, 100 * KIB);
    budget.hold(account, 150 * KIB);
    expect([peer.ended, budget.held, account.heldBytes]).toEqual([
      'address over its share of the buffers',
      150 * KIB,
      150 * KIB,
    ]);
    budget.hold(account, -150 * KIB);
    expect([budget.held, account.heldBytes]).toEqual([0, 0]);
  });

  it('is full when no connection is left to end', () => {
    const budget = new MemoryBudget(100 * KIB, 10_000 * KIB);
    for (let i = 0; i < 4; i++) budget.settle(new Peer(budget, { heldBytes: 0 }), 50 * KIB);
    expect(budget.full).toBe(true);
  });
});

it('shifted() moves a start within a stall to its end', () => {
  expect(shifted(100, 50, 500)).toBe(150);
  expect(shifted(480, 50, 500)).toBe(500);
});

it('Fifo keeps its order, counts, and can be emptied', () => {
  class Item implements Waiting {
    next: this | undefined = undefined;
    constructor(
      readonly at: number,
      readonly size: number,
    ) {}
  }
  const queue = new Fifo<Item>();
  for (let at = 0; at < 5; at++) queue.push(new Item(at, at));
  expect([queue.length, queue.bytes, queue.shift()?.at, queue.shift()?.at, queue.bytes]).toEqual([5, 10, 0, 1, 9]);
  const left: number[] = [];
  for (let item: Item | undefined = queue.clear(); item !== undefined; item = item.next) left.push(item.at);
  expect([left, queue.length, queue.bytes, queue.shift()]).toEqual([[2, 3, 4], 0, 0, undefined]);
});

it('Rates charge all connections of an address together, and a fragment as a sixteenth of a message', () => {
  const rate = { limit: 10, window: 1_000 };
  const limits = { rate, byteRate: rate, byteRatePerIp: { limit: 15, window: 1_000 } } as never;
  const account = { bytes: 0 } as never;
  const [one, other] = [new Rates(), new Rates()];
  expect(one.pauseFor(10, 0, account, limits)).toBe(0);
  expect(other.pauseFor(10, 0, account, limits)).toBeCloseTo(333, 0);
  expect(other.pauseFor(10, 0, undefined, limits)).toBeCloseTo(1_000, 0);
  const site = { bytes: 0 };
  const neighbours = Array.from({ length: 20 }, () => ({ bytes: 0, site }) as never);
  const waits = neighbours.map((each) => new Rates().pauseFor(10, 0, each, limits));
  expect(waits.slice(0, 12)).toEqual(Array.from({ length: 12 }, () => 0));
  expect(waits[12]).toBeGreaterThan(0);
  for (let i = 0; i < 160; i++) expect(one.fragment(0, limits)).toBe(true);
  expect(one.fragment(0, limits)).toBe(false);
});

it('pings of ten thousand connections are spread, at first and after a stall', () => {
  const clock = new ManualClock(1_000);
  const random = new Random(1);
  const pings = new Map<number, number>();
  const peer = () => {
    const connection = {
      context: {
        clock,
        role: 'server',
        random: () => random.below(2 ** 31) / 2 ** 31,
        counters: {},
        limits: { pingInterval: 20_000, pingTimeout: 1e9, idleTimeout: Number.POSITIVE_INFINITY, maxLifetime: 1e9 },
      },
      isPaused: false,
      isOpen: true,
      lastMessageAt: 0,
      writer: undefined,
      transport: {
        writableLength: 0,
        write: (frame: string) => connection.answer(Buffer.from(frame.slice(2), 'latin1')),
      },
      answer: (_data: Buffer) => undefined as void,
    };
    const keepalive = new Keepalive(connection as never, clock.now(), undefined);
    connection.answer = (data) => void keepalive.pong(data);
    return keepalive;
  };
  const peers = Array.from({ length: 10_000 }, peer);
  const cycle = (): number => {
    pings.clear();
    for (const keepalive of peers) {
      const tenth = Math.floor(keepalive.nextAt() / 100);
      pings.set(tenth, (pings.get(tenth) ?? 0) + 1);
    }
    return Math.max(...pings.values());
  };
  expect(cycle()).toBeLessThan(200);
  clock.time += 70_000;
  for (const keepalive of peers) keepalive.check(clock.now());
  expect(peers.every(({ latency }) => latency === 0)).toBe(true);
  expect(cycle()).toBeLessThan(200);
});
