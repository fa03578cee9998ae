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

/** The session of a verified token, in the form that `socket.renew()` accepts. */
export interface JwtSession {
  readonly claims: JwtClaims;
  readonly principal: unknown;
  readonly userKey: string | number | undefined;
  /** The end of the session in milliseconds since the epoch; `undefined` if the token has no `exp`. */
  readonly expiresAt: number | undefined;
}

/** A token was refused. `message` has the reason, and does not repeat the token. */
export class JwtRefusedError extends Error {
  override readonly name = 'JwtRefusedError';
}

/** Maximum length of a token in characters: as many as fit into the longest header line. */
const MAX_TOKEN = 16 * 1024;
const MAX_HEADER = 2048;
const MAX_KID = 256;
/** The maximum value of a `Date`. */
const LAST_MOMENT = 8.64e15;

type Jose = typeof import('jose');

/** Dependencies that tests replace. */
export interface JwtTools extends Partial<Pick<JwksTools, 'fetch' | 'now'>> {
  readonly load?: () => Promise<unknown>;
  readonly date?: () => Date;
  readonly warn?: (message: string) => void;
}

/**
 * Creates a guard that admits clients with a valid JSON Web Token. The claims become the principal, `sub` the user's
 * key, and `exp` the end of the session (close code 4401). Others get 401, or 503 while the issuer's keys are
 * unavailable. Needs the package `jose`. Throws a `TypeError` for options that are unsafe or contradict each other.
 * @example
 * const auth = jwtGuard({ jwks: 'https://id.example/jwks.json', algorithms: ['RS256'], issuer, audience });
 */
export const jwtGuard = (options: JwtGuardOptions): JwtGuard => new JwtGuard(options);

/** Created by {@link jwtGuard}. */
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

  /** Called by the module before the gateways listen: loads `jose` and the keys. Rejects if `jose` is not installed. */
  async prepare(): Promise<void> {
    const { remote } = await this.verifier();
    await remote?.prefetch();
  }

  admit(attempt: UpgradeAttempt): Admission | Promise<Admission> {
    const token = this.credentials.read(attempt);
    if (token === undefined) return NO_TOKEN;
    if (token === AMBIGUOUS) return refused('several tokens were sent');
    return this.judge(attempt, token);
  }

  /**
   * Verifies a token that was received in another way, such as in a message that renews the session. Rejects with
   * `JwtRefusedError`, or with another error if the keys are unavailable.
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

/** The `WWW-Authenticate` header: nothing of the token, and only what RFC 6750, section 3, requires. */
const NO_TOKEN = unauthorized('no token was sent', 'Bearer');
const refused = (detail: string): BuiltInRefusal => unauthorized(detail, 'Bearer error="invalid_token"');
const asTheyAre = (claims: JwtClaims): unknown => claims;
const subjectOf = ({ sub }: JwtClaims): string | undefined => (typeof sub === 'string' && sub !== '' ? sub : undefined);
const listOf = (values: string | readonly string[] | undefined): string[] | undefined =>
  values === undefined ? undefined : [values].flat();

type VerifyOptions = NonNullable<Parameters<Jose['jwtVerify']>[2]>;

/** Verifies tokens with `jose`. */
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
    let failure: unknown = new JwtRefusedError('no key matches the token');
    for (const key of await this.find(header)) {
      try {
        return (await this.jose.jwtVerify(token, key as KeyObject, options)).payload;
      } catch (error) {
        failure = toRefusal(error);
        // Another key may have signed the token.
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
    // Inside of `try`, so that bundlers treat the package as optional.
    return (load === undefined ? await import('jose') : await load()) as Jose;
  } catch (cause) {
    throw new Error("jwtGuard() needs the package 'jose': npm install jose", { cause });
  }
}

const COMPACT = /^[\w-]+\.[\w-]+\.[\w-]+$/;

/** Reads the header of a token in compact form (RFC 7515, section 7.1), before anything is verified or fetched. */
function headerOf(token: string, algorithms: readonly string[]): TokenHeader {
  if (typeof token !== 'string' || token.length > MAX_TOKEN) throw new JwtRefusedError('the token is too long');
  const encoded = token.slice(0, token.indexOf('.'));
  if (!COMPACT.test(token) || encoded.length > MAX_HEADER) throw new JwtRefusedError('the token is malformed');
  const { alg, kid, ...rest } = parseHeader(encoded);
  if (typeof alg !== 'string' || !algorithms.includes(alg)) throw new JwtRefusedError('its algorithm is not accepted');
  // `crit` lists extensions that must be understood (RFC 7515, section 4.1.11); none is supported here.
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

/** Messages for the errors of `jose`. */
const WORDS: Readonly<Record<string, string>> = {
  [WRONG_SIGNATURE]: 'its signature is wrong',
  ERR_JWT_EXPIRED: 'the token has expired',
  ERR_JOSE_ALG_NOT_ALLOWED: 'its algorithm is not accepted',
  ERR_JOSE_NOT_SUPPORTED: 'the token needs an unsupported feature',
  ERR_JWS_INVALID: 'the token is malformed',
  ERR_JWT_INVALID: 'the token is malformed',
};
const CLAIMS: ReadonlySet<unknown> = new Set(['iss', 'aud', 'exp', 'nbf', 'iat', 'sub', 'typ']);

const codeOf = (error: unknown): unknown => (error as { code?: unknown } | null | undefined)?.code;

/** Converts an error about the token to a refusal; other errors are returned unchanged. */
function toRefusal(error: unknown): unknown {
  const code = codeOf(error);
  if (code === 'ERR_JWT_CLAIM_VALIDATION_FAILED') {
    const { claim } = error as { claim?: unknown };
    return new JwtRefusedError(`its claim ${CLAIMS.has(claim) ? claim : ''} is missing or not accepted`);
  }
  const words = typeof code === 'string' && Object.hasOwn(WORDS, code) ? WORDS[code] : undefined;
  if (words !== undefined) return new JwtRefusedError(words);
  return error instanceof TypeError ? new JwtRefusedError('its algorithm does not match the key') : error;
}
