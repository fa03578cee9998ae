import type { AddressEntry } from '../admission/address-table.js';

/** Somebody on the way in, for whom bytes are held. */
export interface HeadHolder {
  heldBytes: number;
  /** The address that counts. */
  readonly account: AddressEntry;
  crowdedOut(): void;
}

/**
 * What peers have sent before their 101: heads, complete ones too while guards think, and what came behind them. When
 * it is too much, the largest of the address that holds most must go, until it is not: who sends little is never chosen
 * before who sends much.
 */
export class HandshakeBudget {
  private total = 0;
  private readonly holders = new Set<HeadHolder>();

  constructor(
    private readonly max: number,
    /** Told of every change, in bytes. */
    private readonly changed: (delta: number) => void,
  ) {}

  /** Bytes held by all of them. */
  get held(): number {
    return this.total;
  }

  /** Notes what `holder` holds now, in bytes. It may be the one that must go. */
  settle(holder: HeadHolder, bytes: number): void {
    const delta = bytes - holder.heldBytes;
    if (delta === 0) return;
    holder.heldBytes = bytes;
    this.total += delta;
    if (bytes > 0) this.holders.add(holder);
    else this.holders.delete(holder);
    this.changed(delta);
    // protection: heads hold at most 16 MiB together
    while (this.total > this.max) this.victim().crowdedOut();
    // end protection
  }

  private victim(): HeadHolder {
    const sums = new Map<AddressEntry, number>();
    for (const { account, heldBytes } of this.holders) sums.set(account, (sums.get(account) ?? 0) + heldBytes);
    const most = largest(sums.keys(), (account) => sums.get(account)!);
    const ofMost = [...this.holders].filter(({ account }) => account === most);
    return largest(ofMost, ({ heldBytes }) => heldBytes);
  }
}

/** The first of the largest. There is at least one. */
function largest<T>(candidates: Iterable<T>, sizeOf: (candidate: T) => number): T {
  let chosen: T | undefined;
  for (const candidate of candidates)
    if (chosen === undefined || sizeOf(candidate) > sizeOf(chosen)) chosen = candidate;
  return chosen!;
}
