import { X509Certificate } from 'node:crypto';
import { rootCertificates } from 'node:tls';

/** The parts of a certificate that the checks use. */
export interface CertificateFacts {
  readonly subject: string;
  readonly notBefore: number;
  readonly notAfter: number;
  /** DNS names and addresses of `subjectAltName`. */
  readonly names: readonly string[];
  readonly selfSigned: boolean;
  readonly rsaBits: number | undefined;
}

export type ChainState =
  /** The chain ends at, or is issued by, an authority that Node trusts. */
  | 'public'
  /** The chain ends with an authority that Node does not trust; clients must have its certificate. */
  | 'private'
  /** A single self-signed certificate. */
  | 'self-signed'
  /** The issuer of the last certificate is missing and not trusted by Node. */
  | 'incomplete'
  /** A certificate was not issued by the one after it. */
  | 'unordered';

export interface Chain {
  readonly leaf: CertificateFacts;
  readonly others: readonly CertificateFacts[];
  readonly state: ChainState;
}

const PEM = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

let roots: X509Certificate[] | undefined;
const knownRoots = (): X509Certificate[] => (roots ??= rootCertificates.map((pem) => new X509Certificate(pem)));

/** Reads the certificates of a PEM text in order. Throws if there is none, or if one cannot be parsed. */
export function readChain(pem: string, authorities: () => readonly X509Certificate[] = knownRoots): Chain {
  const certificates = [...pem.matchAll(PEM)].map(([text]) => new X509Certificate(text));
  const [leaf, ...others] = certificates;
  if (leaf === undefined) throw new Error('no certificate in it');
  return { leaf: facts(leaf), others: others.map(facts), state: stateOf(certificates, authorities) };
}

function facts(certificate: X509Certificate): CertificateFacts {
  const { subject, subjectAltName, validFrom, validTo, publicKey } = certificate;
  const { modulusLength } = publicKey.asymmetricKeyDetails ?? {};
  return {
    subject: subject.replaceAll('\n', ', '),
    notBefore: Date.parse(validFrom),
    notAfter: Date.parse(validTo),
    names: (subjectAltName ?? '').split(', ').filter(Boolean),
    selfSigned: isSelfSigned(certificate),
    rsaBits: publicKey.asymmetricKeyType === 'rsa' ? modulusLength : undefined,
  };
}

const isSelfSigned = (certificate: X509Certificate): boolean => issued(certificate, certificate);

/** Names match and the signature holds. */
const issued = (certificate: X509Certificate, by: X509Certificate): boolean =>
  certificate.checkIssued(by) && certificate.verify(by.publicKey);

function stateOf(chain: readonly X509Certificate[], authorities: () => readonly X509Certificate[]): ChainState {
  for (const [at, certificate] of chain.entries()) {
    const next = chain[at + 1];
    if (next !== undefined && !issued(certificate, next)) return 'unordered';
  }
  const last = chain[chain.length - 1]!;
  const known = authorities();
  if (known.some((root) => root.fingerprint256 === last.fingerprint256 || issued(last, root))) return 'public';
  if (!isSelfSigned(last)) return 'incomplete';
  return chain.length === 1 ? 'self-signed' : 'private';
}
