import { createHmac, timingSafeEqual } from 'node:crypto';

/** The header of `nest-secure-ws probe`: a nonce in a request, the proof in its response. */
export const PROBE_HEADER = 'Nest-Secure-Ws-Probe';

/** 128 to 512 bits in base64url. Anything else is not answered, so that nobody can choose what is signed. */
const NONCE = /^[A-Za-z0-9_-]{22,86}$/;
const CONTEXT = 'nest-secure-ws probe 1\n';

/** HMAC-SHA-256 of the nonce in base64url, which needs `probe.token`. */
export function probeProof(token: string, nonce: string): string {
  return createHmac('sha256', token).update(CONTEXT).update(nonce).digest('base64url');
}

/** Whether the proof was made with this token for this nonce. Compares in constant time. */
export function isProof(token: string, nonce: string, proof: string | undefined): boolean {
  const [expected, given] = [Buffer.from(probeProof(token, nonce)), Buffer.from(proof ?? '')];
  return expected.length === given.length && timingSafeEqual(expected, given);
}

/**
 * The header line by which a server consents to be probed; `undefined` without `probe.token`, and for requests without
 * exactly one nonce.
 */
export function consentLine(
  rawHeaders: readonly string[],
  token: string | undefined,
): readonly [name: string, value: string] | undefined {
  if (token === undefined) return undefined;
  let nonce: string | undefined;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    if (rawHeaders[i]!.toLowerCase() !== PROBE_HEADER.toLowerCase()) continue;
    if (nonce !== undefined) return undefined;
    nonce = rawHeaders[i + 1]!;
  }
  return nonce !== undefined && NONCE.test(nonce) ? [PROBE_HEADER, probeProof(token, nonce)] : undefined;
}
