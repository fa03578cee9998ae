import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { MAX_HOPS, type ProxyRules, parseForwardedElement, routeOf } from '../../../lib/http/forwarding.js';
import { parseAddress } from '../../../lib/net/address.js';
import { addressList } from '../../../lib/net/address-list.js';
import { collectGarbage } from '../../support/garbage.js';
import { runs } from '../../support/runs.js';

const PROXY = parseAddress('127.0.0.1')!;
const UNTRUSTED = parseAddress('203.0.113.9')!;
const trusted = addressList('loopback', '10.0.0.0/8');
const X: ProxyRules = { trusted, header: 'x-forwarded' };
const F: ProxyRules = { trusted, header: 'forwarded' };

const route = (rules: ProxyRules, headers: [string, string][], peer = PROXY, tls = false) =>
  routeOf(peer, tls, headers.flat(), rules);
const xff = (...values: string[]) =>
  route(
    X,
    values.map((value) => ['X-Forwarded-For', value]),
  ).address.text;
const forwarded = (...values: string[]) =>
  route(
    F,
    values.map((value) => ['Forwarded', value]),
  ).address.text;

describe('X-Forwarded-For', () => {
  it.each([
    ['198.51.100.1', '198.51.100.1'],
    ['198.51.100.1, 10.1.2.3', '198.51.100.1'],
    ['6.6.6.6, 198.51.100.1', '198.51.100.1'],
    ['6.6.6.6,198.51.100.1,10.0.0.1 ,\t127.0.0.2', '198.51.100.1'],
    ['10.0.0.1, 10.0.0.2', '10.0.0.1'],
    ['198.51.100.1:4711', '198.51.100.1'],
    ['[2001:db8::1]:4711', '2001:db8::1'],
    ['[2001:db8::1]', '2001:db8::1'],
    ['2001:db8::1', '2001:db8::1'],
    ['fe80::1%eth0', 'fe80::1'],
    ['[fe80::1%25eth0]:1', 'fe80::1'],
    ['::ffff:198.51.100.1', '198.51.100.1'],
    // An unreadable element ends the walk at the last readable hop; everything left of it is ignored.
    ['6.6.6.6, garbage', '127.0.0.1'],
    ['6.6.6.6, garbage, 10.0.0.1', '10.0.0.1'],
    ['6.6.6.6, unknown', '127.0.0.1'],
    // Empty elements are skipped.
    ['6.6.6.6,', '6.6.6.6'],
    ['6.6.6.6, , 10.0.0.1', '6.6.6.6'],
    ['6.6.6.6,,\t,', '6.6.6.6'],
    [`6.6.6.6${','.repeat(100)}`, '127.0.0.1'],
    ['', '127.0.0.1'],
    ['198.51.100.1:x', '127.0.0.1'],
    ['198.51.100.1:', '127.0.0.1'],
    ['[198.51.100.1]', '127.0.0.1'],
    ['[2001:db8::1', '127.0.0.1'],
    ['[2001:db8::1]x', '127.0.0.1'],
    ['"198.51.100.1"', '127.0.0.1'],
    ['0306.0063.0144.1', '127.0.0.1'],
    ['6.6.6.6 198.51.100.1', '127.0.0.1'],
  ])('resolves %p to %s', (value, client) => expect(xff(value)).toBe(client));

  it('joins several header lines into one list, in order', () => {
    expect(xff('6.6.6.6', '198.51.100.1')).toBe('198.51.100.1');
    expect(xff('6.6.6.6, 198.51.100.1', '10.0.0.1', '10.0.0.2')).toBe('198.51.100.1');
    expect(route(X, [['x-forwarded-FOR', '198.51.100.1']]).address.text).toBe('198.51.100.1');
  });

  it('follows a bounded number of hops', () => {
    const hops = (count: number) => ['198.51.100.1', ...Array.from({ length: count }, () => '10.0.0.1')].join(',');
    expect(xff(hops(MAX_HOPS - 1))).toBe('198.51.100.1');
    expect(xff(hops(MAX_HOPS))).toBe('10.0.0.1');
    expect(xff(Array.from({ length: 50 }, (_, n) => `6.6.6.${n}`).join(', '))).toBe('6.6.6.49');
  });

  it('ignores anything before the address that the proxy appended', () => {
    fc.assert(
      fc.property(fc.array(fc.string()), fc.ipV4(), (junk, client) => {
        fc.pre(!trusted.has(parseAddress(client)!));
        expect(xff([...junk, client].join(','))).toBe(client);
        expect(xff(...junk, client)).toBe(client);
      }),
    );
  });

  it('keys IPv6 clients by the configured prefix', () => {
    const key = (ip: string) => route({ ...X, ipv6Prefix: 56 }, [['X-Forwarded-For', ip]]).address.key;
    expect(key('2001:db8:0:1201::1')).toBe(key('2001:db8:0:12ff::1'));
  });
});

describe('Forwarded (RFC 7239)', () => {
  it.each([
    ['for=198.51.100.1', '198.51.100.1'],
    ['For="[2001:db8:cafe::17]:4711"', '2001:db8:cafe::17'],
    ['for=198.51.100.1;proto=http;by=203.0.113.43', '198.51.100.1'],
    ['for=6.6.6.6, for=198.51.100.1', '198.51.100.1'],
    ['for=198.51.100.1, for="10.0.0.1:80";by="a,b;c\\"d"', '198.51.100.1'],
    ['for=198.51.100.1;host="a, for=6.6.6.6"', '198.51.100.1'],
    ['for="198.51.100.1:_port"', '198.51.100.1'],
    ['for="198\\.51.100.1"', '198.51.100.1'],
    ['for=[2001:db8::1]', '2001:db8::1'],
    ['for=6.6.6.6, for=unknown', '127.0.0.1'],
    ['for=6.6.6.6, for=_hidden', '127.0.0.1'],
    ['for=6.6.6.6, proto=https', '127.0.0.1'],
    ['for=6.6.6.6;for=198.51.100.1', '127.0.0.1'],
    ['for=6.6.6.6, for=', '127.0.0.1'],
    ['for = 198.51.100.1', '127.0.0.1'],
    ['198.51.100.1', '127.0.0.1'],
    // An open quote or odd backslash of a client must not swallow what the proxy appended.
    ['for="6.6.6.6, for=198.51.100.1', '198.51.100.1'],
    ['for="6.6.6.6\\, for="198.51.100.1"', '198.51.100.1'],
    ['for="6.6.6.6, for=10.0.0.1', '10.0.0.1'],
    ['x="\\", for=198.51.100.1', '198.51.100.1'],
  ])('resolves %p to %s', (value, client) => expect(forwarded(value)).toBe(client));

  it('ignores anything before the element that the proxy appended', () => {
    const piece = fc.constantFrom('"', '\\', ',', ';', '=', 'for', 'for=6.6.6.6', ' ', 'x', '"6.6.6.6"');
    fc.assert(
      fc.property(fc.array(piece), fc.ipV4(), (junk, client) => {
        fc.pre(!trusted.has(parseAddress(client)!));
        expect(forwarded(`${junk.join('')},for=${client}`)).toBe(client);
        expect(forwarded(`${junk.join('')}, for="${client}:80";proto="https"`)).toBe(client);
        expect(forwarded(junk.join(''), `for=${client}`)).toBe(client);
      }),
      { numRuns: runs(500) },
    );
  });

  it('parses an element in one pass, however malformed', () => {
    expect(parseForwardedElement(`for="${'\\'.repeat(8000)}`)).toBeUndefined();
    expect(parseForwardedElement('a=1;b="2;3" ; FOR=x;proto=y')).toEqual({ for: 'x', proto: 'y' });
    expect(parseForwardedElement('__proto__=1;constructor=2')).toEqual({ for: undefined, proto: undefined });
  });
});

describe('routeOf', () => {
  it.each([
    ['', true],
    ['10.0.0.1', true],
    ['10.0.0.1, 10.0.0.2,', true],
    ['garbage', false],
    ['garbage, 10.0.0.1', false],
    ['unknown, 10.0.0.1', false],
    [`6.6.6.6${', 10.0.0.1'.repeat(MAX_HOPS)}`, false],
    ['198.51.100.1', false],
  ])('exempts a proxy from limits for %p: %p', (value, isExempt) => {
    expect(route(X, [['X-Forwarded-For', value]]).isExempt).toBe(isExempt);
  });

  it('does not exempt a proxy when an element of Forwarded is unreadable', () => {
    for (const value of ['for=unknown', 'for=_hidden', 'for=x;for=y', 'proto=https'])
      expect(route(F, [['Forwarded', value]])).toMatchObject({ address: PROXY, isExempt: false });
    expect(route(F, [['Forwarded', ', ']]).isExempt).toBe(true);
  });

  const client = ['X-Forwarded-For', '198.51.100.1'] as [string, string];

  it('ignores the forwarding headers of an untrusted peer, and reports that it sent some', () => {
    const result = route(X, [client, ['X-Forwarded-Proto', 'https']], UNTRUSTED);
    expect(result).toEqual({ address: UNTRUSTED, secure: false, viaProxy: false, isExempt: false, strayHeaders: true });
    expect(route(X, [['FORWARDED', 'for=1.1.1.1']], UNTRUSTED).strayHeaders).toBe(true);
    expect(route(X, [['X-Forwarded-Proto', 'https']], UNTRUSTED).strayHeaders).toBe(true);
    expect(
      route(
        X,
        [
          ['X-Forwarded-Host', 'x'],
          ['User-Agent', 'forwarded'],
          ['Keepalive', ''],
        ],
        UNTRUSTED,
      ).strayHeaders,
    ).toBe(false);
    expect(route(X, [client]).strayHeaders).toBe(false);
  });

  it('returns an address that does not keep the header in memory', () => {
    const held = (): number => {
      collectGarbage();
      return process.memoryUsage().heapUsed;
    };
    const header = (n: number) => Buffer.from(`${'x'.repeat(8000)}, 198.51.100.${100 + n}`).toString('latin1');
    const before = held();
    const kept = Array.from({ length: 100 }, (_, n) => route(X, [['X-Forwarded-For', header(n)]]).address);
    // The headers are 800 000 bytes.
    expect(held() - before).toBeLessThan(600_000);
    expect(kept[99]!.text).toBe('198.51.100.199');
  });

  it('ignores the header that is not configured', () => {
    expect(route(X, [['Forwarded', 'for=198.51.100.1;proto=https']])).toMatchObject({
      address: PROXY,
      secure: undefined,
    });
    expect(route(F, [client, ['X-Forwarded-Proto', 'https']])).toMatchObject({ address: PROXY, secure: undefined });
  });

  it('exempts a trusted address from limits, not the clients behind it', () => {
    expect(route(X, [])).toMatchObject({ address: PROXY, isExempt: true, viaProxy: true });
    expect(route(X, [client])).toMatchObject({ isExempt: false, viaProxy: true });
    expect(route(X, [['X-Forwarded-For', '10.9.9.9']])).toMatchObject({ isExempt: true });
  });

  it.each([
    ['https', true],
    ['WSS', true],
    ['http', false],
    ['ws', false],
    ['https, http', false],
    ['http, https', true],
    ['ftp', undefined],
    ['https,', true],
    ['', undefined],
  ])('takes the scheme of the nearest proxy from X-Forwarded-Proto: %p', (proto, secure) => {
    expect(route(X, [client, ['X-Forwarded-Proto', proto]]).secure).toBe(secure);
  });

  it('takes the scheme of the nearest proxy from Forwarded', () => {
    expect(route(F, [['Forwarded', 'for=198.51.100.1;proto=https']]).secure).toBe(true);
    expect(route(F, [['Forwarded', 'for=1.1.1.1;proto=https, for=10.0.0.1;proto=http']]).secure).toBe(false);
    expect(route(F, [['Forwarded', 'for=1.1.1.1;proto=https, for=10.0.0.1']]).secure).toBeUndefined();
    expect(
      route(F, [
        ['Forwarded', 'for=1.1.1.1;proto=https'],
        ['Forwarded', 'for=10.0.0.1;proto="http"'],
      ]).secure,
    ).toBe(false);
  });

  it('knows the scheme of a direct peer, and of a proxy that connects with TLS and reports no scheme', () => {
    expect(route(X, [], UNTRUSTED, true).secure).toBe(true);
    expect(route(X, [], PROXY, true).secure).toBe(true);
    expect(route(X, [['X-Forwarded-Proto', 'http']], PROXY, true).secure).toBe(false);
    expect(route(X, [], PROXY, false).secure).toBeUndefined();
  });
});
