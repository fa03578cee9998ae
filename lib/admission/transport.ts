import { REFUSALS, type Refusal, withDetail } from '../errors/refusals.js';
import type { HostPort } from '../request/host.js';
import type { ClientAddress } from './address.js';
import { type AllowedHosts, judgeHost } from './host/allowed-hosts.js';
import { type AddressRules, isAddressAllowed } from './ip/address-rules.js';
import type { AllowedOrigins } from './origin/allowed-origins.js';
import { judgeOrigin } from './origin/judge-origin.js';
import { isTlsSatisfied } from './tls/require-tls.js';

/** Stage 5 as rules: what must hold for every connection to a gateway. */
export interface TransportRules {
  readonly requireTls: boolean;
  readonly hosts: AllowedHosts | undefined;
  readonly origins: AllowedOrigins | undefined;
  readonly addresses: AddressRules;
}

/** Stage 5 as facts of one attempt. */
export interface TransportFacts {
  readonly address: ClientAddress;
  readonly peer: ClientAddress;
  readonly viaProxy: boolean;
  readonly tls: boolean;
  readonly secure: boolean | undefined;
  readonly host: HostPort;
  readonly origin: string | undefined;
}

/** One check, one line, in the order in which they are made; each answers its refusal. */
const CHECKS = [refuseTls, refuseHost, refuseOrigin, refuseAddress];

export function judgeTransport(rules: TransportRules, facts: TransportFacts): Refusal | undefined {
  for (let i = 0; i < CHECKS.length; i++) {
    const refusal = CHECKS[i]!(rules, facts);
    if (refusal !== undefined) return refusal;
  }
  return undefined;
}

export function refuseTls(rules: Pick<TransportRules, 'requireTls'>, facts: TransportFacts): Refusal | undefined {
  return isTlsSatisfied(rules.requireTls, facts) ? undefined : REFUSALS.tlsRequired;
}

export function refuseHost(rules: Pick<TransportRules, 'hosts'>, facts: TransportFacts): Refusal | undefined {
  const compared = judgeHost(rules.hosts, facts.host);
  return compared === undefined ? undefined : withDetail(REFUSALS.host, compared);
}

export function refuseOrigin(rules: Pick<TransportRules, 'origins'>, facts: TransportFacts): Refusal | undefined {
  const { origin, host, secure, peer, viaProxy } = facts;
  if (origin === undefined) return undefined;
  const compared = judgeOrigin(rules.origins, { origin, host, secure, isLocalPeer: peer.isLoopback && !viaProxy });
  return compared === undefined ? undefined : withDetail(REFUSALS.origin, compared);
}

export function refuseAddress(rules: Pick<TransportRules, 'addresses'>, facts: TransportFacts): Refusal | undefined {
  return isAddressAllowed(facts.address, rules.addresses) ? undefined : REFUSALS.addressDenied;
}
