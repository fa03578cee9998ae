import type { ClientAddress } from '../address.js';
import type { AddressList } from './address-list.js';

/** Who may connect by address. The denied list wins; without an allowed list everybody else may. */
export interface AddressRules {
  readonly allowed?: AddressList;
  readonly denied?: AddressList;
}

export function isAddressAllowed(address: ClientAddress, rules: AddressRules): boolean {
  if (rules.denied?.has(address)) return false;
  return rules.allowed === undefined || rules.allowed.has(address);
}
