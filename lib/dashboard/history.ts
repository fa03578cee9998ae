/** Number of seconds that the charts show. */
export const SLOTS = 600;

/** The values that are recorded for each second. */
export interface Second {
  readonly connections: number;
  readonly heldBytes: number;
  /** Maximum event-loop delay within the second, in milliseconds. */
  readonly loopDelay: number;
  readonly accepted: number;
  /** By reason, in the order of {@link History.reasons}. */
  readonly refused: readonly number[];
}

/** The last ten minutes, one slot per second, in memory of a fixed size. */
export class History {
  private readonly columns: readonly Float64Array[];
  private next = 0;
  private filled = 0;

  constructor(readonly reasons: readonly string[]) {
    this.columns = Array.from({ length: FIXED + reasons.length }, () => new Float64Array(SLOTS));
  }

  /** Writes the slot of the second that has just ended, at `time` in seconds since the epoch. */
  push(time: number, second: Second): void {
    const { connections, heldBytes, loopDelay, accepted, refused } = second;
    const values = [time, connections, heldBytes, loopDelay, accepted, ...refused];
    for (const [index, column] of this.columns.entries()) column[this.next] = values[index] ?? 0;
    this.next = (this.next + 1) % SLOTS;
    this.filled = Math.min(this.filled + 1, SLOTS);
  }

  /** Columns with all slots after `since`, oldest first; reasons that never occurred in them are left out. */
  after(since: number): HistoryAnswer {
    const order = Array.from({ length: this.filled }, (_, index) => (this.next - this.filled + index + SLOTS) % SLOTS);
    return this.answerOf(order.filter((slot) => this.columns[0]![slot]! > since));
  }

  /** Columns with the last `count` slots. */
  last(count: number): HistoryAnswer {
    const kept = Math.min(count, this.filled);
    return this.answerOf(Array.from({ length: kept }, (_, index) => (this.next - kept + index + SLOTS) % SLOTS));
  }

  private answerOf(kept: readonly number[]): HistoryAnswer {
    const column = (index: number): number[] => kept.map((slot) => this.columns[index]![slot]!);
    const refused: Record<string, number[]> = {};
    for (const [index, reason] of this.reasons.entries()) {
      const values = column(FIXED + index);
      if (values.some((value) => value > 0)) refused[reason] = values;
    }
    return {
      time: column(0),
      connections: column(1),
      heldBytes: column(2),
      loopDelay: column(3),
      accepted: column(4),
      refused,
    };
  }
}

const FIXED = 5;

export interface HistoryAnswer {
  readonly time: readonly number[];
  readonly connections: readonly number[];
  readonly heldBytes: readonly number[];
  readonly loopDelay: readonly number[];
  readonly accepted: readonly number[];
  readonly refused: Readonly<Record<string, readonly number[]>>;
}
