import { describe, expect, it } from '@jest/globals';
import type { BanTarget } from '../../../lib/admission/bans.js';
import { FailureBans } from '../../../lib/admission/failure-bans.js';
import { NO_ADDRESS, parseAddress, UNIX_PEER } from '../../../lib/net/address.js';

const HOUR = 3_600_000;

function make({ limit = 3, max = 100, removed = false } = {}) {
  const clock = { time: 0 };
  const banned: [BanTarget, number][] = [];
  const failures = new FailureBans({
    rate: removed ? null : { limit, window: 600_000 },
    time: 15 * 60_000,
    max,
    now: () => clock.time,
    ban: (target, options) => banned.push([target, options.for]),
  });
  const fail = (text: string, times = 1) => {
    for (let i = 0; i < times; i++) failures.failed(parseAddress(text)!);
  };
  return { clock, banned, failures, fail };
}

describe('FailureBans', () => {
  it('bans an address at its last permitted failure, and no other address', () => {
    const { banned, fail } = make();
    fail('192.0.2.1', 2);
    fail('192.0.2.2', 2);
    expect(banned).toEqual([]);
    fail('192.0.2.1');
    expect(banned).toEqual([[{ address: '192.0.2.1' }, 15 * 60_000]]);
  });

  it('forgets failures over time', () => {
    const { banned, clock, fail } = make();
    for (let i = 0; i < 50; i++) {
      fail('192.0.2.1');
      clock.time += 300_000;
    }
    expect(banned).toEqual([]);
    fail('192.0.2.1', 3);
    expect(banned).toHaveLength(1);
  });

  it('doubles the ban time up to a day, and starts anew after a day without failures', () => {
    const { banned, clock, fail } = make();
    for (let i = 0; i < 9; i++) {
      fail('192.0.2.1', 3);
      clock.time += banned.at(-1)![1];
    }
    expect(banned.map(([, time]) => time / HOUR)).toEqual([0.25, 0.5, 1, 2, 4, 8, 16, 24, 24]);
    clock.time += 24 * HOUR + 1;
    fail('192.0.2.1', 3);
    expect(banned.at(-1)![1]).toBe(HOUR / 4);
  });

  it('bans a /48 after eight times the failures of one prefix', () => {
    const { banned, fail } = make();
    for (let i = 0; i < 12; i++) fail(`2001:db8:1:${i.toString(16)}::1`, 2);
    expect(banned).toEqual([[{ cidr: '2001:db8:1:b::1/48' }, 15 * 60_000]]);
    fail('2001:db8:1:3::2');
    expect(banned.at(-1)![0]).toEqual({ address: '2001:db8:1:3::2' });
  });

  it('counts no peer without an address, and nothing when the setting is null', () => {
    const { banned, failures, fail } = make();
    for (let i = 0; i < 50; i++) {
      failures.failed(UNIX_PEER);
      failures.failed(NO_ADDRESS);
    }
    expect(banned).toEqual([]);
    expect(failures.size).toBe(0);
    const none = make({ removed: true });
    none.fail('192.0.2.1', 50);
    expect([none.banned, none.failures.size]).toEqual([[], 0]);
    fail('192.0.2.1', 3);
    expect(banned).toHaveLength(1);
  });

  it('remembers a bounded number of addresses, the last that failed', () => {
    const { banned, clock, failures, fail } = make({ max: 10 });
    fail('192.0.2.1', 2);
    for (let i = 0; i < 500; i++) fail(`198.51.${i >> 8}.${i & 255}`);
    expect(failures.size).toBe(10);
    fail('192.0.2.1', 2);
    expect(banned).toEqual([]);
    fail('192.0.2.1');
    expect(banned).toHaveLength(1);
    // Entries that no longer matter are removed.
    clock.time += 48 * HOUR;
    fail('192.0.2.9');
    expect(failures.size).toBe(1);
  });
});
