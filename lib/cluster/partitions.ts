/** Number of channels over which rooms are spread. */
export const PARTITIONS = 64;

/** FNV-1a with its high bits folded into the low ones: the result is the same in every process. */
export function partitionOf(room: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < room.length; i++) hash = Math.imul(hash ^ room.charCodeAt(i), 0x01000193);
  return (hash ^ (hash >>> 15)) & (PARTITIONS - 1);
}

/**
 * The partitions with members in this process. A partition is subscribed to with its first member, and unsubscribed in
 * `sweep`, so that peers that join and leave repeatedly cause no work in Redis.
 */
export class Partitions {
  readonly #rooms = new Uint32Array(PARTITIONS);
  readonly #subscribed = new Set<number>();

  constructor(
    private readonly subscribe: (partition: number) => void,
    private readonly unsubscribe: (partition: number) => void,
  ) {}

  get subscribed(): ReadonlySet<number> {
    return this.#subscribed;
  }

  /** Called when a room gets its first member in this process. */
  opened(room: string): void {
    const partition = partitionOf(room);
    this.#rooms[partition]!++;
    if (this.#subscribed.has(partition)) return;
    this.#subscribed.add(partition);
    this.subscribe(partition);
  }

  /** Called when a room loses its last member in this process. */
  closed(room: string): void {
    const partition = partitionOf(room);
    if (this.#rooms[partition]! > 0) this.#rooms[partition]!--;
  }

  sweep(): void {
    for (const partition of this.#subscribed) {
      if (this.#rooms[partition]! > 0) continue;
      this.#subscribed.delete(partition);
      this.unsubscribe(partition);
    }
  }
}
