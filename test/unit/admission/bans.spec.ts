import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { type Ban, BanList, resolveBanTarget, SecureWsBans } from '../../../lib/admission/bans.js';
import { parseAddress } from '../../../lib/net/address.js';
import { parseAddressList } from '../../../lib/net/address-list.js';
import { parseNetwork } from '../../../lib/net/network-map.js';

const at = (text: string) => parseAddress(text, 64)!;

function service(max = 100) {
  const bans = new BanList(max, () => clock.now);
  const clock = { now: Date.now() };
  const closed: string[] = [];
  const told: string[] = [];
  const secure = new SecureWsBans({
    bans,
    settings: { bans: { time: 900_000 }, connections: { ipv6Prefix: 64 } },
    connectionsOf: (key) => (key === 'alice' ? [{ end: (code, reason) => closed.push(`${code} ${reason}`) }] : []),
    shared: { banned: ({ id }) => told.push(`+${id}`), unbanned: (id) => told.push(`-${id}`) },
  });
  return { bans, clock, closed, told, secure };
}

describe('parseNetwork', () => {
  it.each([
    ['192.0.2.7', '192.0.2.7/32'],
    ['192.0.2.7/24', '192.0.2.0/24'],
    ['0.0.0.0/0', '0.0.0.0/0'],
    ['255.255.255.255/1', '128.0.0.0/1'],
    ['2001:db8:1:2:3::4', '2001:db8:1:2::/64'],
    ['2001:db8:ffff::/33', '2001:db8:8000::/33'],
    ['::ffff:10.1.2.3', '10.1.2.3/32'],
    ['::ffff:10.1.2.3/104', '10.0.0.0/8'],
    ['64:ff9b::192.0.2.1', '192.0.2.1/32'],
  ])('parses %s as %s', (text, canonical) => {
    expect(parseNetwork(text, 64)?.text).toBe(canonical);
    expect(parseNetwork(canonical)?.text).toBe(canonical);
  });

  it.each(['', '1.2.3', '1.2.3.4/33', '1.2.3.4/', '1.2.3.4/01', '::/129', 'fe80::1%eth0', 'a/b', '0x7f.0.0.1'])(
    'refuses %j',
    (text) => expect(parseNetwork(text, 64)).toBeUndefined(),
  );

  it('matches the same addresses as an AddressList entry', () => {
    const v4 = fc.tuple(fc.nat(255), fc.nat(255), fc.nat(255), fc.nat(255)).map((bytes) => bytes.join('.'));
    const v6 = fc
      .array(fc.nat(0xffff), { minLength: 8, maxLength: 8 })
      .map((w) => w.map((x) => x.toString(16)).join(':'));
    const near = (text: string) => fc.constantFrom(text, text.replace(/.$/, '1'), text.replace(/^./, '2'));
    const cases = fc.oneof(
      v4.chain((text) =>
        fc.tuple(
          fc.nat(32).map((p) => `${text}/${p}`),
          near(text),
        ),
      ),
      v6.chain((text) =>
        fc.tuple(
          fc.nat(128).map((p) => `${text}/${p}`),
          near(text),
        ),
      ),
    );
    fc.assert(
      fc.property(cases, ([cidr, text]) => {
        const address = parseAddress(text, 64);
        fc.pre(address !== undefined);
        const list = parseAddressList([cidr]);
        if (Array.isArray(list)) throw new Error(list.join());
        const bans = new BanList(10);
        bans.add({ ...BAN, id: 'x', network: parseNetwork(cidr)!.text });
        expect(bans.ofAddress(address!) !== undefined).toBe(list.has(address!));
      }),
    );
  });
});

const BAN: Ban = {
  id: '',
  network: undefined,
  userKey: undefined,
  since: 0,
  until: Number.MAX_SAFE_INTEGER,
  reason: undefined,
};

describe('SecureWsBans', () => {
  it('applies a ban for its time to the counted prefix of the address', () => {
    const { bans, clock, secure } = service();
    secure.ban({ address: '2001:db8::1' }, { for: '10s', reason: 'x' });
    expect(bans.ofAddress(at('2001:db8::ffff'))?.reason).toBe('x');
    expect(bans.ofAddress(at('2001:db8:0:1::1'))).toBeUndefined();
    clock.now += 60_000;
    expect(bans.ofAddress(at('2001:db8::1'))).toBeUndefined();
    expect(secure.list()).toEqual([]);
    expect(bans.size).toBe(0);
  });

  it('replaces, lists and lifts bans by target', () => {
    const { secure, told } = service();
    secure.ban({ cidr: '10.1.2.3/8' });
    const later = secure.ban({ cidr: '10.0.0.0/8' }, { for: '1h' });
    secure.ban({ userKey: 7 });
    expect(secure.list().map(({ id }) => id)).toEqual(['ip:10.0.0.0/8', 'user:7']);
    expect(secure.list()[0]).toBe(later);
    expect(secure.unban({ cidr: '10.9.9.9/8' })).toBe(true);
    expect(secure.unban({ cidr: '10.0.0.0/8' })).toBe(false);
    expect(told).toEqual(['+ip:10.0.0.0/8', '+ip:10.0.0.0/8', '+user:7', '-ip:10.0.0.0/8', '-ip:10.0.0.0/8']);
  });

  it('closes the connections of a banned user, and no others', () => {
    const { bans, closed, secure } = service();
    secure.ban({ userKey: 'bob' });
    expect(closed).toEqual([]);
    secure.ban({ userKey: 'alice' });
    expect(closed).toEqual(['1008 banned']);
    expect(bans.ofUser('alice')).toBeDefined();
    expect(bans.ofUser('carol')).toBeUndefined();
    expect(bans.ofUser(undefined)).toBeUndefined();
  });

  it('is bounded: the bans that expire soonest are dropped', () => {
    const { secure } = service(64);
    for (let n = 0; n < 500; n++)
      secure.ban({ address: `10.0.${n >> 8}.${n & 255}` }, { for: n === 3 ? '24h' : 60_000 + n });
    const kept = secure.list();
    expect(kept.length).toBe(64);
    expect(kept.map(({ id }) => id)).toContain('ip:10.0.0.3/32');
    expect(kept.map(({ id }) => id)).toContain('ip:10.0.1.243/32');
  });

  it.each([
    [{}, /exactly one/],
    [{ address: '1.2.3.4', userKey: 'x' }, /exactly one/],
    [{ address: '1.2.3.4/8' }, /not a valid IP address/],
    [{ address: 'localhost' }, /not a valid IP address/],
    [{ cidr: 'all' }, /not a valid CIDR/],
    [{ userKey: '' }, /userKey/],
    [{ userKey: {} }, /userKey/],
  ])('refuses the target %j', (target, message) => {
    expect(() => resolveBanTarget(target as never, 64)).toThrow(message);
    expect(() => resolveBanTarget(target as never, 64)).toThrow(RangeError);
  });

  it('refuses an invalid duration', () => {
    for (const time of ['soon', 0, -1, Number.NaN, Number.POSITIVE_INFINITY])
      expect(() => service().secure.ban({ address: '1.2.3.4' }, { for: time })).toThrow(RangeError);
  });
});
