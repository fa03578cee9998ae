import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { type AccessFacts, checkAccess, isTlsSatisfied } from '../../../lib/admission/access-rules.js';
import { AllowedHosts, hostMismatch, parseAllowedHosts } from '../../../lib/admission/host.js';
import { AllowedOrigins, originMismatch, parseAllowedOrigins } from '../../../lib/admission/origin.js';
import { parseHost } from '../../../lib/http/host.js';
import { NO_ADDRESS, parseAddress } from '../../../lib/net/address.js';
import { addressList } from '../../../lib/net/address-list.js';
import { runs } from '../../support/runs.js';

const origins = (...entries: string[]): AllowedOrigins => parseAllowedOrigins(entries) as AllowedOrigins;
const hosts = (...entries: string[]): AllowedHosts => parseAllowedHosts(entries) as AllowedHosts;

describe("'self' in allowedOrigins", () => {
  const facts = (origin: string, host: string) => ({
    origin,
    host: parseHost(host)!,
    secure: false,
    isLocalPeer: false,
  });
  const list = origins('https://good.example', 'self');

  it('allows the same origin beside the listed ones', () => {
    expect(originMismatch(list, facts('HTTP://App.example:80', 'app.example'))).toBeUndefined();
    expect(originMismatch(list, facts('https://good.example', 'app.example'))).toBeUndefined();
    expect(originMismatch(list, facts('http://evil.test', 'app.example'))).toContain('connections.allowedOrigins');
    expect(originMismatch(list, { ...facts('http://evil.test', 'evil.test'), isLocalPeer: true })).toContain(
      'loopback',
    );
    expect(list.has('self')).toBe(false);
  });
});

describe('Origin and Host comparison', () => {
  it('distinguishes schemes although name and port are equal', () => {
    const list = origins('https://good.example', 'https://*.example.com');
    expect(list.has('http://good.example:443')).toBe(false);
    expect(list.has('http://a.example.com:443')).toBe(false);
    expect(list.has('https://a.example.com:443')).toBe(true);
  });

  it('accepts port 65535 and refuses port 65536', () => {
    expect(origins('https://good.example:65535').has('https://good.example:65535')).toBe(true);
    expect(hosts('good.example:65535').has(parseHost('good.example:65535')!)).toBe(true);
    expect(parseAllowedHosts(['good.example:65536'])).toEqual([expect.stringContaining('is not a valid host')]);
    expect(parseAllowedOrigins(['https://good.example:65536'])).toEqual([expect.stringContaining('is not an origin')]);
  });

  it('treats an origin that is not http or https as a foreign origin', () => {
    const facts = { host: parseHost('abc')!, secure: undefined, isLocalPeer: false };
    expect(originMismatch(undefined, { ...facts, origin: 'http://abc' })).toBeUndefined();
    expect(originMismatch(undefined, { ...facts, origin: 'chrome-extension://abc' })).toContain('chrome-extension');
  });
});

it('hostMismatch() truncates the refused Host to 300 characters', () => {
  const host = { name: 'x'.repeat(2000), port: undefined };
  expect(hostMismatch(hosts('good.example'), host)).toHaveLength(300);
});

describe('allowedOrigins', () => {
  const list = origins(
    'https://good.example',
    'http://dev.example:8080',
    'https://*.example.com',
    'http://[::1]:3000',
    'chrome-extension://abcdef',
    'https://bücher.example',
    'file://',
    'app://.',
  );

  it.each([
    'https://good.example',
    'https://good.example:443',
    'http://dev.example:8080',
    'https://a.example.com',
    'https://a.b-c.example.com',
    'http://[::1]:3000',
    'chrome-extension://abcdef',
    'https://xn--bcher-kva.example',
    'HTTPS://GOOD.Example',
    'CHROME-EXTENSION://abcdef',
    'file://',
    'FILE://',
    'app://.',
  ])('allows %s', (origin) => expect(list.has(origin)).toBe(true));

  it.each([
    ['scheme', 'http://good.example'],
    ['port', 'https://good.example:8443'],
    ['port', 'https://good.example:80'],
    ['port', 'http://dev.example'],
    ['port with zeros', 'https://good.example:0443'],
    ['port out of range', 'https://good.example:65979'],
    ['empty port', 'https://good.example:'],
    ['suffix', 'https://good.example.evil.test'],
    ['prefix', 'https://evilgood.example'],
    ['prefix of a wildcard', 'https://evilexample.com'],
    ["the wildcard's own name", 'https://example.com'],
    ['empty label', 'https://.example.com'],
    ['empty labels', 'https://a..example.com'],
    ['wildcard with a port', 'https://a.example.com:8443'],
    ['wildcard name as a prefix', 'https://a.example.com.evil.test'],
    ['wildcard, trailing dot', 'https://a.example.com.'],
    ['a star', 'https://*.example.com'],
    ['trailing dot', 'https://good.example.'],
    ['userinfo', 'https://good.example@evil.test'],
    ['userinfo', 'https://evil.test@good.example'],
    ['userinfo in a wildcard', 'https://evil.test@a.example.com'],
    ['path', 'https://good.example/'],
    ['path in a wildcard', 'https://evil.test/.example.com'],
    ['fragment', 'https://evil.test#.example.com'],
    ['backslash', 'https://evil.test\\.example.com'],
    ['a non-ASCII letter that normalises to ASCII', 'https://\u212aood.example'],
    ['two origins', 'https://good.example https://evil.test'],
    ['two origins', 'https://good.example, https://good.example'],
    ['a non-ASCII name', 'https://bücher.example'],
    ['percent', 'https://good%2eexample'],
    ['white space', ' https://good.example'],
    ['a line end', 'https://good.example\n'],
    ['null', 'null'],
    ['empty', ''],
    ['a host after a scheme without one', 'file://good.example'],
    ['a file path', 'file:///etc/passwd'],
    ['a name before the dot', 'app://a.'],
    ['no host', 'app://'],
    ['no host', 'https://'],
    ['no scheme', 'good.example'],
  ])('refuses an origin with %s: %p', (_, origin) => expect(list.has(origin)).toBe(false));

  it("allows every origin with '*', and 'null' only where it is listed", () => {
    expect(origins('*').has('what ever')).toBe(true);
    expect(origins('*').has('null')).toBe(true);
    expect(origins('null').has('null')).toBe(true);
    expect(origins('null').has('https://good.example')).toBe(false);
    expect(origins().has('https://good.example')).toBe(false);
  });

  it('normalises the configured entries', () => {
    expect(origins('HTTPS://Good.Example:443').has('https://good.example')).toBe(true);
    expect(origins('https://*.BÜCHER.example').has('https://a.xn--bcher-kva.example')).toBe(true);
    expect(origins('http://[0:0::1]').has('http://[::1]')).toBe(true);
  });

  it.each([
    ['https://good.example/', "write 'https://good.example'"],
    ['wss://good.example', "write 'https://good.example'"],
    ['ws://good.example', "write 'http://good.example'"],
    ['good.example', 'not an origin'],
    ['*.example.com', 'not an origin'],
    ['https://*', 'not an origin'],
    ['https://*.', 'not an origin'],
    ['https://a.*.example.com', 'not an origin'],
    ['https://*.*.example.com', 'not an origin'],
    ['https://*x.example.com', 'not an origin'],
    ['https://*.1.2.3.4', 'not an origin'],
    ['https://u@good.example', 'not an origin'],
    ['https://good.example/chat', 'not an origin'],
    ['https://good.example:99999', 'not an origin'],
    ['https://good.example:0', 'not an origin'],
    ['https://', 'not an origin'],
    ['', 'not an origin'],
    ['NULL', 'not an origin'],
  ])('explains the problem with the entry %p', (entry, words) => {
    const problems = parseAllowedOrigins(['https://fine.example', entry]);
    expect(problems).toHaveLength(1);
    expect(String(problems)).toContain(words);
  });

  it('allows only names whose last labels are exactly the listed name, for any text', () => {
    const wild = origins('https://*.example.com');
    const text = fc.oneof(fc.string(), fc.stringMatching(/^https:\/\/[a-z.@:/\\*-]{0,12}example\.com[a-z.:/]{0,6}$/));
    fc.assert(
      fc.property(text, (origin) => {
        if (wild.has(origin)) expect(origin).toMatch(/^https:\/\/([a-z0-9_-]+\.)+example\.com(:443)?$/);
      }),
      { numRuns: runs(2000) },
    );
  });
});

describe('originMismatch() without allowedOrigins', () => {
  const judge = (origin: string | undefined, host: string, secure?: boolean, isLocalPeer = false) =>
    originMismatch(undefined, { origin, host: parseHost(host)!, secure, isLocalPeer });

  it.each<[string | undefined, string, boolean | undefined]>([
    [undefined, 'app.example', false],
    ['http://app.example', 'app.example', false],
    ['http://app.example', 'APP.example:80', false],
    ['http://app.example:80', 'app.example', false],
    ['https://app.example', 'app.example', true],
    ['https://app.example', 'app.example:443', true],
    ['https://app.example:8443', 'app.example:8443', true],
    // A trusted proxy that does not report the scheme: either scheme may be the same origin.
    ['https://app.example', 'app.example', undefined],
    ['http://app.example', 'app.example:80', undefined],
    ['http://[::1]:3000', '[::1]:3000', false],
    ['http://app.example.', 'app.example.', false],
  ])('allows %s to %s (TLS %s)', (origin, host, secure) => expect(judge(origin, host, secure)).toBeUndefined());

  it.each<[string, string, boolean | undefined]>([
    ['https://app.example', 'app.example', false],
    ['http://app.example', 'app.example', true],
    ['http://app.example:3000', 'app.example', false],
    ['http://app.example', 'app.example:3000', false],
    ['https://app.example', 'app.example:80', undefined],
    ['http://evil.test', 'app.example', false],
    ['http://app.example.evil.test', 'app.example', false],
    ['http://xapp.example', 'app.example', false],
    ['http://app.example.', 'app.example', false],
    ['http://u@app.example', 'app.example', false],
    ['null', 'app.example', false],
    ['', 'app.example', false],
    ['chrome-extension://app.example', 'app.example', undefined],
    ['file://', 'app.example', false],
  ])('refuses %s to %s (TLS %s)', (origin, host, secure) =>
    expect(judge(origin, host, secure)).toContain(`'${origin.replace('u@', '…@')}'`),
  );

  it('names the compared origins in a bounded detail', () => {
    expect(judge('http://evil.test', 'app.example:81', false)).toBe(
      "Origin 'http://evil.test' is not http://app.example:81 (connections.allowedOrigins)",
    );
    expect(judge('https://evil.test', 'app.example')).toContain('http(s)://app.example');
    expect(judge('https://user:secret@evil.test/secret?token=secret#secret', 'app.example')).toMatch(
      /^Origin 'https:\/\/…@evil.test\/…' is not/,
    );
    expect(judge(`https://${'a'.repeat(190)}secret@evil.test`, 'app.example')).not.toContain('secret');
    expect(judge(`http://${'a'.repeat(8000)}`, 'b'.repeat(8000))!.length).toBeLessThan(600);
  });

  it('allows only local host names from a loopback peer, against DNS rebinding', () => {
    for (const host of [
      'localhost',
      'localhost:3000',
      'a.localhost:3000',
      '127.0.0.1:3000',
      '192.168.1.5',
      '[::1]:3000',
    ]) {
      expect([host, judge(`http://${host}`, host, false, true)]).toEqual([host, undefined]);
    }
    for (const host of [
      'evil.test',
      'evil.test:3000',
      'localhost.evil.test',
      'evillocalhost',
      '127.0.0.1.evil.test',
      '1.2.3',
    ]) {
      expect(judge(`http://${host}`, host, false, true)).toContain('not a local name');
      expect(judge(`http://${host}`, host, false, false)).toBeUndefined();
    }
    expect(judge(undefined, 'evil.test', false, true)).toBeUndefined();
    expect(
      originMismatch(origins('http://evil.test'), {
        origin: 'http://evil.test',
        host: parseHost('evil.test')!,
        secure: false,
        isLocalPeer: true,
      }),
    ).toBeUndefined();
  });
});

describe('allowedHosts', () => {
  const list = hosts('app.example', 'admin.example:8443', '*.example.com', '[::1]', '192.0.2.1', 'bücher.example');
  const has = (host: string) => list.has(parseHost(host)!);

  it('compares whole names, and ports where the entry has one', () => {
    for (const yes of [
      'app.example',
      'APP.example:1',
      'admin.example:8443',
      'a.example.com:9',
      'a.b.example.com',
      '[::1]:80',
      '192.0.2.1',
      'xn--bcher-kva.example',
    ]) {
      expect([yes, has(yes)]).toEqual([yes, true]);
    }
    for (const no of [
      'app.example.',
      'xapp.example',
      'app.example.evil.test',
      'admin.example',
      'admin.example:443',
      'example.com',
      'evilexample.com',
      '.example.com',
      '[::2]',
    ]) {
      expect([no, has(no)]).toEqual([no, false]);
    }
    expect(hosts('*').has(parseHost('x')!)).toBe(true);
    expect(hostMismatch(undefined, parseHost('x')!)).toBeUndefined();
    expect(hostMismatch(list, parseHost('x')!)).toContain("'x'");
  });

  it.each([
    'https://app.example',
    'app.example/',
    'a b',
    '',
    '*.',
    'a:0',
    'a:99999',
    '[::1',
    '::1',
    'u@a',
    '*.1.2.3.4',
  ])('refuses the entry %p', (entry) => {
    expect(String(parseAllowedHosts([entry]))).toContain(`'${entry}' is not a valid host`);
  });
});

describe('checkAccess', () => {
  const facts: AccessFacts = {
    address: parseAddress('203.0.113.9')!,
    peer: parseAddress('127.0.0.1')!,
    viaProxy: true,
    tls: false,
    secure: undefined,
    host: parseHost('app.example')!,
    origin: 'https://app.example',
  };
  const rules = { requireTls: false, hosts: undefined, origins: undefined, addresses: {} };

  it('passes what satisfies every rule, and checks TLS, host, origin and addresses in this order', () => {
    expect(checkAccess(rules, facts)).toBeUndefined();
    const strict = {
      requireTls: true,
      hosts: hosts('other.example'),
      origins: origins('https://other.example'),
      addresses: { denied: addressList('203.0.113.0/24') },
    };
    expect(checkAccess(strict, facts)).toMatchObject({ reason: 'tls-required', status: 403 });
    expect(checkAccess({ ...strict, requireTls: false }, facts)).toMatchObject({ reason: 'host', status: 403 });
    expect(checkAccess({ ...strict, requireTls: false, hosts: undefined }, facts)).toMatchObject({
      reason: 'origin',
      status: 403,
    });
    expect(checkAccess({ ...rules, addresses: strict.addresses }, facts)).toMatchObject({
      reason: 'address-denied',
      status: 403,
    });
  });

  it('requires a local host name of a loopback peer that is not a proxy', () => {
    const origin = 'http://app.example';
    expect(checkAccess(rules, { ...facts, origin, viaProxy: false, secure: false })).toMatchObject({
      reason: 'origin',
    });
    expect(checkAccess(rules, { ...facts, origin, peer: NO_ADDRESS, viaProxy: false, secure: false })).toBeUndefined();
  });

  it('accepts TLS of this server or of the nearest proxy', () => {
    expect(isTlsSatisfied(false, { tls: false, secure: false })).toBe(true);
    expect(isTlsSatisfied(true, { tls: true, secure: false })).toBe(true);
    expect(isTlsSatisfied(true, { tls: false, secure: true })).toBe(true);
    expect(isTlsSatisfied(true, { tls: false, secure: undefined })).toBe(false);
  });
});
