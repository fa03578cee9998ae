import { type AddressEntry, SITE_FACTOR } from '../../stores/address-entry.js';

export interface GatewayLimits {
  /** The gateway's own `connections.max`; without one only the application's holds. */
  readonly max?: number;
  /** The gateway's own `connections.maxPerIp`, likewise. */
  readonly maxPerIp?: number;
}

/** What one gateway holds of the application's slots. Addresses are counted only where it caps them by itself. */
export class GatewayCapacity {
  #used = 0;
  readonly #byAddress: Map<AddressEntry, number> | undefined;

  constructor(private readonly limits: GatewayLimits = {}) {
    this.#byAddress = limits.maxPerIp === undefined ? undefined : new Map();
  }

  get used(): number {
    return this.#used;
  }

  get isFull(): boolean {
    return this.limits.max !== undefined && this.#used >= this.limits.max;
  }

  isFullFor(entry: AddressEntry): boolean {
    const { maxPerIp } = this.limits;
    if (maxPerIp === undefined || entry.isExempt) return false;
    return (
      this.#count(entry) >= maxPerIp || (entry.site !== undefined && this.#count(entry.site) >= maxPerIp * SITE_FACTOR)
    );
  }

  take(entry: AddressEntry): void {
    this.#used++;
    this.#add(entry, 1);
  }

  give(entry: AddressEntry): void {
    this.#used--;
    this.#add(entry, -1);
  }

  #count(entry: AddressEntry): number {
    return this.#byAddress?.get(entry) ?? 0;
  }

  #add(entry: AddressEntry, change: 1 | -1): void {
    if (this.#byAddress === undefined) return;
    for (let each: AddressEntry | undefined = entry; each !== undefined; each = each.site) {
      const count = this.#count(each) + change;
      if (count === 0) this.#byAddress.delete(each);
      else this.#byAddress.set(each, count);
    }
  }
}
