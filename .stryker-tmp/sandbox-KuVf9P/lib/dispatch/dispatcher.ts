// @ts-nocheck
import type { Observable } from 'rxjs';
import { isThenable } from '../admission/admission-store.js';
import type { MessageParser } from '../config/code-types.js';
import type { Connection } from '../connection/connection.js';
import type { BoundHandler } from '../connection/context.js';
import type { Clock, TimerWheel } from '../net/timer-wheel.js';
import { CloseCode } from '../protocol/close-codes.js';
import type { Telemetry } from '../telemetry/events.js';
import { sendException } from './exceptions.js';
import { HandlerTable, type TraitsOf } from './handler-table.js';
import { type Message, readMessage } from './message-parser.js';
import { isObservable, Stream, type StreamOwner, type Task, type TaskOwner, TaskPool } from './task.js';

export interface DispatcherOptions {
  readonly path: string;
  readonly clock: Clock;
  readonly wheel: TimerWheel;
  readonly telemetry: Telemetry;
  readonly parser: MessageParser | undefined;
  readonly maxStreams: number;
  readonly handlerTimeout: number;
  readonly counted: (change: 1 | -1) => void;
}

const NEVER = Number.POSITIVE_INFINITY;

/** Messages of one path to the handlers of its gateways, and what they return back to the peer. */
export class Dispatcher implements TaskOwner, StreamOwner {
  private readonly table = new HandlerTable();
  private readonly tasks = new TaskPool(this);

  constructor(private readonly options: DispatcherOptions) {}

  counted(change: 1 | -1): void {
    this.options.counted(change);
  }

  /** Handlers that one gateway has for one connection, as Nest bound them; the same ones in the same order each time. */
  bind(connection: Connection, handlers: readonly (BoundHandler & { message: unknown })[], traits: TraitsOf): void {
    const state = connection.dispatch;
    const offset = state.handlers?.length ?? 0;
    state.handlers = state.handlers === undefined ? handlers : [...state.handlers, ...handlers];
    for (let at = this.table.size; at < state.handlers.length; at++) {
      const event = handlers[at - offset]!.message;
      this.table.add(event, traits(event));
    }
  }

  dispatch(connection: Connection, data: Buffer, isBinary: boolean): void {
    const { length } = data;
    const message = this.read(connection, data, isBinary);
    const places = message && this.places(connection, message);
    if (message === undefined || places === undefined) return connection.receiving!.finished(length);
    // A message is begun within two milliseconds of it.
    const dueAt = connection.receiving!.turnStart + this.options.handlerTimeout;
    const task = this.tasks.take(connection, message.event, length, dueAt, places.length);
    if (dueAt !== NEVER) this.options.wheel.schedule(connection, dueAt);
    for (const place of places) this.run(task, connection.dispatch.handlers![place]!, message);
  }

  settled(task: Task, result: unknown): void {
    if (task.abandoned) return this.forget(task);
    if (isObservable(result)) return this.follow(task, result);
    if (result !== undefined && result !== null) this.reply(task.connection, result);
    this.finish(task);
  }

  failed(task: Task, error: unknown): void {
    if (!task.abandoned) this.report(task.connection, error);
    else this.options.telemetry.fault('handler', error, this.options.path);
    this.finish(task);
  }

  /** Frees the places of handlers that took too long; answers when to look again. */
  overdue(connection: Connection, now: number): number {
    let nearest = NEVER;
    for (let task = connection.dispatch.tasks as Task | undefined; task !== undefined; ) {
      const following = task.next as Task | undefined;
      if (task.dueAt <= now) this.abandon(task, connection);
      else nearest = Math.min(nearest, task.dueAt);
      task = following;
    }
    return nearest;
  }

  /** The connection has ended: nothing of it is followed any longer. */
  release(connection: Connection): void {
    const state = connection.dispatch;
    let task = state.tasks as Task | undefined;
    state.tasks = undefined;
    while (task !== undefined) {
      const following = task.next as Task | undefined;
      task.next = undefined;
      this.giveUp(task);
      task = following;
    }
    const { streams } = state;
    state.streams = undefined;
    for (const stream of streams ?? []) this.unsubscribe(stream);
  }

  private read(connection: Connection, data: Buffer, isBinary: boolean): Message | undefined {
    const message = readMessage(data, isBinary, this.options.parser, this.parserFailed);
    if (typeof message === 'object') return message;
    if (message === 'malformed') this.strike(connection, 'Malformed message');
    if (message === 'unsupported') connection.end(CloseCode.UNSUPPORTED_DATA, 'unsupported data');
    return undefined;
  }

  private readonly parserFailed = (error: unknown) => this.options.telemetry.fault('parser', error, this.options.path);

  private places(connection: Connection, { event }: Message): readonly number[] | undefined {
    const places = this.table.placesOf(event);
    if (places === undefined) {
      // An application that listens to 'message' itself speaks a language of its own.
      if (connection.socket.listenerCount('message') === 0) this.strike(connection, 'Unknown event');
      return undefined;
    }
    if (this.table.isWithinRates(connection, places, this.options.clock)) return places;
    sendException(connection.socket, 'Too many messages for this event');
    return undefined;
  }

  private strike(connection: Connection, text: string): void {
    if (connection.receiving!.strike()) sendException(connection.socket, text);
  }

  private run(task: Task, handler: BoundHandler, { data, event }: Message): void {
    let result: unknown;
    try {
      result = handler.callback(data, event);
    } catch (error) {
      return this.failed(task, error);
    }
    if (isThenable(result)) result.then(task.onResult, task.onError);
    else this.settled(task, result);
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

  /** An error that no filter has answered: the peer learns that there was one. */
  private report(connection: Connection, error: unknown): void {
    this.options.telemetry.fault('handler', error, this.options.path);
    sendException(connection.socket, 'Internal server error');
  }

  /** An intercepted handler runs inside its observable, which therefore keeps the place of its message. */
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

  spoke(stream: Stream, value: unknown): void {
    if (value !== undefined && value !== null) this.reply(stream.connection, value);
    if (stream.begun) return;
    stream.begun = true;
    // Most complete right behind their only value, and are no streams at all.
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

  /** It goes on after its first value: the place of its message is free. */
  private outlive(stream: Stream): void {
    const { task } = stream;
    if (stream.closed || task === undefined) return;
    stream.task = undefined;
    if (!this.keep(stream)) this.unsubscribe(stream);
    this.letGo(task, stream);
  }

  private keep(stream: Stream): boolean {
    const streams = (stream.connection.dispatch.streams ??= new Set());
    if (streams.size < this.options.maxStreams) return streams.add(stream).has(stream);
    sendException(stream.connection.socket, 'Too many streams');
    return false;
  }

  private letGo(task: Task, stream: Stream): void {
    task.held?.delete(stream);
    this.finish(task);
  }

  /** One result less to wait for. */
  private finish(task: Task): void {
    if (task.abandoned) this.forget(task);
    else this.done(task);
  }

  private unsubscribe(stream: { unsubscribe(): void }): void {
    try {
      stream.unsubscribe();
    } catch (error) {
      this.options.telemetry.fault('handler', error, this.options.path);
    }
  }

  private abandon(task: Task, connection: Connection): void {
    const { size } = task;
    this.tasks.unlink(task);
    this.tasks.discount(task);
    this.giveUp(task);
    sendException(connection.socket, 'The handler took too long');
    connection.receiving!.finished(size);
  }

  /** Whatever still comes of this task is forgotten. */
  private giveUp(task: Task): void {
    const { held } = task;
    task.abandoned = true;
    task.held = undefined;
    for (const stream of held ?? []) {
      this.unsubscribe(stream);
      this.forget(task);
    }
  }

  private done(task: Task): void {
    if (--task.remaining > 0) return;
    const { connection, size } = task;
    this.tasks.unlink(task);
    this.tasks.giveBack(task);
    connection.receiving!.finished(size);
  }

  /** A result that came too late. */
  private forget(task: Task): void {
    if (--task.remaining === 0) this.tasks.giveBack(task);
  }
}
