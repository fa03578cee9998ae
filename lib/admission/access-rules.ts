import type { HostPort } from '../http/host.js';
import { REFUSALS, type Refusal, withDetail } from '../http/refusal.js';
import type { ClientAddress } from '../net/address.js';
import { type AddressRules, isAddressAllowed } from '../net/address-list.js';
import { type AllowedHosts, hostMismatch } from './host.js';
import { type AllowedOrigins, originMismatch } from './origin.js';

export interface TlsFacts {
  /** Whether the connection to this server uses TLS. */
  readonly tls: boolean;
  /** Whether the client uses TLS, as the nearest trusted proxy reports it; `undefined` if it is not reported. */
  readonly secure: boolean | undefined;
}

/** `proxy.requireTls`: the connection must use TLS, or be reported as TLS by the nearest trusted proxy. */
export const isTlsSatisfied = (required: boolean, { tls, secure }: TlsFacts): boolean =>
  !required || tls || secure === true;

/** The rules of stage 5, which apply to every connection to a gateway. */
export interface AccessRules {
  readonly requireTls: boolean;
  readonly hosts: AllowedHosts | undefined;
  readonly origins: AllowedOrigins | undefined;
  readonly addresses: AddressRules;
}

/** The facts of one attempt that stage 5 checks. */
export interface AccessFacts {
  readonly address: ClientAddress;
  readonly peer: ClientAddress;
  readonly viaProxy: boolean;
  readonly tls: boolean;
  readonly secure: boolean | undefined;
  readonly host: HostPort;
  readonly origin: string | undefined;
}

/** The checks in order, each with its refusal. */
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
