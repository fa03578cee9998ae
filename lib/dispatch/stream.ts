import type { Observable } from 'rxjs';
import type { Connection } from '../connection/connection.js';
import type { Task } from './task.js';

/** What becomes of what an observable says. */
export interface StreamOwner {
  spoke(stream: Stream, value: unknown): void;
  broke(stream: Stream, error: unknown): void;
  ended(stream: Stream): void;
}

/** A handler's observable, followed until it or its connection ends. */
export class Stream {
  closed = false;
  /** It has said something. */
  begun = false;
  private subscription: { unsubscribe(): void } | undefined;

  constructor(
    private readonly owner: StreamOwner,
    readonly connection: Connection,
    /** The task whose place it keeps, until it has spoken. */
    public task: Task | undefined,
  ) {}

  follow(source: Observable<unknown>): void {
    try {
      this.subscription = source.subscribe(this);
      // It may have been ended before `subscribe` has returned.
      if (this.closed) this.subscription.unsubscribe();
    } catch (error) {
      this.error(error);
    }
  }

  next(value: unknown): void {
    if (!this.closed) this.owner.spoke(this, value);
  }

  error(error: unknown): void {
    if (this.closed) return;
    this.closed = true;
    this.owner.broke(this, error);
  }

  complete(): void {
    if (this.closed) return;
    this.closed = true;
    this.owner.ended(this);
  }

  /** Follows no longer. Throws what the observable's own teardown throws. */
  unsubscribe(): void {
    this.closed = true;
    this.subscription?.unsubscribe();
  }
}

/** Whether a value is one of RxJS, whoever's copy of it. */
export const isObservable = (value: unknown): value is Observable<unknown> =>
  typeof value === 'object' && value !== null && typeof (value as { subscribe?: unknown }).subscribe === 'function';
