import type { KeyObject, webcrypto } from 'node:crypto';
import { errorWords } from '../telemetry/error-text.js';

/** An imported key of a JSON Web Key Set. */
export type VerificationKey = webcrypto.CryptoKey | KeyObject | Uint8Array;

/** The result of `jose`'s `createLocalJWKSet`: resolves to the key for a header, or rejects with a `code`. */
export type KeySet = (header: TokenHeader) => Promise<VerificationKey>;

/** The parts of a token's protected header that select a key. */
export interface TokenHeader {
  readonly alg: string;
  readonly kid: string | undefined;
}

/** The endpoint does not answer, and there are no keys of the last 24 hours. */
export class KeysUnavailableError extends Error {}

export interface JwksLimits {
  /** Minimum milliseconds between two fetches, whatever causes them. */
  readonly cooldown: number;
  /** Milliseconds for one fetch, including its body. */
  readonly timeout: number;
  /** Milliseconds after which keys are fetched again in the background. */
  readonly maxAge: number;
  /** Milliseconds for which keys are used while the endpoint is down. */
  readonly maxStale: number;
}

export interface JwksTools {
  readonly fetch: typeof globalThis.fetch;
  /** Milliseconds of a monotonic clock. */
  readonly now: () => number;
  /** Imports a fetched key set; throws if it is invalid. */
  readonly toKeySet: (jwks: unknown) => KeySet;
  /** Called for each failed fetch, so at most once per cooldown. */
  readonly onFailure: (words: string) => void;
}

/** Maximum bytes of a response. Real key sets have a few KiB. */
export const MAX_JWKS_BYTES = 256 * 1024;
const MAX_KEYS = 100;
/** Maximum number of keys that are tried if a token names none and several match, because each costs a verification. */
const MAX_CANDIDATES = 4;

/**
 * The keys of an issuer, fetched before they are needed. There is at most one fetch per cooldown, however many tokens
 * name unknown keys; an unknown key is looked up once more after a fetch. While the endpoint is down, the last keys are
 * used.
 */
export class RemoteJwks {
  private keys: KeySet | undefined = undefined;
  private fetchedAt = Number.NEGATIVE_INFINITY;
  private triedAt = Number.NEGATIVE_INFINITY;
  private pending: Promise<void> | undefined = undefined;

  constructor(
    private readonly url: URL,
    private readonly headers: Readonly<Record<string, string>>,
    private readonly limits: JwksLimits,
    private readonly tools: JwksTools,
  ) {}

  /** Fetches the keys if necessary. Never rejects. */
  async prefetch(): Promise<void> {
    await this.refresh();
  }

  /**
   * The keys that may have signed a token with this header; an empty list if none is known. Rejects with
   * `KeysUnavailableError`.
   */
  async find(header: TokenHeader): Promise<readonly VerificationKey[]> {
    const age = this.tools.now() - this.fetchedAt;
    if (this.keys === undefined || age > this.limits.maxStale) {
      this.keys = undefined;
      await this.refresh();
    } else if (age > this.limits.maxAge) {
      void this.refresh();
    }
    const found = await this.select(header);
    if (found.length > 0) return found;
    await this.refresh();
    return this.select(header);
  }

  private async select(header: TokenHeader): Promise<readonly VerificationKey[]> {
    if (this.keys === undefined) throw new KeysUnavailableError('the key set cannot be fetched');
    return selectKeys(this.keys, header);
  }

  /** Fetches the keys: one fetch at a time, and at most one per cooldown. */
  private refresh(): Promise<void> {
    if (this.pending !== undefined) return this.pending;
    const { now } = this.tools;
    // protection: keys are fetched once per cooldown
    if (now() - this.triedAt < this.limits.cooldown) return Promise.resolve();
    // end protection
    this.triedAt = now();
    this.pending = this.load()
      .then(
        (keys) => {
          this.keys = keys;
          this.fetchedAt = now();
        },
        (error: unknown) => this.tools.onFailure(errorWords(error)),
      )
      .finally(() => {
        this.pending = undefined;
      });
    return this.pending;
  }

  private async load(): Promise<KeySet> {
    const response = await this.tools.fetch(this.url, {
      headers: { Accept: 'application/jwk-set+json, application/json', ...this.headers },
      redirect: 'error',
      signal: AbortSignal.timeout(this.limits.timeout),
    });
    if (response.status !== 200) {
      await response.body?.cancel();
      throw new Error(`it answered ${response.status}`);
    }
    return this.tools.toKeySet(parseKeySet(await readBounded(response)));
  }
}

async function readBounded(response: Response): Promise<string> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of response.body ?? []) {
    size += part.length;
    // Leaving the loop cancels the body.
    // protection: a key set is read up to its bound
    if (size > MAX_JWKS_BYTES) throw new Error(`its answer is longer than ${MAX_JWKS_BYTES} bytes`);
    // end protection
    parts.push(part);
  }
  return Buffer.concat(parts).toString();
}

function parseKeySet(text: string): unknown {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw new Error('its answer is not JSON');
  }
  const { keys } = (parsed ?? {}) as { keys?: unknown };
  if (!Array.isArray(keys)) throw new Error('its answer is not a JSON Web Key Set');
  if (keys.length > MAX_KEYS) throw new Error(`its answer has more than ${MAX_KEYS} keys`);
  return { keys: keys.filter(isPublicKey) };
}

/** A public key set contains no secrets. If an issuer publishes a secret by mistake, it must not be accepted. */
function isPublicKey(key: unknown): boolean {
  const { kty, d, k } = (key ?? {}) as { kty?: unknown; d?: unknown; k?: unknown };
  return typeof kty === 'string' && kty !== 'oct' && d === undefined && k === undefined;
}

/** The keys of a set that may have signed a token: none, one, or several if the token does not name its key. */
export async function selectKeys(keys: KeySet, header: TokenHeader): Promise<readonly VerificationKey[]> {
  try {
    return [await keys(header)];
  } catch (error) {
    const { code } = error as { code?: unknown };
    if (code !== 'ERR_JWKS_MULTIPLE_MATCHING_KEYS') return [];
    const found: VerificationKey[] = [];
    for await (const key of error as AsyncIterable<VerificationKey>) {
      found.push(key);
      if (found.length === MAX_CANDIDATES) break;
    }
    return found;
  }
}
