// @ts-nocheck
import { type Refusal, retryLater } from '../http/refusal.js';
import { type AddressEntry, SITE_FACTOR } from './address-table.js';
import type { AdmissionStore, Awaitable } from './admission-store.js';

/** One connection's slot, from before its guards run until its socket has closed. */
export class Reservation {
  #isHeld = true;

  /** Made by `Capacity.reserve()` only. */
  constructor(
    private readonly capacity: Capacity,
    private readonly entry: AddressEntry,
    private readonly gateway: GatewayCapacity,
  ) {}

  /** Frees the slot. May be called on every way out: only the first call counts. */
  release(): void {
    if (!this.#isHeld) return;
    this.#isHeld = false;
    this.capacity.give(this.entry, this.gateway);
  }
}

/** Seconds after which a refused client may try again: slots come free when others leave, which nobody can foretell. */
const RETRY_AFTER = 5;

/** Made once: refusing allocates nothing. */
export const CAPACITY_REFUSALS = Object.freeze({
  total: Object.freeze(retryLater('connections', 503, RETRY_AFTER)),
  gateway: Object.freeze(retryLater('connections-per-gateway', 503, RETRY_AFTER)),
  address: Object.freeze(retryLater('connections-per-ip', 429, RETRY_AFTER)),
  user: Object.freeze(retryLater('connections-per-user', 429, RETRY_AFTER)),
});

export interface CapacityLimits {
  /** `connections.max`: of the application. */
  readonly max: number;
  /** `connections.maxPerIp`: of an address over all gateways. */
  readonly maxPerIp: number;
}

/**
 * The connection slots of one application. A slot is reserved before the guards run, so the caps hold however many
 * attempts are under way at once.
 */
export class Capacity {
  #used = 0;

  constructor(
    private readonly limits: CapacityLimits,
    private readonly store: AdmissionStore,
  ) {}

  /** Slots that are reserved or in use. */
  get used(): number {
    return this.#used;
  }

  /** Takes one slot of the address, of its /48, of the gateway and of the total; all of them or none. */
  reserve(entry: AddressEntry, gateway: GatewayCapacity): Awaitable<Reservation | Refusal> {
    const taken = this.store.takeSlot(entry, this.limits.maxPerIp);
    if (typeof taken === 'boolean') return this.#complete(taken, entry, gateway);
    return taken.then((isTaken) => this.#complete(isTaken, entry, gateway));
  }

  /** Why there is no room whatever the request says, for ports that decide when they accept: of an address that is known. */
  breach(entry: AddressEntry | undefined): Refusal | undefined {
    if (entry?.isFull(this.limits.maxPerIp)) return CAPACITY_REFUSALS.address;
    return this.#isFull ? CAPACITY_REFUSALS.total : undefined;
  }

  /** For `Reservation.release()` only. */
  give(entry: AddressEntry, gateway: GatewayCapacity): void {
    this.#used--;
    gateway.give(entry);
    this.store.returnSlot(entry);
  }

  #complete(isTaken: boolean, entry: AddressEntry, gateway: GatewayCapacity): Reservation | Refusal {
    if (!isTaken) return CAPACITY_REFUSALS.address;
    const breach = this.#localBreach(entry, gateway);
    if (breach !== undefined) {
      this.store.returnSlot(entry);
      return breach;
    }
    this.#used++;
    gateway.take(entry);
    return new Reservation(this, entry, gateway);
  }

  #localBreach(entry: AddressEntry, gateway: GatewayCapacity): Refusal | undefined {
    if (gateway.isFullFor(entry)) return CAPACITY_REFUSALS.address;
    if (gateway.isFull) return CAPACITY_REFUSALS.gateway;
    return this.#isFull ? CAPACITY_REFUSALS.total : undefined;
  }

  get #isFull(): boolean {
    return this.#used >= this.limits.max;
  }
}

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
