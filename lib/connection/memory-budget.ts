import { SITE_FACTOR } from '../admission/address-table.js';

/** Bytes held for the peers of one address. */
export interface HeldBytes {
  heldBytes: number;
  /** Of the /48 around it, which may hold eight times as much. */
  readonly site?: HeldBytes | undefined;
}

/** Somebody for whom bytes are held, and who can be ended to free them. */
export interface Holder {
  /** @internal */ held: number;
  readonly account: HeldBytes | undefined;
  /** It was ended to free memory, and is chosen no more. */
  readonly isGivenUp: boolean;
  endForMemory(cause: string): void;
  /** Ends it without a word. */
  kill(cause: string): void;
}

/** What an object that refers to bytes costs beside them. */
export const OVERHEAD = 256;

/** A connection that holds less than this is never chosen to be ended for memory, where there are few connections. */
export const NEVER_CHOSEN = 64 * 1024;

const RELIEF = 0.9;

/** All bytes that are held for peers, in and out, and who must go when they are too many. */
export class MemoryBudget {
  private total = 0;
  /** Of it, what belongs to connections that were given up: it comes free within a second. */
  private leaving = 0;
  private readonly givenUp = new Set<Holder>();
  /** Those that may be chosen. */
  private readonly large = new Set<Holder>();
  private relieving = false;
  /** Who holds less than this is not chosen: so little that all connections together fit the budget with it. */
  private readonly exempt: number;

  /** `maxHolders`: how many connections there can be. */
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

  /** Nothing more can be taken in, and nobody is left to choose. */
  get full(): boolean {
    return this.total > this.budget && this.large.size === 0;
  }

  /** Notes what `holder` holds now. Ends connections where that is too much. */
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

  /** It is ended, and chosen no more. Called once, before `isGivenUp` is true. */
  giveUp(holder: Holder): void {
    this.large.delete(holder);
    this.noteLeaving(holder, holder.held);
  }

  /** Bytes that belong to no connection yet: heads. */
  adjust(delta: number): void {
    this.total += delta;
    if (delta > 0) this.defendTotal();
  }

  /** Bytes that belong to an address but to no connection: what handlers of peers that have left still hold. */
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
    // No second for last words when there is no room for them.
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

  /** Those that may be chosen, by address; those without one are an address of their own together. */
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
  /** What the address holds in all, whatever each of its connections holds. */
  sum: number;
  /** The largest last. */
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
