import type { AddressEntry } from '../admission/address-table.js';

/** A pending handshake, or the head of a request that may become one, for which bytes are held. */
export interface HeadHolder {
  heldBytes: number;
  /** The address that is counted. */
  readonly account: AddressEntry;
  /** Makes it release its bytes and end. */
  evict(): void;
}

interface Account {
  sum: number;
  readonly holders: Set<HeadHolder>;
}

/**
 * Counts bytes that peers have sent before their 101: request heads, including complete ones while guards decide, and
 * bytes after them. If there are too many, the largest holders of the address that holds most are ended until the total
 * is below the limit, so that a peer that sends little is never ended before one that sends much.
 */
export class HandshakeBudget {
  private total = 0;
  private readonly accounts = new Map<AddressEntry, Account>();
  /** The address under which each holder is counted; it can change behind a proxy. */
  private readonly entryOf = new Map<HeadHolder, AddressEntry>();

  constructor(
    private readonly max: number,
    /** Called with every change, in bytes. */
    private readonly changed: (delta: number) => void,
  ) {}

  /** Bytes held now. */
  get held(): number {
    return this.total;
  }

  /** Records how many bytes `holder` holds now. This can end `holder` itself. */
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

/** The first of the largest holders. There is at least one. */
function largest<T>(candidates: Iterable<T>, sizeOf: (candidate: T) => number): T {
  let chosen: T | undefined;
  for (const candidate of candidates)
    if (chosen === undefined || sizeOf(candidate) > sizeOf(chosen)) chosen = candidate;
  return chosen!;
}
