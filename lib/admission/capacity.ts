import { type Refusal, retryLater } from '../http/refusal.js';
import { type AddressEntry, SITE_FACTOR } from './address-table.js';
import type { SharedSlot } from './shared-slot.js';

/** The slot of one connection, from before its guards run until its socket has closed. */
export class Reservation {
  shared: SharedSlot | undefined = undefined;
  #isHeld = true;

  /** Created only by `Capacity.reserve()`. */
  constructor(
    private readonly capacity: Capacity,
    private readonly entry: AddressEntry,
    private readonly gateway: GatewayCapacity,
  ) {}

  /** Frees the slot. Idempotent. */
  release(): void {
    if (!this.#isHeld) return;
    this.#isHeld = false;
    this.capacity.release(this.entry, this.gateway);
    this.shared?.release();
  }
}

/** `Retry-After` in seconds: when a slot becomes free cannot be predicted. */
const RETRY_AFTER = 5;

/** Created once, so that refusing allocates nothing. */
export const CAPACITY_REFUSALS = Object.freeze({
  total: Object.freeze(retryLater('connections', 503, RETRY_AFTER)),
  gateway: Object.freeze(retryLater('connections-per-gateway', 503, RETRY_AFTER)),
  address: Object.freeze(retryLater('connections-per-ip', 429, RETRY_AFTER)),
  user: Object.freeze(retryLater('connections-per-user', 429, RETRY_AFTER)),
});

export interface CapacityLimits {
  /** `connections.max` of the application. */
  readonly max: number;
  /** `connections.maxPerIp` of an address, over all gateways. */
  readonly maxPerIp: number;
}

/**
 * The connection slots of one application. A slot is reserved before the guards run, so that the caps are exact however
 * many attempts are in progress at the same time.
 */
export class Capacity {
  #used = 0;

  constructor(private readonly limits: CapacityLimits) {}

  /** Number of slots that are reserved or in use. */
  get used(): number {
    return this.#used;
  }

  /** Takes one slot of the address, of its /48, of the gateway and of the total; either all of them or none. */
  reserve(entry: AddressEntry, gateway: GatewayCapacity): Reservation | Refusal {
    const refusal = this.#refusal(entry, gateway);
    if (refusal !== undefined) return refusal;
    entry.takeSlot(Number.POSITIVE_INFINITY);
    this.#used++;
    gateway.acquire(entry);
    return new Reservation(this, entry, gateway);
  }

  /** The refusal that applies to every request of an address, for ports that decide at accept. */
  refusalFor(entry: AddressEntry | undefined): Refusal | undefined {
    if (entry?.isFull(this.limits.maxPerIp)) return CAPACITY_REFUSALS.address;
    return this.#isFull ? CAPACITY_REFUSALS.total : undefined;
  }

  /** For `Reservation.release()` only. */
  release(entry: AddressEntry, gateway: GatewayCapacity): void {
    this.#used--;
    gateway.release(entry);
    entry.returnSlot();
  }

  #refusal(entry: AddressEntry, gateway: GatewayCapacity): Refusal | undefined {
    if (entry.isFull(this.limits.maxPerIp) || gateway.isFullFor(entry)) return CAPACITY_REFUSALS.address;
    if (gateway.isFull) return CAPACITY_REFUSALS.gateway;
    return this.#isFull ? CAPACITY_REFUSALS.total : undefined;
  }

  get #isFull(): boolean {
    return this.#used >= this.limits.max;
  }
}

export interface GatewayLimits {
  /** The gateway's own `connections.max`, if it has one. */
  readonly max?: number;
  /** The gateway's own `connections.maxPerIp`, if it has one. */
  readonly maxPerIp?: number;
}

/** The slots of one gateway. Addresses are only counted if the gateway has its own cap for them. */
export class GatewayCapacity {
  #used = 0;
  readonly #byAddress: Map<AddressEntry, number> | undefined;

  constructor(
    readonly limits: GatewayLimits = {},
    /** The name of the gateway, the same in every process of a cluster. */
    readonly id = '',
  ) {
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
      this.countOf(entry) >= maxPerIp ||
      (entry.site !== undefined && this.countOf(entry.site) >= maxPerIp * SITE_FACTOR)
    );
  }

  acquire(entry: AddressEntry): void {
    this.#used++;
    this.#add(entry, 1);
  }

  release(entry: AddressEntry): void {
    this.#used--;
    this.#add(entry, -1);
  }

  /** The number of connections of an address, if the gateway has its own cap for addresses. */
  countOf(entry: AddressEntry): number {
    return this.#byAddress?.get(entry) ?? 0;
  }

  #add(entry: AddressEntry, change: 1 | -1): void {
    if (this.#byAddress === undefined) return;
    for (let each: AddressEntry | undefined = entry; each !== undefined; each = each.site) {
      const count = this.countOf(each) + change;
      if (count === 0) this.#byAddress.delete(each);
      else this.#byAddress.set(each, count);
    }
  }
}
