import { factsOf, type UpgradeAttempt } from '../admission/attempt.js';
import { BuiltInRefusal } from '../admission/guard.js';
import { cookieValues } from '../http/fields.js';
import { trimWhiteSpace } from '../http/grammar.js';

/**
 * The places in which a guard looks for a credential: an offered subprotocol, the `Authorization` header, a cookie by
 * name, or a query parameter by name.
 */
export type CredentialSource = 'protocol' | 'header' | `cookie:${string}` | `query:${string}`;

/** The result for several credentials in one place, which is ambiguous. */
export const AMBIGUOUS = Symbol('several credentials');

type Reader = (attempt: UpgradeAttempt) => string | typeof AMBIGUOUS | undefined;

/** Returns the credential of the first place that has one. */
export class CredentialReader {
  private readonly readers: readonly Reader[];

  /**
   * Parses the option `from`. `prefix` precedes the credential in a subprotocol: with `bearer` it is
   * `bearer.<credential>`. Throws a `TypeError` for a place that is not in `kinds`.
   */
  constructor(
    from: readonly string[],
    private readonly prefix: string,
    kinds: readonly string[],
  ) {
    if (!Array.isArray(from) || from.length === 0) throw new TypeError('from must name at least one place');
    this.readers = from.map((source) => this.readerOf(String(source), kinds));
  }

  read(attempt: UpgradeAttempt): string | typeof AMBIGUOUS | undefined {
    for (const reader of this.readers) {
      const credential = reader(attempt);
      if (credential !== undefined && credential !== '') return credential;
    }
    return undefined;
  }

  /**
   * The subprotocol for the 101 if the credential was sent as one and the gateway selects none: the first offered one
   * that is not a credential. Browsers close a connection whose 101 selects none of the offered subprotocols (WHATWG
   * WebSockets, section 3), and the credential must not be repeated.
   */
  subprotocol(attempt: UpgradeAttempt, wanted: string | undefined): string | undefined {
    const { protocols, subprotocols } = factsOf(attempt);
    if (wanted !== undefined) return protocols.includes(wanted) ? wanted : undefined;
    const isGatewaysChoice = subprotocols.some((each) => protocols.includes(each));
    if (isGatewaysChoice || !protocols.some((each) => this.isCredential(each))) return undefined;
    return protocols.find((each) => !this.isCredential(each));
  }

  private isCredential(protocol: string): boolean {
    return protocol.startsWith(`${this.prefix}.`);
  }

  private readerOf(source: string, kinds: readonly string[]): Reader {
    const colon = source.indexOf(':');
    const kind = colon < 0 ? source : source.slice(0, colon);
    const name = colon < 0 ? '' : source.slice(colon + 1);
    const needsName = kind === 'cookie' || kind === 'query';
    if (!kinds.includes(kind) || needsName !== (name !== '') || (!needsName && colon >= 0)) {
      const expected = kinds.map((each) => (each === 'cookie' || each === 'query' ? `'${each}:<name>'` : `'${each}'`));
      throw new TypeError(`from: '${source}' is none of ${expected.join(', ')}`);
    }
    switch (kind) {
      case 'protocol':
        return (attempt) => this.fromProtocols(attempt.protocols);
      case 'header':
        return fromAuthorization;
      case 'cookie':
        return ({ headers }) => one(cookieValues(headers['cookie'], name));
      default:
        return ({ query }) => one(query.getAll(name));
    }
  }

  private fromProtocols(protocols: readonly string[]): string | typeof AMBIGUOUS | undefined {
    const found = one(protocols.filter((each) => this.isCredential(each)));
    return typeof found === 'string' ? found.slice(this.prefix.length + 1) : found;
  }
}

const one = (found: readonly string[]): string | typeof AMBIGUOUS | undefined =>
  found.length > 1 ? AMBIGUOUS : found[0];

/** Reads `Authorization: Bearer <token>` (RFC 6750, section 2.1); other schemes are ignored. */
function fromAuthorization({ rawHeaders }: UpgradeAttempt): string | typeof AMBIGUOUS | undefined {
  const values = rawHeaders.filter((_, i) => i % 2 === 1 && rawHeaders[i - 1]!.toLowerCase() === 'authorization');
  const value = one(values);
  if (typeof value !== 'string') return value;
  return value.slice(0, 7).toLowerCase() === 'bearer ' ? trimWhiteSpace(value.slice(7)) : undefined;
}

/** A 401 with a reason for the log, which does not repeat the credential. */
export const unauthorized = (detail: string, challenge?: string): BuiltInRefusal =>
  new BuiltInRefusal(
    Object.freeze({
      reason: 'guard' as const,
      status: 401,
      text: 'Unauthorized',
      headers: challenge === undefined ? [] : [['WWW-Authenticate', challenge] as const],
      detail,
    }),
  );

/** A 503, because something that is needed for the decision is unavailable. */
export const unavailable = (detail: string): BuiltInRefusal =>
  new BuiltInRefusal(
    Object.freeze({
      reason: 'guard' as const,
      status: 503,
      text: 'Service Unavailable',
      headers: [['Retry-After', '5'] as const],
      detail,
    }),
  );
