/** A key and how much was counted for it; `atMost`: by how much that may be too high. */
export interface Counted {
  readonly key: string;
  readonly count: number;
  readonly atMost: number;
}

interface Entry {
  count: number;
  error: number;
}

/**
 * The heaviest of unboundedly many keys in bounded memory (the Space-Saving algorithm): a new key takes the place of
 * the lightest and inherits its count as its possible error. Counts fade by half every minute, so that the past does
 * not outweigh the present.
 */
export class TopCounters {
  private readonly entries = new Map<string, Entry>();

  constructor(private readonly capacity: number) {}

  add(key: string, amount = 1): void {
    const known = this.entries.get(key);
    if (known !== undefined) {
      known.count += amount;
      return;
    }
    if (this.entries.size < this.capacity) {
      this.entries.set(key, { count: amount, error: 0 });
      return;
    }
    const [lightest, { count }] = this.lightest();
    this.entries.delete(lightest);
    this.entries.set(key, { count: count + amount, error: count });
  }

  /** Halves every count; what has all but faded is forgotten. */
  fade(): void {
    for (const [key, entry] of this.entries) {
      entry.count /= 2;
      entry.error /= 2;
      if (entry.count < 0.5) this.entries.delete(key);
    }
  }

  /** The heaviest `most`, heaviest first. */
  top(most: number): Counted[] {
    return [...this.entries]
      .sort(([, a], [, b]) => b.count - a.count)
      .slice(0, most)
      .map(([key, { count, error }]) => ({ key, count: Math.round(count), atMost: Math.round(error) }));
  }

  private lightest(): [string, Entry] {
    let found: [string, Entry] | undefined;
    for (const entry of this.entries) if (found === undefined || entry[1].count < found[1].count) found = entry;
    return found!;
  }
}
