import { createHmac, createSecretKey, generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { SignJWT } from 'jose';
import { type AttemptOptions, attempt } from 'nest-secure-ws/testing';
import { runGuards } from '../../../lib/admission/guard-runner.js';
import { JwtGuard, JwtRefusedError, type JwtTools } from '../../../lib/guards/jwt-guard.js';
import { type JwtGuardOptions, nestJwtOptions } from '../../../lib/guards/jwt-options.js';
import { runs } from '../../support/runs.js';

const NOW = Date.UTC(2030, 0, 1);
const SECONDS = NOW / 1000;
const SECRET = 'a secret of forty-eight bytes that nobody knows.';
const ISSUER = 'https://id.example';
const AUDIENCE = 'chat';

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const otherRsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const ed = generateKeyPairSync('ed25519');
const pem = (key: KeyObject): string => key.export({ type: 'spki', format: 'pem' }).toString();

const tools: JwtTools = { date: () => new Date(NOW), now: () => 0 };
const make = (options: Partial<JwtGuardOptions>, more: JwtTools = {}): JwtGuard =>
  new JwtGuard({ issuer: ISSUER, audience: AUDIENCE, ...options } as JwtGuardOptions, { ...tools, ...more });
const ofSecret = (options: Partial<JwtGuardOptions> = {}): JwtGuard =>
  make({ secret: SECRET, algorithms: ['HS256'], ...options });
const ofKey = (options: Partial<JwtGuardOptions> = {}): JwtGuard =>
  make({ key: rsa.publicKey, algorithms: ['RS256'], ...options });

interface Token {
  readonly header?: Record<string, unknown>;
  readonly claims?: Record<string, unknown>;
  readonly key?: KeyObject | Uint8Array;
}

const good = { iss: ISSUER, aud: AUDIENCE, sub: 'user-7', exp: SECONDS + 60 };

function sign({ header = {}, claims = {}, key = Buffer.from(SECRET) }: Token = {}): Promise<string> {
  return new SignJWT({ ...good, ...claims }).setProtectedHeader({ alg: 'HS256', ...header }).sign(key);
}

/** Any header over any claims, with a real HMAC of any bytes, which a JWT library refuses to create. */
function forge(header: unknown, claims: unknown, secret: string | Buffer = SECRET): string {
  const encode = (value: unknown): string =>
    Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
  const signed = `${encode(header)}.${encode(claims)}`;
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
}

/** Unsigned claims between the header and signature of a valid token. */
function swapClaims(): string {
  const [header, , signature] = forge({ alg: 'HS256' }, good).split('.');
  return `${header}.${Buffer.from(JSON.stringify({ ...good, sub: 'admin' })).toString('base64url')}.${signature}`;
}

/** The peer's answer and the log's detail, through the runner that the server uses. */
async function outcome(guard: JwtGuard, token: string, from = 'header') {
  const thrown: unknown[] = [];
  const said = await runGuards(
    [(each) => guard.admit(each)],
    from === 'protocol'
      ? attempt({ protocols: ['chat', `bearer.${token}`] })
      : attempt({ headers: { Authorization: `Bearer ${token}` } }),
    { timeout: 1000, schedule: () => () => undefined, now: () => NOW, onThrown: (error) => thrown.push(error) },
  );
  expect(thrown).toEqual([]);
  return said;
}

const detailOf = async (guard: JwtGuard, token: string): Promise<string | undefined> => {
  const said = await outcome(guard, token);
  if (said.reason === undefined || said.reason === 'abandoned') throw new Error('it was admitted');
  expect(said).toMatchObject({ reason: 'guard', status: 401, text: 'Unauthorized' });
  expect(said.headers).toEqual([['WWW-Authenticate', 'Bearer error="invalid_token"']]);
  // The words come from a closed set, so nothing of the token is among them.
  for (const part of token.split('.')) if (part.length > 8) expect(JSON.stringify(said)).not.toContain(part);
  return said.detail;
};

describe('a valid token', () => {
  it.each([
    ['a secret', ofSecret(), {}],
    ['a secret of bytes', ofSecret({ secret: Buffer.from(SECRET) }), {}],
    ['a secret key', ofSecret({ secret: createSecretKey(Buffer.from(SECRET)) }), {}],
    ['a stronger HMAC', ofSecret({ algorithms: ['HS256', 'HS384'] }), { header: { alg: 'HS384' } }],
    ['a key', ofKey(), { header: { alg: 'RS256' }, key: rsa.privateKey }],
    ['a key in PEM', ofKey({ key: pem(rsa.publicKey) }), { header: { alg: 'RS256' }, key: rsa.privateKey }],
    [
      'a JWK',
      ofKey({ key: rsa.publicKey.export({ format: 'jwk' }) }),
      { header: { alg: 'RS256' }, key: rsa.privateKey },
    ],
    ['PSS', ofKey({ algorithms: ['PS256'] }), { header: { alg: 'PS256' }, key: rsa.privateKey }],
    ['a curve', ofKey({ key: ec.publicKey, algorithms: ['ES256'] }), { header: { alg: 'ES256' }, key: ec.privateKey }],
    ['Ed25519', ofKey({ key: ed.publicKey, algorithms: ['EdDSA'] }), { header: { alg: 'EdDSA' }, key: ed.privateKey }],
  ] as [string, JwtGuard, Token][])('of %s is admitted', async (_, guard, token) => {
    expect(await outcome(guard, await sign(token))).toMatchObject({
      principal: good,
      userKey: 'user-7',
      // The connection may last as long as the token is accepted.
      expiresAt: NOW + 65_000,
    });
  });

  it('with a CryptoKey is admitted', async () => {
    const key = await crypto.subtle.importKey(
      'spki',
      new Uint8Array(rsa.publicKey.export({ type: 'spki', format: 'der' })),
      { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' },
      true,
      ['verify'],
    );
    expect((await outcome(ofKey({ key }), await sign({ header: { alg: 'RS256' }, key: rsa.privateKey }))).reason).toBe(
      undefined,
    );
  });

  it('gives the principal and user key that the application derives from its claims', async () => {
    const guard = ofSecret({ principal: ({ sub }) => ({ name: sub }), userKey: ({ iss, sub }) => `${iss}#${sub}` });
    expect(await outcome(guard, await sign())).toMatchObject({
      principal: { name: 'user-7' },
      userKey: `${ISSUER}#user-7`,
    });
  });

  it('may be late within clockTolerance; the connection then ends at once, not at a time in the past', async () => {
    const claims = { exp: SECONDS - 4 };
    expect(await outcome(ofSecret(), await sign({ claims }))).toMatchObject({ expiresAt: NOW + 1000 });
    expect(await detailOf(ofSecret({ clockTolerance: 0 }), await sign({ claims }))).toContain('expired');
  });

  it('may expire beyond the range of Date; the connection then never expires', async () => {
    expect(await outcome(ofSecret(), await sign({ claims: { exp: 1e300 } }))).toMatchObject({ expiresAt: 8.64e15 });
  });

  it('without exp is refused unless requireExpiry is false', async () => {
    const token = await sign({ claims: { exp: undefined } });
    expect(await detailOf(ofSecret(), token)).toContain('its claim exp');
    expect(await outcome(ofSecret({ requireExpiry: false }), token)).toMatchObject({ expiresAt: Infinity });
  });
});

describe('an invalid token', () => {
  const HMAC = { alg: 'HS256' };
  const cases: readonly (readonly [string, string | Promise<string>, string])[] = [
    ['expired', sign({ claims: { exp: SECONDS - 6 } }), 'expired'],
    ['not yet valid', sign({ claims: { nbf: SECONDS + 6 } }), 'its claim nbf'],
    ['of another issuer', sign({ claims: { iss: 'https://evil.example' } }), 'its claim iss'],
    ['of no issuer', sign({ claims: { iss: undefined } }), 'its claim iss'],
    ['for another audience', sign({ claims: { aud: ['mail', 'files'] } }), 'its claim aud'],
    ['for no audience', sign({ claims: { aud: undefined } }), 'its claim aud'],
    ['signed by another secret', sign({ key: Buffer.from(SECRET.replace('a', 'b')) }), 'signature'],
    ['of an algorithm that is not accepted', sign({ header: { alg: 'HS384' } }), 'algorithm'],
    [
      'signed with a private key where a secret is expected',
      sign({ header: { alg: 'RS256' }, key: rsa.privateKey }),
      'algorithm',
    ],
    ['with a string as exp', Promise.resolve(forge(HMAC, { ...good, exp: 'never' })), 'its claim exp'],
    ['with an object as nbf', Promise.resolve(forge(HMAC, { ...good, nbf: {} })), 'its claim nbf'],
    ['with null as exp', Promise.resolve(forge(HMAC, { ...good, exp: null })), 'its claim exp'],
    ['without a claims object', forge(HMAC, []), 'malformed'],
    ['with claims that are not JSON', forge(HMAC, '{'), 'malformed'],
    ['with empty claims', forge(HMAC, '{}'), 'its claim'],
    ['unsigned', forge({ alg: 'none' }, good), 'algorithm'],
    ['unsigned, in upper case', forge({ alg: 'NONE' }, good), 'algorithm'],
    ['of an algorithm in lower case', forge({ alg: 'hs256' }, good), 'algorithm'],
    ['of several algorithms', forge({ alg: ['HS256'] }, good), 'algorithm'],
    ['of an inherited algorithm', forge({ alg: 'constructor' }, good), 'algorithm'],
    ['of no algorithm', forge({}, good), 'algorithm'],
    ['with an extension', forge({ ...HMAC, crit: ['exp'], exp: 1 }, good), 'extensions'],
    ['with an empty list of extensions', forge({ ...HMAC, crit: [] }, good), 'extensions'],
    ['with crit that is not a list', forge({ ...HMAC, crit: null }, good), 'extensions'],
    ['with claims that are not encoded', forge({ ...HMAC, crit: ['b64'], b64: false }, good), 'extensions'],
    ['with b64 that is true', forge({ ...HMAC, b64: true }, good), 'extensions'],
    ['with a kid that is not a string', forge({ ...HMAC, kid: { $ne: 1 } }, good), 'malformed'],
    ['with a long kid', forge({ ...HMAC, kid: 'k'.repeat(257) }, good), 'malformed'],
    ['with a long header', forge({ ...HMAC, x: 'x'.repeat(2000) }, good), 'malformed'],
    ['with a header that is a list', forge([], good), 'malformed'],
    ['with a header that is null', forge('null', good), 'malformed'],
    ['with a header that is not JSON', forge('{alg:HS256}', good), 'malformed'],
    ['of two parts', forge(HMAC, good).split('.').slice(0, 2).join('.'), 'malformed'],
    ['without a signature', `${forge(HMAC, good).split('.').slice(0, 2).join('.')}.`, 'malformed'],
    ['of five parts, as JWE has', `${forge(HMAC, good)}.eA.eA`, 'malformed'],
    ['with padding', `${forge(HMAC, good)}=`, 'malformed'],
    ['with white space', `${forge(HMAC, good)} x`, 'malformed'],
    ['with letters outside base64url', `${forge(HMAC, good)}+/`, 'malformed'],
    ['with an extension whose name is escaped', forge('{"alg":"HS256","\\u0063rit":["x"],"x":1}', good), 'extensions'],
    ['with b64 whose name is escaped', forge('{"alg":"HS256","\\u006264":false}', good), 'extensions'],
    ['unsigned, after a valid algorithm', forge('{"alg":"HS256","alg":"none"}', good), 'algorithm'],
    [
      'with an extension beside __proto__',
      forge('{"alg":"HS256","__proto__":{"x":1},"crit":["x"]}', good),
      'extensions',
    ],
    ['of an algorithm with a null character', forge({ alg: 'HS256\0' }, good), 'algorithm'],
    ['of an algorithm with white space', forge({ alg: ' HS256' }, good), 'algorithm'],
    ['with a header after a byte order mark', forge('\uFEFF{"alg":"HS256"}', good), 'malformed'],
    ['with half of its signature', forge(HMAC, good).slice(0, -21), 'signature'],
    ['with one byte of its signature', forge(HMAC, good).replace(/[^.]+$/, (all) => all.slice(0, 2)), 'signature'],
    ['with its signature twice', forge(HMAC, good).replace(/[^.]+$/, (all) => all + all), 'signature'],
    ['signed with an empty secret', forge(HMAC, good, ''), 'signature'],
    ['signed with the name of its key', forge({ ...HMAC, kid: 'main' }, good, 'main'), 'signature'],
    ['with the signature of other claims', swapClaims(), 'signature'],
    ['longer than 16 KiB', `${forge(HMAC, { ...good, x: 'x'.repeat(13_000) })}`, 'too long'],
  ];

  it.each(cases)('%s is refused', async (_, token, words) => {
    expect(await detailOf(ofSecret(), await token)).toContain(words);
  });

  it('signed with the public key as an HMAC secret is refused: the guard expects a key, not text', async () => {
    for (const secret of [
      pem(rsa.publicKey),
      pem(rsa.publicKey).trim(),
      rsa.publicKey.export({ type: 'pkcs1', format: 'pem' }),
    ]) {
      const token = forge({ alg: 'HS256' }, good, Buffer.from(secret as string));
      expect(await detailOf(ofKey(), token)).toContain('algorithm');
      const asRsa = forge({ alg: 'RS256' }, good, Buffer.from(secret as string));
      expect(await detailOf(ofKey(), asRsa)).toContain('signature');
    }
  });

  it('signed with a key that it contains is refused', async () => {
    const jwk = otherRsa.publicKey.export({ format: 'jwk' });
    const header = { alg: 'RS256', jwk, jku: 'https://evil.example/jwks.json', x5c: ['MIIB'], kid: '../../dev/null' };
    const token = await sign({ header, key: otherRsa.privateKey });
    expect(await detailOf(ofKey(), token)).toContain('signature');
  });

  it("with a signature of zeros or of the curve's constants is refused", async () => {
    const guard = make({ key: ec.publicKey, algorithms: ['ES256'] });
    const [header, claims] = forge({ alg: 'ES256' }, good).split('.');
    const n = Buffer.from('ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551', 'hex');
    for (const signature of [
      Buffer.alloc(64),
      Buffer.concat([n, n]),
      Buffer.concat([Buffer.alloc(31), Buffer.from([1]), Buffer.alloc(32)]),
      // In DER, as X.509 uses and JWS does not.
      Buffer.from('3006020100020100', 'hex'),
      Buffer.alloc(1),
    ])
      expect(await detailOf(guard, `${header}.${claims}.${signature.toString('base64url')}`)).toContain('signature');
  });

  it('of one public algorithm is not verified with a key for another', async () => {
    const guard = make({
      jwks: {
        keys: [
          { ...rsa.publicKey.export({ format: 'jwk' }), kid: 'sign', alg: 'RS256' },
          { ...otherRsa.publicKey.export({ format: 'jwk' }), kid: 'encrypt', use: 'enc' },
          { ...ec.publicKey.export({ format: 'jwk' }), kid: 'ec', key_ops: ['sign'] },
        ],
      },
      algorithms: ['RS256', 'PS256', 'ES256'],
    });
    const signed = (alg: string, kid: string, key: KeyObject) => sign({ header: { alg, kid }, key });
    expect((await outcome(guard, await signed('RS256', 'sign', rsa.privateKey))).reason).toBeUndefined();
    for (const token of [
      await signed('PS256', 'sign', rsa.privateKey),
      await signed('RS256', 'encrypt', otherRsa.privateKey),
      await signed('ES256', 'ec', ec.privateKey),
      await signed('ES256', 'sign', ec.privateKey),
    ])
      expect(await detailOf(guard, token)).toContain('no key matches');
  });

  it('of another type is refused when typ is set', async () => {
    const guard = ofSecret({ typ: 'at+jwt' });
    expect(await detailOf(guard, await sign({ header: { typ: 'JWT' } }))).toContain('its claim typ');
    expect(await detailOf(guard, await sign())).toContain('its claim typ');
    expect((await outcome(guard, await sign({ header: { typ: 'at+jwt' } }))).reason).toBeUndefined();
  });

  it('too old is refused when maxTokenAge is set', async () => {
    const guard = ofSecret({ maxTokenAge: '1m' });
    expect(await detailOf(guard, await sign())).toContain('its claim iat');
    expect(await detailOf(guard, await sign({ claims: { iat: SECONDS - 66 } }))).toContain('expired');
    expect((await outcome(guard, await sign({ claims: { iat: SECONDS - 50 } }))).reason).toBeUndefined();
  });

  it('of any content is refused with 401 and never with an internal error', async () => {
    const guards = [ofSecret(), ofKey()];
    const parts = fc.array(fc.oneof(fc.base64String(), fc.string(), fc.constantFrom('eyJhbGciOiJIUzI1NiJ9', 'e30')), {
      maxLength: 4,
    });
    const headers = fc.record(
      { alg: fc.constantFrom('HS256', 'RS256', 'none', 1), kid: fc.anything() },
      { requiredKeys: [] },
    );
    const token = fc.oneof(
      parts.map((each) => each.join('.')),
      fc.tuple(headers, fc.json()).map(([header, claims]) => forge(header, claims, 'another')),
      fc.tuple(headers, fc.json()).map(([header, claims]) => forge(header, claims)),
    );
    await fc.assert(
      fc.asyncProperty(token, fc.constantFrom(...guards), async (text, guard) => {
        await expect(guard.verify(text)).rejects.toBeInstanceOf(JwtRefusedError);
      }),
      { numRuns: runs(500) },
    );
  });
});

describe('the place of the token', () => {
  const all: JwtGuardOptions['from'] = ['protocol', 'cookie:session', 'header'];

  it('may be each configured one', async () => {
    const token = await sign();
    const guard = ofSecret({ from: all });
    const places: Parameters<typeof attempt>[0][] = [
      { protocols: [`bearer.${token}`] },
      { cookies: { session: token } },
      { headers: { Authorization: `Bearer ${token}` } },
      { headers: { authorization: `bearer   ${token}` } },
    ];
    for (const options of places) {
      expect(await guard.admit(attempt(options))).toMatchObject({ decision: 'allow', userKey: 'user-7' });
    }
  });

  it('is never one that is not configured', async () => {
    const token = await sign();
    for (const options of [
      {},
      { path: `/?token=${token}&session=${token}` },
      { cookies: { other: token } },
      { headers: { Authorization: `Basic ${token}` } },
      { headers: { Authorization: token } },
      { headers: { Authorization: 'Bearer ' } },
      { protocols: [token, `Bearer.${token}`, 'bearer.'] },
    ]) {
      const refused = await ofSecret({ from: all }).admit(attempt(options));
      expect(refused).toMatchObject({ decision: 'refuse', status: 401, refusal: { detail: 'no token was sent' } });
      expect(refused).toMatchObject({ refusal: { headers: [['WWW-Authenticate', 'Bearer']] } });
    }
  });

  it('is the first configured one that has a token, even if that token is invalid', async () => {
    const token = await sign();
    const guard = ofSecret({ from: ['cookie:session', 'header'] });
    const both = (cookie: string, header: string) =>
      guard.admit(attempt({ cookies: { session: cookie }, headers: { Authorization: `Bearer ${header}` } }));
    expect(await both(token, 'wrong')).toMatchObject({ decision: 'allow' });
    expect(await both('wrong', token)).toMatchObject({ decision: 'refuse' });
  });

  it('must hold exactly one token', async () => {
    const token = await sign();
    const guard = ofSecret({ from: all });
    for (const options of <AttemptOptions[]>[
      { protocols: [`bearer.${token}`, `bearer.${token}`] },
      { headers: { Authorization: [`Bearer ${token}`, 'Bearer x'] } },
      // A page on another subdomain can set a cookie with a longer path, which browsers send first.
      { headers: { Cookie: `session=${token}; a=b; session=${await sign({ claims: { sub: 'eve' } })}` } },
      { headers: { Cookie: `session="${token}";session=` } },
    ]) {
      expect(await guard.admit(attempt(options))).toMatchObject({ refusal: { detail: 'several tokens were sent' } });
    }
  });

  it.each([
    [['chat', 'bearer.T'], undefined, 'chat'],
    [['bearer.T', 'chat', 'other'], undefined, 'chat'],
    [['bearer.T', 'chat', 'other'], 'other', 'other'],
    [['bearer.T', 'chat'], 'missing', undefined],
    [['bearer.T'], undefined, undefined],
  ])('of the subprotocols %j (wanted: %s) the 101 names %s', async (protocols, subprotocol, chosen) => {
    const token = await sign();
    const guard = ofSecret({ from: ['protocol'], subprotocol });
    const offered = protocols.map((each) => each.replace('T', token));
    const said = await guard.admit(attempt({ protocols: offered }));
    expect(said).toMatchObject({ decision: 'allow' });
    expect((said as { subprotocol?: string }).subprotocol).toBe(chosen);
  });

  it('leaves the choice to the gateway when one of its subprotocols is offered', async () => {
    const protocols = ['evil', 'chat', `bearer.${await sign()}`];
    const guard = ofSecret({ from: ['protocol'] });
    const chosen = async (subprotocols: string[]) =>
      ((await guard.admit(attempt({ protocols, subprotocols }))) as { subprotocol?: string }).subprotocol;
    expect(await chosen(['chat'])).toBeUndefined();
    expect(await chosen(['other'])).toBe('evil');
  });

  it('affects the subprotocol only when the token is one', async () => {
    const guard = ofSecret({ from: ['header'] });
    const said = await guard.admit(
      attempt({ protocols: ['chat'], headers: { Authorization: `Bearer ${await sign()}` } }),
    );
    expect((said as { subprotocol?: string }).subprotocol).toBeUndefined();
  });
});

describe('JwtGuard options', () => {
  const weak = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey;
  const secret = SECRET;
  const key = rsa.publicKey;
  it.each([
    [{ secret }, 'algorithms is required'],
    [{ secret, algorithms: [] }, 'algorithms is required'],
    [{ secret, algorithms: 'HS256' }, 'algorithms is required'],
    [{ secret, algorithms: ['none'] }, 'none is not accepted'],
    [{ secret, algorithms: ['RS256'] }, 'RS256 is not accepted with a secret'],
    [{ secret, algorithms: ['HS256', 'RS256'] }, 'RS256 is not accepted with a secret'],
    [{ secret, algorithms: ['constructor'] }, 'not accepted'],
    [{ key, algorithms: ['HS256'] }, 'HS256 is not accepted with public keys'],
    [{ key, algorithms: ['RS256', 'none'] }, 'none is not accepted'],
    [{ key, algorithms: ['ES256'] }, 'ES256 does not match a key of type rsa'],
    [{ key: ec.publicKey, algorithms: ['ES384'] }, 'ES384 does not match'],
    [{ key: ed.publicKey, algorithms: ['ES256'] }, 'does not match'],
    [{ key: weak, algorithms: ['RS256'] }, '1024 bits'],
    [{ key: rsa.privateKey, algorithms: ['RS256'] }, 'private'],
    [{ key: rsa.privateKey.export({ type: 'pkcs8', format: 'pem' }), algorithms: ['RS256'] }, 'private'],
    [{ key: rsa.privateKey.export({ format: 'jwk' }), algorithms: ['RS256'] }, 'private'],
    [{ key: { kty: 'oct', k: 'AAAA' }, algorithms: ['RS256'] }, 'secret'],
    [{ key: createSecretKey(randomBytes(32)), algorithms: ['RS256'] }, 'secret'],
    [{ key: 'not a key', algorithms: ['RS256'] }, 'neither PEM'],
    [{ secret: 'short', algorithms: ['HS256'] }, '5 bytes: HS256 needs 32'],
    [{ secret: SECRET.slice(0, 40), algorithms: ['HS256', 'HS384'] }, 'HS384 needs 48'],
    [{ secret: pem(key), algorithms: ['HS256'] }, 'PEM'],
    [{ secret: rsa.publicKey, algorithms: ['HS256'] }, 'public key'],
    [{ secret: 42, algorithms: ['HS256'] }, 'neither a string nor bytes'],
    [{ algorithms: ['HS256'] }, 'exactly one of'],
    [{ secret, key, algorithms: ['HS256'] }, 'exactly one of'],
    [{ jwks: 'nowhere', algorithms: ['RS256'] }, 'not a URL'],
    [{ jwks: 'http://id.example/jwks', algorithms: ['RS256'] }, 'https:'],
    [{ jwks: 'file:///etc/passwd', algorithms: ['RS256'] }, 'https:'],
    [{ jwks: 'https://u:p@id.example/jwks', algorithms: ['RS256'] }, 'headers'],
    [{ jwks: { url: 'https://id.example', cooldown: '1ms' }, algorithms: ['RS256'] }, 'jwks.cooldown'],
    [{ jwks: { url: 'https://id.example', maxStale: '25h' }, algorithms: ['RS256'] }, 'jwks.maxStale'],
    [{ jwks: { url: 'https://id.example', timeout: 'soon' }, algorithms: ['RS256'] }, 'jwks.timeout'],
    [{ jwks: { keys: [] }, algorithms: ['RS256'] }, 'no keys'],
    [{ jwks: { keys: [{ kty: 'oct', k: 'AAAA' }] }, algorithms: ['RS256'] }, 'secret'],
    [{ jwks: 'https://id.example', algorithms: ['HS256'] }, 'HS256 is not accepted with public keys'],
    [{ secret, algorithms: ['HS256'], from: [] }, 'at least one place'],
    [{ secret, algorithms: ['HS256'], from: ['query:token'] }, "'query:token' is none of"],
    [{ secret, algorithms: ['HS256'], from: ['cookie'] }, "'cookie' is none of"],
    [{ secret, algorithms: ['HS256'], from: ['header:x'] }, "'header:x' is none of"],
    [{ secret, algorithms: ['HS256'], clockTolerance: '1h' }, 'clockTolerance'],
  ])('%j stop the start', (options, words) => {
    expect(() => new JwtGuard(options as unknown as JwtGuardOptions)).toThrow(words);
    expect(() => new JwtGuard(options as unknown as JwtGuardOptions)).toThrow(TypeError);
  });

  it.each(['http://localhost:8080/jwks', 'http://127.0.0.1/jwks', 'http://[::1]/jwks'])(
    'accept the loopback URL %s without TLS',
    (jwks) => {
      expect(new JwtGuard({ jwks, algorithms: ['RS256'] })).toBeDefined();
    },
  );

  it('need jose, and the start says what to install', async () => {
    const guard = make({ secret: SECRET, algorithms: ['HS256'] }, { load: () => Promise.reject(new Error('no such')) });
    await expect(guard.prepare()).rejects.toThrow('npm install jose');
  });

  it('of @nestjs/jwt give the same results', async () => {
    const verifyOptions = {
      algorithms: ['HS256'],
      issuer: ISSUER,
      audience: AUDIENCE,
      clockTolerance: 2,
      maxAge: '1h',
    };
    const guard = new JwtGuard(nestJwtOptions({ secret: SECRET, verifyOptions }), tools);
    const claims = { iat: SECONDS, exp: SECONDS - 1 };
    expect(await outcome(guard, await sign({ claims }))).toMatchObject({ userKey: 'user-7', expiresAt: NOW + 1000 });
    expect(await detailOf(guard, await sign({ claims: { ...claims, exp: SECONDS - 3 } }))).toContain('expired');
    expect(await detailOf(guard, await sign({ claims: { iat: SECONDS - 3603 } }))).toContain('expired');
    expect(nestJwtOptions({ publicKey: pem(key), verifyOptions: { algorithms: ['RS256'], maxAge: 5 } })).toMatchObject({
      key: pem(key),
      maxTokenAge: 5000,
    });
    expect(() => nestJwtOptions({ secret, verifyOptions: { ignoreExpiration: true } })).toThrow('ignoreExpiration');
    expect(() => nestJwtOptions({ secret, verifyOptions: { audience: /x/ } })).toThrow('audience');
    expect(() => new JwtGuard(nestJwtOptions({ secret }))).toThrow('algorithms is required');
  });
});

it('the keys of a local set are chosen by key id', async () => {
  const jwk = (pair: { publicKey: KeyObject }, kid: string) => ({ ...pair.publicKey.export({ format: 'jwk' }), kid });
  const guard = make({
    jwks: { keys: [jwk(rsa, 'a'), jwk(otherRsa, 'b'), jwk(ec, 'c')] },
    algorithms: ['RS256', 'ES256'],
  });
  const token = (kid: string | undefined, alg: string, key: KeyObject) => sign({ header: { alg, kid }, key });
  for (const [kid, alg, pair] of [
    ['a', 'RS256', rsa],
    ['b', 'RS256', otherRsa],
    ['c', 'ES256', ec],
    [undefined, 'RS256', otherRsa],
  ] as const) {
    expect((await outcome(guard, await token(kid, alg, pair.privateKey))).reason).toBeUndefined();
  }
  expect(await detailOf(guard, await token('a', 'RS256', otherRsa.privateKey))).toContain('signature');
  expect(await detailOf(guard, await token('d', 'RS256', rsa.privateKey))).toContain('no key');
  expect(await detailOf(guard, await token('c', 'RS256', rsa.privateKey))).toContain('no key');
});
