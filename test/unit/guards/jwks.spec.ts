import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterEach, describe, expect, it } from '@jest/globals';
import { SignJWT } from 'jose';
import { attempt } from 'nest-secure-ws/testing';
import { MAX_JWKS_BYTES } from '../../../lib/guards/jwks.js';
import { JwtGuard } from '../../../lib/guards/jwt-guard.js';
import type { RemoteJwksOptions } from '../../../lib/guards/jwt-options.js';

const HOUR = 3_600_000;
const NOW = Date.UTC(2030, 0, 1);

const pairs = new Map<string, ReturnType<typeof generateKeyPairSync>>();
const pair = (kid: string) => {
  let made = pairs.get(kid);
  if (made === undefined) pairs.set(kid, (made = generateKeyPairSync('ec', { namedCurve: 'P-256' }) as never));
  return made as unknown as { publicKey: KeyObject; privateKey: KeyObject };
};
const jwk = (kid: string) => ({ ...pair(kid).publicKey.export({ format: 'jwk' }), kid });
const keySet = (...kids: string[]): string => JSON.stringify({ keys: kids.map(jwk) });

const token = (kid: string | undefined, signer = kid): Promise<string> =>
  new SignJWT({ sub: 'user-7', exp: NOW / 1000 + 1e8 })
    .setProtectedHeader({ alg: 'ES256', kid })
    .sign(pair(signer!).privateKey);

/** An issuer whose answer and clock the test sets. */
class Issuer {
  answer: () => Response | Promise<Response>;
  fetched = 0;
  time = 0;
  readonly warnings: string[] = [];
  readonly guard: JwtGuard;

  constructor(...kids: string[]) {
    this.answer = () => new Response(keySet(...kids));
    this.guard = new JwtGuard(
      { jwks: 'https://id.example/keys?client=secret', algorithms: ['ES256'] },
      {
        fetch: (async () => {
          this.fetched++;
          return this.answer();
        }) as typeof fetch,
        now: () => this.time,
        date: () => new Date(NOW + this.time),
        warn: (message) => this.warnings.push(message),
      },
    );
  }

  has(...kids: string[]): void {
    this.answer = () => new Response(keySet(...kids));
  }

  isDown(): void {
    this.answer = () => Promise.reject(new Error('connect ECONNREFUSED'));
  }

  async status(kid: string | undefined, signer = kid): Promise<number> {
    const said = await this.guard.admit(attempt({ headers: { Authorization: `Bearer ${await token(kid, signer)}` } }));
    return said.decision === 'allow' ? 101 : said.status;
  }
}

describe('remote keys', () => {
  it('are fetched before the first token, and once for all that follow', async () => {
    const issuer = new Issuer('a');
    await issuer.guard.prepare();
    expect(issuer.fetched).toBe(1);
    for (let i = 0; i < 50; i++) expect(await issuer.status('a')).toBe(101);
    expect(issuer.fetched).toBe(1);
  });

  it('are fetched again when a token names an unknown key, so that a rotation works at once', async () => {
    const issuer = new Issuer('a');
    await issuer.guard.prepare();
    issuer.has('a', 'b');
    issuer.time += 30_000;
    expect(await issuer.status('b')).toBe(101);
    expect(issuer.fetched).toBe(2);
    issuer.has('b');
    issuer.time += 600_001;
    expect(await issuer.status('a')).toBe(101);
    await new Promise(setImmediate);
    // A withdrawn key is no longer accepted.
    expect(await issuer.status('a')).toBe(401);
    expect(await issuer.status('b')).toBe(101);
  });

  it('are fetched once per cooldown, whatever keys a flood of tokens names', async () => {
    const issuer = new Issuer('a');
    await issuer.guard.prepare();
    for (let second = 0; second <= 60; second++) {
      issuer.time = second * 1000;
      const flood = Array.from({ length: 20 }, (_, i) => issuer.status(`${second}-${i}`, 'evil'));
      expect(new Set(await Promise.all(flood))).toEqual(new Set([401]));
    }
    // At the start, after 30 s and after 60 s.
    expect(issuer.fetched).toBe(3);
    expect(await issuer.status('a')).toBe(101);
  });

  it('are fetched once for all who wait', async () => {
    const issuer = new Issuer('a');
    let answer: ((response: Response) => void) | undefined;
    issuer.answer = () =>
      new Promise((resolve) => {
        answer = resolve;
      });
    const waiting = Array.from({ length: 30 }, () => issuer.status('a'));
    while (answer === undefined) await new Promise(setImmediate);
    answer(new Response(keySet('a')));
    expect(new Set(await Promise.all(waiting))).toEqual(new Set([101]));
    expect(issuer.fetched).toBe(1);
  });

  it('are kept for 24 hours while the endpoint is down, and not longer', async () => {
    const issuer = new Issuer('a');
    await issuer.guard.prepare();
    issuer.isDown();
    for (const hours of [1, 12, 23.9]) {
      issuer.time = hours * HOUR;
      expect(await issuer.status('a')).toBe(101);
      await new Promise(setImmediate);
    }
    expect(issuer.fetched).toBe(4);
    issuer.time = 24 * HOUR + 1;
    expect(await issuer.status('a')).toBe(503);
    issuer.has('a');
    // Within the cooldown nothing is fetched and no token waits.
    expect(await issuer.status('a')).toBe(503);
    issuer.time += 30_000;
    expect(await issuer.status('a')).toBe(101);
  });

  it('that were never fetched give 503, not 401, because the token may be valid', async () => {
    const issuer = new Issuer('a');
    issuer.isDown();
    await issuer.guard.prepare();
    expect(await issuer.status('a')).toBe(503);
    expect(issuer.fetched).toBe(1);
    issuer.time += 30_000;
    issuer.has('a');
    expect(await issuer.status('a')).toBe(101);
  });

  it('that cannot be fetched cause one warning per fetch, on one line, without the query of the URL', async () => {
    const issuer = new Issuer('a');
    issuer.answer = () => Promise.reject(new Error('no\r\n\u001b[2Jway'));
    await issuer.guard.prepare();
    for (let i = 0; i < 10; i++) await issuer.status('a');
    expect(issuer.warnings).toHaveLength(1);
    expect(issuer.warnings[0]).toBe(
      'The keys of https://id.example/keys cannot be fetched: Error: no\\u000d\\u000a\\u001b[2Jway',
    );
  });

  it('are tried one after the other for a token without a key id, up to a limit', async () => {
    const issuer = new Issuer('a', 'b', 'c', 'd', 'e');
    await issuer.guard.prepare();
    expect(await issuer.status(undefined, 'a')).toBe(101);
    expect(await issuer.status(undefined, 'd')).toBe(101);
    expect(await issuer.status(undefined, 'e')).toBe(401);
    expect(await issuer.status(undefined, 'z')).toBe(401);
  });

  const SECRET = 'k'.repeat(43);
  it.each([
    ['404', () => new Response('', { status: 404 })],
    ['500 with keys', () => new Response(keySet('a'), { status: 500 })],
    ['204', () => new Response(null, { status: 204 })],
    ['invalid JSON', () => new Response('<html>')],
    ['no bytes', () => new Response('')],
    ['null', () => new Response('null')],
    ['a list', () => new Response('[]')],
    ['a keys member that is not a list', () => new Response('{"keys":{}}')],
    ['too many keys', () => new Response(JSON.stringify({ keys: Array(101).fill(jwk('a')) }))],
    ['too many bytes', () => new Response(`${keySet('a')}${' '.repeat(MAX_JWKS_BYTES)}`)],
  ])('are not replaced by an answer with %s', async (_, answer) => {
    const issuer = new Issuer('a');
    await issuer.guard.prepare();
    issuer.answer = answer;
    issuer.time = HOUR;
    expect(await issuer.status('a')).toBe(101);
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(issuer.warnings).toHaveLength(1);
    expect(await issuer.status('a')).toBe(101);
  });

  it.each([
    ['a secret', { kty: 'oct', k: SECRET, kid: 'x' }],
    ['a private key', { ...pair('a').privateKey.export({ format: 'jwk' }), kid: 'x' }],
    ['null', null],
    ['a key of an unknown type', { kty: 'XYZ', kid: 'x' }],
    ['a key without its parameters', { kty: 'EC', crv: 'P-256', kid: 'x' }],
  ])('beside %s are used', async (_, key) => {
    const issuer = new Issuer();
    issuer.answer = () => new Response(JSON.stringify({ keys: [key, jwk('a')] }));
    await issuer.guard.prepare();
    expect(await issuer.status('a')).toBe(101);
    expect(await issuer.status('x', 'a')).toBe(401);
  });
});

describe('remote keys over HTTP', () => {
  let server: Server | undefined;
  afterEach(() => {
    server?.closeAllConnections();
    server?.close();
  });

  async function guardAt(listener: RequestListener, jwks: Partial<RemoteJwksOptions> = {}, path = '/keys') {
    server = createServer(listener);
    await new Promise<void>((resolve) => server!.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const warnings: string[] = [];
    const url = `http://127.0.0.1:${port}${path}`;
    const guard = new JwtGuard(
      { jwks: { url, ...jwks }, algorithms: ['ES256'] },
      { warn: (message) => warnings.push(message), date: () => new Date(NOW) },
    );
    await guard.prepare();
    const status = async () => {
      const said = await guard.admit(attempt({ protocols: [`bearer.${await token('a')}`] }));
      return said.decision === 'allow' ? 101 : said.status;
    };
    return { status, warnings };
  }

  it("are requested with the application's headers", async () => {
    let seen: string | undefined;
    const { status } = await guardAt(
      (request, response) => {
        seen = request.headers['x-api-key'] as string;
        response.end(keySet('a'));
      },
      { headers: { 'X-Api-Key': 'k' } },
    );
    expect(await status()).toBe(101);
    expect(seen).toBe('k');
  });

  it('are not fetched from a redirect, which could lead to keys of others', async () => {
    const { status, warnings } = await guardAt((request, response) => {
      if (request.url === '/keys') response.writeHead(302, { Location: '/other' }).end();
      else response.end(keySet('a'));
    });
    expect(await status()).toBe(503);
    expect(warnings).toHaveLength(1);
  });

  it('fail at the timeout when the answer never ends, and at the size limit when it is too long', async () => {
    const silent = await guardAt((_, response) => void response.write('{"keys":['), { timeout: 50 });
    expect(silent.warnings[0]).toContain('Timeout');
    expect(await silent.status()).toBe(503);
    server?.closeAllConnections();
    server?.close();
    let written = 0;
    const endless = await guardAt((_, response) => {
      const more = (): void => {
        while (!response.destroyed && response.write(' '.repeat(16_384))) written += 16_384;
        if (!response.destroyed) response.once('drain', more);
      };
      more();
    });
    expect(endless.warnings[0]).toContain('longer than 262144 bytes');
    expect(written).toBeLessThan(64 * 1024 * 1024);
  });

  it('are limited by the size after decompression', async () => {
    const bomb = gzipSync(Buffer.alloc(64 * 1024 * 1024, ' '));
    const { status, warnings } = await guardAt((_, response) =>
      response.writeHead(200, { 'Content-Encoding': 'gzip' }).end(bomb),
    );
    expect(warnings[0]).toContain('longer than 262144 bytes');
    expect(await status()).toBe(503);
  });
});
