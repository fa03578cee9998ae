import type { Observable } from 'rxjs';
import { isObservable, isThenable, whenSettled } from '../admission/awaitable.js';
import type { MessageParser } from '../config/code-types.js';
import type { Limits } from '../connection/limits.js';
import type { SecureConnection as Connection } from '../connection/secure-socket.js';
import type { BoundHandler } from '../connection/server-connection.js';
import { runInFork } from '../net/async-context.js';
import type { Clock, TimerWheel } from '../net/timer-wheel.js';
import { CloseCode } from '../protocol/close-codes.js';
import type { Telemetry } from '../telemetry/events.js';
import type { Histogram } from '../telemetry/metrics.js';
import { sendException, UNKNOWN_ERROR } from './exceptions.js';
import { HandlerTable, type TraitsOf } from './handler-table.js';
import { type Message, readMessage } from './message-parser.js';
import { type Orphan, Stream, type StreamOwner, type Task, type TaskOwner, TaskPool } from './task.js';

export interface DispatcherOptions {
  readonly path: string;
  readonly clock: Clock;
  readonly wheel: TimerWheel;
  readonly telemetry: Telemetry;
  readonly parser: MessageParser | undefined;
  readonly limits: Pick<Limits, 'maxNodes' | 'maxStreams' | 'handlerTimeout'>;
  readonly counted: (change: 1 | -1) => void;
  /** The histograms for the duration of handlers, if metrics are enabled. */
  readonly timeOf: ((event: unknown) => Histogram) | undefined;
}

/** A handler as Nest passes it to an adapter. */
export interface NestHandler {
  readonly message: unknown;
  readonly callback: BoundHandler;
}

const NEVER = Number.POSITIVE_INFINITY;
/** Fewer bytes than this are not counted for an abandoned handler: its message is smaller than a connection. */
const SMALLEST_ORPHAN = 4096;

/**
 * Passes the messages of one path to the handlers of its gateways, and their results back to the peer. A message is
 * parsed, its handlers are found and called, their results are awaited and sent, and its place in the queue is freed.
 */
export class Dispatcher implements TaskOwner, StreamOwner {
  private readonly table = new HandlerTable();
  private readonly tasks = new TaskPool(this);
  /** Only events that have handlers are observed. */
  private readonly times = new Map<unknown, Histogram>();

  constructor(private readonly options: DispatcherOptions) {}

  /**
   * The handlers that one gateway has for one connection, as Nest bound them; always the same ones in the same order.
   */
  bind(connection: Connection, handlers: readonly NestHandler[], traits: TraitsOf): void {
    const state = connection.dispatch;
    const offset = state.handlers?.length ?? 0;
    // Only the functions are kept: Nest makes an object for each handler of each connection.
    const callbacks = handlers.map(({ callback }) => callback);
    state.handlers = state.handlers === undefined ? callbacks : [...state.handlers, ...callbacks];
    if (this.table.size < state.handlers.length) this.table.add(handlers, traits, this.table.size - offset);
  }

  /**
   * Handles one message. `connection.finished()` is called when its place in the queue is free. Each message has a new
   * async context, a copy of its connection's: a context that a handler enters does not affect the next message.
   */
  dispatch(connection: Connection, data: Buffer, isBinary: boolean): void {
    runInFork(connection.peer.asyncContext, this.handle, this, connection, data, isBinary);
  }

  private handle(connection: Connection, data: Buffer, isBinary: boolean): void {
    const { length } = data;
    const message = this.read(connection, data, isBinary);
    const places = message && this.find(connection, message.event);
    if (message === undefined || places === undefined) return connection.finished(length);
    const { charge } = message;
    connection.input.charge(charge);
    // Charging the message may have ended the connection.
    if (!connection.isOpen) return connection.finished(length + charge);
    // Reuses the timestamp of the turn, which is at most 2 ms old.
    const dueAt = connection.input.turnStart + this.options.limits.handlerTimeout;
    const task = this.tasks.take(connection, message.event, length + charge, charge, dueAt, places.length);
    // protection: handlers have so much time
    if (dueAt !== NEVER) this.options.wheel.schedule(connection, dueAt);
    // end protection
    if (this.options.timeOf !== undefined) task.startedAt = this.options.clock.now();
    for (const place of places) this.run(task, connection.dispatch.handlers![place]!, message);
  }

  private noteTime({ event, startedAt }: Task): void {
    const { timeOf, clock } = this.options;
    if (timeOf === undefined) return;
    let histogram = this.times.get(event);
    if (histogram === undefined) this.times.set(event, (histogram = timeOf(event)));
    histogram.observe((clock.now() - startedAt) / 1000);
  }

  /** Parses a message; `undefined` if it is not one. */
  private read(connection: Connection, data: Buffer, isBinary: boolean): Message | undefined {
    const { parser, limits } = this.options;
    const message = readMessage(data, isBinary, parser, limits.maxNodes, this.parserFailed);
    if (typeof message === 'object') return message;
    if (message === 'malformed') this.reject(connection, 'Malformed message');
    if (message === 'unsupported') connection.end(CloseCode.UNSUPPORTED_DATA, 'unsupported data');
    return undefined;
  }

  private readonly parserFailed = (error: unknown) => this.options.telemetry.fault('parser', error, this.options.path);

  /** The handlers of an event, if it has any and the peer may call them now. */
  private find(connection: Connection, event: unknown): readonly number[] | undefined {
    const places = this.table.placesOf(event);
    if (places === undefined) {
      this.reject(connection, 'Unknown event');
      return undefined;
    }
    if (this.table.isWithinRates(connection, places, this.options.clock)) return places;
    sendException(connection.socket, 'Too many messages for this event');
    return undefined;
  }

  /** If the application reads messages itself, messages without a handler do not count as invalid. */
  private reject(connection: Connection, text: string): void {
    if (connection.dispatch.isRead || connection.socket.listenerCount('message') > 0) return;
    if (connection.input.strike()) sendException(connection.socket, text);
  }

  /** Calls one handler. Its result comes from the application: every access to it can throw. */
  private run(task: Task, handler: BoundHandler, { data, event }: Message): void {
    let result: unknown;
    let isPromise: boolean;
    try {
      result = handler(data, event);
      isPromise = isThenable(result);
    } catch (error) {
      return this.failed(task, error);
    }
    if (!isPromise) return this.settled(task, result);
    task.awaits(result as PromiseLike<unknown>);
    whenSettled(result as PromiseLike<unknown>, task.onResult, task.onError);
  }

  /** Called with the result of a handler. */
  settled(task: Task, result: unknown): void {
    // protection: a result that comes too late is dropped
    if (task.abandoned) return this.forget(task);
    // end protection
    let follows: boolean;
    try {
      follows = isObservable(result);
    } catch (error) {
      return this.failed(task, error);
    }
    if (follows) return this.follow(task, result as Observable<unknown>);
    if (result !== undefined && result !== null) this.reply(task.connection, result);
    this.finish(task);
  }

  /** Called when a handler has thrown or rejected and no filter has answered: the peer gets a generic error. */
  failed(task: Task, error: unknown): void {
    if (!task.abandoned) this.report(task.connection, error);
    else this.failedLate(task, error);
    this.finish(task);
  }

  /** A task that was given back, because its promise could no longer settle, has no connection. */
  private failedLate({ connection }: Task, error: unknown): void {
    if (connection === undefined) this.options.telemetry.fault('handler', error, this.options.path);
    else connection.fault('handler', error);
  }

  private reply(connection: Connection, result: unknown): void {
    if (!connection.isOpen) return;
    try {
      const text = JSON.stringify(result);
      if (text !== undefined) connection.socket.sendText(text);
    } catch (error) {
      this.report(connection, error);
    }
  }

  private report(connection: Connection, error: unknown): void {
    connection.fault('handler', error);
    sendException(connection.socket, UNKNOWN_ERROR);
  }

  /** A handler with interceptors runs inside its observable, which therefore keeps the place of the message. */
  private follow(task: Task, source: Observable<unknown>): void {
    const { connection } = task;
    if (this.table.isIntercepted(task.event)) {
      const stream = new Stream(this, connection, task);
      (task.held ??= new Set()).add(stream);
      return stream.follow(source);
    }
    const stream = new Stream(this, connection, undefined);
    if (this.keep(stream)) stream.follow(source);
    this.finish(task);
  }

  /** Sends a value that a stream has emitted. */
  spoke(stream: Stream, value: unknown): void {
    if (value !== undefined && value !== null) this.reply(stream.connection, value);
    if (stream.begun) return;
    stream.begun = true;
    // Most observables complete directly after their only value and are not streams.
    if (stream.task !== undefined) queueMicrotask(() => this.outlive(stream));
  }

  broke(stream: Stream, error: unknown): void {
    this.report(stream.connection, error);
    this.ended(stream);
  }

  ended(stream: Stream): void {
    const { task, connection } = stream;
    if (task === undefined) connection.dispatch.streams?.delete(stream);
    else this.letGo(task, stream);
  }

  /** Called when an observable continues after its first value: the place of the message is freed. */
  private outlive(stream: Stream): void {
    const { task } = stream;
    if (stream.closed || task === undefined) return;
    stream.task = undefined;
    if (!this.keep(stream)) this.unsubscribe(stream);
    this.letGo(task, stream);
  }

  private keep(stream: Stream): boolean {
    const streams = (stream.connection.dispatch.streams ??= new Set());
    // protection: observables that still emit are bounded
    if (streams.size >= this.options.limits.maxStreams) {
      sendException(stream.connection.socket, 'Too many streams');
      return false;
    }
    // end protection
    streams.add(stream);
    return true;
  }

  private letGo(task: Task, stream: Stream): void {
    task.held?.delete(stream);
    this.finish(task);
  }

  /** Called when one result less is awaited. After the last one the place of the message is freed. */
  private finish(task: Task): void {
    if (task.abandoned) return this.forget(task);
    if (--task.remaining > 0) return;
    const { connection, size } = task;
    this.noteTime(task);
    this.tasks.unlink(task);
    this.tasks.giveBack(task);
    connection.finished(size);
  }

  /** Called with a result that arrived too late. */
  private forget(task: Task): void {
    if (--task.remaining === 0 && task.orphan !== undefined) this.tasks.giveBack(task);
  }

  counted(change: 1 | -1): void {
    this.options.counted(change);
  }

  /** Frees the places of handlers that took too long. Returns when to check again. */
  overdue(connection: Connection, now: number): number {
    let nearest = NEVER;
    for (let task = connection.dispatch.tasks as Task | undefined; task !== undefined; ) {
      const following = task.next as Task | undefined;
      if (task.dueAt <= now) this.expire(task, connection);
      else nearest = Math.min(nearest, task.dueAt);
      task = following;
    }
    return nearest;
  }

  private expire(task: Task, connection: Connection): void {
    const { size } = task;
    this.tasks.unlink(task);
    this.tasks.discount(task);
    this.abandon(task);
    sendException(connection.socket, 'The handler took too long');
    connection.finished(size);
  }

  /** Called when the connection has ended: its streams are unsubscribed. */
  release(connection: Connection): void {
    const state = connection.dispatch;
    let task = state.tasks as Task | undefined;
    state.tasks = undefined;
    while (task !== undefined) {
      const following = task.next as Task | undefined;
      task.next = undefined;
      this.abandon(task);
      task = following;
    }
    const { streams } = state;
    state.streams = undefined;
    // protection: observables end with their peer
    for (const stream of streams ?? []) this.unsubscribe(stream as Stream);
    // end protection
  }

  /** Ignores all later results of a task. The bytes of its message stay counted until its handlers have settled. */
  private abandon(task: Task): void {
    const { held } = task;
    task.held = undefined;
    this.tasks.abandon(task, this.orphanOf(task));
    for (const stream of held ?? []) {
      this.unsubscribe(stream);
      this.forget(task);
    }
  }

  /** A shutdown waits for the abandoned handler, but at most for the handler timeout. */
  private orphanOf(task: Task): Orphan {
    const { connection, charge, dueAt, counts } = task;
    const { wheel } = this.options;
    const { account, peer } = connection;
    const { budget } = connection.context;
    const timer = counts && dueAt !== NEVER ? wheel.timer(() => this.tasks.discount(task), dueAt) : undefined;
    const held = charge >= SMALLEST_ORPHAN ? charge : 0;
    const releaseAddress = held > 0 ? peer.keepAddress() : undefined;
    budget.hold(account, held);
    return {
      end() {
        budget.hold(account, -held);
        releaseAddress?.();
        if (timer !== undefined) wheel.cancel(timer);
      },
    };
  }

  /** Unsubscribes. The teardown of an observable is the application's code and can throw. */
  private unsubscribe(stream: Stream): void {
    try {
      runInFork(stream.connection.peer.asyncContext, stream.unsubscribe, stream);
    } catch (error) {
      stream.connection.fault('handler', error);
    }
  }
}
