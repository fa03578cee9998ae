import type { Observable } from 'rxjs';
import type { SecureConnection as Connection } from '../connection/secure-socket.js';
import type { RunningTask } from '../connection/server-connection.js';

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

  /** Follows no longer. Throws what the observable's own teardown throws. */
  unsubscribe(): void {
    this.closed = true;
    this.subscription?.unsubscribe();
  }
}

/** What becomes of a handler's result. */
export interface TaskOwner {
  /** One more handler runs, or one less. */
  counted(change: 1 | -1): void;
  settled(task: Task, result: unknown): void;
  failed(task: Task, error: unknown): void;
}

/**
 * One message in the hands of its handlers. Tasks are used again and again, with the two functions
 * that a promise needs: handling a message makes neither an object nor a closure.
 */
export class Task implements RunningTask {
  connection!: Connection;
  next: RunningTask | undefined = undefined;
  event: unknown = undefined;
  /** Bytes that are held for it: those of its message and those of the message's structure. */
  size = 0;
  /** Of them, those of the structure: they are held until its handlers have settled, whatever becomes of the peer. */
  charge = 0;
  dueAt = 0;
  /** Where metrics are switched on. */
  startedAt = 0;
  /** Results that are still to come. */
  remaining = 0;
  /** Its time is over, or its connection: results are forgotten. */
  abandoned = false;
  /** A shutdown waits for it. */
  counts = true;
  /** Observables that its handlers run in. */
  held: Set<Stream> | undefined = undefined;
  /** What its handlers have promised, for as long as it may still be abandoned. */
  promises: PromiseLike<unknown>[] | PromiseLike<unknown> | undefined = undefined;
  /** Once abandoned, the deadline after which a shutdown does not wait for it, and the bytes that it still holds. */
  orphan: Orphan | undefined = undefined;
  readonly onResult: (result: unknown) => void;
  readonly onError: (error: unknown) => void;

  constructor(owner: TaskOwner) {
    this.onResult = (result) => owner.settled(this, result);
    this.onError = (error) => owner.failed(this, error);
  }

  /** A handler has promised its result. */
  awaits(promise: PromiseLike<unknown>): void {
    const { promises } = this;
    if (promises === undefined) this.promises = promise;
    else if (Array.isArray(promises)) promises.push(promise);
    else this.promises = [promises, promise];
  }
}

/** What an abandoned task leaves behind until its handlers have settled. */
export interface Orphan {
  /** Gives back what is still held for it. Called once. */
  end(): void;
}

const MOST_SPARE = 1024;

/** Tasks that wait to be used again. */
export class TaskPool {
  private readonly spare: Task[] = [];
  /** Promises of abandoned tasks: one that was collected as garbage will never settle. */
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

  /** Takes a task off its connection's list. */
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

  /** Its handlers still run, and nobody waits for their results: `orphan` ends when they have settled, or cannot any more. */
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
    // The functions of an abandoned one may still be called.
    if (orphan === undefined && this.spare.length < MOST_SPARE) this.spare.push(task);
  }

  /** A shutdown waits for it no longer. */
  discount(task: Task): void {
    if (!task.counts) return;
    task.counts = false;
    this.owner.counted(-1);
  }
}
