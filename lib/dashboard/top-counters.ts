/** A key and its count; `atMost` is the maximum error of the count. */
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
 * Counts the most frequent of any number of keys in bounded memory (the Space-Saving algorithm): a new key replaces the
 * least frequent one and inherits its count as possible error. Counts are halved every minute, so that recent events
 * count more.
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

  /** Halves every count, and removes keys whose count is nearly zero. */
  fade(): void {
    for (const [key, entry] of this.entries) {
      entry.count /= 2;
      entry.error /= 2;
      if (entry.count < 0.5) this.entries.delete(key);
    }
  }

  /** The `most` keys with the highest counts, in descending order. */
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
