import diagnostics_channel from 'node:diagnostics_channel';
import type { RefusalReason } from '../http/refusal.js';
import type { RequestValues } from './redact.js';

/** Published when an upgrade was refused. */
export interface RefusedEvent {
  readonly reason: RefusalReason;
  readonly status: number;
  /** The address that is counted: that of the client behind a trusted proxy, else that of the socket. */
  readonly ip: string;
  readonly path: string | undefined;
  readonly detail: string | undefined;
}

/** Published when a connection was opened. */
export interface OpenedEvent {
  readonly ip: string;
  readonly path: string;
  /** The key of its user, if a guard returned one. */
  readonly userKey?: string | undefined;
}

/** Published when a connection has ended. */
export interface ClosedEvent {
  readonly ip: string;
  readonly path: string;
  readonly code: number;
  /** The reason why this side ended the connection, if it did. */
  readonly cause: string | undefined;
}

/**
 * Published for an error in code of the application or of this library that no caller awaits. `error` is the thrown value
 * itself: its message can contain what the code has seen, such as a token. The log and the dashboard remove the values of
 * `request` from it; a subscriber that stores or sends errors must do so, too.
 */
export interface FaultEvent {
  readonly where: FaultPlace;
  readonly error: unknown;
  readonly path: string | undefined;
  /**
   * Header values and query of the peer's request, verbatim (cookies, credentials), as far as the failed code has seen
   * them: to remove them from a text. Never store or print it. It is not enumerable: it does not appear in the output of
   * `console.log(event)`, `JSON.stringify(event)` or a copy of the event.
   */
  readonly request?: RequestValues;
}
export type FaultPlace =
  | 'guard'
  | 'afterInit'
  | 'handleConnection'
  | 'handleDisconnect'
  | 'handler'
  | 'filter'
  | 'parser'
  | 'socket'
  | 'tls'
  | 'listener'
  | 'internal';

const ALL_PLACES: Readonly<Record<FaultPlace, true>> = {
  guard: true,
  afterInit: true,
  handleConnection: true,
  handleDisconnect: true,
  handler: true,
  filter: true,
  parser: true,
  socket: true,
  tls: true,
  listener: true,
  internal: true,
};
export const FAULT_PLACES = Object.freeze(Object.keys(ALL_PLACES) as FaultPlace[]);

/** A note for the operator of the application. */
export interface NoticeEvent {
  readonly message: string;
}

/**
 * The events, which are published on `diagnostics_channel` as `nest-secure-ws:refused`, `:opened`, `:closed`, `:fault`
 * and `:notice`. Modules publish events; the log and the counters subscribe to them.
 */
export class Telemetry {
  private readonly subscribers: Partial<Subscriber>[] = [];

  subscribe(subscriber: Partial<Subscriber>): void {
    this.subscribers.push(subscriber);
  }

  refused(event: RefusedEvent): void {
    for (const subscriber of this.subscribers) subscriber.refused?.(event);
    if (REFUSED.hasSubscribers) REFUSED.publish(event);
  }

  opened(event: OpenedEvent): void {
    for (const subscriber of this.subscribers) subscriber.opened?.(event);
    if (OPENED.hasSubscribers) OPENED.publish(event);
  }

  closed(event: ClosedEvent): void {
    for (const subscriber of this.subscribers) subscriber.closed?.(event);
    if (CLOSED.hasSubscribers) CLOSED.publish(event);
  }

  fault(where: FaultPlace, error: unknown, path?: string, request?: RequestValues): void {
    const event: FaultEvent = { where, error, path };
    // protection: printing an event prints no credentials
    if (request !== undefined) Object.defineProperty(event, 'request', { value: request });
    // end protection
    for (const subscriber of this.subscribers) subscriber.fault?.(event);
    if (FAULT.hasSubscribers) FAULT.publish(event);
  }

  notice(message: string): void {
    const event: NoticeEvent = { message };
    for (const subscriber of this.subscribers) subscriber.notice?.(event);
    if (NOTICE.hasSubscribers) NOTICE.publish(event);
  }
}

export interface Subscriber {
  refused(event: RefusedEvent): void;
  opened(event: OpenedEvent): void;
  closed(event: ClosedEvent): void;
  fault(event: FaultEvent): void;
  notice(event: NoticeEvent): void;
}

const REFUSED = diagnostics_channel.channel('nest-secure-ws:refused');
const OPENED = diagnostics_channel.channel('nest-secure-ws:opened');
const CLOSED = diagnostics_channel.channel('nest-secure-ws:closed');
const FAULT = diagnostics_channel.channel('nest-secure-ws:fault');
const NOTICE = diagnostics_channel.channel('nest-secure-ws:notice');
