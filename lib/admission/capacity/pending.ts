import { type AddressEntry, SITE_FACTOR } from '../../stores/address-entry.js';

export interface PendingLimits {
  /** `connections.maxPending`. */
  readonly max: number;
  /** `connections.maxPendingPerIp`. */
  readonly maxPerIp: number;
}

/** One connection between accept and 101. */
export class PendingPlace<T> {
  isHeld = true;
  /** The places of one address are a ring, so that none needs a collection. */
  next: PendingPlace<T> = this;
  previous: PendingPlace<T> = this;

  constructor(
    public entry: AddressEntry,
    readonly holder: T,
  ) {}
}

/**
 * The connections on their way in. There is always room for one more, at the cost of the oldest of its own address
 * when that has too many, else of the oldest of the address that has most: a crowd can only crowd out itself.
 */
export class PendingRegistry<T> {
  #size = 0;
  /** The oldest place of each address. */
  readonly #oldest = new Map<AddressEntry, PendingPlace<T>>();
  /** At index n the addresses with n places: finding the largest costs no search. */
  readonly #byCount: Set<AddressEntry>[] = [];
  #most = 0;

  constructor(private readonly limits: PendingLimits) {}

  get size(): number {
    return this.#size;
  }

  enter(entry: AddressEntry, holder: T): PendingPlace<T> {
    const place = new PendingPlace(entry, holder);
    this.#size++;
    this.#join(place);
    return place;
  }

  /** Idempotent: reached on every way out, the 101 included. */
  leave(place: PendingPlace<T>): void {
    if (!place.isHeld) return;
    place.isHeld = false;
    this.#size--;
    this.#part(place);
  }

  /** The client turned out to be another address, behind a trusted proxy. */
  move(place: PendingPlace<T>, entry: AddressEntry): void {
    if (!place.isHeld || place.entry === entry) return;
    this.#part(place);
    place.entry = entry;
    this.#join(place);
  }

  /**
   * Who must go so that the limits hold after `place` came or moved: to be called until it answers `undefined`.
   * The victim has left the registry already; it is the newcomer itself where its address has no other, as in a
   * /48 that has too many.
   */
  victim(place: PendingPlace<T>): T | undefined {
    const crowded = this.#isCrowded(place.entry)
      ? place.entry
      : this.#size > this.limits.max
        ? this.#largest()
        : undefined;
    if (crowded === undefined) return undefined;
    const oldest = this.#oldest.get(crowded) ?? place;
    this.leave(oldest);
    return oldest.holder;
  }

  #isCrowded(entry: AddressEntry): boolean {
    if (entry.isExempt || entry.pending === 0) return false;
    return entry.pending > this.limits.maxPerIp || (entry.site?.pending ?? 0) > this.limits.maxPerIp * SITE_FACTOR;
  }

  #largest(): AddressEntry | undefined {
    while (this.#most > 0 && !this.#byCount[this.#most]?.size) this.#most--;
    return first(this.#byCount[this.#most]);
  }

  #join(place: PendingPlace<T>): void {
    const { entry } = place;
    const oldest = this.#oldest.get(entry);
    if (oldest === undefined) this.#oldest.set(entry, place);
    else {
      place.next = oldest;
      place.previous = oldest.previous;
      oldest.previous.next = oldest.previous = place;
    }
    this.#count(entry, 1);
  }

  #part(place: PendingPlace<T>): void {
    const { entry, next, previous } = place;
    if (next === place) this.#oldest.delete(entry);
    else if (this.#oldest.get(entry) === place) this.#oldest.set(entry, next);
    previous.next = next;
    next.previous = previous;
    place.next = place.previous = place;
    this.#count(entry, -1);
  }

  #count(entry: AddressEntry, change: 1 | -1): void {
    this.#byCount[entry.pending]?.delete(entry);
    entry.pending += change;
    if (entry.site !== undefined) entry.site.pending += change;
    if (entry.pending === 0) return;
    (this.#byCount[entry.pending] ??= new Set()).add(entry);
    this.#most = Math.max(this.#most, entry.pending);
  }
}

const first = <T>(set: Set<T> | undefined): T | undefined => set?.values().next().value;
