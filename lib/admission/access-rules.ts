import type { HostPort } from '../http/host.js';
import { REFUSALS, type Refusal, withDetail } from '../http/refusal.js';
import type { ClientAddress } from '../net/address.js';
import { type AddressRules, isAddressAllowed } from '../net/address-list.js';
import { type AllowedHosts, hostMismatch } from './host.js';
import { type AllowedOrigins, originMismatch } from './origin.js';

export interface TlsFacts {
  /** TLS ends here. */
  readonly tls: boolean;
  /** What the nearest trusted proxy says of the client's side; `undefined` where nobody says anything. */
  readonly secure: boolean | undefined;
}

/** `proxy.requireTls`: the connection is TLS here, or said to be TLS by the nearest trusted proxy. */
export const isTlsSatisfied = (required: boolean, { tls, secure }: TlsFacts): boolean =>
  !required || tls || secure === true;

/** Stage 5 as rules: what must hold for every connection to a gateway. */
export interface AccessRules {
  readonly requireTls: boolean;
  readonly hosts: AllowedHosts | undefined;
  readonly origins: AllowedOrigins | undefined;
  readonly addresses: AddressRules;
}

/** Stage 5 as facts of one attempt. */
export interface AccessFacts {
  readonly address: ClientAddress;
  readonly peer: ClientAddress;
  readonly viaProxy: boolean;
  readonly tls: boolean;
  readonly secure: boolean | undefined;
  readonly host: HostPort;
  readonly origin: string | undefined;
}

/** One check, one line, in the order in which they are made; each answers its refusal. */
const CHECKS = [checkTls, checkHost, checkOrigin, checkAddress];

export function checkAccess(rules: AccessRules, facts: AccessFacts): Refusal | undefined {
  for (let i = 0; i < CHECKS.length; i++) {
    const refusal = CHECKS[i]!(rules, facts);
    if (refusal !== undefined) return refusal;
  }
  return undefined;
}

export function checkTls(rules: Pick<AccessRules, 'requireTls'>, facts: AccessFacts): Refusal | undefined {
  return isTlsSatisfied(rules.requireTls, facts) ? undefined : REFUSALS.tlsRequired;
}

export function checkHost(rules: Pick<AccessRules, 'hosts'>, facts: AccessFacts): Refusal | undefined {
  const compared = hostMismatch(rules.hosts, facts.host);
  return compared === undefined ? undefined : withDetail(REFUSALS.host, compared);
}

export function checkOrigin(rules: Pick<AccessRules, 'origins'>, facts: AccessFacts): Refusal | undefined {
  const { origin, host, secure, peer, viaProxy } = facts;
  if (origin === undefined) return undefined;
  const compared = originMismatch(rules.origins, { origin, host, secure, isLocalPeer: peer.isLoopback && !viaProxy });
  return compared === undefined ? undefined : withDetail(REFUSALS.origin, compared);
}

export function checkAddress(rules: Pick<AccessRules, 'addresses'>, facts: AccessFacts): Refusal | undefined {
  return isAddressAllowed(facts.address, rules.addresses) ? undefined : REFUSALS.addressDenied;
}
