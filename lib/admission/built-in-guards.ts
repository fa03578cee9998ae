import type { Refusal } from '../http/refusal.js';
import { compiled, parseAddressList } from '../net/address-list.js';
import { type AccessFacts, checkAddress, checkHost, checkOrigin, checkTls } from './access-rules.js';
import { AddressTable } from './address-table.js';
import { factsOf } from './attempt.js';
import { AttemptRate } from './attempt-rate.js';
import { type AdmissionGuardFunction, BuiltInRefusal } from './guard.js';
import { parseAllowedHosts } from './host.js';
import { parseAllowedOrigins } from './origin.js';

/**
 * The built-in checks that are also guards, in the order in which they run, with their stages and settings. The
 * application's guards run after them (stage 7), those of `forRoot` first; `beforeBuiltIn(guard)` makes a guard run after
 * the first of them, the rate, and before the others (after stage 4, when the path is known).
 */
export const BUILT_IN_GUARDS = Object.freeze([
  { name: 'rateGuard', stage: 2, settings: 'connections.rate' },
  { name: 'tlsGuard', stage: 5, settings: 'proxy.requireTls' },
  { name: 'hostGuard', stage: 5, settings: 'connections.allowedHosts' },
  { name: 'originGuard', stage: 5, settings: 'connections.allowedOrigins' },
  { name: 'addressGuard', stage: 5, settings: 'connections.allowedIps, connections.deniedIps' },
] as const);

/** Refuses with 403 without TLS to this server or to the nearest trusted proxy. */
export const tlsGuard = (): AdmissionGuardFunction =>
  named('tlsGuard', (facts) => checkTls({ requireTls: true }, facts));

/**
 * Refuses with 403 a `Host` that is not in the list. Throws a `TypeError` for an invalid list, as the other guards do.
 */
export function hostGuard(allowed: readonly string[]): AdmissionGuardFunction {
  const rules = { hosts: compiled(parseAllowedHosts(allowed)) };
  return named('hostGuard', (facts) => checkHost(rules, facts));
}

/** Refuses with 403 pages of other origins: the origins in the list may connect, without a list the same origin. */
export function originGuard(allowed?: readonly string[]): AdmissionGuardFunction {
  const rules = { origins: allowed && compiled(parseAllowedOrigins(allowed)) };
  return named('originGuard', (facts) => checkOrigin(rules, facts));
}

/**
 * Refuses with 403 by the client's address: CIDRs, addresses, `loopback`, `linklocal`, `uniquelocal`. `denied` takes
 * precedence.
 */
export function addressGuard(lists: {
  allowed?: readonly string[];
  denied?: readonly string[];
}): AdmissionGuardFunction {
  const allowed = lists.allowed && compiled(parseAddressList(lists.allowed));
  const denied = lists.denied && compiled(parseAddressList(lists.denied));
  return named('addressGuard', (facts) => checkAddress({ addresses: { allowed, denied } }, facts));
}

/**
 * Refuses with 429 and `Retry-After` above `limit` attempts of an address in `window` milliseconds, in addition to
 * `connections.rate`.
 */
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

type Check = (facts: ReturnType<typeof factsOf> & AccessFacts) => Refusal | undefined;

/** Wraps a check as a guard with a name for the log. */
function named(name: string, check: Check): AdmissionGuardFunction {
  const guard: AdmissionGuardFunction = (attempt) => answer(check(factsOf(attempt)));
  return Object.defineProperty(guard, 'name', { value: name });
}

const answer = (refusal: Refusal | undefined) => (refusal === undefined ? true : new BuiltInRefusal(refusal));
