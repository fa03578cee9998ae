import type { AddressEntry } from '../../stores/address-entry.js';
import type { Capacity } from './capacity.js';
import type { GatewayCapacity } from './gateway-capacity.js';

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
