import type { ClientRoute } from '../http/forwarding.js';
import { type ClientAddress, UNIX_PEER } from '../net/address.js';
import { PRIVATE_ADDRESSES } from '../net/address-list.js';
import type { Telemetry } from '../telemetry/events.js';

/** Number of refusals for its address after which a peer is reported as a probable proxy. */
const MANY = 100;

/**
 * Detects the most common configuration error: a proxy that is not in `proxy.trusted`, so that all clients share its
 * address. It is reported once, with the setting that fixes it.
 */
export class UntrustedProxyDetector {
  private said = false;
  private suspect = '';
  private refusals = 0;

  constructor(private readonly telemetry: Telemetry) {}

  /** Called when a peer that is not trusted sends forwarding headers. */
  onStrayHeaders({ address }: ClientRoute): void {
    if (!this.said && (address === UNIX_PEER || PRIVATE_ADDRESSES.has(address))) this.warn(nameOf(address));
  }

  /**
   * Called when such a peer was refused because of the limits of its address. A majority vote needs only one counter.
   */
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
      `${address} sends forwarding headers (X-Forwarded-*, Forwarded) but is not trusted: all its clients count as one address. If it is your proxy, set proxy.trusted (WEBSOCKETS_TRUSTED_PROXIES=${address}).`,
    );
  }
}

/** The address in the notation of `proxy.trusted`. */
const nameOf = (address: ClientAddress): string => (address === UNIX_PEER ? 'unix' : address.text);
