import type { KeyObject } from 'node:crypto';
import { Logger } from '@nestjs/common';
import type { UpgradeAttempt } from '../admission/attempt.js';
import { type Admission, type AdmissionGuard, allow, type BuiltInRefusal } from '../admission/guard.js';
import { line } from '../telemetry/log.js';
import { AMBIGUOUS, CredentialReader, unauthorized, unavailable } from './credential.js';
import {
  type JwksTools,
  type KeySet,
  KeysUnavailableError,
  RemoteJwks,
  selectKeys,
  type TokenHeader,
  type VerificationKey,
} from './jwks.js';
import {
  checkAlgorithms,
  type JwtClaims,
  type JwtGuardOptions,
  type KeySource,
  keySourceOf,
  milliseconds,
} from './jwt-options.js';

/** What a verified token says of a session, in the form in which `socket.renew()` takes it. */
export interface JwtSession {
  readonly claims: JwtClaims;
  readonly principal: unknown;
  readonly userKey: string | number | undefined;
  /** Milliseconds since 1970 at which the session ends; `undefined` where the token has no `exp`. */
  readonly expiresAt: number | undefined;
}

/** A token that is not accepted. `message` says why and repeats nothing of the token. */
export class JwtRefusedError extends Error {
  override readonly name = 'JwtRefusedError';
}

/** Characters of a token: what the longest header line could carry. */
const MAX_TOKEN = 16 * 1024;
const MAX_HEADER = 2048;
const MAX_KID = 256;
/** The last moment that a `Date` can name. */
const LAST_MOMENT = 8.64e15;

type Jose = typeof import('jose');

/** What tests replace. */
export interface JwtTools extends Partial<Pick<JwksTools, 'fetch' | 'now'>> {
  readonly load?: () => Promise<unknown>;
  readonly date?: () => Date;
  readonly warn?: (message: string) => void;
}

/**
 * A guard that admits who has a valid JSON Web Token: its claims become the principal, `sub` the user's key, `exp` the end
 * of the session (4401). Others get 401, and 503 as long as the issuer's keys cannot be had. Needs the package `jose`.
 * Throws a `TypeError` for options that are not safe or do not fit together.
 * @example
 * const auth = jwtGuard({ jwks: 'https://id.example/jwks.json', algorithms: ['RS256'], issuer, audience });
 */
export const jwtGuard = (options: JwtGuardOptions): JwtGuard => new JwtGuard(options);

/** Made by {@link jwtGuard}. */
export class JwtGuard implements AdmissionGuard {
  private readonly credentials: CredentialReader;
  private readonly algorithms: readonly string[];
  private readonly source: KeySource;
  private readonly tolerance: number;
  private readonly maxTokenAge: number | undefined;
  private ready: Promise<Verifier> | undefined = undefined;

  /** @hidden */
  constructor(
    private readonly options: JwtGuardOptions,
    private readonly tools: JwtTools = {},
  ) {
    const { from = ['header', 'protocol'], clockTolerance = '5s', maxTokenAge } = options;
    this.credentials = new CredentialReader(from, 'bearer', ['protocol', 'header', 'cookie']);
    this.source = keySourceOf(options);
    this.algorithms = checkAlgorithms(options.algorithms, this.source);
    this.tolerance = milliseconds('clockTolerance', clockTolerance, { max: 300_000 });
    this.maxTokenAge = maxTokenAge === undefined ? undefined : milliseconds('maxTokenAge', maxTokenAge, { min: 1000 });
  }

  /** Called by the module before the gateways listen: loads `jose` and the keys. Rejects where `jose` is not installed. */
  async prepare(): Promise<void> {
    const { remote } = await this.verifier();
    await remote?.prefetch();
  }

  admit(attempt: UpgradeAttempt): Admission | Promise<Admission> {
    const token = this.credentials.read(attempt);
    if (token === undefined) return NO_TOKEN;
    if (token === AMBIGUOUS) return refused('several tokens came');
    return this.judge(attempt, token);
  }

  /**
   * Verifies a token that came in another way, such as in a message that renews the session. Rejects with
   * `JwtRefusedError`, or with another error where the keys cannot be had.
   */
  async verify(token: string): Promise<JwtSession> {
    const header = headerOf(token, this.algorithms);
    const verifier = await this.verifier();
    const claims = await verifier.verify(token, header);
    const { principal = asTheyAre, userKey = subjectOf } = this.options;
    const end = claims.exp === undefined ? undefined : claims.exp * 1000 + this.tolerance;
    return {
      claims,
      principal: principal(claims),
      userKey: userKey(claims),
      expiresAt: end === undefined ? undefined : Math.min(end, LAST_MOMENT),
    };
  }

  private async judge(attempt: UpgradeAttempt, token: string): Promise<Admission> {
    let session: JwtSession;
    try {
      session = await this.verify(token);
    } catch (error) {
      if (error instanceof JwtRefusedError) return refused(error.message);
      if (error instanceof KeysUnavailableError) return unavailable(error.message);
      throw error;
    }
    const { principal, userKey, expiresAt } = session;
    const subprotocol = this.credentials.subprotocol(attempt, this.options.subprotocol);
    return allow({ principal, userKey, expiresAt, subprotocol });
  }

  private verifier(): Promise<Verifier> {
    this.ready ??= this.load().catch((error: unknown) => {
      this.ready = undefined;
      throw error;
    });
    return this.ready;
  }

  private async load(): Promise<Verifier> {
    const jose = await loadJose(this.tools.load);
    const { algorithms, options, tolerance, maxTokenAge, tools } = this;
    const { issuer, audience, typ, requireExpiry = true } = options;
    return new Verifier(jose, this.source, tools, {
      algorithms: [...algorithms],
      issuer: listOf(issuer),
      audience: listOf(audience),
      typ,
      clockTolerance: tolerance / 1000,
      maxTokenAge: maxTokenAge && maxTokenAge / 1000,
      requiredClaims: requireExpiry ? ['exp'] : [],
    });
  }
}

/** Nothing of the token, and no more than RFC 6750, section 3 wants. */
const NO_TOKEN = unauthorized('no token came', 'Bearer');
const refused = (detail: string): BuiltInRefusal => unauthorized(detail, 'Bearer error="invalid_token"');
const asTheyAre = (claims: JwtClaims): unknown => claims;
const subjectOf = ({ sub }: JwtClaims): string | undefined => (typeof sub === 'string' && sub !== '' ? sub : undefined);
const listOf = (values: string | readonly string[] | undefined): string[] | undefined =>
  values === undefined ? undefined : [values].flat();

type VerifyOptions = NonNullable<Parameters<Jose['jwtVerify']>[2]>;

/** Tokens against keys, with `jose`. */
class Verifier {
  readonly remote: RemoteJwks | undefined;
  private readonly find: (header: TokenHeader) => Promise<readonly VerificationKey[]>;

  constructor(
    private readonly jose: Jose,
    source: KeySource,
    private readonly tools: JwtTools,
    private readonly options: VerifyOptions,
  ) {
    const toKeySet = (jwks: unknown): KeySet => jose.createLocalJWKSet(jwks as never) as unknown as KeySet;
    switch (source.kind) {
      case 'remote': {
        const { fetch = globalThis.fetch, now = () => performance.now(), warn = warning } = tools;
        const onFailure = (words: string): void => warn(line(`The keys of ${source.name} cannot be fetched: ${words}`));
        const remote = new RemoteJwks(source.url, source.headers, source.limits, { fetch, now, toKeySet, onFailure });
        this.remote = remote;
        this.find = (header) => remote.find(header);
        break;
      }
      case 'set': {
        const keys = toKeySet(source.jwks);
        this.find = (header) => selectKeys(keys, header);
        break;
      }
      default: {
        const keys = [source.key];
        this.find = () => Promise.resolve(keys);
      }
    }
  }

  async verify(token: string, header: TokenHeader): Promise<JwtClaims> {
    const options = { ...this.options, currentDate: this.tools.date?.() };
    let failure: unknown = new JwtRefusedError('no key fits the token');
    for (const key of await this.find(header)) {
      try {
        return (await this.jose.jwtVerify(token, key as KeyObject, options)).payload;
      } catch (error) {
        failure = toRefusal(error);
        // Another key may have signed it.
        if (codeOf(error) !== WRONG_SIGNATURE) break;
      }
    }
    throw failure;
  }
}

const logger = new Logger('SecureWs');
const warning = (message: string): void => logger.warn(message);

async function loadJose(load: (() => Promise<unknown>) | undefined): Promise<Jose> {
  try {
    // Inside `try`, so that bundlers take it for optional.
    return (load === undefined ? await import('jose') : await load()) as Jose;
  } catch (cause) {
    throw new Error("jwtGuard() needs the package 'jose': npm install jose", { cause });
  }
}

const COMPACT = /^[\w-]+\.[\w-]+\.[\w-]+$/;

/** The header of a token in the compact form (RFC 7515, section 7.1), before anything is verified or fetched for it. */
function headerOf(token: string, algorithms: readonly string[]): TokenHeader {
  if (typeof token !== 'string' || token.length > MAX_TOKEN) throw new JwtRefusedError('the token is too long');
  const encoded = token.slice(0, token.indexOf('.'));
  if (!COMPACT.test(token) || encoded.length > MAX_HEADER) throw new JwtRefusedError('the token is malformed');
  const { alg, kid, ...rest } = parseHeader(encoded);
  if (typeof alg !== 'string' || !algorithms.includes(alg)) throw new JwtRefusedError('its algorithm is not accepted');
  // What must be understood (RFC 7515, section 4.1.11) is an extension: none is known here.
  if ('crit' in rest || 'b64' in rest) throw new JwtRefusedError('the token has extensions that must be understood');
  if (kid !== undefined && (typeof kid !== 'string' || kid.length > MAX_KID)) {
    throw new JwtRefusedError('the token is malformed');
  }
  return { alg, kid };
}

function parseHeader(encoded: string): Record<string, unknown> {
  try {
    const header: unknown = JSON.parse(Buffer.from(encoded, 'base64url').toString());
    if (typeof header === 'object' && header !== null && !Array.isArray(header))
      return header as Record<string, unknown>;
  } catch {}
  throw new JwtRefusedError('the token is malformed');
}

const WRONG_SIGNATURE = 'ERR_JWS_SIGNATURE_VERIFICATION_FAILED';

/** What `jose` says of a token, in words of ours. */
const WORDS: Readonly<Record<string, string>> = {
  [WRONG_SIGNATURE]: 'its signature is wrong',
  ERR_JWT_EXPIRED: 'the token has expired',
  ERR_JOSE_ALG_NOT_ALLOWED: 'its algorithm is not accepted',
  ERR_JOSE_NOT_SUPPORTED: 'the token needs what is not supported',
  ERR_JWS_INVALID: 'the token is malformed',
  ERR_JWT_INVALID: 'the token is malformed',
};
const CLAIMS: ReadonlySet<unknown> = new Set(['iss', 'aud', 'exp', 'nbf', 'iat', 'sub', 'typ']);

const codeOf = (error: unknown): unknown => (error as { code?: unknown } | null | undefined)?.code;

/** A refusal for what a token is to blame for; anything else as it is. */
function toRefusal(error: unknown): unknown {
  const code = codeOf(error);
  if (code === 'ERR_JWT_CLAIM_VALIDATION_FAILED') {
    const { claim } = error as { claim?: unknown };
    return new JwtRefusedError(`its claim ${CLAIMS.has(claim) ? claim : ''} is missing or not accepted`);
  }
  const words = typeof code === 'string' && Object.hasOwn(WORDS, code) ? WORDS[code] : undefined;
  if (words !== undefined) return new JwtRefusedError(words);
  return error instanceof TypeError ? new JwtRefusedError('its algorithm does not fit the key') : error;
}
