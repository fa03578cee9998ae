import { isIPv4, isIPv6, type Socket } from 'node:net';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import ipaddr from 'ipaddr.js';
import { peerAddress } from '../../../lib/handshake/upgrade-context.js';
import {
  type ClientAddress,
  formatIPv4,
  formatIPv6,
  NO_ADDRESS,
  parseAddress,
  parseIPv4,
  parseIPv6,
  UNIX_PEER,
} from '../../../lib/net/address.js';
import {
  AddressList,
  addressList,
  isAddressAllowed,
  PRIVATE_ADDRESSES,
  parseAddressList,
} from '../../../lib/net/address-list.js';
import { runs } from '../../support/runs.js';

const address = (text: string, prefix?: number): ClientAddress => parseAddress(text, prefix)!;

describe('peerAddress', () => {
  const peer = (remoteAddress: string | undefined, server?: object | null) =>
    peerAddress({ remoteAddress, server } as unknown as Socket, 64);

  it('returns UNIX_PEER only for connections of a Unix domain socket', () => {
    expect(peer(undefined, { address: () => '/run/app.sock' })).toBe(UNIX_PEER);
    // A socket that was reset has no remote address either.
    for (const server of [{ address: () => ({ port: 80 }) }, { address: () => null }, null, undefined])
      expect(peer(undefined, server)).toBe(NO_ADDRESS);
    expect(peer('192.0.2.1', { address: () => '/run/app.sock' })?.text).toBe('192.0.2.1');
  });
});

describe('parseAddress', () => {
  it.each([
    ['127.0.0.1', '127.0.0.1', 4],
    ['::ffff:192.0.2.1', '192.0.2.1', 4],
    ['::FFFF:192.0.2.1', '192.0.2.1', 4],
    ['0:0:0:0:0:ffff:c000:201', '192.0.2.1', 4],
    ['::ffff:127.0.0.1', '127.0.0.1', 4],
    ['64:ff9b::192.0.2.1', '192.0.2.1', 4],
    ['64:ff9b::c000:201', '192.0.2.1', 4],
    ['::192.0.2.1', '192.0.2.1', 4],
    ['::ffff:0:192.0.2.1', '192.0.2.1', 4],
    ['2002:c000:0201::1', '192.0.2.1', 4],
    ['2001:0:4136:e378:8000:63bf:3fff:fdfe', '192.0.2.1', 4],
    ['fe80::1%eth0', 'fe80::1', 6],
    ['2001:DB8:0:0::0001', '2001:db8::1', 6],
    ['::1', '::1', 6],
    ['::', '::', 6],
    ['::1%', '::1', 6],
  ])('parses %s as %s', (text, canonical, family) => {
    expect(parseAddress(text)).toMatchObject({ text: canonical, family });
  });

  it.each([
    '',
    ' ',
    '1.2.3',
    '1.2.3.4.5',
    '1.2.3.256',
    '01.2.3.4',
    '1.2.3.4 ',
    '0x7f.0.0.1',
    '127.1',
    '2130706433',
    '1.2.3.-4',
    '1..2.3',
    '.1.2.3.4',
    '1.2.3.4.',
    '::ffff:1.2.3',
    '::ffff:0x7f.0.0.1',
    ':::',
    '1::2::3',
    '12345::',
    'localhost',
    '[::1]',
    '1.2.3.4%eth0',
    '::1/64',
  ])('refuses %p', (text) => {
    expect(parseAddress(text)).toBeUndefined();
  });

  it('does not take a tunnelled loopback or unspecified address for this host', () => {
    for (const text of ['64:ff9b::127.0.0.1', '2002:7f00:1::', '::127.0.0.1', '64:ff9b::0.0.0.1']) {
      expect(address(text)).toMatchObject({ family: 6, isLoopback: false });
    }
    expect(
      address('::ffff:127.3.2.1').isLoopback && address('::1').isLoopback && address('127.255.0.1').isLoopback,
    ).toBe(true);
    expect(address('128.0.0.1').isLoopback).toBe(false);
  });

  it('keys IPv6 by prefix and IPv4 by address', () => {
    expect(address('2001:db8:1:2::1').key).toBe(address('2001:db8:1:2:9:9:9:9').key);
    expect(address('2001:db8:1:2::1').key).not.toBe(address('2001:db8:1:3::1').key);
    expect(address('2001:db8:1:20::1', 60).key).toBe(address('2001:db8:1:2f::1', 60).key);
    expect(address('2001:db8:1:20::1', 60).key).not.toBe(address('2001:db8:1:30::1', 60).key);
    expect(address('2001:db8::1', 128).key).not.toBe(address('2001:db8::2', 128).key);
    expect(address('2001:db8:1:2::1').site).toBe(address('2001:db8:1:3::1').site);
    expect(address('2001:db8:1:2::1', 48).site).toBeUndefined();
    expect(address('::ffff:1.2.3.4').key).not.toBe(address('::ffff:5.6.7.8').key);
    expect(address('1.2.3.4').network).toBe(address('64:ff9b::1.2.3.9').network);
    expect(address('250.2.3.4').network).toBe('250.2.3.0/24');
  });

  it('agrees with Node and ipaddr.js for any text', () => {
    const near = fc.stringMatching(/^[0-9a-f:.]{1,24}$/);
    fc.assert(
      fc.property(fc.oneof(near, fc.ipV4(), fc.ipV6()), (text) => {
        const parsed = parseAddress(text);
        expect(parsed !== undefined).toBe(isIPv4(text) || isIPv6(text));
        if (parsed?.family === 6 && !text.includes('.')) expect(parsed.text).toBe(ipaddr.parse(text).toString());
        if (parsed !== undefined)
          expect(parseAddress(parsed.text)).toMatchObject({ text: parsed.text, key: parsed.key });
      }),
      { numRuns: runs(1000) },
    );
    fc.assert(fc.property(fc.nat(2 ** 32 - 1), (n) => expect(parseIPv4(formatIPv4(n))).toBe(n)));
  });
});

describe('parseIPv6 and formatIPv6', () => {
  const group = fc.oneof(fc.constantFrom('0', '0', '0000', '00000', ''), fc.stringMatching(/^[0-9a-fA-F]{1,4}$/));
  const groups = fc.array(group, { maxLength: 9 }).map((each) => each.join(':'));
  const end = fc.oneof(fc.constant(''), fc.ipV4(), fc.constantFrom('01.2.3.4', '1.2.3', '1.2.3.256', ':', ':1.2.3.4'));
  const text = fc
    .tuple(groups, fc.constantFrom('', ':', '::'), groups, fc.constantFrom('', ':', '::'), end)
    .map((parts) => parts.join(''));

  it('agree with Node and the URL standard for any groups, zeros and dotted decimals', () => {
    fc.assert(
      fc.property(text, (given) => {
        const words = parseIPv6(given);
        expect(words !== undefined).toBe(isIPv6(given));
        if (words !== undefined) expect(`[${formatIPv6(words)}]`).toBe(new URL(`http://[${given}]/`).hostname);
      }),
      { numRuns: runs(3000) },
    );
  });

  it('return the first of equally long runs of zeros as ::, and no single zero', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(0, 0, 1, 0xffff), { minLength: 8, maxLength: 8 }), (words) => {
        expect(`[${formatIPv6(words)}]`).toBe(
          new URL(`http://[${words.map((n) => n.toString(16)).join(':')}]/`).hostname,
        );
        expect(parseIPv6(formatIPv6(words))).toEqual(words);
      }),
      { numRuns: runs(1000) },
    );
  });

  it('refuse text that is longer than any address', () => {
    expect(parseIPv6(`${'0:'.repeat(23)}`)).toBeUndefined();
    expect(parseIPv6('0000:0000:0000:0000:0000:ffff:255.255.255.255')).toEqual([0, 0, 0, 0, 0, 0xffff, 0xffff, 0xffff]);
  });
});

describe('AddressList', () => {
  it('matches CIDRs, addresses and names', () => {
    const list = addressList('10.0.0.0/8', '192.0.2.7', '2001:db8::/33', 'LinkLocal', '::ffff:198.51.100.0/120');
    for (const yes of [
      '10.255.0.1',
      '192.0.2.7',
      '::ffff:10.1.1.1',
      '2001:db8:7fff::1',
      '169.254.1.1',
      'fe80::1%en0',
      '198.51.100.9',
    ]) {
      expect([yes, list.has(address(yes))]).toEqual([yes, true]);
    }
    for (const no of ['11.0.0.1', '192.0.2.8', '2001:db8:8000::1', '198.51.101.1', '::1', '127.0.0.1']) {
      expect([no, list.has(address(no))]).toEqual([no, false]);
    }
    expect(list.has(NO_ADDRESS)).toBe(false);
    expect(addressList('0.0.0.0/0').has(NO_ADDRESS)).toBe(false);
    expect(addressList('0.0.0.0/0', '::/0').has(UNIX_PEER)).toBe(false);
    expect(addressList('UNIX').has(UNIX_PEER)).toBe(true);
    expect(addressList('unix').has(NO_ADDRESS)).toBe(false);
    expect(addressList('unix').isEmpty).toBe(false);
  });

  it('matches an address that embeds IPv4 both as IPv4 and as IPv6', () => {
    expect(addressList('192.0.2.0/24').has(address('64:ff9b::192.0.2.1'))).toBe(true);
    expect(addressList('64:ff9b::/96').has(address('64:ff9b::192.0.2.1'))).toBe(true);
    expect(addressList('64:ff9b::/96').has(address('192.0.2.1'))).toBe(false);
    expect(addressList('loopback').has(address('64:ff9b::127.0.0.1'))).toBe(false);
    expect(PRIVATE_ADDRESSES.has(address('::ffff:172.16.9.9'))).toBe(true);
  });

  it('matches prefixes of length 0 and of full length', () => {
    expect(addressList('0.0.0.0/0').has(address('255.255.255.255'))).toBe(true);
    expect(addressList('::/0').has(address('2001:db8::1'))).toBe(true);
    expect(addressList('::/0').has(address('1.2.3.4'))).toBe(false);
    expect(addressList('255.255.255.255/32').has(address('255.255.255.254'))).toBe(false);
    expect(addressList().isEmpty).toBe(true);
  });

  it('agrees with ipaddr.js', () => {
    const cidr = fc.oneof(
      fc.tuple(fc.ipV4(), fc.nat(32)),
      fc.tuple(fc.stringMatching(/^2[0-9a-f]{3}:[0-9a-f]{1,4}::[1-9a-f]$/), fc.nat(128)),
    );
    fc.assert(
      fc.property(
        fc.array(cidr, { minLength: 1, maxLength: 5 }),
        fc.oneof(fc.ipV4(), fc.stringMatching(/^2[0-9a-f]{3}::[1-9]$/)),
        (cidrs, text) => {
          fc.pre(!/^2002:|^2001:0{0,3}:/.test(text));
          const list = addressList(...cidrs.map((each) => each.join('/')));
          const parsed = ipaddr.parse(text);
          const expected = cidrs.some(
            ([ip, bits]) => ipaddr.parse(ip).kind() === parsed.kind() && parsed.match(ipaddr.parse(ip), bits),
          );
          expect(list.has(address(text))).toBe(expected);
        },
      ),
    );
  });

  it.each([
    '',
    'x',
    '1.2.3.4/33',
    '1.2.3.4/',
    '1.2.3.4/08',
    '::/129',
    '::1%eth0',
    '10.0.0.0/255.0.0.0',
    '1.2.3',
    'constructor',
    '*',
    '1.2.3.4/8/8',
  ])('names the invalid entry %p', (entry) => {
    const problems = parseAddressList(['127.0.0.1', entry]);
    expect(problems).toHaveLength(1);
    expect(String(problems)).toContain(`'${entry}'`);
  });

  it('reports every invalid entry', () => {
    expect(parseAddressList(['a', 'loopback', 'b'])).toHaveLength(2);
    expect(parseAddressList([])).toBeInstanceOf(AddressList);
  });

  it('denies before it allows', () => {
    const rules = { allowed: addressList('10.0.0.0/8'), denied: addressList('10.1.0.0/16') };
    expect(['10.2.0.1', '10.1.0.1', '11.0.0.1'].map((text) => isAddressAllowed(address(text), rules))).toEqual([
      true,
      false,
      false,
    ]);
    expect(isAddressAllowed(address('11.0.0.1'), {})).toBe(true);
    expect(isAddressAllowed(address('11.0.0.1'), { allowed: addressList() })).toBe(false);
  });
});
