/** The `handleConnection` hooks of one connection, for as long as not all have settled, and what waits for them. */
// @ts-nocheck

export class Hooks {
  private waiting: (() => void)[] | undefined = undefined;

  constructor(
    private left: number,
    /** Until when they must have settled. */
    readonly by: number,
  ) {}

  /** True when it was the last. */
  settle(): boolean {
    return --this.left === 0;
  }

  add(action: () => void): void {
    (this.waiting ??= []).push(action);
  }

  /** They are waited for no longer. */
  release(failed: (error: unknown) => void): void {
    for (const action of this.waiting ?? []) {
      try {
        action();
      } catch (error) {
        failed(error);
      }
    }
  }
}
