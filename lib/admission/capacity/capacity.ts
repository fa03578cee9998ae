import { type Refusal, retryLater } from '../../errors/refusals.js';
import type { AddressEntry } from '../../stores/address-entry.js';
import type { Awaitable } from '../../stores/awaitable.js';
import type { AdmissionStore } from '../../stores/contract.js';
import { GatewayCapacity } from './gateway-capacity.js';
import { Reservation } from './reservation.js';

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
