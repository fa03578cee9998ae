import type { Refusal } from '../http/refusal.js';
import { compiled, parseAddressList } from '../net/address-list.js';
import { type AccessFacts, checkAddress, checkHost, checkOrigin, checkTls } from './access-rules.js';
import { AddressTable } from './address-table.js';
import { factsOf } from './attempt.js';
import { AttemptRate } from './attempt-rate.js';
import { type Capacity, type GatewayCapacity, Reservation } from './capacity.js';
import { type AdmissionGuardFunction, BuiltInRefusal } from './guard.js';
import { parseAllowedHosts } from './host.js';
import { parseAllowedOrigins } from './origin.js';

/**
 * The library's own guards in the order in which they run, with the stage and the settings that each enforces. The
 * application's run behind them (stage 7), those of `forRoot` first; `beforeBuiltIn(guard)` puts one between the first
 * of them, the rate, and the rest (behind stage 4, when the path is known).
 */
export const BUILT_IN_GUARDS = Object.freeze([
  { name: 'rateGuard', stage: 2, settings: 'connections.rate' },
  { name: 'tlsGuard', stage: 5, settings: 'proxy.requireTls' },
  { name: 'hostGuard', stage: 5, settings: 'connections.allowedHosts' },
  { name: 'originGuard', stage: 5, settings: 'connections.allowedOrigins' },
  { name: 'addressGuard', stage: 5, settings: 'connections.allowedIps, connections.deniedIps' },
  { name: 'capacityGuard', stage: 6, settings: 'connections.max, connections.maxPerIp' },
] as const);

/** 403 without TLS, here or at the nearest trusted proxy. */
export const tlsGuard = (): AdmissionGuardFunction =>
  named('tlsGuard', (facts) => checkTls({ requireTls: true }, facts));

/** 403 for a `Host` that is not listed. Throws a `TypeError` for a list that has problems, as all of these do. */
export function hostGuard(allowed: readonly string[]): AdmissionGuardFunction {
  const rules = { hosts: compiled(parseAllowedHosts(allowed)) };
  return named('hostGuard', (facts) => checkHost(rules, facts));
}

/** 403 for pages of other origins: those of the list, else the same origin, may connect. */
export function originGuard(allowed?: readonly string[]): AdmissionGuardFunction {
  const rules = { origins: allowed && compiled(parseAllowedOrigins(allowed)) };
  return named('originGuard', (facts) => checkOrigin(rules, facts));
}

/** 403 by the client's address: CIDRs, addresses, `loopback`, `linklocal`, `uniquelocal`. The denied list wins. */
export function addressGuard(lists: {
  allowed?: readonly string[];
  denied?: readonly string[];
}): AdmissionGuardFunction {
  const allowed = lists.allowed && compiled(parseAddressList(lists.allowed));
  const denied = lists.denied && compiled(parseAddressList(lists.denied));
  return named('addressGuard', (facts) => checkAddress({ addresses: { allowed, denied } }, facts));
}

/** 429 with `Retry-After` past `limit` attempts of an address in `window` milliseconds: beside `connections.rate`. */
export function rateGuard(
  rate: { readonly limit: number; readonly window: number },
  now: () => number = () => performance.now(),
): AdmissionGuardFunction {
  const table = new AddressTable({ now });
  const attempts = new AttemptRate(rate, now);
  return named('rateGuard', ({ address, entry: known }) => {
    const entry = table.acquire(address, known?.isExempt);
    try {
      return attempts.refusal(entry);
    } finally {
      table.release(entry);
    }
  });
}

/** 429 or 503 without a free slot. Whoever is handed the reservation must release it when the connection is gone. */
export function capacityGuard(
  capacity: Capacity,
  gateway: GatewayCapacity,
  onReserved: (reservation: Reservation) => void,
): AdmissionGuardFunction {
  return named('capacityGuard', ({ entry }) => {
    if (entry === undefined) throw new TypeError('capacityGuard needs an attempt with an address entry');
    const outcome = capacity.reserve(entry, gateway);
    if (!(outcome instanceof Reservation)) return outcome;
    onReserved(outcome);
    return undefined;
  });
}

type Check = (facts: ReturnType<typeof factsOf> & AccessFacts) => Refusal | undefined;

/** A check in the form of a guard, with a name for the log. */
function named(name: string, check: Check): AdmissionGuardFunction {
  const guard: AdmissionGuardFunction = (attempt) => answer(check(factsOf(attempt)));
  return Object.defineProperty(guard, 'name', { value: name });
}

const answer = (refusal: Refusal | undefined) => (refusal === undefined ? true : new BuiltInRefusal(refusal));
