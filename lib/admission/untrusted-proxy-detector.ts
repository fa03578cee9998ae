import type { ClientRoute } from '../http/forwarding.js';
import { type ClientAddress, UNIX_PEER } from '../net/address.js';
import { PRIVATE_ADDRESSES } from '../net/address-list.js';
import type { Telemetry } from '../telemetry/events.js';

/** Refusals for its address after which one peer is suspected to be a proxy that nobody named. */
const MANY = 100;

/**
 * The commonest mistake: a proxy in front that is not in `proxy.trusted`, so that everybody shares its address.
 * Said once, with the setting to use.
 */
export class UntrustedProxyDetector {
  private said = false;
  private suspect = '';
  private refusals = 0;

  constructor(private readonly telemetry: Telemetry) {}

  /** A request came with forwarding headers from a peer that is not trusted. */
  onStrayHeaders({ address }: ClientRoute): void {
    if (!this.said && (address === UNIX_PEER || PRIVATE_ADDRESSES.has(address))) this.warn(nameOf(address));
  }

  /** Such a peer was refused for its address's limits. A majority vote: one counter, whoever comes. */
  onRefused({ address }: ClientRoute): void {
    if (this.said) return;
    const name = nameOf(address);
    if (name === this.suspect) this.refusals++;
    else if (this.refusals > 0) this.refusals--;
    else [this.suspect, this.refusals] = [name, 1];
    if (this.refusals >= MANY) this.warn(name);
  }

  private warn(address: string): void {
    this.said = true;
    this.telemetry.notice(
      `${address} sends forwarding headers (X-Forwarded-*, Forwarded) and is not trusted: all its clients count as one address. If it is your proxy, set proxy.trusted (WEBSOCKETS_TRUSTED_PROXIES=${address}).`,
    );
  }
}

/** As in `proxy.trusted`. */
const nameOf = (address: ClientAddress): string => (address === UNIX_PEER ? 'unix' : address.text);
