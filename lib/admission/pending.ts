import { Ring, type RingMember } from '../net/ring.js';
import { type AddressEntry, SITE_FACTOR } from './address-table.js';

export interface PendingLimits {
  /** `connections.maxPending`. */
  readonly max: number;
  /** `connections.maxPendingPerIp`. */
  readonly maxPerIp: number;
}

/** One connection between accept and 101. */
export class PendingPlace<T> implements RingMember<PendingPlace<T>> {
  isHeld = true;
  /** Among the places of its address. */
  next: PendingPlace<T> = this;
  previous: PendingPlace<T> = this;

  constructor(
    public entry: AddressEntry,
    readonly holder: T,
  ) {}
}

/** The places of one address, the oldest first. */
export class Crowd<T> extends Ring<PendingPlace<T>> implements RingMember<Crowd<T>> {
  /** Among the crowds of its size. */
  next: Crowd<T> = this;
  previous: Crowd<T> = this;

  constructor(readonly entry: AddressEntry) {
    super();
  }
}

/**
 * The connections on their way in. There is always room for one more, at the cost of the oldest of its own address
 * when that has too many, else of the oldest of the address that has most: a crowd can only crowd out itself.
 */
export class PendingRegistry<T> {
  #size = 0;
  /** At index n the crowds of n places: finding the largest costs no search. */
  readonly #bySize: Ring<Crowd<T>>[] = [];
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
    const oldest = crowdOf<T>(crowded)?.first ?? place;
    this.leave(oldest);
    return oldest.holder;
  }

  #isCrowded(entry: AddressEntry): boolean {
    if (entry.isExempt || entry.pending === 0) return false;
    return entry.pending > this.limits.maxPerIp || (entry.site?.pending ?? 0) > this.limits.maxPerIp * SITE_FACTOR;
  }

  #largest(): AddressEntry | undefined {
    while (this.#most > 0 && this.#bySize[this.#most]?.first === undefined) this.#most--;
    return this.#bySize[this.#most]?.first?.entry;
  }

  #join(place: PendingPlace<T>): void {
    const { entry } = place;
    const crowd = crowdOf<T>(entry) ?? new Crowd<T>(entry);
    entry.crowd = crowd;
    crowd.add(place);
    this.#count(crowd, 1);
  }

  #part(place: PendingPlace<T>): void {
    const { entry } = place;
    const crowd = crowdOf<T>(entry)!;
    crowd.remove(place);
    this.#count(crowd, -1);
    if (entry.pending === 0) entry.crowd = undefined;
  }

  #count(crowd: Crowd<T>, change: 1 | -1): void {
    const { entry } = crowd;
    if (entry.pending > 0) this.#bySize[entry.pending]!.remove(crowd);
    entry.pending += change;
    if (entry.site !== undefined) entry.site.pending += change;
    if (entry.pending === 0) return;
    (this.#bySize[entry.pending] ??= new Ring()).add(crowd);
    this.#most = Math.max(this.#most, entry.pending);
  }
}

const crowdOf = <T>(entry: AddressEntry): Crowd<T> | undefined => entry.crowd as Crowd<T> | undefined;
