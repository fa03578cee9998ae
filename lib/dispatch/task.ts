import type { Observable } from 'rxjs';
import type { SecureConnection as Connection } from '../connection/secure-socket.js';
import type { RunningTask } from '../connection/server-connection.js';

/** The receiver of what an observable emits. */
export interface StreamOwner {
  spoke(stream: Stream, value: unknown): void;
  broke(stream: Stream, error: unknown): void;
  ended(stream: Stream): void;
}

/** The subscription to a handler's observable, until it or its connection ends. */
export class Stream {
  closed = false;
  /** The observable has emitted a value. */
  begun = false;
  private subscription: { unsubscribe(): void } | undefined;

  constructor(
    private readonly owner: StreamOwner,
    readonly connection: Connection,
    /** The task whose place the observable keeps until its first value. */
    public task: Task | undefined,
  ) {}

  follow(source: Observable<unknown>): void {
    try {
      this.subscription = source.subscribe(this);
      // It may have been ended before `subscribe` returns.
      if (this.closed) this.subscription?.unsubscribe();
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

  /** Unsubscribes. Throws what the observable's own teardown throws. */
  unsubscribe(): void {
    this.closed = true;
    this.subscription?.unsubscribe();
  }
}

/** The receiver of a handler's result. */
export interface TaskOwner {
  /** Counts running handlers up or down. */
  counted(change: 1 | -1): void;
  settled(task: Task, result: unknown): void;
  failed(task: Task, error: unknown): void;
}

/**
 * One message that is being handled. Tasks and their two promise callbacks are reused, so that handling a message
 * allocates neither an object nor a closure.
 */
export class Task implements RunningTask {
  connection!: Connection;
  next: RunningTask | undefined = undefined;
  event: unknown = undefined;
  /** Bytes that are held for the message and its structure. */
  size = 0;
  /** The bytes of the structure: they are held until the handlers have settled, even if the connection ends. */
  charge = 0;
  dueAt = 0;
  /** Start time, if metrics are enabled. */
  startedAt = 0;
  /** Number of results that are awaited. */
  remaining = 0;
  /** The task has timed out, or its connection has ended: results are ignored. */
  abandoned = false;
  /** A shutdown waits for the task. */
  counts = true;
  /** Observables that handlers run in. */
  held: Set<Stream> | undefined = undefined;
  /** The promises of the handlers, while the task can still be abandoned. */
  promises: PromiseLike<unknown>[] | PromiseLike<unknown> | undefined = undefined;
  /** For an abandoned task: the deadline until which a shutdown waits for it, and the bytes that it still holds. */
  orphan: Orphan | undefined = undefined;
  readonly onResult: (result: unknown) => void;
  readonly onError: (error: unknown) => void;

  constructor(owner: TaskOwner) {
    this.onResult = (result) => owner.settled(this, result);
    this.onError = (error) => owner.failed(this, error);
  }

  /** Records the promise of a handler. */
  awaits(promise: PromiseLike<unknown>): void {
    const { promises } = this;
    if (promises === undefined) this.promises = promise;
    else if (Array.isArray(promises)) promises.push(promise);
    else this.promises = [promises, promise];
  }
}

/** The state of an abandoned task until its handlers have settled. */
export interface Orphan {
  /** Releases the bytes that are still held for the task. Called once. */
  end(): void;
}

const MOST_SPARE = 1024;

/** Unused tasks. */
export class TaskPool {
  private readonly spare: Task[] = [];
  /** Promises of abandoned tasks: a promise that has been garbage-collected will never settle. */
  private readonly collected = new FinalizationRegistry<{ orphan: Orphan; left: number; task: Task }>((watched) => {
    if (--watched.left === 0 && watched.task.orphan === watched.orphan) this.giveBack(watched.task);
  });

  constructor(private readonly owner: TaskOwner) {}

  take(connection: Connection, event: unknown, size: number, charge: number, dueAt: number, remaining: number): Task {
    this.owner.counted(1);
    const task = this.spare.pop() ?? new Task(this.owner);
    task.connection = connection;
    task.event = event;
    task.size = size;
    task.charge = charge;
    task.dueAt = dueAt;
    task.remaining = remaining;
    task.abandoned = false;
    task.counts = true;
    task.next = connection.dispatch.tasks;
    connection.dispatch.tasks = task;
    return task;
  }

  /** Removes a task from its connection's list. */
  unlink(task: Task): void {
    const state = task.connection.dispatch;
    if (state.tasks === task) state.tasks = task.next;
    else {
      let before = state.tasks;
      while (before !== undefined && before.next !== task) before = before.next;
      if (before !== undefined) before.next = task.next;
    }
    task.next = undefined;
  }

  /**
   * Abandons the task: its handlers still run, but their results are not awaited. `orphan` ends when they have settled,
   * or can no longer settle.
   */
  abandon(task: Task, orphan: Orphan): void {
    const { promises } = task;
    task.abandoned = true;
    task.orphan = orphan;
    task.promises = undefined;
    const all = promises === undefined ? [] : Array.isArray(promises) ? promises : [promises];
    const watched = { orphan, left: all.length, task };
    for (const promise of all) this.collected.register(promise, watched);
  }

  giveBack(task: Task): void {
    const { orphan } = task;
    task.connection = undefined as unknown as Connection;
    task.event = undefined;
    task.held = undefined;
    task.promises = undefined;
    task.orphan = undefined;
    orphan?.end();
    this.discount(task);
    // The callbacks of an abandoned task may still be called, so they are not reused.
    if (orphan === undefined && this.spare.length < MOST_SPARE) this.spare.push(task);
  }

  /** A shutdown no longer waits for the task. */
  discount(task: Task): void {
    if (!task.counts) return;
    task.counts = false;
    this.owner.counted(-1);
  }
}
