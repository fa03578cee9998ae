import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { AddressEntry, AddressTable, SITE_FACTOR } from '../../../lib/admission/address-table.js';
import { AttemptRate } from '../../../lib/admission/attempt-rate.js';
import { type ClientAddress, parseAddress } from '../../../lib/net/address.js';
import { Ring, type RingMember } from '../../../lib/net/ring.js';
import { debt, fits, spend } from '../../../lib/net/token-bucket.js';
import { runs } from '../../support/runs.js';

const address = (text: string, prefix?: number): ClientAddress => parseAddress(text, prefix)!;
const v4 = (n: number): ClientAddress => address(`${(n >>> 24) + 1}.${(n >>> 16) & 255}.${(n >>> 8) & 255}.${n & 255}`);

describe('token bucket', () => {
  const take = (bucket: { full: number }, now: number, rate: { limit: number; window: number }): boolean => {
    const next = spend(bucket.full, now, 1, rate);
    if (!fits(next, now, rate)) return false;
    bucket.full = next;
    return true;
  };

  it('admits exactly one full window at once, at any time and for any limit', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 1000 }),
        fc.integer({ min: 1000, max: 3_600_000 }),
        fc.double({ min: 0, max: 1e10, noNaN: true }),
        (limit, window, now) => {
          const bucket = { full: 0 };
          let admitted = 0;
          while (admitted <= limit && take(bucket, now, { limit, window })) admitted++;
          expect(admitted).toBe(limit);
        },
      ),
      { numRuns: runs(50) },
    );
  });

  it('admits in any span of time at most the burst and the tokens refilled in it', () => {
    const steps = fc.array(fc.integer({ min: 0, max: 300 }), { minLength: 1, maxLength: 300 });
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 20 }),
        fc.integer({ min: 10, max: 1000 }),
        steps,
        (limit, window, waits) => {
          const rate = { limit, window };
          const bucket = { full: 0 };
          let [now, admitted, reference] = [1000, 0, limit];
          for (const wait of waits) {
            now += wait;
            reference = Math.min(limit, reference + (wait * limit) / window);
            const isAdmitted = take(bucket, now, rate);
            // The textbook bucket, but where it has a whole token to within rounding.
            if (Math.abs(reference - 1) > 0.01 && isAdmitted !== reference >= 1) throw new Error(`${reference} tokens`);
            if (isAdmitted) reference = Math.max(0, reference - 1);
            admitted += isAdmitted ? 1 : 0;
          }
          expect(admitted).toBeLessThanOrEqual(limit + ((now - 1000) * limit) / window + 1);
        },
      ),
    );
  });

  it('reports its debt: bytes are charged on arrival, and the delay follows', () => {
    const rate = { limit: 1000, window: 1000 };
    const full = spend(0, 50, 1500, rate);
    expect(fits(full, 50, rate)).toBe(false);
    expect(debt(full, 50, rate)).toBe(500);
    expect(debt(full, 549, rate)).toBe(1);
    expect(debt(full, 550, rate)).toBe(0);
  });

  it('counts every byte of a fast rate after a month of uptime', () => {
    const rate = { limit: 64 * 2 ** 20, window: 1000 };
    const now = 30 * 86_400_000;
    let full = now;
    for (let i = 0; i < 100_000; i++) full = spend(full, now, 1, rate);
    expect(((full - now) * rate.limit) / rate.window).toBeGreaterThan(90_000);
  });
});

describe('Ring', () => {
  class Member implements RingMember<Member> {
    next: Member = this;
    previous: Member = this;
  }

  it('agrees with an array under any sequence of additions and removals', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.boolean(), fc.nat(20)), { maxLength: 60 }), (steps) => {
        const ring = new Ring<Member>();
        const list: Member[] = [];
        for (const [isComing, pick] of steps) {
          if (isComing) {
            list.push(new Member());
            ring.add(list.at(-1)!);
          } else if (list.length > 0) {
            const [gone] = list.splice(pick % list.length, 1);
            ring.remove(gone!);
            expect([gone!.next, gone!.previous]).toEqual([gone, gone]);
          }
          expect(ring.first).toBe(list[0]);
          for (const [i, member] of list.entries()) {
            expect(member.next).toBe(list[(i + 1) % list.length]);
            expect(member.next.previous).toBe(member);
          }
        }
      }),
    );
  });
});

describe('AddressTable', () => {
  const make = (maxIdle: number, clock = { now: 0 }) => ({
    clock,
    table: new AddressTable({ maxIdle, now: () => clock.now }),
  });

  it('shares one entry between all connections of an address or IPv6 prefix', () => {
    const { table } = make(10);
    expect(table.acquire(address('::ffff:192.0.2.1'))).toBe(table.acquire(address('192.0.2.1')));
    expect(table.acquire(address('::ffff:192.0.2.2'))).not.toBe(table.acquire(address('192.0.2.1')));
    const first = table.acquire(address('2001:db8:1:2::1'));
    expect(table.acquire(address('2001:db8:1:2:ffff::9'))).toBe(first);
    const neighbour = table.acquire(address('2001:db8:1:3::1'));
    expect(neighbour).not.toBe(first);
    expect(neighbour.site).toBe(first.site);
    expect(first.site).toBeInstanceOf(AddressEntry);
    expect(table.acquire(address('2001:db8:1:2::1', 48)).site).toBeUndefined();
  });

  it('separates a trusted proxy from other addresses of its IPv6 prefix', () => {
    const { table } = make(10);
    const proxy = table.acquire(address('2001:db8::1'), true);
    expect(table.acquire(address('2001:db8::2'))).not.toBe(proxy);
    expect(table.acquire(address('2001:db8::1'), true)).toBe(proxy);
    expect(proxy.site).toBeUndefined();
  });

  it('forgets an address once its buckets are full and no connection holds it', () => {
    const { table, clock } = make(10);
    const entry = table.acquire(address('2001:db8::1'));
    expect(table.size).toBe(2);
    table.acquire(address('2001:db8::2'));
    entry.attempts = 100;
    table.release(entry);
    table.release(entry);
    expect(table.size).toBe(2);
    expect(table.acquire(address('2001:db8::3'))).toBe(entry);
    clock.now = 101;
    table.release(entry);
    expect(table.size).toBe(0);
  });

  it('keeps an entry until both buckets are full, without a timer', () => {
    const { table, clock } = make(10);
    const entry = table.acquire(v4(1));
    entry.bytes = 50;
    table.release(entry);
    expect(table.size).toBe(1);
    clock.now = 51;
    table.sweep(100);
    expect(table.size).toBe(0);
  });

  it('stays bounded under any number of addresses with empty buckets, and admits none of them unlimited', () => {
    const { table } = make(1000);
    const rate = { limit: 2, window: 1e9 };
    const attempts = new AttemptRate(rate, () => 1);
    let largest = 0;
    let refused = 0;
    for (let i = 0; i < 200_000; i++) {
      const entry = table.acquire(v4(i));
      if (attempts.charge(entry) > 0) refused++;
      table.release(entry);
      if (i % 1024 === 0) largest = Math.max(largest, table.size);
    }
    expect(largest).toBeLessThanOrEqual(1000 + 4096);
    // Only 1000 own and 4096 shared buckets of two tokens each were admitted.
    expect(refused).toBeGreaterThanOrEqual(200_000 - 1000 - 2 * 4096);
  });

  it('when full, shares one bucket per /24 or /48, and returns to single entries when there is room', () => {
    const { table, clock } = make(2);
    for (const n of [1, 2]) {
      const entry = table.acquire(v4(n));
      entry.attempts = 1000;
      table.release(entry);
    }
    const shared = table.acquire(address('198.51.100.1'));
    expect(table.acquire(address('198.51.100.2'))).toBe(shared);
    const site = table.acquire(address('2001:db8::1'));
    expect(table.acquire(address('2001:db8:0:7::1'))).toBe(site);
    // Known addresses keep their entries.
    expect(table.acquire(v4(1)).attempts).toBe(1000);
    table.release(table.acquire(v4(1)));
    clock.now = 1001;
    expect(table.acquire(address('198.51.100.3'))).not.toBe(shared);
    expect(shared.refs).toBe(2);
  });

  it('never forgets a live count, however many addresses follow', () => {
    const { table } = make(10);
    const live = table.acquire(v4(0));
    live.connections = 7;
    for (let i = 1; i < 10_000; i++) {
      const entry = table.acquire(v4(i));
      entry.attempts = 1e9;
      table.release(entry);
    }
    expect(table.acquire(v4(0))).toBe(live);
  });

  it('counts references exactly under any sequence of acquires and releases', () => {
    const visits = fc.array(fc.tuple(fc.integer({ min: 0, max: 40 }), fc.boolean(), fc.integer({ min: 0, max: 30 })));
    fc.assert(
      fc.property(visits, (steps) => {
        const { table, clock } = make(5);
        const held: AddressEntry[] = [];
        for (const [n, isComing, cost] of steps) {
          clock.now += 7;
          if (isComing) {
            const entry = table.acquire(n % 2 ? v4(n) : address(`2001:db8:${n % 3}:${n}::1`));
            entry.attempts = Math.max(entry.attempts, clock.now) + cost;
            held.push(entry);
          } else if (held.length > 0) table.release(held.splice(n % held.length, 1)[0]!);
        }
        for (const entry of held) table.release(entry);
        clock.now += 1e6;
        table.sweep(1000);
        table.sweep(1000);
        expect(table.size).toBeLessThanOrEqual(4096);
        expect(held.every((entry) => entry.refs === 0)).toBe(true);
      }),
    );
  });
});

describe('AttemptRate', () => {
  const setUp = (limit = 3, window = 3000) => {
    const clock = { now: 0 };
    const table = new AddressTable({ now: () => clock.now });
    return { clock, table, attempts: new AttemptRate({ limit, window }, () => clock.now) };
  };

  it('charges attempts until the bucket is empty, then refuses without charging, and recovers', () => {
    const { clock, table, attempts } = setUp();
    const entry = table.acquire(v4(1));
    expect([1, 2, 3].map(() => attempts.charge(entry))).toEqual([0, 0, 0]);
    for (let i = 0; i < 1000; i++) expect(attempts.charge(entry)).toBe(1000);
    clock.now = 998;
    expect(attempts.charge(entry)).toBeGreaterThan(0);
    clock.now = 1000;
    expect(attempts.charge(entry)).toBe(0);
    expect(attempts.charge(entry)).toBeGreaterThan(0);
  });

  it('allows a /48 eight times the rate and the slots of one prefix', () => {
    const { table, attempts } = setUp(3, 1e9);
    const entries = Array.from({ length: 100 }, (_, n) => table.acquire(address(`2001:db8:0:${n.toString(16)}::1`)));
    const admitted = entries.flatMap((entry) => [0, 0, 0, 0].filter(() => attempts.charge(entry) === 0));
    expect(admitted).toHaveLength(3 * SITE_FACTOR);
    expect(attempts.charge(table.acquire(address('2001:db8:1::1')))).toBe(0);
    const slots = entries.flatMap((entry) => [0, 0, 0].filter(() => entry.takeSlot(2)));
    expect(slots).toHaveLength(2 * SITE_FACTOR);
    entries[0]!.returnSlot();
    expect(entries[50]!.takeSlot(2)).toBe(true);
    expect(entries[51]!.takeSlot(2)).toBe(false);
  });

  it('does not charge the address when its /48 refuses', () => {
    const { table, attempts } = setUp(1, 1e9);
    for (let n = 0; n < 8; n++) attempts.charge(table.acquire(address(`2001:db8:0:${n}::1`)));
    const late = table.acquire(address('2001:db8:0:9::1'));
    expect(attempts.charge(late)).toBeGreaterThan(0);
    expect(late.attempts).toBe(0);
  });

  it('counts a trusted proxy without refusing it', () => {
    const { table, attempts } = setUp(1);
    const proxy = table.acquire(v4(9), true);
    expect([1, 2, 3].map(() => attempts.charge(proxy))).toEqual([0, 0, 0]);
    expect([1, 2, 3].every(() => proxy.takeSlot(1))).toBe(true);
    expect(proxy.connections).toBe(3);
  });
});
