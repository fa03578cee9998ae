// @ts-nocheck
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

/** A connection that holds less than this is never chosen to be ended for memory. */
export const NEVER_CHOSEN = 64 * 1024;

const RELIEF = 0.9;

/** All bytes that are held for peers, in and out, and who must go when they are too many. */
export class MemoryBudget {
  private total = 0;
  /** Of it, what belongs to connections that were given up: it comes free within a second. */
  private leaving = 0;
  private readonly givenUp = new Set<Holder>();
  /** Those that may be chosen: few, because each holds 64 KiB or more. */
  private readonly large = new Set<Holder>();
  private relieving = false;

  constructor(
    private readonly budget: number,
    private readonly maxPerIp: number,
  ) {}

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
    if (held >= NEVER_CHOSEN && !holder.isGivenUp) this.large.add(holder);
    else if (before >= NEVER_CHOSEN) this.large.delete(holder);
    if (held > before) this.defend(holder);
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

  private charge(account: HeldBytes | undefined, delta: number): void {
    if (account === undefined) return;
    account.heldBytes += delta;
    if (account.site !== undefined) account.site.heldBytes += delta;
  }

  private defend({ account }: Holder): void {
    if (account !== undefined) this.defendShare(account);
    this.defendTotal();
  }

  private defendShare(account: HeldBytes): void {
    const { site } = account;
    const share = 'address over its share of the buffers';
    if (account.heldBytes > this.maxPerIp) this.largestOf(account)?.endForMemory(share);
    if (site !== undefined && site.heldBytes > this.maxPerIp * SITE_FACTOR)
      this.largest((holder) => holder.account?.site === site)?.endForMemory(share);
  }

  private defendTotal(): void {
    if (this.total <= this.budget) return;
    if (this.staying > this.budget) this.relieve();
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
      while (this.staying > this.budget * RELIEF) {
        const victim = this.victim();
        if (victim === undefined) return;
        victim.endForMemory('buffer budget');
      }
    } finally {
      this.relieving = false;
    }
  }

  private largestOf(account: HeldBytes | undefined): Holder | undefined {
    return this.largest((holder) => holder.account === account);
  }

  private largest(isMeant: (holder: Holder) => boolean): Holder | undefined {
    let largest: Holder | undefined;
    for (const holder of this.large)
      if (isMeant(holder) && (largest === undefined || holder.held > largest.held)) largest = holder;
    return largest;
  }

  private victim(): Holder | undefined {
    const sums = new Map<HeldBytes | undefined, number>();
    for (const { account, held } of this.large)
      sums.set(account, account?.heldBytes ?? (sums.get(undefined) ?? 0) + held);
    let most: HeldBytes | undefined;
    let sum = -1;
    for (const [account, held] of sums) if (held > sum) [most, sum] = [account, held];
    return this.largestOf(most);
  }
}
