import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { type AddressEntry, AddressTable, SITE_FACTOR } from '../../../lib/admission/address-table.js';
import {
  Capacity,
  type CapacityLimits,
  GatewayCapacity,
  type GatewayLimits,
  Reservation,
} from '../../../lib/admission/capacity.js';
import { type PendingPlace, PendingRegistry } from '../../../lib/admission/pending-registry.js';
import { UserSlots } from '../../../lib/admission/users.js';
import type { Refusal } from '../../../lib/http/refusal.js';
import { parseAddress } from '../../../lib/net/address.js';

const now = () => 0;
const newTable = () => new AddressTable({ now });
const entryOf = (table: AddressTable, ip: string, isExempt = false): AddressEntry =>
  table.acquire(parseAddress(ip)!, isExempt);

describe('Capacity', () => {
  const setUp = (limits: Partial<CapacityLimits> = {}, own: GatewayLimits = {}) => {
    const table = newTable();
    const capacity = new Capacity({ max: 1000, maxPerIp: 1000, ...limits });
    const gateway = new GatewayCapacity(own);
    const reserve = (ip: string, at = gateway) => capacity.reserve(entryOf(table, ip), at) as Reservation | Refusal;
    return { table, capacity, gateway, reserve };
  };
  const reasonOf = (outcome: Reservation | Refusal) => (outcome instanceof Reservation ? 'reserved' : outcome.reason);

  it('reserves 50 of 200 against a limit of 50, and later exactly as many as were released', () => {
    const { reserve, capacity } = setUp({ max: 50 });
    const outcomes = Array.from({ length: 200 }, (_, n) => reserve(`192.0.2.${n}`));
    const reserved = outcomes.filter((outcome) => outcome instanceof Reservation);
    expect(reserved).toHaveLength(50);
    expect(outcomes.at(-1)).toMatchObject({
      reason: 'connections',
      status: 503,
      headers: [['Retry-After', expect.any(String)]],
    });
    for (const reservation of reserved.slice(0, 7)) reservation.release();
    expect(capacity.used).toBe(43);
    expect(
      Array.from({ length: 20 }, (_, n) => reasonOf(reserve(`198.51.100.${n}`))).filter(
        (reason) => reason === 'reserved',
      ),
    ).toHaveLength(7);
  });

  it('releases a slot only once', () => {
    const { reserve, capacity, gateway, table } = setUp();
    const [first] = [reserve('192.0.2.1') as Reservation, reserve('192.0.2.1')];
    for (let i = 0; i < 3; i++) first.release();
    expect([capacity.used, gateway.used, entryOf(table, '192.0.2.1').connections]).toEqual([1, 1, 1]);
  });

  it('limits an address and an IPv6 prefix with 429, and a /48 to eight times as much', () => {
    const { reserve } = setUp({ maxPerIp: 2 });
    expect(
      ['192.0.2.1', '::ffff:192.0.2.1', '64:ff9b::192.0.2.1', '192.0.2.2'].map((ip) => reasonOf(reserve(ip))),
    ).toEqual(['reserved', 'reserved', 'connections-per-ip', 'reserved']);
    expect(reserve('192.0.2.1')).toMatchObject({ status: 429 });
    const site = Array.from({ length: 300 }, (_, n) =>
      reasonOf(reserve(`2001:db8:0:${(n >> 2).toString(16)}::${n + 1}`)),
    );
    expect(site.filter((reason) => reason === 'reserved')).toHaveLength(2 * SITE_FACTOR);
    expect(reasonOf(reserve('2001:db8:1::1'))).toBe('reserved');
  });

  it('limits a gateway in addition to the application', () => {
    const { reserve } = setUp({ max: 5 }, { max: 2, maxPerIp: 1 });
    const other = new GatewayCapacity();
    expect(['1.1.1.1', '1.1.1.1', '2.2.2.2', '3.3.3.3'].map((ip) => reasonOf(reserve(ip)))).toEqual([
      'reserved',
      'connections-per-ip',
      'reserved',
      'connections-per-gateway',
    ]);
    expect(['1.1.1.1', '1.1.1.1', '3.3.3.3', '4.4.4.4'].map((ip) => reasonOf(reserve(ip, other)))).toEqual([
      'reserved',
      'reserved',
      'reserved',
      'connections',
    ]);
  });

  it("limits a /48 at a gateway to eight times the gateway's limit per address", () => {
    const { reserve } = setUp({}, { maxPerIp: 1 });
    const reasons = Array.from({ length: 20 }, (_, n) => reasonOf(reserve(`2001:db8:0:${n}::1`)));
    expect(reasons.filter((reason) => reason === 'reserved')).toHaveLength(SITE_FACTOR);
  });

  it('exempts a trusted proxy from the limits per address, not from the total', () => {
    const { capacity, gateway, table } = setUp({ max: 3, maxPerIp: 1 }, { maxPerIp: 1 });
    const proxy = entryOf(table, '10.0.0.1', true);
    const reasons = [1, 2, 3, 4].map(() => reasonOf(capacity.reserve(proxy, gateway) as Reservation | Refusal));
    expect(reasons).toEqual(['reserved', 'reserved', 'reserved', 'connections']);
  });

  it('returns to zero after any sequence of reservations and releases, and never exceeds a limit', () => {
    const steps = fc.array(fc.tuple(fc.nat(12), fc.nat(1), fc.boolean(), fc.nat(50)), { maxLength: 200 });
    fc.assert(
      fc.property(steps, (all) => {
        const { table, capacity } = setUp({ max: 12, maxPerIp: 3 });
        const gateways = [new GatewayCapacity({ max: 7, maxPerIp: 2 }), new GatewayCapacity()];
        const held: Reservation[] = [];
        const entries = new Set<AddressEntry>();
        for (const [n, g, isComing, pick] of all) {
          const entry = entryOf(table, n < 6 ? `192.0.2.${n}` : `2001:db8:0:${n}::1`);
          entries.add(entry);
          const outcome = isComing ? capacity.reserve(entry, gateways[g]!) : undefined;
          if (outcome instanceof Reservation) held.push(outcome);
          if (!isComing && held.length > 0) held.splice(pick % held.length, 1)[0]!.release();
          expect(capacity.used).toBe(held.length);
          expect(capacity.used).toBeLessThanOrEqual(12);
          expect(entry.connections).toBeLessThanOrEqual(3);
          expect(gateways[0]!.used).toBeLessThanOrEqual(7);
        }
        for (const reservation of held) reservation.release();
        expect([capacity.used, gateways[0]!.used, gateways[1]!.used]).toEqual([0, 0, 0]);
        for (const entry of entries) expect(entry.connections + (entry.site?.connections ?? 0)).toBe(0);
      }),
    );
  });
});

describe('UserSlots', () => {
  const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((name) => ({ name })) as [object, object, object, object];

  it('refuses with 429 above the limit', () => {
    const users = new UserSlots<object>();
    const limit = { max: 2, onLimit: 'refuse' } as const;
    expect([users.take('u', a, limit), users.take('u', b, limit)]).toEqual([[], []]);
    expect(users.take('u', c, limit)).toMatchObject({ reason: 'connections-per-user', status: 429 });
    expect(users.take('v', c, limit)).toEqual([]);
    users.release('u', a);
    users.release('u', a);
    expect(users.take('u', d, limit)).toEqual([]);
    expect(users.of('u')).toEqual([b, d]);
  });

  it("returns the oldest connection to close with onUserLimit 'closeOldest'", () => {
    const users = new UserSlots<object>();
    const limit = { max: 2, onLimit: 'closeOldest' } as const;
    for (const each of [a, b]) users.take('u', each);
    expect(users.take('u', c, limit)).toEqual([a]);
    expect(users.take('u', d, { max: 1, onLimit: 'closeOldest' })).toEqual([b, c]);
    users.release('u', a);
    expect(users.of('u')).toEqual([d]);
    expect(users.take('u', a, { max: 0, onLimit: 'closeOldest' })).toMatchObject({ status: 429 });
  });

  it('counts users without a limit, and forgets users without connections', () => {
    const users = new UserSlots<object>();
    for (const each of [a, b, c]) expect(users.take('__proto__', each)).toEqual([]);
    users.take('__proto__', a);
    expect([users.count('__proto__'), users.count('constructor'), users.size]).toEqual([3, 0, 1]);
    for (const each of [c, a, b, d]) users.release('__proto__', each);
    expect([users.count('__proto__'), users.size, users.of('__proto__')]).toEqual([0, 0, []]);
  });
});

describe('PendingRegistry', () => {
  const setUp = (max: number, maxPerIp: number) => {
    const table = newTable();
    const registry = new PendingRegistry<string>({ max, maxPerIp });
    const enter = (ip: string, holder: string, isExempt = false) => registry.add(entryOf(table, ip, isExempt), holder);
    return { table, registry, enter };
  };

  it('evicts the oldest pending handshake of the address that has most', () => {
    const { registry, enter } = setUp(5, 10);
    for (const n of [1, 2, 3, 4]) enter('6.6.6.6', `crowd ${n}`);
    expect(registry.victim(enter('1.1.1.1', 'good'))).toBeUndefined();
    expect(registry.victim(enter('2.2.2.2', 'late'))).toBe('crowd 1');
    expect(registry.victim(enter('6.6.6.6', 'crowd 5'))).toBe('crowd 2');
    expect(registry.size).toBe(5);
  });

  it('evicts the longest-waiting handshake when every address has one', () => {
    const { registry, enter } = setUp(3, 10);
    const victims = Array.from({ length: 6 }, (_, n) => registry.victim(enter(`192.0.2.${n}`, `${n}`)));
    expect(victims).toEqual([undefined, undefined, undefined, '0', '1', '2']);
  });

  it('forgets handshakes that have been removed', () => {
    const { registry, enter } = setUp(3, 10);
    for (const place of [1, 2, 3].map((n) => enter('6.6.6.6', `${n}`))) registry.remove(place);
    const victims = [1, 2, 3, 4].map((n) => registry.victim(enter(`192.0.2.${n}`, `${n}`)));
    expect(victims).toEqual([undefined, undefined, undefined, '1']);
    expect(registry.size).toBe(3);
  });

  it('lists all holders, and none that has left', () => {
    const { registry, enter } = setUp(10, 10);
    expect(registry.holders()).toEqual([]);
    const places = ['a', 'b', 'c'].map((holder) => enter('6.6.6.6', holder));
    enter('192.0.2.1', 'd');
    expect(registry.holders().sort()).toEqual(['a', 'b', 'c', 'd']);
    registry.remove(places[0]!);
    for (const holder of registry.holders()) if (holder === 'b') registry.remove(places[1]!);
    expect(registry.holders().sort()).toEqual(['c', 'd']);
  });

  it("evicts an address's own oldest at its limit, and a /48's at eight times that", () => {
    const { registry, enter } = setUp(100, 2);
    expect([1, 2, 3].map((n) => registry.victim(enter('6.6.6.6', `${n}`)))).toEqual([undefined, undefined, '1']);
    const site = Array.from({ length: 40 }, (_, n) => registry.victim(enter(`2001:db8:0:${n}::1`, `${n}`)));
    expect(site.filter((victim) => victim === undefined)).toHaveLength(2 * SITE_FACTOR);
    expect(registry.size).toBe(2 + 2 * SITE_FACTOR);
  });

  it('exempts a trusted proxy from the limit per address, and moves a place to the client behind it', () => {
    const { registry, enter, table } = setUp(100, 1);
    const places = [1, 2, 3].map((n) => enter('10.0.0.1', `${n}`, true)) as [
      PendingPlace<string>,
      PendingPlace<string>,
      PendingPlace<string>,
    ];
    for (const place of places) expect(registry.victim(place)).toBeUndefined();
    const client = entryOf(table, '203.0.113.1');
    registry.move(places[0], client);
    registry.move(places[0], client);
    expect(registry.victim(places[0])).toBeUndefined();
    registry.move(places[1], client);
    expect(registry.victim(places[1])).toBe('1');
    expect([client.pending, registry.size]).toEqual([1, 2]);
    registry.remove(places[0]);
    registry.move(places[0], client);
    expect(registry.size).toBe(2);
  });

  it('agrees with an array under any sequence of additions and removals', () => {
    const step = fc.tuple(fc.nat(6), fc.constantFrom('enter', 'enter', 'enter', 'leave'), fc.nat(100));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const { registry, enter } = setUp(8, 4);
        let model: { ip: string; place: PendingPlace<string> }[] = [];
        const count = (ip: string) => model.filter((each) => each.ip === ip).length;
        for (const [n, what, pick] of steps) {
          if (what === 'leave') {
            const [gone] = model.splice(pick % Math.max(1, model.length), 1);
            if (gone !== undefined) {
              registry.remove(gone.place);
              registry.remove(gone.place);
            }
            continue;
          }
          const ip = `192.0.2.${n}`;
          const place = enter(ip, `${n}/${pick}`);
          model.push({ ip, place });
          const victim = registry.victim(place);
          const isDue = count(ip) > 4 || model.length > 8;
          expect(victim !== undefined).toBe(isDue);
          if (isDue) {
            const gone = model.find((each) => !each.place.isHeld)!;
            const most = Math.max(...model.map((each) => count(each.ip)));
            expect(count(gone.ip)).toBe(count(ip) > 4 ? count(ip) : most);
            expect(model.find((each) => each.ip === gone.ip)).toBe(gone);
          }
          model = model.filter((each) => each.place.isHeld);
          expect(registry.victim(place)).toBeUndefined();
          expect(registry.size).toBe(model.length);
        }
      }),
    );
  });
});
