import { createPublicKey, createSecretKey, type JsonWebKey, KeyObject, type webcrypto } from 'node:crypto';
import { type Duration, duration } from '../config/kinds.js';
import type { JwksLimits } from './jwks.js';

/** Claims of a verified token (RFC 7519, section 4). */
export interface JwtClaims {
  readonly iss?: string;
  readonly sub?: string;
  readonly aud?: string | readonly string[];
  readonly exp?: number;
  readonly nbf?: number;
  readonly iat?: number;
  readonly jti?: string;
  readonly [claim: string]: unknown;
}

/** Algorithms with a shared secret (HMAC). */
export type SecretAlgorithm = 'HS256' | 'HS384' | 'HS512';
/** Algorithms with a private key, verified with the public key. */
export type KeyAlgorithm =
  | 'RS256'
  | 'RS384'
  | 'RS512'
  | 'PS256'
  | 'PS384'
  | 'PS512'
  | 'ES256'
  | 'ES384'
  | 'ES512'
  | 'EdDSA'
  | 'Ed25519';

/** An endpoint that publishes a JSON Web Key Set (RFC 7517, section 5). */
export interface RemoteJwksOptions {
  /** An `https:` URL; `http:` only for a loopback address, or with `allowInsecure`. */
  readonly url: string | URL;
  /** Minimum time between two fetches, whichever keys tokens name. Default: 30s. */
  readonly cooldown?: Duration;
  /** Maximum time for one fetch. Default: 5s. */
  readonly timeout?: Duration;
  /** Time after which the keys are fetched again in the background. Default: 10m. */
  readonly maxAge?: Duration;
  /** How long keys are used while the endpoint is down. Default and maximum: 24h. */
  readonly maxStale?: Duration;
  readonly headers?: Readonly<Record<string, string>>;
  readonly allowInsecure?: boolean;
}

/** Options of {@link jwtGuard}. Exactly one of `jwks`, `key` and `secret` is required. */
export interface JwtGuardOptions {
  /**
   * The keys of an issuer: the URL of its key set, the URL with limits, or the key set itself. Fetched before the
   * gateways listen.
   */
  readonly jwks?: string | URL | RemoteJwksOptions | { readonly keys: readonly JsonWebKey[] };
  /** One public key: PEM (SPKI, PKCS #1 or a certificate), JWK, `KeyObject` or `CryptoKey`. */
  readonly key?: string | JsonWebKey | KeyObject | webcrypto.CryptoKey;
  /** The secret for HMAC: at least as long as the hash (RFC 7518, section 3.2). */
  readonly secret?: string | Uint8Array | KeyObject;
  /** The signature algorithms that are accepted; they must match the key. Required; `none` is not supported. */
  readonly algorithms: readonly (SecretAlgorithm | KeyAlgorithm)[];
  /** Accepted values of `iss`. Default: any. Always set it with `jwks`. */
  readonly issuer?: string | readonly string[];
  /** Accepted values of `aud`. Without it, tokens for other services of the same issuer are accepted. Default: any. */
  readonly audience?: string | readonly string[];
  /** Required value of the header `typ`, such as `at+jwt` (RFC 8725, section 3.11). Default: any. */
  readonly typ?: string;
  /**
   * The places in which the token is looked for, in order; the first one that has a token is used. `protocol` is a
   * subprotocol `bearer.<token>`, `header` is `Authorization: Bearer`, `cookie:<name>` is a cookie. Default: `header`,
   * `protocol`.
   */
  readonly from?: readonly ('protocol' | 'header' | `cookie:${string}`)[];
  /** The subprotocol of the 101. Default: the gateway's choice, else the first offered one that is not a token. */
  readonly subprotocol?: string;
  /** Maximum difference between the issuer's clock and ours. Default: 5s. */
  readonly clockTolerance?: Duration;
  /** Maximum time since `iat`, which is then required. Default: none. */
  readonly maxTokenAge?: Duration;
  /** Whether `exp` is required; a session without it does not end. Default: true. */
  readonly requireExpiry?: boolean;
  /** Returns the value of `attempt.principal` and `socket.principal`. Default: the claims. */
  readonly principal?: (claims: JwtClaims) => unknown;
  /** Returns the key by which `connections.maxPerUser` and `disconnectUser` identify the user. Default: `sub`. */
  readonly userKey?: (claims: JwtClaims) => string | number | undefined;
}

/** The validated source of the keys. */
export type KeySource =
  | { readonly kind: 'secret'; readonly key: KeyObject }
  | { readonly kind: 'key'; readonly key: KeyObject }
  | { readonly kind: 'set'; readonly jwks: { readonly keys: readonly JsonWebKey[] } }
  | {
      readonly kind: 'remote';
      readonly url: URL;
      /** The URL without parts that may be secret. */
      readonly name: string;
      readonly headers: Readonly<Record<string, string>>;
      readonly limits: JwksLimits;
    };

const SECRET_BYTES: Readonly<Record<string, number>> = { HS256: 32, HS384: 48, HS512: 64 };
/** The types of keys (and curves) that each algorithm needs. */
const KEY_TYPES: Readonly<Record<string, readonly string[]>> = {
  RS256: ['rsa'],
  RS384: ['rsa'],
  RS512: ['rsa'],
  PS256: ['rsa', 'rsa-pss'],
  PS384: ['rsa', 'rsa-pss'],
  PS512: ['rsa', 'rsa-pss'],
  ES256: ['ec prime256v1'],
  ES384: ['ec secp384r1'],
  ES512: ['ec secp521r1'],
  EdDSA: ['ed25519'],
  Ed25519: ['ed25519'],
};
const MIN_RSA_BITS = 2048;
const DAY = 86_400_000;
const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/;

/** The source of keys in the options. Throws a `TypeError` if it is missing, ambiguous or unsafe. */
export function keySourceOf({ jwks, key, secret }: JwtGuardOptions): KeySource {
  const given = [jwks, key, secret].filter((each) => each !== undefined && each !== null);
  if (given.length !== 1) throw new TypeError('exactly one of jwks, key and secret is required');
  if (secret !== undefined && secret !== null) return { kind: 'secret', key: secretKey(secret) };
  if (key !== undefined && key !== null) return { kind: 'key', key: publicKey(key) };
  return typeof jwks === 'object' && 'keys' in jwks
    ? localSet(jwks)
    : remoteSet(jwks as string | URL | RemoteJwksOptions);
}

/** The algorithms, after checking that each one matches the key. */
export function checkAlgorithms(algorithms: unknown, source: KeySource): readonly string[] {
  if (!Array.isArray(algorithms) || algorithms.length === 0) {
    throw new TypeError("algorithms is required: the signature algorithms that tokens may have, such as ['RS256']");
  }
  const table = source.kind === 'secret' ? SECRET_BYTES : KEY_TYPES;
  for (const each of algorithms as unknown[]) {
    if (typeof each !== 'string' || !Object.hasOwn(table, each)) {
      throw new TypeError(
        `algorithms: ${String(each)} is not accepted with ${source.kind === 'secret' ? 'a secret' : 'public keys'}; expected some of ${Object.keys(table).join(', ')}`,
      );
    }
    if (source.kind === 'secret') checkSecret(each, source.key);
    else if (source.kind === 'key') checkKey(each, source.key);
  }
  return Object.freeze([...(algorithms as string[])]);
}

/** A duration in milliseconds. Throws a `TypeError` that names the option. */
export function milliseconds(name: string, value: Duration, range: { min?: number; max?: number } = {}): number {
  const kind = duration(range);
  const parsed = kind.parse(value);
  if (parsed === undefined) throw new TypeError(`${name} is not ${kind.expected}`);
  return parsed;
}

function secretKey(secret: unknown): KeyObject {
  const key = secret instanceof KeyObject ? secret : createSecret(secret);
  if (key.type !== 'secret') throw new TypeError(`secret is a ${key.type} key: pass a public key as the option key`);
  return key;
}

function createSecret(secret: unknown): KeyObject {
  if (typeof secret !== 'string' && !(secret instanceof Uint8Array))
    throw new TypeError('secret is neither a string nor bytes');
  const bytes = Buffer.from(secret as string);
  // Otherwise anyone who has the public key could sign tokens.
  if (bytes.includes('-----BEGIN')) throw new TypeError('secret is a PEM key: use the option key');
  return createSecretKey(bytes);
}

function checkSecret(algorithm: string, { symmetricKeySize = 0 }: KeyObject): void {
  const least = SECRET_BYTES[algorithm]!;
  if (symmetricKeySize < least) {
    throw new TypeError(`secret has ${symmetricKeySize} bytes: ${algorithm} needs ${least} (RFC 7518, section 3.2)`);
  }
}

function publicKey(key: NonNullable<JwtGuardOptions['key']>): KeyObject {
  const made = key instanceof KeyObject ? key : readKey(key);
  if (made.type !== 'public') throw new TypeError(`key is a ${made.type} key: only a public one is needed here`);
  return made;
}

function readKey(key: string | JsonWebKey | webcrypto.CryptoKey): KeyObject {
  if (Object.prototype.toString.call(key) === '[object CryptoKey]') return KeyObject.from(key as webcrypto.CryptoKey);
  const isPrivate = typeof key === 'string' ? key.includes('PRIVATE KEY') : 'd' in key || 'k' in key;
  if (isPrivate) throw new TypeError('key is private or secret: only a public one is needed here');
  try {
    return typeof key === 'string' ? createPublicKey(key) : createPublicKey({ key: key as JsonWebKey, format: 'jwk' });
  } catch {
    throw new TypeError('key is neither PEM, a JWK, a KeyObject nor a CryptoKey');
  }
}

function checkKey(algorithm: string, { asymmetricKeyType: type, asymmetricKeyDetails: details }: KeyObject): void {
  const kind = type === 'ec' ? `ec ${details?.namedCurve}` : String(type);
  if (!KEY_TYPES[algorithm]!.includes(kind))
    throw new TypeError(`algorithms: ${algorithm} does not match a key of type ${kind}`);
  if (details?.modulusLength !== undefined && details.modulusLength < MIN_RSA_BITS) {
    throw new TypeError(
      `key has ${details.modulusLength} bits: ${algorithm} needs ${MIN_RSA_BITS} (RFC 7518, section 3.3)`,
    );
  }
}

function localSet(jwks: { readonly keys: readonly JsonWebKey[] }): KeySource {
  if (!Array.isArray(jwks.keys) || jwks.keys.length === 0) throw new TypeError('jwks has no keys');
  for (const key of jwks.keys as readonly JsonWebKey[]) publicKey(key);
  return { kind: 'set', jwks };
}

function remoteSet(jwks: string | URL | RemoteJwksOptions): KeySource {
  const options: RemoteJwksOptions = typeof jwks === 'string' || jwks instanceof URL ? { url: jwks } : jwks;
  const { cooldown = '30s', timeout = '5s', maxAge = '10m', maxStale = '24h', headers = {}, allowInsecure } = options;
  if (!URL.canParse(String(options.url))) throw new TypeError('jwks is not a URL');
  const url = new URL(options.url);
  const isSecure =
    url.protocol === 'https:' || (url.protocol === 'http:' && (allowInsecure || LOOPBACK.test(url.hostname)));
  if (!isSecure)
    throw new TypeError(
      'jwks: over http: an attacker on the network can replace the keys; use https: or allowInsecure',
    );
  if (url.username !== '' || url.password !== '')
    throw new TypeError('jwks: put credentials into headers, not into the URL');
  return {
    kind: 'remote',
    url,
    name: `${url.origin}${url.pathname}`,
    headers,
    limits: {
      cooldown: milliseconds('jwks.cooldown', cooldown, { min: 1000 }),
      timeout: milliseconds('jwks.timeout', timeout, { min: 1, max: 60_000 }),
      maxAge: milliseconds('jwks.maxAge', maxAge, { min: 1000 }),
      maxStale: milliseconds('jwks.maxStale', maxStale, { min: 1000, max: DAY }),
    },
  };
}

/** The options of `@nestjs/jwt`'s `JwtModule` that are read here; the package itself is not needed. */
export interface NestJwtOptions {
  readonly secret?: string | Uint8Array;
  readonly publicKey?: string | Uint8Array;
  readonly verifyOptions?: {
    readonly algorithms?: readonly string[];
    readonly issuer?: string | readonly string[];
    readonly audience?: unknown;
    /** Seconds. */
    readonly clockTolerance?: number;
    /** Seconds, or a string such as `'2h'`. */
    readonly maxAge?: string | number;
    readonly ignoreExpiration?: boolean;
  };
}

/**
 * Converts options of `@nestjs/jwt` to options of `jwtGuard()`, so that both verify in the same way.
 * `verifyOptions.algorithms` is required. Throws a `TypeError` for an option that `jwtGuard()` does not support, such
 * as `ignoreExpiration`.
 * @example
 * jwtGuard({ ...nestJwtOptions(jwtModuleOptions), from: ['cookie:session'] })
 */
export function nestJwtOptions({ secret, publicKey: key, verifyOptions = {} }: NestJwtOptions): JwtGuardOptions {
  const { algorithms, issuer, audience, clockTolerance, maxAge, ignoreExpiration } = verifyOptions;
  if (ignoreExpiration === true)
    throw new TypeError('verifyOptions.ignoreExpiration is not supported: a session must end with its token');
  const audiences = audience === undefined ? undefined : [audience].flat();
  if (audiences?.some((each) => typeof each !== 'string')) throw new TypeError('verifyOptions.audience is not text');
  return {
    ...(key === undefined ? { secret } : { key: Buffer.from(key as string).toString() }),
    algorithms: algorithms as JwtGuardOptions['algorithms'],
    issuer,
    audience: audiences as string[] | undefined,
    ...(clockTolerance === undefined ? {} : { clockTolerance: clockTolerance * 1000 }),
    ...(maxAge === undefined ? {} : { maxTokenAge: typeof maxAge === 'number' ? maxAge * 1000 : maxAge }),
  };
}
