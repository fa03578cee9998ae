import type { AddressEntry } from '../admission/address-table.js';

/** A pending handshake, or a head that may become one, for which bytes are held. */
export interface HeadHolder {
  heldBytes: number;
  /** The address that counts. */
  readonly account: AddressEntry;
  /** Must give up what it holds. */
  evict(): void;
}

interface Account {
  sum: number;
  readonly holders: Set<HeadHolder>;
}

/**
 * What peers have sent before their 101: heads, complete ones too while guards decide, and what came behind them. When
 * it is too much, the largest holder of the address that holds most must go, until it is not: a peer that sends little
 * is never chosen before one that sends much.
 */
export class HandshakeBudget {
  private total = 0;
  private readonly accounts = new Map<AddressEntry, Account>();
  /** Where each holder is counted: its address may change, behind a proxy. */
  private readonly entryOf = new Map<HeadHolder, AddressEntry>();

  constructor(
    private readonly max: number,
    /** Told of every change, in bytes. */
    private readonly changed: (delta: number) => void,
  ) {}

  /** Bytes held now. */
  get held(): number {
    return this.total;
  }

  /** Notes what `holder` holds now, in bytes. It may be the one that must go. */
  set(holder: HeadHolder, bytes: number): void {
    const delta = bytes - holder.heldBytes;
    if (delta === 0) return;
    this.uncount(holder);
    holder.heldBytes = bytes;
    if (bytes > 0) this.count(holder);
    this.total += delta;
    this.changed(delta);
    // protection: heads hold at most 16 MiB together
    while (this.total > this.max) this.victim().evict();
    // end protection
  }

  private count(holder: HeadHolder): void {
    const { account: entry, heldBytes } = holder;
    let account = this.accounts.get(entry);
    if (account === undefined) this.accounts.set(entry, (account = { sum: 0, holders: new Set() }));
    account.sum += heldBytes;
    account.holders.add(holder);
    this.entryOf.set(holder, entry);
  }

  private uncount(holder: HeadHolder): void {
    const entry = this.entryOf.get(holder);
    if (entry === undefined) return;
    this.entryOf.delete(holder);
    const account = this.accounts.get(entry)!;
    account.sum -= holder.heldBytes;
    account.holders.delete(holder);
    if (account.holders.size === 0) this.accounts.delete(entry);
  }

  private victim(): HeadHolder {
    const { holders } = largest(this.accounts.values(), ({ sum }) => sum);
    return largest(holders, ({ heldBytes }) => heldBytes);
  }
}

/** The first of the largest. There is at least one. */
function largest<T>(candidates: Iterable<T>, sizeOf: (candidate: T) => number): T {
  let chosen: T | undefined;
  for (const candidate of candidates)
    if (chosen === undefined || sizeOf(candidate) > sizeOf(chosen)) chosen = candidate;
  return chosen!;
}
