import { Ring, type RingMember } from '../net/ring.js';
import { type AddressEntry, SITE_FACTOR } from './address-table.js';

export interface PendingLimits {
  /** `connections.maxPending`. */
  readonly max: number;
  /** `connections.maxPendingPerIp`. */
  readonly maxPerIp: number;
}

/** One connection between accept and the 101. */
export class PendingPlace<T> implements RingMember<PendingPlace<T>> {
  isHeld = true;
  /** Its neighbours in the ring of its address. */
  next: PendingPlace<T> = this;
  previous: PendingPlace<T> = this;

  constructor(
    public entry: AddressEntry,
    readonly holder: T,
  ) {}
}

/** The places of one address, the oldest first. */
export class AddressQueue<T> extends Ring<PendingPlace<T>> implements RingMember<AddressQueue<T>> {
  /** Its neighbours in the ring of queues of the same size. */
  next: AddressQueue<T> = this;
  previous: AddressQueue<T> = this;

  constructor(readonly entry: AddressEntry) {
    super();
  }
}

/**
 * The connections between accept and the 101. A new one always gets a place, at the cost of the oldest of its own
 * address if that has too many, else of the oldest of the address that has most: an address that opens many connections
 * can only evict its own.
 */
export class PendingRegistry<T> {
  #size = 0;
  /** Index n contains the queues of n places, so that the largest is found without a search. */
  readonly #bySize: Ring<AddressQueue<T>>[] = [];
  #largestSize = 0;

  constructor(private readonly limits: PendingLimits) {}

  get size(): number {
    return this.#size;
  }

  /** All holders, in a new array: a caller may end them. */
  holders(): T[] {
    const holders: T[] = [];
    for (const queues of this.#bySize.values())
      for (const queue of queues ?? []) for (const { holder } of queue) holders.push(holder);
    return holders;
  }

  add(entry: AddressEntry, holder: T): PendingPlace<T> {
    const place = new PendingPlace(entry, holder);
    this.#size++;
    this.#insert(place);
    return place;
  }

  /** Removes a place when its handshake ends, also with a 101. Idempotent. */
  remove(place: PendingPlace<T>): void {
    if (!place.isHeld) return;
    place.isHeld = false;
    this.#size--;
    this.#detach(place);
  }

  /** Moves a place to the client's address, which a trusted proxy has reported. */
  move(place: PendingPlace<T>, entry: AddressEntry): void {
    if (!place.isHeld || place.entry === entry) return;
    this.#detach(place);
    place.entry = entry;
    this.#insert(place);
  }

  /**
   * The handshake that must be ended to keep the limits after `place` was added or moved; to be called until it returns
   * `undefined`. The victim is already removed. It is the new one itself if its address has no other, as in a /48 that
   * has too many.
   */
  victim(place: PendingPlace<T>): T | undefined {
    const evictFrom = this.#isOverLimit(place.entry)
      ? place.entry
      : this.#size > this.limits.max
        ? this.#busiest()
        : undefined;
    if (evictFrom === undefined) return undefined;
    const oldest = queueOf<T>(evictFrom)?.first ?? place;
    this.remove(oldest);
    return oldest.holder;
  }

  #isOverLimit(entry: AddressEntry): boolean {
    if (entry.isExempt || entry.pending === 0) return false;
    return entry.pending > this.limits.maxPerIp || (entry.site?.pending ?? 0) > this.limits.maxPerIp * SITE_FACTOR;
  }

  #busiest(): AddressEntry | undefined {
    while (this.#largestSize > 0 && this.#bySize[this.#largestSize]?.first === undefined) this.#largestSize--;
    return this.#bySize[this.#largestSize]?.first?.entry;
  }

  #insert(place: PendingPlace<T>): void {
    const { entry } = place;
    const queue = queueOf<T>(entry) ?? new AddressQueue<T>(entry);
    entry.pendingQueue = queue;
    queue.add(place);
    this.#count(queue, 1);
  }

  #detach(place: PendingPlace<T>): void {
    const { entry } = place;
    const queue = queueOf<T>(entry)!;
    queue.remove(place);
    this.#count(queue, -1);
    if (entry.pending === 0) entry.pendingQueue = undefined;
  }

  #count(queue: AddressQueue<T>, change: 1 | -1): void {
    const { entry } = queue;
    if (entry.pending > 0) this.#bySize[entry.pending]!.remove(queue);
    entry.pending += change;
    if (entry.site !== undefined) entry.site.pending += change;
    if (entry.pending === 0) return;
    (this.#bySize[entry.pending] ??= new Ring()).add(queue);
    this.#largestSize = Math.max(this.#largestSize, entry.pending);
  }
}

const queueOf = <T>(entry: AddressEntry): AddressQueue<T> | undefined =>
  entry.pendingQueue as AddressQueue<T> | undefined;
