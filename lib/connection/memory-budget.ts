import { SITE_FACTOR } from '../admission/address-table.js';

/** Bytes held for the peers of one address. */
export interface HeldBytes {
  heldBytes: number;
  /** The same for the /48 around the address, which may hold eight times as much. */
  readonly site?: HeldBytes | undefined;
}

/** A connection for which bytes are held, and which can be ended to free them. */
export interface Holder {
  /** @internal */ held: number;
  readonly account: HeldBytes | undefined;
  /** The connection was ended to free memory, and is not chosen again. */
  readonly isGivenUp: boolean;
  endForMemory(cause: string): void;
  /** Terminates the connection without a close frame. */
  kill(cause: string): void;
}

/** Bytes counted for an object that refers to a buffer, in addition to the buffer. */
export const OVERHEAD = 256;

/** A connection that holds less than this is never ended to free memory. With many connections, the bound is lower. */
export const NEVER_CHOSEN = 64 * 1024;

const RELIEF = 0.9;

/** Counts all bytes that are held for peers, in both directions, and ends connections when there are too many. */
export class MemoryBudget {
  private total = 0;
  /** The part of `total` that belongs to ended connections: it is released within a second. */
  private leaving = 0;
  private readonly givenUp = new Set<Holder>();
  /** The connections that can be ended to free memory. */
  private readonly large = new Set<Holder>();
  private relieving = false;
  /**
   * A connection that holds less than this is never ended: even if all connections hold this much, they fit the budget.
   */
  private readonly exempt: number;

  /** `maxHolders`: maximum number of connections. */
  constructor(
    private readonly budget: number,
    private readonly maxPerIp: number,
    maxHolders = 1,
  ) {
    this.exempt = Math.min(NEVER_CHOSEN, budget / maxHolders);
  }

  get held(): number {
    return this.total;
  }

  /** The budget is exceeded, and no connection can be ended to free memory. */
  get full(): boolean {
    return this.total > this.budget && this.large.size === 0;
  }

  /** Records how many bytes `holder` holds now. Ends connections if a limit is exceeded. */
  settle(holder: Holder, held: number): void {
    const before = holder.held;
    if (held === before) return;
    holder.held = held;
    this.total += held - before;
    this.charge(holder.account, held - before);
    if (holder.isGivenUp) this.noteLeaving(holder, held - before);
    if (held >= this.exempt && !holder.isGivenUp) this.large.add(holder);
    else if (before >= this.exempt) this.large.delete(holder);
    if (held > before) this.defend(holder.account);
  }

  /**
   * Records that a connection is being ended, so that it is not chosen again. Called once, before `isGivenUp` is true.
   */
  giveUp(holder: Holder): void {
    this.large.delete(holder);
    this.noteLeaving(holder, holder.held);
  }

  /** Counts bytes that do not belong to a connection yet: request heads. */
  adjust(delta: number): void {
    this.total += delta;
    if (delta > 0) this.defendTotal();
  }

  /**
   * Counts bytes that belong to an address but no longer to a connection: those held by handlers of closed connections.
   */
  hold(account: HeldBytes | undefined, delta: number): void {
    this.charge(account, delta);
    this.total += delta;
    // protection: memory that no connection holds counts
    if (delta > 0) this.defend(account);
    // end protection
  }

  private charge(account: HeldBytes | undefined, delta: number): void {
    if (account === undefined) return;
    account.heldBytes += delta;
    if (account.site !== undefined) account.site.heldBytes += delta;
  }

  private defend(account: HeldBytes | undefined): void {
    // protection: memory of an address
    if (account !== undefined) this.defendShare(account);
    // end protection
    this.defendTotal();
  }

  private defendShare(account: HeldBytes): void {
    const { site } = account;
    const share = 'address over its share of the buffers';
    if (account.heldBytes > this.maxPerIp) this.largest((holder) => holder.account === account)?.endForMemory(share);
    // protection: memory of a /48
    if (site !== undefined && site.heldBytes > this.maxPerIp * SITE_FACTOR)
      this.largest((holder) => holder.account?.site === site)?.endForMemory(share);
    // end protection
  }

  private defendTotal(): void {
    if (this.total <= this.budget) return;
    // protection: memory of all connections
    if (this.staying > this.budget) this.relieve();
    // end protection
    // If the budget is still exceeded, connections that are being ended are terminated without waiting for their close
    // frames.
    if (this.total > this.budget) for (const holder of this.givenUp) holder.kill('buffer budget');
  }

  private noteLeaving(holder: Holder, delta: number): void {
    this.leaving += delta;
    if (holder.held > 0) this.givenUp.add(holder);
    else this.givenUp.delete(holder);
  }

  private get staying(): number {
    return this.total - this.leaving;
  }

  /** Ends the largest connections of the addresses that hold most, until a tenth of the budget is free. */
  private relieve(): void {
    if (this.relieving) return;
    this.relieving = true;
    try {
      const candidates = this.candidates();
      while (this.staying > this.budget * RELIEF) {
        const victim = takeVictim(candidates);
        if (victim === undefined) return;
        victim.endForMemory('buffer budget');
      }
    } finally {
      this.relieving = false;
    }
  }

  private largest(isMeant: (holder: Holder) => boolean): Holder | undefined {
    let largest: Holder | undefined;
    for (const holder of this.large)
      if (isMeant(holder) && (largest === undefined || holder.held > largest.held)) largest = holder;
    return largest;
  }

  /** The connections that can be ended, by address. All connections without an account form one group. */
  private candidates(): Candidates[] {
    const byAccount = new Map<HeldBytes | undefined, Candidates>();
    for (const holder of this.large) {
      const { account } = holder;
      let of = byAccount.get(account);
      if (of === undefined) byAccount.set(account, (of = { account, sum: account?.heldBytes ?? 0, holders: [] }));
      if (account === undefined) of.sum += holder.held;
      of.holders.push(holder);
    }
    for (const { holders } of byAccount.values()) holders.sort((a, b) => a.held - b.held);
    return [...byAccount.values()];
  }
}

interface Candidates {
  readonly account: HeldBytes | undefined;
  /** All bytes that the address holds, including those of connections that cannot be ended. */
  sum: number;
  /** Sorted by size, the largest last. */
  readonly holders: Holder[];
}

/** The largest connection of the address that holds most. */
function takeVictim(candidates: readonly Candidates[]): Holder | undefined {
  let most: Candidates | undefined;
  for (const each of candidates)
    if (each.holders.length > 0 && (most === undefined || each.sum > most.sum)) most = each;
  const victim = most?.holders.pop();
  if (victim !== undefined) most!.sum -= victim.held;
  return victim;
}
