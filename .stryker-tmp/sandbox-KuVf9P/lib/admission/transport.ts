// @ts-nocheck
import type { HostPort } from '../http/host.js';
import { REFUSALS, type Refusal, withDetail } from '../http/refusal.js';
import type { ClientAddress } from '../net/address.js';
import { type AddressRules, isAddressAllowed } from '../net/address-list.js';
import { type AllowedHosts, judgeHost } from './host.js';
import { type AllowedOrigins, judgeOrigin } from './origin.js';

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
